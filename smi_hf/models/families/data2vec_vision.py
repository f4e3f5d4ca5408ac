"""Data2Vec for images: a BEiT."""

from smi_hf.models.families.base import register_family
from smi_hf.models.families.beit import BeitFamily

register_family(
    "data2vec-vision",
    BeitFamily(backbone="data2vec_vision", can_interpolate=False, bare_options=(("add_pooling_layer", False),)),
)
