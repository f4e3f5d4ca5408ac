"""Quantization back ends, one file each; `base.py` says what a back end does."""

from typing import Any

from smi_hf.registry import Registry

# Here and not in base.py: the configuration lists the names, and base.py knows the configuration.
BACKENDS: Registry[Any] = Registry("back end", "smi_hf.quantization.backends")
