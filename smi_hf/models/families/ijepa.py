"""I-JEPA: no CLS token; the answer is read from the mean of the patches."""

from transformers import PreTrainedModel

from smi_hf.models.families.base import ReadFrom, ViTFamily, register_family


class IJepaFamily(ViTFamily):
    """See the module."""

    def reads_from(self, model: PreTrainedModel) -> ReadFrom:
        return "patches"


register_family("ijepa", IJepaFamily(backbone="ijepa", bare_options=(("add_pooling_layer", False),)))
