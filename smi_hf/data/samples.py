"""Images of a sparse dataset for graphs of fixed shape: whole ones, whatever was pruned, and samples to calibrate on.

Legend: `N` patches of the grid, `K` kept patches, `M` images of one tile, `C` channels, `H W` image pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from smi_hf.errors import UsageError
from smi_hf.registry import unknown_name

if TYPE_CHECKING:  # not at run time: --help lists the shapes, and must not wait for torch
    from torch import Tensor

    from smi_hf.data.reader import SparseDataset

# How the kept patches of images become whole images; see `SparseDataset.calibration_samples`.
WHOLE_SHAPES = ("tiled", "filled", "dense")
SHAPES = ("kept", *WHOLE_SHAPES)


@dataclass(frozen=True)
class WholeImages:
    """The images of a sparse dataset as whole ones, in its order; each is decoded when it is asked for.

    Args:
        dataset: whose images; not streamed.
        shape: how they become whole, one of `WHOLE_SHAPES`.

    Raises:
        UsageError: there is no such shape, the dataset does not keep every patch ("dense"), or is streamed.
    """

    dataset: "SparseDataset"
    shape: str

    def __post_init__(self) -> None:
        if self.shape not in WHOLE_SHAPES:
            raise unknown_name("shape of whole images", self.shape, WHOLE_SHAPES)
        self.dataset.random_access(f"shape {self.shape!r}")
        num_patches = self.dataset.record.grid.num_patches
        if self.shape == "dense" and self._num_kept != num_patches:
            raise UsageError(
                f"the dataset keeps {self._num_kept} of {num_patches} patches, but shape 'dense' is for one that "
                f"keeps every patch; make one with smi-hf invert --policy dense, or choose 'tiled' or 'filled'"
            )

    @property
    def _num_kept(self) -> int:
        return self.dataset.record.keep_counts[-1]

    @property
    def num_sources(self) -> int:
        """Images of the dataset that share a whole one, the last perhaps excepted."""
        from smi_hf.patches.tiling import num_images_per_tile

        return num_images_per_tile(self.dataset.record.grid, self._num_kept) if self.shape == "tiled" else 1

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.num_sources)

    def __getitem__(self, number: int) -> "tuple[Tensor, int | None]":
        """Pixels of image `number`, uint8 (C, H, W), and its label; None for a tile of images of several labels.

        Raises:
            IndexError, UsageError: as `sources`.
        """
        batch = self.sources(number)
        labels = set(batch["labels"].tolist())
        return self._whole(batch["pixel_values"], batch["kept_patches"]), labels.pop() if len(labels) == 1 else None

    def sources(self, number: int) -> "dict[str, Tensor]":
        """The images that image `number` is made of, as `SparseDataset.decoded` gives them.

        Raises:
            IndexError: there is no such image.
            UsageError: one cannot be decoded.
        """
        if not -len(self) <= number < len(self):
            raise IndexError(f"there are {len(self)} images, but number {number} was asked for")
        first = number % len(self) * self.num_sources
        return self.dataset.decoded(range(first, min(first + self.num_sources, len(self.dataset))))

    def _whole(self, pixels_MCHW: "Tensor", kept_MK: "Tensor") -> "Tensor":
        if self.shape != "tiled":
            return pixels_MCHW[0]
        from smi_hf.patches.tiling import plan_tiles, show_tile

        grid = self.dataset.record.grid
        plan = plan_tiles(kept_MK, grid)
        return show_tile(pixels_MCHW, plan.image_TN[0], plan.source_TN[0], grid)


class CalibrationSamples(Sequence["dict[str, Tensor]"]):
    """What `SparseDataset.calibration_samples` gives: inputs of a model by name, one image each.

    Quantizers go over it several times, ask for its length, or for samples by number; a `DataLoader` takes it as well.

    Args:
        dataset, shape: as there.

    Raises:
        UsageError: as there.
    """

    def __init__(self, dataset: "SparseDataset", shape: str) -> None:
        if shape not in SHAPES:
            raise unknown_name("shape of calibration samples", shape, SHAPES)
        self.dataset, self.shape = dataset, shape
        self._images = WholeImages(dataset, "filled" if shape == "kept" else shape)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, number: int) -> "dict[str, Tensor]":
        if self.shape == "kept":
            batch = self._images.sources(number)
            return {"pixel_values": self._normalized(batch["pixel_values"]), "kept_patches": batch["kept_patches"]}
        pixels_CHW, _ = self._images[number]
        return {"pixel_values": self._normalized(pixels_CHW[None])}

    def _normalized(self, pixels_1CHW: "Tensor") -> "Tensor":
        return self.dataset.record.normalization.from_uint8(pixels_1CHW).contiguous()
