"""The image tower of CLIP alone, as it is loaded, and saved when it was compressed."""

from smi_hf.models.families.base import register_family
from smi_hf.models.families.clip import ClipFamily

register_family("clip_vision_model", ClipFamily(backbone="vision_model", projection="patch_embedding"))
