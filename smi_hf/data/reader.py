"""Reading a sparse dataset: from a folder or the Hub, checked against the model that it is to be used with.

Legend: `B` images, `K` kept patches, `C` channels, `H W` image pixels.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from smi_hf.data.record import DatasetRecord
from smi_hf.data.schema import COLUMNS, RECORD_FILE, distinct_names
from smi_hf.errors import UsageError
from smi_hf.patches import Normalization, PatchGrid

if TYPE_CHECKING:
    from datasets import Dataset

    from smi_hf.models import SparseClassifier

_ROWS_AT_ONCE = 1000


@dataclass(frozen=True)
class SparseDataset:
    """A sparse dataset that has been checked, with its record.

    Args:
        dataset: columns as in `smi_hf.data.schema`.
        record: what it was made from and how.
    """

    dataset: "Dataset"
    record: DatasetRecord

    def __len__(self) -> int:
        return len(self.dataset)

    def first(self, num_images: int | None) -> "SparseDataset":
        """Its first images; all if None.

        Raises:
            UsageError: it has fewer.
        """
        if num_images is None:
            return self
        if num_images > len(self):
            raise UsageError(f"num_images is {num_images}, but the dataset has {len(self)} images")
        return replace(self, dataset=self.dataset.select(range(num_images)))

    def collate(self, rows: list[dict[str, Any]]) -> dict[str, Tensor]:
        """`collate` with this dataset's normalisation: the `collate_fn` of a DataLoader over `dataset`."""
        return collate(rows, self.record.normalization)


def collate(rows: list[dict[str, Any]], normalization: Normalization) -> dict[str, Tensor]:
    """Rows of a sparse dataset as a batch for a sparse forward.

    Args:
        rows: with equally many kept patches.

    Returns:
        `pixel_values` normalised float32 (B, C, H, W), `kept_patches` int64 (B, K), `labels` int64 (B,).
    """
    pixels = np.stack([np.asarray(row["image"].convert("RGB")) for row in rows])
    return {
        "pixel_values": normalization.from_uint8(torch.from_numpy(pixels).permute(0, 3, 1, 2)),
        "kept_patches": torch.tensor([row["kept_patches"] for row in rows], dtype=torch.int64),
        "labels": torch.tensor([row["label"] for row in rows], dtype=torch.int64),
    }


def load(
    path_or_repo: str | Path, *, for_model: "SparseClassifier | None" = None, revision: str | None = None
) -> SparseDataset:
    """Loads a sparse dataset and checks every row.

    Args:
        path_or_repo: a dataset folder, or a dataset repository on the Hub.
        for_model: the model that it will be used with; the dataset must have its grid and labels.
        revision: branch, tag or commit on the Hub.

    Raises:
        UsageError: it is not a sparse dataset, not complete, damaged, or does not fit the model.
    """
    from datasets import load_dataset
    from datasets.exceptions import DatasetGenerationError

    folder = Path(path_or_repo)
    record = DatasetRecord.load(folder) if folder.is_dir() else _record_from_hub(str(path_or_repo), revision)
    if record.status != "complete":
        raise UsageError(
            f"dataset {path_or_repo} is not complete: its run was interrupted; run the same smi-hf invert again"
        )
    try:
        dataset = load_dataset(str(path_or_repo), split="train", revision=revision)
    except (DatasetGenerationError, ValueError, OSError) as error:
        raise UsageError(f"dataset {path_or_repo} cannot be read: {error}") from error
    validate(dataset, record)
    if for_model is not None:
        check_fits(record, for_model)
    return SparseDataset(dataset, record)


def _record_from_hub(repo: str, revision: str | None) -> DatasetRecord:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        path = hf_hub_download(repo, RECORD_FILE, repo_type="dataset", revision=revision)
    except LocalEntryNotFoundError as error:
        raise UsageError(
            f"dataset {repo!r} is not a folder here, not in the local cache, and the Hub could not be reached; check "
            f"the name and the network"
        ) from error
    except EntryNotFoundError as error:
        raise UsageError(f"dataset {repo!r} is not a sparse dataset: it has no {RECORD_FILE}") from error
    except (HfHubHTTPError, HFValidationError) as error:
        raise UsageError(f"dataset {repo!r} is neither a folder here nor on the Hub: {error}") from error
    return DatasetRecord.from_json(Path(path).read_text(), f"{repo}/{RECORD_FILE}")


def check_fits(record: DatasetRecord, model: "SparseClassifier") -> None:
    """Checks that a dataset can be shown to a model.

    Raises:
        UsageError: grid or number of labels differ.
    """
    if record.grid != model.grid:
        raise UsageError(
            f"the dataset has {_describe(record.grid)}, but the model has {_describe(model.grid)}; "
            f"use a dataset inverted from a model of the same grid"
        )
    if len(record.label_names) != model.config.num_labels:
        raise UsageError(
            f"the dataset has {len(record.label_names)} labels, but the model has {model.config.num_labels}; "
            f"use a dataset inverted from a model of the same labels"
        )


def _describe(grid: PatchGrid) -> str:
    return (
        f"images of {grid.image_height}x{grid.image_width} px in patches of {grid.patch_height}x{grid.patch_width} px"
    )


def validate(dataset: "Dataset", record: DatasetRecord) -> None:
    """Checks columns, label names, and every row's label and kept patches; memory does not grow with the rows.

    Raises:
        UsageError: with the first violation and its image index.
    """
    missing = [name for name in COLUMNS if name not in dataset.column_names]
    if missing:
        raise UsageError(
            f"the dataset lacks the column {missing[0]!r} of a sparse dataset; it has {dataset.column_names}"
        )
    if getattr(dataset.features["label"], "names", None) != distinct_names(record.label_names):
        raise UsageError(f"the label names of the dataset are not those in its {RECORD_FILE}; one of them was changed")
    if len(dataset) != record.settings["num_images"]:
        raise UsageError(
            f"the dataset has {len(dataset)} images, but its {RECORD_FILE} promises {record.settings['num_images']}"
        )
    num_patches, num_labels = record.grid.num_patches, len(record.label_names)
    columns = dataset.select_columns(["image_index", "label", "kept_patches"]).with_format("arrow")
    for rows in columns.iter(batch_size=_ROWS_AT_ONCE):
        for index, label, kept in zip(*(rows[name].to_pylist() for name in rows.column_names)):
            if label is None or not 0 <= label < num_labels:
                raise UsageError(f"image {index} has label {label}, but the teacher has labels 0 to {num_labels - 1}")
            if not kept:
                raise UsageError(f"image {index} keeps no patch")
            outside = [patch for patch in kept if not 0 <= patch < num_patches]
            if outside:
                raise UsageError(
                    f"image {index} keeps patch {outside[0]}, but the grid has patches 0 to {num_patches - 1}"
                )
            if len(set(kept)) != len(kept):
                raise UsageError(f"image {index} keeps a patch twice")
