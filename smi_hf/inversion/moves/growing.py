"""Resolution grows: large blocks of pixels move as one at first, single pixels at the end.

Legend: `B` images, `K` kept patches, `M` kept patches after a prune, `C` channels, `P Q` patch pixels, `R S` blocks.
"""

import torch
from torch import Tensor

from smi_hf.inversion.adam import Adam
from smi_hf.inversion.moves.base import MoveInputs, MoveOption, MoveSettings, register_move

# Sides of the blocks that move as one, in equal shares of the steps before single pixels move.
BLOCK_SIDES = (8, 4, 2)


@register_move("growing", fine_from=MoveOption(0.5, 0, 1))
class Growing:
    """Adam over averages of square blocks: 8, then 4, then 2 pixels wide, and over pixels from `fine_from` of the run.

    A block gets the mean gradient of its pixels and all of them the same change, which Adam makes as large as that of
    a pixel; so a learning rate means what it means for `pixels`. Blocks do not cross patches: their side is the
    largest that divides both sides of a patch (7 instead of 8 where patches have 14 pixels), and a dropped patch takes
    its moments with it. Adam begins anew with each size, as the means of small blocks have larger gradients than those
    of large ones, and moments of these would make the first steps several times too long.
    Source: DeepInversion (arXiv 1912.08795) optimizes small images before large ones. Differs from DeepInversion: the
    teacher sees the whole image at its own size all along, and what the start had within a block stays.
    """

    def __init__(self, settings: MoveSettings) -> None:
        self.settings = settings
        self.side = 0
        self.adam = Adam(settings.betas)

    def update(self, inputs: MoveInputs) -> None:
        side = self.block_side(inputs.step)
        if side != self.side:
            self.side, self.adam = side, Adam(self.settings.betas)
        if side == 1:
            self.adam.descend(inputs.patches_BKCPQ, inputs.gradient_BKCPQ, inputs.learning_rate)
            return
        mean_BKCRS = _blocks(inputs.gradient_BKCPQ.contiguous(), side).mean(dim=(4, 6))
        change_BKCRS = torch.zeros_like(mean_BKCRS)
        self.adam.descend(change_BKCRS, mean_BKCRS, inputs.learning_rate)
        _blocks(inputs.patches_BKCPQ, side).add_(change_BKCRS[:, :, :, :, None, :, None])

    def keep(self, slots_BM: Tensor, kept_BM: Tensor) -> None:
        self.adam.keep(slots_BM)

    def block_side(self, step: int) -> int:
        """Side of the blocks that move as one in a step, in pixels."""
        num_coarse = self.settings.options["fine_from"] * self.settings.num_steps
        if step >= num_coarse:
            return 1
        largest = BLOCK_SIDES[int(len(BLOCK_SIDES) * step / num_coarse)]
        P, Q = self.settings.grid.patch_size
        return max(side for side in range(1, largest + 1) if P % side == 0 and Q % side == 0)


def _blocks(patches_BKCPQ: Tensor, side: int) -> Tensor:
    """A view by blocks, (B, K, C, R, side, S, side)."""
    *BKC, P, Q = patches_BKCPQ.shape
    return patches_BKCPQ.view(*BKC, P // side, side, Q // side, side)
