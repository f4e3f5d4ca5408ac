"""Total variation by absolute differences: neighbouring pixels should be alike, but may jump here and there.

Legend: `B` images.
"""

from collections.abc import Callable

from torch import Tensor

from smi_hf.losses.base import LossInputs, register_loss
from smi_hf.patches.pairs import penalize_differences


@register_loss("tv_l1", source="DeepInversion, arXiv 1912.08795, the l1 form in its authors' code")
def tv_l1(inputs: LossInputs) -> Tensor:
    """Mean absolute difference of neighbouring kept pixels, summed over four directions, of each image, (B,).

    In normalized units. Directions and pairs are those of `total_variation`; a direction without a pair adds nothing.
    As a mean it does not shrink when patches are dropped.
    Differs from DeepInversion: a mean over the pairs of one image that are kept, not over all pixels of the batch
    (`tests/losses/test_tv_l1.py`).
    """
    return penalize_differences(inputs.patches_BKCPQ, inputs.kept_BK, inputs.grid, _mean_absolute)


def _mean_absolute(difference: Tensor, count: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
    num_pairs_B = count().clamp_min(1)
    mean_B = difference.abs().flatten(1).sum(dim=1) / num_pairs_B
    return mean_B, difference.sign_().div_(num_pairs_B[:, None, None, None, None])
