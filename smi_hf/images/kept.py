"""Images in memory with the patches of them that a quantizer or a student is shown.

Legend: `B` images, `N` patches of the grid, `K` kept patches, `T` tokens, `D` hidden size, `C` channels,
`H W` image pixels, `P Q` patch pixels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from smi_hf.data.reader import SparseDataset
from smi_hf.data.record import DatasetRecord
from smi_hf.errors import UsageError
from smi_hf.patches import PatchGrid, take_slots
from smi_hf.starts.base import start_label

if TYPE_CHECKING:
    from smi_hf.models import SparseClassifier

_BATCH_SIZE = 8


@dataclass(frozen=True)
class KeptImages:
    """Images in memory, and the patches of them that a model may look at.

    Args:
        pixels_BCHW: normalized, float32.
        kept_BK: places of the patches, int64, none twice in an image; the same number for every image, at least 1.
        source: where they come from, in words.
        labels_B: int64; -100, which losses leave out, where there are none.

    Raises:
        UsageError: shapes do not agree, a pixel is not finite, or a patch is kept twice.
    """

    pixels_BCHW: Tensor
    kept_BK: Tensor
    source: str
    labels_B: Tensor | None = None

    def __post_init__(self) -> None:
        pixels, kept, labels = self.pixels_BCHW, self.kept_BK, self.labels_B
        if pixels.ndim != 4 or kept.ndim != 2 or len(kept) != len(pixels) or kept.shape[1] < 1:
            raise UsageError(
                f"the set of images ({self.source}) has pixels of shape {tuple(pixels.shape)} and kept patches of "
                f"shape {tuple(kept.shape)}; (B, C, H, W) and (B, K) of the same B are needed, K at least 1"
            )
        if labels is not None and labels.shape != (len(pixels),):
            raise UsageError(
                f"the set of images ({self.source}) has {len(pixels)} images and labels of shape "
                f"{tuple(labels.shape)}; one label per image is needed"
            )
        if not pixels.isfinite().all():
            raise UsageError(f"the set of images ({self.source}) holds values that are not finite (NaN or infinity)")
        if kept.dtype != torch.int64 or (kept < 0).any() or (kept.sort(dim=1).values.diff(dim=1) == 0).any():
            raise UsageError(
                f"the set of images ({self.source}) must keep patches of numbers from 0 (int64), each once per image"
            )

    def __len__(self) -> int:
        return len(self.pixels_BCHW)

    def batches(self, batch_size: int = _BATCH_SIZE) -> Iterator[tuple[Tensor, Tensor]]:
        """Pixels and kept patches of up to `batch_size` images at a time."""
        for start in range(0, len(self), batch_size):
            yield self.pixels_BCHW[start : start + batch_size], self.kept_BK[start : start + batch_size]

    def part(self, first: int, last: int) -> "KeptImages":
        """Images `first` to `last - 1`."""
        return self.take(slice(first, last))

    def take(self, chosen: Tensor | slice) -> "KeptImages":
        """The images of these numbers (int64), in their order."""
        labels_B = None if self.labels_B is None else self.labels_B[chosen]
        return KeptImages(self.pixels_BCHW[chosen], self.kept_BK[chosen], self.source, labels_B)

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


def sparse_images(dataset: SparseDataset, num_images: int | None = None) -> KeptImages:
    """The first `num_images` images of a sparse dataset (all if None), kept patches alone.

    Raises:
        UsageError: it has fewer, or the dataset is streamed.
    """
    dataset = dataset.first(num_images)
    batch = dataset.batch(range(len(dataset)))
    return KeptImages(batch["pixel_values"], batch["kept_patches"], _in_words(dataset.record), batch["labels"])


def _in_words(record: DatasetRecord) -> str:
    settings = record.settings
    if settings.get("num_steps") == 0:
        # Concatenated datasets of different starts have none in common.
        return start_label(settings.get("start", "images of several starts"))
    return "inverted, dense" if settings.get("policy") == "dense" else "inverted, kept patches"
