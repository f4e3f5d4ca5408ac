"""Keep the patches that the answer is read from most, by attention: the policy of Sparse Model Inversion."""

from smi_hf.patches.policies.base import Selection, SelectionInputs, highest, register_policy


@register_policy("smi")
def select(inputs: SelectionInputs) -> Selection:
    """Highest attention of the last block, mean over heads (arXiv 2510.27186, section 3.2).

    It is what the CLS token gives; where none is read, what all tokens or the pooling query give.
    """
    return Selection(highest(inputs.patch_attention(), inputs.num_kept))
