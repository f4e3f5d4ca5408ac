"""Which patches stay when an image is pruned, and which leave as a finished image; one policy a file.

To add one: write a file here, named after the policy, whose `select` is decorated with `@register_policy("name")`.
"""
