"""What a patch-selection policy sees, and where it is registered.

Legend: `B` images, `K` kept patches before the prune, `M` kept patches after it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from smi_hf.registry import Registry

if TYPE_CHECKING:  # not at run time: --help lists the policies, and must not wait for torch
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class SelectionInputs:
    """A batch of images about to be pruned.

    Args:
        kept_BK: patches kept so far, int64 (B, K).
        num_kept: M, how many the schedule lets stay, 1 <= M <= K.
        cls_attention: runs the scoring pass and returns CLS attention, float (B, K); call it only if needed.
        generators: one CPU generator an image, the only randomness allowed.
    """

    kept_BK: "Tensor"
    num_kept: int
    cls_attention: Callable[[], "Tensor"]
    generators: "list[torch.Generator]"


# Which of the K slots stay, int64 (B, M), without repeats.
SelectionPolicy = Callable[[SelectionInputs], "Tensor"]
POLICIES: Registry[SelectionPolicy] = Registry("policy", "smi_hf.patches.policies")
register_policy = POLICIES.register


def highest(scores_BK: "Tensor", num_kept: int) -> "Tensor":
    """Slots of the `num_kept` highest scores, in grid order of the slots: int64 (B, M)."""
    return scores_BK.topk(num_kept, dim=1).indices.sort(dim=1).values
