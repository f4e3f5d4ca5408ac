"""Real images for judging models: any image-classification dataset of `datasets`."""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smi_hf.errors import UsageError
from smi_hf.files import one_line
from smi_hf.images.labels import MatchedBy, match_names
from smi_hf.images.sources import Rows, load_rows
from smi_hf.json_record import checked
from smi_hf.registry import suggest

if TYPE_CHECKING:
    from datasets import Dataset
    from PIL.Image import Image as Picture

logger = logging.getLogger(__name__)

NO_LABEL = -1
_LABEL_COLUMNS = ("label", "labels", "fine_label", "target")
# What a sparse dataset has and no dataset of photographs.
_SYNTHETIC_COLUMNS = frozenset({"kept_patches", "image_index", "target_probability"})


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
    """An image dataset whose labels are the model's; or one without labels, for models whose labels mean nothing.

    Args:
        dataset: its rows.
        image_column, label_column: where image and label stand; None of images without labels.
        model_labels: the model's label for each label of the dataset, a number or a name; None if they are the same.
        name: Hub id, or name (not path) of the local file or folder, for records.
        is_on_hub: whether `name` is a Hub id.
        matched_by: how the dataset's labels were matched with the model's.
        label_names: the model's labels, by number; None if they are not known.
        row_numbers: where the rows stand in the split; None if they are the whole of it.
    """

    dataset: "Dataset"
    image_column: str
    label_column: str | None
    model_labels: dict[int | str, int] | None = None
    name: str = "images in memory"
    is_on_hub: bool = False
    matched_by: MatchedBy = "number"
    label_names: tuple[str, ...] | None = None
    row_numbers: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self.dataset)

    @property
    def is_synthetic(self) -> bool:
        """Whether it is a sparse dataset, the images of which were made to please a model."""
        return set(self.dataset.column_names) >= _SYNTHETIC_COLUMNS

    def reference(self) -> ImageSetReference:
        """What a record says of them."""
        split, reader = self.dataset.split, self.dataset.builder_name
        return ImageSetReference(
            dataset=self.name,
            type=self.name if self.is_on_hub else reader or "generated",
            split=None if split is None else str(split),
            num_images=len(self),
        )

    def select(self, numbers: Sequence[int]) -> "ImageSet":
        """Some of them, in that order."""
        numbers = [int(number) for number in numbers]
        places = numbers if self.row_numbers is None else [self.row_numbers[number] for number in numbers]
        return replace(self, dataset=self.dataset.select(numbers), row_numbers=tuple(places))

    def digests(self) -> list[bytes | None]:
        """SHA-256 of each picture's file, as it is encoded; None of one that cannot be read."""
        from datasets import Image

        encoded = self.dataset.select_columns([self.image_column]).cast_column(self.image_column, Image(decode=False))
        return [_digest(picture) if picture else None for picture in encoded[self.image_column]]

    def spread(self, max_images: int) -> "ImageSet":
        """At most that many of them, drawn evenly over the set, which may be sorted by label.

        Raises:
            UsageError: `max_images` is less than 1.
        """
        if max_images < 1:
            raise UsageError(f"max_images is {max_images}, but must be at least 1")
        if max_images >= len(self):
            return self
        return self.select(np.linspace(0, len(self) - 1, max_images).round().astype(int))

    def batch(self, numbers: Sequence[int]) -> "tuple[list[Picture], np.ndarray]":
        """Some pictures, and the model's labels of them, int64 (B,); -1 of images without labels.

        Raises:
            UsageError: a row has no picture, or one that cannot be decoded.
        """
        try:
            rows = self.dataset[list(numbers)]
        except Exception as error:  # whatever decoders raise
            raise UsageError(self._undecodable(numbers, error)) from error
        pictures = rows[self.image_column]
        for number, picture in zip(numbers, pictures):
            if picture is None:
                raise UsageError(without_image(self._place(number), self.name))
        if self.label_column is None:
            return pictures, np.full(len(pictures), NO_LABEL, dtype=np.int64)
        labels = rows[self.label_column]
        if self.model_labels is not None:
            labels = [self.model_labels[label] for label in labels]
        return pictures, np.asarray(labels, dtype=np.int64)

    def batches(self, batch_size: int) -> "Iterator[tuple[list[Picture], np.ndarray]]":
        """All of them as of `batch`, in order.

        Raises:
            UsageError: `batch_size` is less than 1; a row as for `batch`.
        """
        if batch_size < 1:
            raise UsageError(f"batch_size is {batch_size}, but must be at least 1")
        for start in range(0, len(self), batch_size):
            yield self.batch(range(start, min(start + batch_size, len(self))))

    def _place(self, number: int) -> int:
        return number if self.row_numbers is None else self.row_numbers[number]

    def _undecodable(self, numbers: Sequence[int], error: Exception) -> str:
        """Which row could not be decoded, and why."""
        for number in numbers:
            try:
                self.dataset[int(number)]
            except Exception as found:  # the row at fault; whatever decoders raise
                return undecodable(self._place(number), self.name, found)
        return f"images of dataset {self.name} cannot be read: {one_line(error)}"


def _digest(picture: dict[str, Any]) -> bytes | None:
    """Of a picture as `datasets.Image` stores it: bytes, or the path of a file."""
    encoded = picture["bytes"]
    if encoded is None:
        try:
            encoded = Path(picture["path"] or "").read_bytes()
        except OSError:
            return None
    return hashlib.sha256(encoded).digest()


def undecodable(row: int, dataset: str, error: Exception) -> str:
    """That the picture of a row cannot be read, and why."""
    return (
        f"the image of row {row} of dataset {dataset} cannot be decoded ({one_line(error)}); mend that row, or leave "
        f"it out"
    )


def without_image(row: int, dataset: str) -> str:
    """That a row has no picture."""
    return f"row {row} of dataset {dataset} has no image"


def load_image_set(
    name_or_path: str,
    label_names: Sequence[str] | None,
    *,
    split: str | None = None,
    max_images: int | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
) -> ImageSet:
    """Loads labeled images and maps their labels to the model's (`match_names`).

    Args:
        name_or_path: dataset on the Hub, a folder, or a parquet file; `name:split` names the split with it.
        label_names: the model's labels, by number; None for images whose labels are not looked at.
        split: which split; the first of validation, val, test and train if None.
        max_images: use at most that many, as `ImageSet.spread` draws them.
        image_column, label_column: where image and label stand; found by type and name if None.

    Raises:
        UsageError: it cannot be loaded, or has no images, or rows without labels, or labels that the model does not
            know.
    """
    if max_images is not None and max_images < 1:
        raise UsageError(f"max_images is {max_images}, but must be at least 1")
    rows = load_rows(name_or_path, split)
    dataset = rows.dataset
    for column in (image_column, label_column):
        if column is not None and column not in dataset.column_names:
            raise UsageError(
                f"dataset {name_or_path} has no column {column!r}{suggest(column, dataset.column_names)}; it has "
                f"{_listed(dataset.column_names)}"
            )
    if not len(dataset):
        raise UsageError(f"dataset {name_or_path} is empty")
    image_column = image_column or find_image_column(dataset, name_or_path)
    if label_names is not None:
        label_column = label_column or _label_column(dataset, name_or_path)
    dataset = decoded_images(dataset, image_column, name_or_path)
    if label_names is None:
        images = ImageSet(dataset, image_column, None, None, rows.name, rows.is_on_hub)
    else:
        model_labels, matched_by = _map_labels(rows, label_column, label_names, name_or_path)
        images = ImageSet(
            dataset,
            image_column,
            label_column,
            model_labels,
            rows.name,
            rows.is_on_hub,
            matched_by,
            tuple(label_names),
        )
    if images.is_synthetic:
        logger.warning(
            "dataset %s is a sparse dataset: its images were made to please a model, so accuracy on them says nothing "
            "of photographs",
            name_or_path,
        )
    return images if max_images is None else images.spread(max_images)


def find_image_column(dataset: "Dataset", name: str) -> str:
    """The only column of pictures; UsageError if there is none, or more."""
    from datasets import Image

    columns = [column for column, feature in dataset.features.items() if isinstance(feature, Image)]
    # Where another tool wrote the parquet, `datasets` does not know that the bytes are images.
    columns = columns or [column for column, feature in dataset.features.items() if _is_undecoded(feature)]
    if len(columns) != 1:
        raise UsageError(
            f"dataset {name} has {len(columns)} image columns {columns} among {dataset.column_names}; say which one "
            f"with image_column"
        )
    return columns[0]


def _is_undecoded(feature: object) -> bool:
    """Whether a column holds bytes, or structs of bytes and path, as those of `datasets.Image` are stored."""
    if isinstance(feature, dict):
        return "bytes" in feature and set(feature) <= {"bytes", "path"} and _is_undecoded(feature["bytes"])
    return getattr(feature, "dtype", None) in ("binary", "large_binary")


def decoded_images(dataset: "Dataset", column: str, name: str) -> "Dataset":
    """The rows with a column that is decoded as images; UsageError if it holds none."""
    from datasets import Image

    feature = dataset.features[column]
    if isinstance(feature, Image) and feature.decode:
        return dataset
    if not isinstance(feature, Image) and not _is_undecoded(feature):
        raise UsageError(f"column {column!r} of dataset {name} holds no images, but {_type_of(feature)}")
    return dataset.cast_column(column, Image())


def _label_column(dataset: "Dataset", name: str) -> str:
    from datasets import ClassLabel

    columns = [column for column, feature in dataset.features.items() if isinstance(feature, ClassLabel)]
    columns = columns if len(columns) == 1 else [column for column in _LABEL_COLUMNS if column in dataset.features]
    if not columns:
        raise UsageError(
            f"dataset {name} has no label column among {dataset.column_names}; say which one with label_column, or "
            f"put the pictures of each label into a folder of its name"
        )
    return columns[0]


def _map_labels(
    rows: Rows, column: str, label_names: Sequence[str], dataset_name: str
) -> tuple[dict[int | str, int] | None, MatchedBy]:
    """The model's label for each of the dataset's, None if they are the same, and how they were matched."""
    feature = rows.dataset.features[column]
    dtype = getattr(feature, "dtype", "")
    is_text = dtype in ("string", "large_string")
    if not is_text and not dtype.startswith(("int", "uint")):
        raise UsageError(
            f"column {column!r} of dataset {dataset_name} holds no labels (numbers or names), but {_type_of(feature)}"
        )
    labels = rows.dataset.select_columns([column]).with_format("arrow")[:][column].to_pylist()
    _check_labeled(rows, labels, dataset_name)
    names = sorted(set(labels)) if is_text else getattr(feature, "names", None)
    if names is None:
        _check_range(labels, len(label_names), f"the model has labels 0 to {len(label_names) - 1}", dataset_name)
        return None, "number"
    if not is_text:
        _check_range(labels, len(names), f"it has names for 0 to {len(names) - 1}", dataset_name)
    numbers, matched_by = match_names(names, label_names, dataset_name)
    return dict(zip(names if is_text else range(len(names)), numbers)), matched_by


def _check_labeled(rows: Rows, labels: list[int | str | None], name: str) -> None:
    """Refuses rows without a label: test splits of benchmarks have -1."""
    unlabeled = sum(label is None or label == "" or (isinstance(label, int) and label < 0) for label in labels)
    if not unlabeled:
        return
    split = f" of its split {str(rows.dataset.split)!r}" if rows.dataset.split is not None else ""
    others = [each for each in rows.splits if each != str(rows.dataset.split)]
    raise UsageError(
        f"dataset {name} has no label (-1 or nothing) in {unlabeled} of the {len(labels)} rows{split}; "
        + (f"choose another split ({', '.join(others)})" if others else "give images with labels")
    )


def _check_range(labels: list[int], count: int, there: str, name: str) -> None:
    if max(labels) >= count:
        raise UsageError(f"dataset {name} has labels {min(labels)} to {max(labels)}, but {there}")


def _type_of(feature: object) -> str:
    """A column's type in words."""
    return str(getattr(feature, "dtype", None) or type(feature).__name__)


def _listed(columns: Sequence[str]) -> str:
    # Column names are foreign: what is not printable stands in quotes as its escape.
    return ", ".join(column if column.isprintable() else repr(column) for column in columns)
