"""The images being made: a batch of starts that become pictures, and loses patches on the way.

Legend: `B` images, `K` kept patches, `M` kept patches after a prune, `C` channels, `P Q` patch pixels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from smi_hf.inversion.moves.base import Move, MoveInputs, MoveSettings
from smi_hf.inversion.moves.pixels import Pixels
from smi_hf.patches import PatchGrid, take_slots
from smi_hf.patches.randomness import image_generator
from smi_hf.starts.noise import gaussian_noise


@dataclass
class TrajectoryState:
    """A batch of images that are optimized together. Changed in place by `inversion_step`, `update` and `keep`.

    Args:
        image_indices: which images of the run these are, B numbers; of trajectories, where each gives several images.
        targets_B: their labels, int64 (B,).
        patches_BKCPQ: kept patches in normalized units, a float32 leaf that requires gradients.
        kept_BK: their places on the grid, int64 (B, K), increasing.
        move: how `patches_BKCPQ` change in a step, with what it remembers of earlier ones.
        generators: each image's random stream.
        grid: the patch grid.
        step: optimization steps taken so far.
    """

    image_indices: tuple[int, ...]
    targets_B: Tensor
    patches_BKCPQ: Tensor
    kept_BK: Tensor
    move: Move
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
        draw_start: Callable[[torch.Generator, int], Tensor] | None = None,
        move: Move | None = None,
        device: torch.device | str = "cpu",
    ) -> "TrajectoryState":
        """Images before their first step, each from its own stream, with every patch kept.

        Args:
            draw_start: image (C, H, W) in normalized units from its stream and number; N(0, 1) if None.
            move: how the pixels will move; Adam over each if None.
        """
        generators = [image_generator(seed, index) for index in image_indices]
        draw = draw_start or (lambda generator, index: gaussian_noise(num_channels, grid.image_size, generator))
        # Before the augmentations, which come from the same streams.
        images = [draw(generator, index) for generator, index in zip(generators, image_indices)]
        patches_BNCPQ = grid.cut(torch.stack(images)).to(device).contiguous().requires_grad_()
        return cls(
            image_indices=tuple(image_indices),
            targets_B=torch.tensor(list(targets), dtype=torch.int64, device=device),
            patches_BKCPQ=patches_BNCPQ,
            kept_BK=grid.all_patches(len(images), device=device).contiguous(),
            move=move or Pixels(MoveSettings(grid)),
            generators=generators,
            grid=grid,
        )

    @property
    def num_kept(self) -> int:
        """K."""
        return self.kept_BK.shape[1]

    def update(self, gradient_BKCPQ: Tensor, learning_rate: float) -> None:
        """Moves the kept pixels one step against the gradient of the losses; counts the step."""
        with torch.no_grad():
            self.move.update(MoveInputs(self.patches_BKCPQ, self.kept_BK, gradient_BKCPQ, learning_rate, self.step))
        self.step += 1

    def keep(self, slots_BM: Tensor) -> None:
        """Drops every patch but those in the given slots, for good: pixels, places and what the move remembers.

        Args:
            slots_BM: entries in [0, K), int64 (B, M), increasing in each image.
        """
        self.kept_BK = take_slots(self.kept_BK, slots_BM)
        self.patches_BKCPQ = take_slots(self.patches_BKCPQ.detach(), slots_BM).requires_grad_()
        with torch.no_grad():
            self.move.keep(slots_BM, self.kept_BK)
