"""Keep every patch: dense inversion, the control that shows what pruning saves and costs."""

import torch

from smi_hf.patches.policies.base import Selection, SelectionInputs, register_policy


@register_policy("dense")
def select(inputs: SelectionInputs) -> Selection:
    """All slots, whatever the schedule says."""
    return Selection(torch.arange(inputs.kept_BK.shape[1], device=inputs.kept_BK.device).expand_as(inputs.kept_BK))
