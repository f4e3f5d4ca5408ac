import pytest
import torch

from smi_hf.inversion.moves.base import MOVES, MoveInputs, MoveSettings, read_options
from smi_hf.patches import PatchGrid, take_slots

BETAS = (0.5, 0.99)
LEARNING_RATE = 0.1


class Moving:
    """Patches that a move moves along gradients that a test gives, with no teacher: (B, K, C, P, Q), all kept."""

    def __init__(self, name, grid, *, num_images=2, num_steps=24, options=(), dtype=torch.float64, start=None):
        self.grid = grid
        self.move = MOVES.get(name).make(MoveSettings(grid, num_steps, BETAS, read_options(name, options)))
        self.patches = torch.zeros(num_images, grid.num_patches, 3, *grid.patch_size, dtype=dtype)
        if start is not None:
            self.patches.copy_(start)
        self.kept_BK = grid.all_patches(num_images).contiguous()
        self.step = 0

    def update(self, gradient, learning_rate=LEARNING_RATE):
        """Takes a step; returns by how much it changed the patches."""
        before = self.patches.clone()
        self.move.update(MoveInputs(self.patches, self.kept_BK, gradient, learning_rate, self.step))
        self.step += 1
        return self.patches - before

    def keep(self, slots_BM):
        self.kept_BK = take_slots(self.kept_BK, slots_BM)
        self.patches = take_slots(self.patches, slots_BM)
        self.move.keep(slots_BM, self.kept_BK)


@pytest.fixture
def moving():
    return Moving


@pytest.fixture
def grid():
    """Three rows and two columns of patches of 8 x 8 pixels."""
    return PatchGrid(24, 16, 8, 8)


@pytest.fixture
def noise():
    """Gradients of all patches of a grid, one after the other, the same in every test."""

    def draw(grid, num_images=2, *, seed=0, dtype=torch.float64):
        generator = torch.Generator().manual_seed(seed)
        while True:
            yield torch.randn(
                num_images, grid.num_patches, 3, *grid.patch_size, generator=generator, dtype=torch.float64
            ).to(dtype)

    return draw


@pytest.fixture
def adam_direction():
    """Adam as its paper writes it, float64: gradients so far to the direction of the step that comes now."""

    def direction(gradients):
        first = second = 0
        for gradient in gradients:
            first = BETAS[0] * first + (1 - BETAS[0]) * gradient
            second = BETAS[1] * second + (1 - BETAS[1]) * abs(gradient) ** 2
        count = len(gradients)
        return first / (1 - BETAS[0] ** count) / ((second / (1 - BETAS[1] ** count)) ** 0.5 + 1e-8)

    return direction
