"""What a quantizer or a student is shown: kept patches of synthetic images, or a control in their place.

Legend: `B` images, `N` patches of the grid, `K` kept patches, `T` tokens, `D` hidden size, `C` channels,
`H W` image pixels, `P Q` patch pixels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from smi_hf.data.image_sets import ImageSet
from smi_hf.data.reader import SparseDataset
from smi_hf.errors import UsageError
from smi_hf.patches import PatchGrid, take_slots

if TYPE_CHECKING:
    from smi_hf.models import SparseClassifier

_BATCH_SIZE = 8


@dataclass(frozen=True)
class PatchSet:
    """Images in memory, and the patches of them that a model may look at.

    Args:
        pixels_BCHW: normalised, float32.
        kept_BK: places of the patches, int64; the same number for every image.
        source: where they come from, in words.
        labels_B: int64; -100, which losses leave out, where there are none.
    """

    pixels_BCHW: Tensor
    kept_BK: Tensor
    source: str
    labels_B: Tensor | None = None

    def __post_init__(self) -> None:
        if not self.pixels_BCHW.isfinite().all():
            raise UsageError(f"the set of images ({self.source}) holds values that are not finite (NaN or infinity)")

    def __len__(self) -> int:
        return len(self.pixels_BCHW)

    def batches(self, batch_size: int = _BATCH_SIZE) -> Iterator[tuple[Tensor, Tensor]]:
        """Pixels and kept patches of up to `batch_size` images at a time."""
        for start in range(0, len(self), batch_size):
            yield self.pixels_BCHW[start : start + batch_size], self.kept_BK[start : start + batch_size]

    def part(self, first: int, last: int) -> "PatchSet":
        """Images `first` to `last - 1`."""
        labels_B = None if self.labels_B is None else self.labels_B[first:last]
        return PatchSet(self.pixels_BCHW[first:last], self.kept_BK[first:last], self.source, labels_B)

    def batch(self, numbers: Sequence[int]) -> dict[str, Tensor]:
        """Some images as `collate` gives those of a sparse dataset."""
        labels = torch.full((len(numbers),), -100) if self.labels_B is None else self.labels_B[list(numbers)]
        chosen = list(numbers)
        return {"pixel_values": self.pixels_BCHW[chosen], "kept_patches": self.kept_BK[chosen], "labels": labels}

    def tokens(self, model: "SparseClassifier") -> Iterator[Tensor]:
        """Tokens of the kept patches, (B, T, D), for the part of a graph that lies behind the embeddings.

        An exported graph embeds every patch. Cut at its tokens, its second part takes any number of them, and what is
        measured there holds for the whole graph.
        """
        for pixels_BCHW, kept_BK in self.batches():
            with torch.no_grad():
                yield model.embed(model.grid.cut(pixels_BCHW, kept_BK), kept_BK)

    def filled_images(self, grid: PatchGrid) -> Iterator[Tensor]:
        """Images (B, C, H, W) in which a kept patch of the same image stands in for each pruned one.

        For the embeddings, which treat each patch alone: the kept patches' values and no others, so the same minimum
        and maximum.
        """
        for pixels_BCHW, kept_BK in self.batches():
            patches_BKCPQ = grid.cut(pixels_BCHW, kept_BK)
            # Slot of each patch of the grid: its own where it is kept, else any.
            slots_BN = grid.slots(kept_BK).clamp_min(0)
            yield grid.paste(take_slots(patches_BKCPQ, slots_BN), grid.all_patches(len(pixels_BCHW)))


def sparse_images(dataset: SparseDataset, num_images: int | None = None) -> PatchSet:
    """The first `num_images` images of a sparse dataset (all if None), kept patches alone.

    Raises:
        UsageError: it has fewer, they keep different numbers of patches, or the dataset is streamed.
    """
    dataset = dataset.first(num_images)
    if dataset.is_mixed:
        counts = ", ".join(map(str, dataset.by_kept_count()))
        raise UsageError(
            f"images of {counts} kept patches cannot be one set; take a part of the dataset, "
            f"dataset.by_kept_count()[K]"
        )
    batch = dataset.batch(range(len(dataset)))
    name = "inverted, dense" if dataset.record.settings.get("policy") == "dense" else "inverted, kept patches"
    return PatchSet(batch["pixel_values"], batch["kept_patches"], name, batch["labels"])


def all_patches(images: PatchSet, model: "SparseClassifier") -> PatchSet:
    """Control: the same images, every patch; what was pruned is black."""
    every_BN = model.grid.all_patches(len(images))
    return PatchSet(images.pixels_BCHW, every_BN, "inverted, gaps black", images.labels_B)


def random_patches(images: PatchSet, model: "SparseClassifier", num_kept: int, *, seed: int = 0) -> PatchSet:
    """Control: the same images with as many patches chosen at random; for densely inverted images."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(len(images), model.grid.num_patches, generator=generator)
    kept_BK = scores.topk(num_kept, dim=1).indices.sort(dim=1).values
    return PatchSet(images.pixels_BCHW, kept_BK, "inverted, random patches", images.labels_B)


def gaussian_noise(model: "SparseClassifier", num_images: int, *, seed: int = 0) -> PatchSet:
    """Control: N(0, 1) in normalised units, every patch."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randn(num_images, model.num_channels, *model.grid.image_size, generator=generator)
    return PatchSet(pixels, model.grid.all_patches(num_images), "Gaussian noise")


def real_images(
    images: ImageSet, model: "SparseClassifier", image_processor: Any, num_images: int, *, seed: int = 0
) -> PatchSet:
    """Control: real images drawn at random, every patch.

    Raises:
        UsageError: there are fewer than `num_images`.
    """
    if num_images > len(images):
        raise UsageError(f"num_images is {num_images}, but the set of real images has {len(images)}")
    rows = np.random.default_rng(seed).choice(len(images), num_images, replace=False)
    drawn = replace(images, dataset=images.dataset.select(rows))
    pixels, labels = (np.concatenate(column) for column in zip(*drawn.batches(image_processor, batch_size=32)))
    every_BN = model.grid.all_patches(num_images)
    return PatchSet(torch.from_numpy(pixels), every_BN, "real images", torch.from_numpy(labels))
