"""L2: the length of what is kept."""

import torch
from hypothesis import given
from loss_cases import examples, loss_inputs, sparse_images

from smi_hf.losses import LOSSES


@examples
@given(sparse_images())
def test_l2_is_the_length_of_the_kept_pixels(case):
    grid, pixels_BCHW, kept_BK = case
    found_B = LOSSES.get("l2")(loss_inputs(grid, pixels_BCHW, kept_BK))
    blackened_BCHW = grid.paste(grid.cut(pixels_BCHW, kept_BK), kept_BK)
    # Float64: the sums are over the same squares in another order.
    torch.testing.assert_close(found_B, blackened_BCHW.square().sum(dim=(1, 2, 3)).sqrt(), rtol=1e-12, atol=0)
