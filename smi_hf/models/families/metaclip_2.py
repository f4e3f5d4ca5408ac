"""MetaCLIP 2, which is laid out as CLIP is; its image tower is loaded, and saved, as one of CLIP."""

from smi_hf.models.families.base import register_family
from smi_hf.models.families.clip import ClipFamily

register_family("metaclip_2", ClipFamily(backbone="vision_model", projection="patch_embedding", can_interpolate=False))
