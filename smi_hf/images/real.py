"""Real images for judging models: any image-classification dataset of `datasets`."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smi_hf.errors import UsageError
from smi_hf.json_record import checked
from smi_hf.registry import suggest

if TYPE_CHECKING:
    from datasets import Dataset
    from PIL.Image import Image as Picture

# The first that there is; test comes late, as that of a benchmark such as ImageNet has no labels.
_SPLITS = ("validation", "val", "test", "train")
_LABEL_COLUMNS = ("label", "labels", "fine_label", "target")


@checked
@dataclass(frozen=True)
class ImageSetReference:
    """A set of real images, as a record names it.

    Args:
        dataset: Hub id, or name of the local file or folder.
        type: Hub id, or the reader of a local file ("parquet", ...).
        split: None where there is none.
        num_images: how many were used.
    """

    dataset: str
    type: str
    split: str | None
    num_images: int


@dataclass(frozen=True)
class ImageSet:
    """A labelled image dataset whose labels are the model's.

    Args:
        dataset: its rows.
        image_column, label_column: where image and label stand.
        model_labels: the model's label for each label of the dataset.
        name: Hub id, or name (not path) of the local file or folder, for records.
        is_on_hub: whether `name` is a Hub id.
    """

    dataset: "Dataset"
    image_column: str
    label_column: str
    model_labels: dict[int, int] | None = None
    name: str = "images in memory"
    is_on_hub: bool = False

    def __len__(self) -> int:
        return len(self.dataset)

    def reference(self) -> ImageSetReference:
        """What a record says of them."""
        split, reader = self.dataset.split, self.dataset.builder_name
        return ImageSetReference(
            dataset=self.name,
            type=self.name if self.is_on_hub else reader or "generated",
            split=None if split is None else str(split),
            num_images=len(self),
        )

    def spread(self, max_images: int) -> "ImageSet":
        """At most that many of them, drawn evenly over the set, which may be sorted by label."""
        if max_images >= len(self):
            return self
        rows = np.linspace(0, len(self) - 1, max_images).round().astype(int)
        return replace(self, dataset=self.dataset.select(rows))

    def batch(self, numbers: Sequence[int]) -> "tuple[list[Picture], np.ndarray]":
        """Some pictures, and the model's labels of them, int64 (B,)."""
        return self._decoded(self.dataset[list(numbers)])

    def batches(self, batch_size: int) -> "Iterator[tuple[list[Picture], np.ndarray]]":
        """All of them as of `batch`, in order."""
        for rows in self.dataset.iter(batch_size=batch_size):
            yield self._decoded(rows)

    def _decoded(self, rows: dict[str, list]) -> "tuple[list[Picture], np.ndarray]":
        labels = rows[self.label_column]
        if self.model_labels is not None:
            labels = [self.model_labels[label] for label in labels]
        return rows[self.image_column], np.asarray(labels, dtype=np.int64)


def load_image_set(
    name_or_path: str,
    label_names: Sequence[str],
    *,
    split: str | None = None,
    max_images: int | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
) -> ImageSet:
    """Loads labelled images and maps their labels to the model's.

    Args:
        name_or_path: dataset on the Hub, a folder, or a parquet file; `name:split` names the split with it.
        label_names: the model's labels, by number.
        split: which split; the first of validation, val, test and train if None.
        max_images: use at most that many, as `ImageSet.spread` draws them.
        image_column, label_column: where image and label stand; found by type and name if None.

    Raises:
        UsageError: it cannot be loaded, or has no images, or labels that the model does not know.
    """
    dataset = _load(name_or_path, split)
    image_column = image_column or _image_column(dataset, name_or_path)
    label_column = label_column or _label_column(dataset, name_or_path)
    for column in (image_column, label_column):
        if column not in dataset.column_names:
            raise UsageError(
                f"dataset {name_or_path} has no column {column!r}{suggest(column, dataset.column_names)}; it has "
                f"{', '.join(dataset.column_names)}"
            )
    if not len(dataset):
        raise UsageError(f"dataset {name_or_path} is empty")
    model_labels = _map_labels(dataset, label_column, label_names, name_or_path)
    images = ImageSet(dataset, image_column, label_column, model_labels, *_origin(name_or_path))
    return images if max_images is None else images.spread(max_images)


def _load(name_or_path: str, split: str | None) -> "Dataset":
    from datasets import get_dataset_split_names, load_dataset

    path = Path(name_or_path)
    source: dict[str, Any] = {"path": name_or_path}
    if path.is_file():
        source = {"path": "parquet", "data_files": str(path)}
    else:
        name, _, split_in_name = name_or_path.rpartition(":")
        if split is None and name and not path.exists():
            source, split = {"path": name}, split_in_name
    try:
        # Not all splits: of ImageNet, validation is 6 GB and train 140.
        splits = get_dataset_split_names(**source)
        if split is None or path.is_file():
            split = next((name for name in _SPLITS if name in splits), splits[0])
        if split in splits:
            return load_dataset(**source, split=split)
    except Exception as error:  # datasets raises whatever its many readers raise
        raise UsageError(f"dataset {name_or_path} cannot be loaded: {type(error).__name__}: {error}") from error
    raise UsageError(
        f"dataset {name_or_path} has no split {split!r}{suggest(split, splits)}; it has {', '.join(splits)}"
    )


def _origin(name_or_path: str) -> tuple[str, bool]:
    """Name for records of what `_load` loads, without its split, and whether that is a Hub id."""
    unsplit = name_or_path.rpartition(":")[0]
    for candidate in (name_or_path, unsplit):
        if candidate and Path(candidate).exists():
            # Not resolve(): a file in a cache may be a link to one that is named by its digest.
            return Path(os.path.abspath(candidate)).name, False
    return unsplit or name_or_path, True


def _image_column(dataset: "Dataset", name: str) -> str:
    from datasets import Image

    columns = [column for column, feature in dataset.features.items() if isinstance(feature, Image)]
    if len(columns) != 1:
        raise UsageError(
            f"dataset {name} has {len(columns)} image columns {columns} among {dataset.column_names}; say which one "
            f"with image_column"
        )
    return columns[0]


def _label_column(dataset: "Dataset", name: str) -> str:
    from datasets import ClassLabel

    columns = [column for column, feature in dataset.features.items() if isinstance(feature, ClassLabel)]
    columns = columns if len(columns) == 1 else [column for column in _LABEL_COLUMNS if column in dataset.features]
    if not columns:
        raise UsageError(
            f"dataset {name} has no label column among {dataset.column_names}; say which one with label_column"
        )
    return columns[0]


def _map_labels(
    dataset: "Dataset", column: str, label_names: Sequence[str], dataset_name: str
) -> dict[int, int] | None:
    """The model's label for each of the dataset's: by name where both have names that match, else as they are."""
    names = getattr(dataset.features[column], "names", None)
    if names is not None:
        numbers = {name.lower(): number for number, name in enumerate(label_names)}
        if len(numbers) == len(label_names) and all(name.lower() in numbers for name in names):
            return {label: numbers[name.lower()] for label, name in enumerate(names)}
    labels = np.asarray(dataset.with_format("numpy")[column][:])
    if labels.dtype.kind not in "iu":
        raise UsageError(f"column {column!r} of dataset {dataset_name} holds no label numbers")
    if labels.min() < 0 or labels.max() >= len(label_names):
        hint = "" if names is None else f"; its names (such as {names[0]!r}) are not the model's ({label_names[0]!r})"
        raise UsageError(
            f"dataset {dataset_name} has labels {labels.min()} to {labels.max()}, but the model has labels 0 to "
            f"{len(label_names) - 1}{hint}"
        )
    return None
