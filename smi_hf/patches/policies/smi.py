"""Keep the patches that the CLS token attends to most: the policy of Sparse Model Inversion."""

from smi_hf.patches.policies.base import Selection, SelectionInputs, highest, register_policy


@register_policy("smi")
def select(inputs: SelectionInputs) -> Selection:
    """Highest CLS attention of the last block, mean over heads (arXiv 2510.27186, section 3.2)."""
    return Selection(highest(inputs.cls_attention(), inputs.num_kept))
