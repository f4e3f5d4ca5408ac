"""A loss term, a policy, a start, a move, a control and a format that smi_hf finds in this package.

Legend: `B` images, `K` kept patches, `M` kept patches after a prune, `C` channels, `H W` image pixels, `P Q` patch
pixels.
"""

from pathlib import Path

import numpy as np
import torch

from smi_hf.images.controls.base import ControlInputs, register_control
from smi_hf.images.formats.base import NCHW, NORMALIZED, FormatInputs, register_format
from smi_hf.images.kept import KeptImages
from smi_hf.inversion.moves.base import MoveInputs, MoveOption, MoveSettings, register_move
from smi_hf.losses import LossInputs, register_loss
from smi_hf.patches import Selection, SelectionInputs, register_policy
from smi_hf.starts.base import StartInputs, register_start


@register_loss("brightness", source="an example, not of any paper")
def brightness(inputs: LossInputs) -> torch.Tensor:
    """How far the mean of an image's kept pixels is from the mean color, (B,)."""
    return inputs.patches_BKCPQ.flatten(1).mean(dim=1).abs()


@register_policy("least")
def least(inputs: SelectionInputs) -> Selection:
    """Keeps the patches that the CLS token attends to least: a control for the policy `smi`."""
    slots_BM = inputs.patch_attention().topk(inputs.num_kept, dim=1, largest=False).indices
    return Selection(slots_BM.sort(dim=1).values)


@register_start("sky", "a sky", "light above, dark below, of a random color")
def sky(inputs: StartInputs) -> torch.Tensor:
    """Light that fades from top to bottom, float32 (C, H, W) in normalized units."""
    color_C11 = inputs.numpy_generator().uniform(0.3, 1, (3, 1, 1))
    height, width = inputs.image_size
    light_1H1 = np.linspace(1, 0, height)[None, :, None]
    return inputs.from_rgb(np.broadcast_to(color_C11 * light_1H1, (3, height, width)))


@register_move("sign", scale=MoveOption(0.1, 0, 1))
class Sign:
    """Every pixel goes by `scale` times the learning rate against the sign of its gradient."""

    def __init__(self, settings: MoveSettings) -> None:
        self.scale = settings.options["scale"]

    def update(self, inputs: MoveInputs) -> None:
        inputs.patches_BKCPQ.sub_(self.scale * inputs.learning_rate * inputs.gradient_BKCPQ.sign())

    def keep(self, slots_BM: torch.Tensor, kept_BM: torch.Tensor) -> None:
        """It remembers nothing, so there is nothing to forget."""


@register_control("black", "black images")
def black(inputs: ControlInputs) -> list[KeptImages]:
    """One run, as there is nothing to draw: as many images as the sparse set has, every patch kept."""
    model, num_images = inputs.teacher.model, inputs.num_images
    lowest_C = inputs.teacher.normalization.bounds(torch.zeros(3, 1, 1))[0]
    pixels_BCHW = lowest_C.expand(num_images, 3, *model.grid.image_size).clone()
    return [KeptImages(pixels_BCHW, model.grid.all_patches(num_images), "black")]


@register_format("pt", "images.pt, all images in one tensor: torch.load", kinds=((NORMALIZED, NCHW),))
def pt(inputs: FormatInputs, folder: Path) -> None:
    """All images are in memory at once, so for sets that fit."""
    torch.save(torch.from_numpy(np.stack([image.pixels for image in inputs.images])), folder / "images.pt")
