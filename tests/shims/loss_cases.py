"""Grids, images and kept sets that every loss term is asked about."""

import torch
from hypothesis import settings
from hypothesis import strategies as st

from smi_hf.losses import LossInputs
from smi_hf.patches import PatchGrid

# Derandomised: each run tries the same examples. No deadline: the machine may be busy.
examples = settings(max_examples=100, deadline=None, derandomize=True)


def loss_inputs(grid: PatchGrid, pixels_BCHW: torch.Tensor, kept_BK: torch.Tensor | None = None) -> LossInputs:
    B = len(pixels_BCHW)
    kept_BK = grid.all_patches(B) if kept_BK is None else kept_BK
    logits_BL = torch.randn(B, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return LossInputs(logits_BL, torch.arange(B) % 5, grid.cut(pixels_BCHW, kept_BK), kept_BK, grid)


@st.composite
def sparse_images(draw):
    """A grid, float64 images of its size, and a random kept set for each, in random order."""
    rows, columns, P, Q = draw(st.tuples(*[st.integers(1, 4)] * 4))
    grid = PatchGrid(rows * P, columns * Q, P, Q)
    B, K = draw(st.integers(1, 3)), draw(st.integers(1, grid.num_patches))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    pixels_BCHW = torch.randn(B, 2, *grid.image_size, generator=generator, dtype=torch.float64)
    kept_BK = torch.rand(B, grid.num_patches, generator=generator).argsort(dim=1)[:, :K]
    return grid, pixels_BCHW, kept_BK
