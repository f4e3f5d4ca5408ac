"""DINOv2: its head reads the CLS token and the mean of the patch tokens."""

from smi_hf.models.families.base import ViTFamily, register_family

register_family("dinov2", ViTFamily(backbone="dinov2", interpolates_by_itself=True))
