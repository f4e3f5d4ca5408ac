"""What a quantizer is shown: kept patches of synthetic images, or a control in their place.

Legend: `B` images, `K` kept patches, `C` channels, `H W` image pixels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from smi_hf.data import SparseDataset
from smi_hf.errors import UsageError
from smi_hf.evaluation.image_sets import ImageSet
from smi_hf.models import SparseClassifier


@dataclass(frozen=True)
class CalibrationSet:
    """Images and the patches of them that a quantizer may look at.

    Args:
        pixels_BCHW: normalised, float32.
        kept_BK: places of the patches, int64; the same number for every image.
        source: where they come from, in words.
    """

    pixels_BCHW: Tensor
    kept_BK: Tensor
    source: str

    def __post_init__(self) -> None:
        if not self.pixels_BCHW.isfinite().all():
            raise UsageError(f"the calibration set ({self.source}) holds values that are not finite (NaN or infinity)")

    def __len__(self) -> int:
        return len(self.pixels_BCHW)

    def batches(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Pixels and kept patches of up to `batch_size` images at a time."""
        for start in range(0, len(self), batch_size):
            yield self.pixels_BCHW[start : start + batch_size], self.kept_BK[start : start + batch_size]


def sparse_images(dataset: SparseDataset, num_images: int | None = None) -> CalibrationSet:
    """The first `num_images` images of a sparse dataset (all if None), kept patches alone.

    Raises:
        UsageError: it has fewer.
    """
    num_images = len(dataset) if num_images is None else num_images
    if num_images > len(dataset):
        raise UsageError(f"num_images is {num_images}, but the dataset has {len(dataset)} images")
    batch = dataset.collate(list(dataset.dataset.select(range(num_images))))
    name = "inverted, dense" if dataset.record.settings["policy"] == "dense" else "inverted, kept patches"
    return CalibrationSet(batch["pixel_values"], batch["kept_patches"], name)


def random_patches(images: CalibrationSet, model: SparseClassifier, num_kept: int, *, seed: int = 0) -> CalibrationSet:
    """Control: the same images with as many patches chosen at random; for densely inverted images."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(len(images), model.grid.num_patches, generator=generator)
    kept_BK = scores.topk(num_kept, dim=1).indices.sort(dim=1).values
    return CalibrationSet(images.pixels_BCHW, kept_BK, "inverted, random patches")


def gaussian_noise(model: SparseClassifier, num_images: int, *, seed: int = 0) -> CalibrationSet:
    """Control: N(0, 1) in normalised units, every patch."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randn(num_images, model.num_channels, *model.grid.image_size, generator=generator)
    return CalibrationSet(pixels, model.grid.all_patches(num_images), "Gaussian noise")


def real_images(
    images: ImageSet, model: SparseClassifier, image_processor: Any, num_images: int, *, seed: int = 0
) -> CalibrationSet:
    """Control: real images drawn at random, every patch.

    Raises:
        UsageError: there are fewer than `num_images`.
    """
    if num_images > len(images):
        raise UsageError(f"num_images is {num_images}, but the set of real images has {len(images)}")
    rows = np.random.default_rng(seed).choice(len(images), num_images, replace=False)
    drawn = ImageSet(images.dataset.select(rows), images.image_column, images.label_column, images.model_labels)
    pixels = np.concatenate([pixels for pixels, _ in drawn.batches(image_processor, batch_size=32)])
    return CalibrationSet(torch.from_numpy(pixels), model.grid.all_patches(num_images), "real images")
