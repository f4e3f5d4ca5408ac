"""Reading a sparse dataset: from a folder or the Hub, checked against the model that it is to be used with.

Legend: `B` images, `K` kept patches, `C` channels, `H W` image pixels.
"""

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from smi_hf.data.display import dataset_html
from smi_hf.data.parquet import READ_ERRORS, open_parquet, read_metadata
from smi_hf.data.record import DatasetRecord
from smi_hf.data.remote import record_from_hub, rows_from_hub
from smi_hf.data.schema import DATA_FOLDER
from smi_hf.data.validation import check_count, check_features, check_fits, check_rows, validate
from smi_hf.errors import UsageError
from smi_hf.files import one_line
from smi_hf.patches import Normalization

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

    from smi_hf.data.samples import CalibrationSamples
    from smi_hf.models import Teacher

# Rows of a stream are checked in blocks of this many.
_STREAMED_ROWS = 64


@dataclass(frozen=True)
class SparseDataset:
    """A sparse dataset that has been checked, with its record.

    Args:
        dataset: columns as in `smi_hf.data.schema`; an `IterableDataset` where it is streamed, which gives its rows in
            order, as often as asked, and no row by number.
        record: what it was made from and how. Of a concatenated dataset: what its sources have in common.
        sources: of a concatenated dataset the records that it was put together from; the column `source` says which
            one a row belongs to. Empty for a dataset as it was loaded.
        name: Hub id, or the name of the folder, never its path; of a concatenated dataset those of its parts.
        revision: commit on the Hub that it was read at, None for a folder.
    """

    dataset: "Dataset | IterableDataset"
    record: DatasetRecord
    sources: tuple[DatasetRecord, ...] = ()
    name: str = ""
    revision: str | None = None

    def __len__(self) -> int:
        return self.record.num_images if self.is_streamed else len(self.dataset)

    @property
    def is_streamed(self) -> bool:
        """Whether rows come from disk or network as they are asked for, in order."""
        from datasets import IterableDataset

        return isinstance(self.dataset, IterableDataset)

    def first(self, num_images: int | None) -> "SparseDataset":
        """Its first images; all if None.

        Raises:
            UsageError: it has fewer, or is streamed.
        """
        if num_images is None:
            return self
        if num_images > len(self):
            raise UsageError(f"num_images is {num_images}, but the dataset has {len(self)} images")
        return replace(self, dataset=self.random_access("first").select(range(num_images)))

    def batch(self, numbers: Sequence[int]) -> dict[str, Tensor]:
        """Some images as `collate` gives them.

        Raises:
            UsageError: they keep different numbers of patches, one cannot be decoded, or the dataset is streamed.
        """
        rows = self.random_access("batch").with_format("arrow")[list(numbers)]
        return self.collate(rows.to_pylist())

    def decoded(self, numbers: Sequence[int]) -> dict[str, Tensor]:
        """Some images as `decode` gives them: their pixels as they are in the file, uint8.

        Raises:
            UsageError: as `batch`.
        """
        return decode(self.random_access("decoded").with_format("arrow")[list(numbers)].to_pylist())

    def calibration_samples(self, shape: str = "tiled") -> "CalibrationSamples":
        """Its images as quantizers take them: `{"pixel_values": ...}`, normalized float32 (1, C, H, W), one at a time.

        That is what the quantizers of `transformers.exporters` take as `calibration_dataset` and what `nncf.Dataset`
        is made of. A graph of fixed shape takes whole images, so the kept patches are arranged:

        - "tiled": as many images as fit share one, floor(N / K); see `smi_hf.patches.tiling`.
        - "filled": each image by itself, its pruned patches black.
        - "dense": each image as it is; for a dataset that keeps every patch (`--policy dense`), refused for others.
        - "kept": like "filled", with `"kept_patches"`, int64 (1, K), for a `SparseClassifier`, which then sees the
          kept patches alone. A graph without that input would see the black.

        Images are decoded as they are asked for, as often as the quantizer wants. `first(n)` takes fewer.

        Raises:
            UsageError: there is no such shape, the dataset does not keep every patch, or is streamed.
        """
        from smi_hf.data.samples import CalibrationSamples

        return CalibrationSamples(self, shape)

    def collate(self, rows: list[dict[str, Any]]) -> dict[str, Tensor]:
        """`collate` with this dataset's normalization: the `collate_fn` of a DataLoader over `dataset`."""
        return collate(rows, self.record.normalization)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return dataset_html(self)

    def random_access(self, what: str) -> "Dataset":
        """The rows by number.

        Args:
            what: what needs them, for the message.

        Raises:
            UsageError: the dataset is streamed.
        """
        if self.is_streamed:
            raise UsageError(f"{what} needs images by number, and this dataset is streamed; load it without streaming")
        return self.dataset


def collate(rows: list[dict[str, Any]], normalization: Normalization) -> dict[str, Tensor]:
    """Rows of a sparse dataset as a batch for a sparse forward.

    There is no padding: it would need an attention mask, which a forward of kept patches alone does not have.

    Args:
        rows: with equally many kept patches; `image` decoded, or as `datasets` stores it (`bytes` of a PNG).

    Returns:
        `pixel_values` normalized float32 (B, C, H, W), `kept_patches` int64 (B, K), `labels` int64 (B,).

    Raises:
        UsageError: images keep different numbers of patches or have different sizes, or one cannot be decoded.
    """
    batch = decode(rows)
    return batch | {"pixel_values": normalization.from_uint8(batch["pixel_values"])}


def decode(rows: list[dict[str, Any]]) -> dict[str, Tensor]:
    """As `collate`, with `pixel_values` as they are in the files, uint8 (B, C, H, W)."""
    counts = sorted({len(row["kept_patches"]) for row in rows})
    if len(counts) > 1:
        raise UsageError(
            f"a batch has images of {counts[0]} and of {counts[-1]} kept patches, which one forward cannot take"
        )
    images = [_decoded(row) for row in rows]
    sizes = sorted({image.shape[:2] for image in images})
    if len(sizes) > 1:
        raise UsageError(f"a batch has images of different sizes (height, width): {sizes[0]} and {sizes[-1]} px")
    return {
        "pixel_values": torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2),
        "kept_patches": torch.tensor([row["kept_patches"] for row in rows], dtype=torch.int64),
        "labels": torch.tensor([row["label"] for row in rows], dtype=torch.int64),
    }


def _decoded(row: dict[str, Any]) -> np.ndarray:
    """The image of a row, uint8 (H, W, 3)."""
    image = row["image"]
    try:
        if isinstance(image, dict):
            image = Image.open(io.BytesIO(image["bytes"]), formats=["PNG"])
        return np.asarray(image.convert("RGB"))
    # All that Pillow raises for bytes that are no PNG, a damaged one, or a decompression bomb.
    except (OSError, SyntaxError, TypeError, ValueError, Image.DecompressionBombError) as error:
        raise UsageError(
            f"image {row.get('image_index')} cannot be decoded ({one_line(error)}); download the dataset or make it "
            f"again"
        ) from error


def load_sparse_dataset(
    path_or_repo: str | Path,
    *,
    teacher: "Teacher | None" = None,
    revision: str | None = None,
    streaming: bool = False,
) -> SparseDataset:
    """Loads a sparse dataset and checks every row.

    Args:
        path_or_repo: a dataset folder, or a dataset repository on the Hub.
        teacher: the model that it will be used with; the dataset must have its grid, labels and normalization.
        revision: branch, tag or commit on the Hub.
        streaming: give rows as they are read, not all in memory or in the cache of `datasets`. Columns and the model
            are checked at once; rows when they are read, some at a time, and then the error comes from the loop over
            them. That an image is there twice goes unnoticed.

    Raises:
        UsageError: it is not a sparse dataset, not complete, damaged, or does not fit the model.
    """
    folder = Path(path_or_repo)
    is_local = os.path.isdir(folder)
    if is_local:
        record, name, commit = DatasetRecord.load(folder), folder.resolve().name, None
    else:
        name = str(path_or_repo)
        record, commit = record_from_hub(name, revision)
    if record.status != "complete":
        raise UsageError(
            f"dataset {path_or_repo} is not complete: its run was interrupted; run the same smi-hf invert again"
        )
    if teacher is not None:
        check_fits(record, teacher)
    if is_local:
        dataset = open_parquet(_checked_shards(folder, record), streaming=streaming)
    else:
        dataset = rows_from_hub(name, commit, streaming)
    features = dataset.features
    if not streaming:
        validate(dataset, record)
        return SparseDataset(dataset, record, name=name, revision=commit)
    check_features(features, record)
    # As arrow columns, so that an image is decoded after its row has passed.
    checked = dataset.with_format("arrow").map(
        partial(check_rows, record=record), batched=True, batch_size=_STREAMED_ROWS, features=features
    )
    return SparseDataset(checked.with_format(None), record, name=name, revision=commit)


def _checked_shards(folder: Path, record: DatasetRecord) -> list[Path]:
    """The shards of a folder, each opened to say which one is damaged, and their rows counted."""
    try:
        shards = sorted(path for path in (folder / DATA_FOLDER).iterdir() if _is_visible_parquet(path))
    except OSError:
        shards = []
    if not shards:
        raise UsageError(f"dataset {folder} cannot be read: it has no shard in {DATA_FOLDER}/")
    num_images = 0
    for path in shards:
        try:
            num_images += read_metadata(path).num_rows
        except READ_ERRORS as error:
            raise UsageError(
                f"dataset {folder} cannot be read: shard {path.name} is damaged ({one_line(error)}); run the same "
                f"smi-hf invert again, which makes its images again, or download it again"
            ) from error
    check_count(num_images, record)
    return shards


def _is_visible_parquet(path: Path) -> bool:
    return path.suffix == ".parquet" and not path.name.startswith(".")
