"""Pixel units: the model's normalized values and the 8 bits of an image file."""

from dataclasses import dataclass

import torch
from torch import Tensor

from smi_hf.errors import UsageError


@dataclass(frozen=True)
class Normalization:
    """What an image processor does to pixels in [0, 1]: subtract the mean, divide by the standard deviation.

    Args:
        mean, std: one value per channel, in the model's order.
        is_bgr: whether the model takes blue first; 8-bit pixels are RGB in any case.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    is_bgr: bool = False

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or not all(value > 0 for value in self.std):
            raise UsageError(
                f"image mean {self.mean} and std {self.std} must have one value per channel, and std be positive"
            )

    def _channels(self, values: tuple[float, ...], like: Tensor) -> Tensor:
        dtype = like.dtype if like.is_floating_point() else torch.float32
        return torch.tensor(values, dtype=dtype, device=like.device)[:, None, None]

    def reordered(self, pixels: Tensor) -> Tensor:
        """Pixels (..., C, P, Q) with their channels in the model's order where they were RGB, and the other way."""
        return pixels.flip(-3) if self.is_bgr else pixels

    def converted(self, pixels: Tensor, wanted: "Normalization") -> Tensor:
        """Pixels (..., C, P, Q) that are normalized so, normalized as another image processor does it."""
        if wanted == self:
            return pixels
        rgb = self.reordered(pixels * self._channels(self.std, pixels) + self._channels(self.mean, pixels))
        in_unit_range = wanted.reordered(rgb)
        return (in_unit_range - wanted._channels(wanted.mean, pixels)) / wanted._channels(wanted.std, pixels)

    def bounds(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised values of black and of white, each (C, 1, 1), with the dtype and device of `like`."""
        mean, std = self._channels(self.mean, like), self._channels(self.std, like)
        return (0 - mean) / std, (1 - mean) / std

    def to_uint8(self, pixels: Tensor) -> Tensor:
        """Normalised pixels (..., C, P, Q) as the nearest 8-bit values, uint8, RGB."""
        scaled = (pixels * self._channels(self.std, pixels) + self._channels(self.mean, pixels)) * 255
        return self.reordered(scaled.round().clamp(0, 255).to(torch.uint8))

    def from_uint8(self, pixels: Tensor) -> Tensor:
        """8-bit RGB pixels (..., C, P, Q) in normalized units, float32."""
        mean, std = self._channels(self.mean, pixels), self._channels(self.std, pixels)
        return (self.reordered(pixels).float() / 255 - mean) / std
