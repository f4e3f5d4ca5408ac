"""Keep patches at random: the control that shows what looking at the CLS token is worth."""

import torch

from smi_hf.patches.policies.base import Selection, SelectionInputs, highest, register_policy


@register_policy("random")
def select(inputs: SelectionInputs) -> Selection:
    """A uniformly random subset, drawn from each image's own stream."""
    num_patches = inputs.kept_BK.shape[1]
    scores_BK = torch.stack([torch.rand(num_patches, generator=generator) for generator in inputs.generators])
    return Selection(highest(scores_BK.to(inputs.kept_BK.device), inputs.num_kept))
