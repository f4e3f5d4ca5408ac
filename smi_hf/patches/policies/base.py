"""What a patch-selection policy sees, and where it is registered.

Legend: `B` images, `K` kept patches before the prune, `M` kept patches after it, `F` patches of a finished image.
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
        patch_attention: runs the scoring pass and returns how much of the answer is read from each patch, float
            (B, K): the attention of the CLS token, or what stands for it (`SparseClassifier.patch_attention`). Call
            it only if needed.
        generators: one CPU generator an image, the only randomness allowed.
        num_leaving: F, how many are to leave as a finished image, 0 <= F <= K - M; 0 for all policies but `pri`.
    """

    kept_BK: "Tensor"
    num_kept: int
    patch_attention: Callable[[], "Tensor"]
    generators: "list[torch.Generator]"
    num_leaving: int = 0


@dataclass(frozen=True)
class Selection:
    """What becomes of the K patches of each image at a prune. Those that neither stay nor leave are dropped for good.

    Args:
        stay_BM: slots of the patches that are optimized further, int64, increasing in each image.
        leave_BF: slots of the patches that leave as one finished image, int64, increasing, none of them among those
            that stay; None where no image is finished yet.
    """

    stay_BM: "Tensor"
    leave_BF: "Tensor | None" = None


SelectionPolicy = Callable[[SelectionInputs], Selection]
POLICIES: Registry[SelectionPolicy] = Registry("policy", "smi_hf.patches.policies")
register_policy = POLICIES.register


def highest(scores_BK: "Tensor", num_kept: int) -> "Tensor":
    """Slots of the `num_kept` highest scores, in grid order of the slots: int64 (B, M)."""
    return scores_BK.topk(num_kept, dim=1).indices.sort(dim=1).values
