"""DINOv2 with registers: as DINOv2, with register tokens between the CLS token and the patches."""

from smi_hf.models.families.base import ViTFamily, register_family

register_family("dinov2_with_registers", ViTFamily(backbone="dinov2_with_registers", interpolates_by_itself=True))
