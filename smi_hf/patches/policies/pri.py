"""Let the patches that the CLS token attends to most leave as an image, and go on with the others: Patch Rebirth.

Legend: `B` trajectories, `K` patches that are still optimized.
"""

from smi_hf.patches.policies.base import Selection, SelectionInputs, register_policy


@register_policy("pri")
def select(inputs: SelectionInputs) -> Selection:
    """Highest CLS attention of the last block leaves, the next highest stays (arXiv 2509.23235).

    Dropped are only the patches that cannot be shared equally, at the first prune, those of lowest attention. The
    paper's 2, 4 and 7 images divide its 196 patches.
    """
    order_BK = inputs.patch_attention().argsort(dim=1, descending=True, stable=True)
    first, last = inputs.num_leaving, inputs.num_leaving + inputs.num_kept
    return Selection(order_BK[:, first:last].sort(dim=1).values, order_BK[:, :first].sort(dim=1).values)
