"""The image tower of SigLIP alone, as it is loaded, and saved when it was compressed."""

from smi_hf.models.families.base import register_family
from smi_hf.models.families.siglip import SiglipFamily

register_family("siglip_vision_model", SiglipFamily(backbone="vision_model", projection="patch_embedding"))
