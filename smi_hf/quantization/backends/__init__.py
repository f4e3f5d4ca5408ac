"""Quantization back ends, one file each.

To add one: write a file here, named after the back end, whose class is decorated with `@register_backend("name")`.
"""
