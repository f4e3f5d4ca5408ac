"""Starts: what an image is before its first optimization step, one file each.

To add one: write a file here, named after the start, with a function from `StartInputs` to an image that is decorated
with `@register_start("name", ...)`. `--start name` then begins images with it, and `--controls name` compares with it.
"""
