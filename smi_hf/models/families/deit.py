"""DeiT with a CLS and a distillation token, read by one head or, averaged, by two."""

from smi_hf.models.families.base import ViTFamily, register_family

register_family("deit", ViTFamily(backbone="deit", bare_options=(("add_pooling_layer", False),)))
