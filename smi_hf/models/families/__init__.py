"""Model families that can be inverted sparsely, one file each.

To add one: write a file here, named after the `model_type` of its configuration, that calls `register_family`; then
run `tests/models`, which checks every family that it finds here. One that is not plain needs a case of its own in
`tests/shims/family_cases.py`.
"""
