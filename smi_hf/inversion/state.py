"""The images being made: a batch of noise that becomes pictures, and loses patches on the way.

Legend: `B` images, `K` kept patches, `M` kept patches after a prune, `C` channels, `P Q` patch pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from smi_hf.patches import PatchGrid, take_slots
from smi_hf.patches.randomness import image_generator


@dataclass
class TrajectoryState:
    """A batch of images that are optimized together. Changed in place by `inversion_step` and `keep`.

    Args:
        image_indices: which images of the run these are, B numbers; of trajectories, where each gives several images.
        targets_B: their labels, int64 (B,).
        patches_BKCPQ: kept patches in normalized units, a float32 leaf that requires gradients.
        kept_BK: their places on the grid, int64 (B, K), increasing.
        optimizer: Adam over `patches_BKCPQ` alone.
        generators: each image's random stream.
        grid: the patch grid.
        step: optimization steps taken so far.
    """

    image_indices: tuple[int, ...]
    targets_B: Tensor
    patches_BKCPQ: Tensor
    kept_BK: Tensor
    optimizer: torch.optim.Adam
    generators: list[torch.Generator]
    grid: PatchGrid
    step: int = 0

    @classmethod
    def start(
        cls,
        image_indices: Sequence[int],
        targets: Sequence[int],
        grid: PatchGrid,
        *,
        seed: int,
        num_channels: int = 3,
        learning_rate: float = 0.25,
        betas: tuple[float, float] = (0.5, 0.99),
        device: torch.device | str = "cpu",
    ) -> "TrajectoryState":
        """Gaussian noise N(0, 1) in normalized units, each image from its own stream, with every patch kept."""
        generators = [image_generator(seed, index) for index in image_indices]
        noise = [torch.randn(num_channels, *grid.image_size, generator=generator) for generator in generators]
        patches_BNCPQ = grid.cut(torch.stack(noise)).to(device).contiguous().requires_grad_()
        return cls(
            image_indices=tuple(image_indices),
            targets_B=torch.tensor(list(targets), dtype=torch.int64, device=device),
            patches_BKCPQ=patches_BNCPQ,
            kept_BK=grid.all_patches(len(noise), device=device).contiguous(),
            # One fused kernel instead of a dozen passes over the pixels.
            optimizer=torch.optim.Adam([patches_BNCPQ], lr=learning_rate, betas=betas, fused=True),
            generators=generators,
            grid=grid,
        )

    @property
    def num_kept(self) -> int:
        """K."""
        return self.kept_BK.shape[1]

    def keep(self, slots_BM: Tensor) -> None:
        """Drops every patch but those in the given slots, for good: pixels, places and optimizer moments.

        Args:
            slots_BM: entries in [0, K), int64 (B, M), increasing in each image.
        """
        (moments,) = self.optimizer.state.values() or ({},)
        self.kept_BK = take_slots(self.kept_BK, slots_BM)
        self.patches_BKCPQ = take_slots(self.patches_BKCPQ.detach(), slots_BM).requires_grad_()
        self.optimizer.param_groups[0]["params"] = [self.patches_BKCPQ]
        self.optimizer.state.clear()
        self.optimizer.state[self.patches_BKCPQ] = {
            name: take_slots(value, slots_BM) if value.dim() else value for name, value in moments.items()
        }
