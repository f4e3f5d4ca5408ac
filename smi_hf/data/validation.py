"""Whether a dataset is a sparse dataset, and one that fits a model: each violation is one sentence.

Rows are looked at as arrow columns, a block at a time, and images by the header and the end of their PNGs alone:
nothing is decoded before its size is known.
"""

from typing import TYPE_CHECKING

import numpy as np
import pyarrow
import pyarrow.compute

from smi_hf.data.record import DatasetRecord
from smi_hf.data.schema import RECORD_FILE, SOURCE_COLUMN, TRAJECTORY_COLUMNS, distinct_names
from smi_hf.errors import UsageError
from smi_hf.patches import PatchGrid

if TYPE_CHECKING:
    from datasets import Dataset, Features

    from smi_hf.models import Teacher

_ROWS_AT_ONCE = 1000
# Means and deviations that differ by less were rounded differently.
_SAME_NORMALIZATION = 1e-6
# Signature, then the length and name of the first chunk, which begins with width and height, big-endian.
_PNG_START = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
_PNG_HEADER_BYTES = len(_PNG_START) + 8
# The last chunk, which is empty, and its checksum.
_PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"


def check_fits(record: DatasetRecord, teacher: "Teacher") -> None:
    """Checks that a dataset can be shown to a model.

    Raises:
        UsageError: grid, labels or normalization differ.
    """
    grid, names = teacher.model.grid, teacher.label_names
    if record.grid != grid:
        raise UsageError(
            f"the dataset has {describe_grid(record.grid)}, but the model has {describe_grid(grid)}; "
            f"use a dataset inverted from a model of the same grid"
        )
    if len(record.label_names) != len(names):
        raise UsageError(
            f"the dataset has {len(record.label_names)} labels, but the model has {len(names)}; "
            f"use a dataset inverted from a model of the same labels"
        )
    for label, (theirs, ours) in enumerate(zip(distinct_names(record.label_names), distinct_names(names))):
        if theirs != ours:
            raise UsageError(
                f"label {label} of the dataset is {theirs!r}, but that of the model is {ours!r}; use a dataset "
                f"inverted from a model of the same labels, in the same order"
            )
    mean, std = teacher.normalization.mean, teacher.normalization.std
    is_same = np.allclose([*record.image_mean, *record.image_std], [*mean, *std], rtol=0, atol=_SAME_NORMALIZATION)
    if not is_same or record.normalization.is_bgr != teacher.normalization.is_bgr:
        raise UsageError(
            f"the dataset is normalized by mean {tuple(record.image_mean)} and std {tuple(record.image_std)}, but the "
            f"model by {tuple(mean)} and {tuple(std)}: one of the two image processors was changed, and the pixels "
            f"would have the wrong range; use a dataset inverted with this preprocessor_config.json"
        )


def made_from(record: DatasetRecord, teacher: "Teacher") -> bool:
    """Whether a dataset was inverted from exactly these weights, with this head; False of several teachers."""
    return record.teacher.weights_sha256 == teacher.weights_sha256() and not _has_other_head(record, teacher)


def check_made_from(record: DatasetRecord, teacher: "Teacher", *, other_teacher: bool = False) -> None:
    """Checks that a dataset can be shown to a model, and that it was inverted from it.

    Args:
        other_teacher: images of another model are meant.

    Raises:
        UsageError: it does not fit, or it was inverted from another model.
    """
    check_fits(record, teacher)
    if other_teacher or made_from(record, teacher):
        return
    source = record.teacher
    if source.weights_sha256 == teacher.weights_sha256():
        raise UsageError(
            f"the dataset was made with another embedding head (other prompts or directions) than that of "
            f"{teacher.name!r} here; leave labels and directions out to use the dataset's, or say --other_teacher "
            f"true if this is meant"
        )
    raise UsageError(
        f"the dataset was inverted from {source.name!r} (revision {source.revision}), whose weights are not those of "
        f"{teacher.name!r} (revision {teacher.revision}); use a dataset of this model, or say --other_teacher true if "
        f"this is meant"
    )


def _has_other_head(record: DatasetRecord, teacher: "Teacher") -> bool:
    return record.teacher.head_sha256 != (None if teacher.head is None else teacher.head.sha256())


def describe_grid(grid: PatchGrid) -> str:
    """A grid in words."""
    return (
        f"images of {grid.image_height}x{grid.image_width} px in patches of {grid.patch_height}x{grid.patch_width} px"
    )


def validate(dataset: "Dataset", record: DatasetRecord) -> None:
    """Checks columns, label names, and every row's image, label and kept patches; no image is decoded.

    Memory grows by three numbers per row.

    Raises:
        UsageError: with the first violation and its image index.
    """
    check_features(dataset.features, record)
    check_count(len(dataset), record)
    for rows in dataset.with_format("arrow").iter(batch_size=_ROWS_AT_ONCE):
        check_rows(rows, record)
    _check_distinct(dataset)


def check_features(features: "Features", record: DatasetRecord) -> None:
    """Checks columns, their types and the label names.

    Raises:
        UsageError: with the first violation.
    """
    expected = record.features
    missing = [name for name in expected if name not in features]
    if missing:
        raise UsageError(
            f"the dataset lacks the column {missing[0]!r} of a sparse dataset; it has {', '.join(features)}"
        )
    if getattr(features["label"], "names", None) != expected["label"].names:
        raise UsageError(f"the label names of the dataset are not those in its {RECORD_FILE}; one of them was changed")
    types, expected_types = features.arrow_schema, expected.arrow_schema
    for name in expected:
        if types.field(name).type != expected_types.field(name).type:
            raise UsageError(
                f"column {name!r} of the dataset holds {types.field(name).type}, but that of a sparse dataset holds "
                f"{expected_types.field(name).type}"
            )


def check_count(num_images: int, record: DatasetRecord) -> None:
    """Checks that no image is missing.

    Raises:
        UsageError: there are fewer or more than the record promises.
    """
    if num_images != record.num_images:
        raise UsageError(
            f"the dataset has {num_images} images, but its {RECORD_FILE} promises {record.num_images}; download it or "
            f"make it again"
        )


def check_rows(rows: pyarrow.Table, record: DatasetRecord) -> pyarrow.Table:
    """Checks the labels, kept patches and images of some rows, and returns them as they are.

    Args:
        rows: columns as in `smi_hf.data.schema`, images as the bytes of their PNGs.

    Raises:
        UsageError: with the first violation and its image index.
    """
    trajectory_columns = TRAJECTORY_COLUMNS if record.num_stages > 1 else ()
    for name in ("image_index", "seed", "target_probability", "steps", *trajectory_columns):
        if rows[name].null_count:
            raise UsageError(f"a row of the dataset has no {name}")
    indices = rows["image_index"].to_numpy()
    is_of_one_run = SOURCE_COLUMN not in rows.column_names
    if is_of_one_run:
        _check_origin(indices, rows["seed"].to_numpy(), record)
    _check_labels(rows["label"], indices, len(record.label_names))
    _check_kept(rows["kept_patches"], indices, record.grid.num_patches, record.keep_counts[-1])
    if trajectory_columns and is_of_one_run:
        _check_trajectories(rows, indices, record)
    _check_images(pyarrow.compute.struct_field(rows["image"], "bytes"), indices, record.image_size)
    return rows


def _check_origin(indices: np.ndarray, seeds: np.ndarray, record: DatasetRecord) -> None:
    for row in np.flatnonzero(seeds != record.settings.get("seed", seeds)):
        raise UsageError(
            f"image {indices[row]} has seed {seeds[row]}, but the {RECORD_FILE} of the dataset says "
            f"{record.settings['seed']}; its shard is of another dataset"
        )
    for row in np.flatnonzero((indices < 0) | (indices >= record.num_images)):
        raise UsageError(
            f"image {indices[row]} is in the dataset, but its {RECORD_FILE} promises images 0 to "
            f"{record.num_images - 1}"
        )


def _check_labels(labels: pyarrow.ChunkedArray, indices: np.ndarray, num_labels: int) -> None:
    numbers = pyarrow.compute.fill_null(labels, -1).to_numpy()
    for row in np.flatnonzero((numbers < 0) | (numbers >= num_labels)):
        raise UsageError(
            f"image {indices[row]} has label {labels[int(row)].as_py()}, but the teacher has labels 0 to "
            f"{num_labels - 1}"
        )


def _check_kept(kept: pyarrow.ChunkedArray, indices: np.ndarray, num_patches: int, num_kept: int) -> None:
    counts = pyarrow.compute.fill_null(pyarrow.compute.list_value_length(kept), 0).to_numpy().astype(np.int64)
    for row in np.flatnonzero(counts != num_kept):
        patches = {0: "no patch", 1: "1 patch"}.get(int(counts[row]), f"{counts[row]} patches")
        raise UsageError(f"image {indices[row]} keeps {patches}, but the {RECORD_FILE} of the dataset says {num_kept}")
    patches = pyarrow.compute.fill_null(pyarrow.compute.list_flatten(kept), -1).to_numpy().astype(np.int64)
    rows = np.repeat(np.arange(len(counts)), counts)
    for place in np.flatnonzero((patches < 0) | (patches >= num_patches)):
        raise UsageError(
            f"image {indices[rows[place]]} keeps patch {patches[place]}, but the grid has patches 0 to "
            f"{num_patches - 1}"
        )
    keys = np.sort(rows * num_patches + patches)
    for place in np.flatnonzero(keys[1:] == keys[:-1]):
        raise UsageError(f"image {indices[keys[place] // num_patches]} keeps a patch twice")


def _check_trajectories(rows: pyarrow.Table, indices: np.ndarray, record: DatasetRecord) -> None:
    """Trajectory and stage are what the number says, and images of a trajectory, as far as here, share no patch."""
    trajectories, stages = (rows[name].to_numpy() for name in TRAJECTORY_COLUMNS)
    said = trajectories * record.num_stages + stages
    for row in np.flatnonzero((said != indices) | (stages < 0) | (stages >= record.num_stages)):
        raise UsageError(
            f"image {indices[row]} is said to be of trajectory {trajectories[row]}, stage {stages[row]}, but a "
            f"trajectory of the dataset has {record.num_stages} images, numbered one after the other"
        )
    # An image that is there twice is for `_check_distinct` to name.
    _, distinct = np.unique(indices, return_index=True)
    num_patches = record.grid.num_patches
    patches = pyarrow.compute.list_flatten(rows["kept_patches"]).to_numpy().astype(np.int64).reshape(len(indices), -1)
    keys = np.sort((trajectories[:, None] * num_patches + patches)[distinct].reshape(-1))
    for place in np.flatnonzero(keys[1:] == keys[:-1]):
        raise UsageError(
            f"two images of trajectory {keys[place] // num_patches} keep patch {keys[place] % num_patches}, but those "
            f"of one trajectory share no patch"
        )


def _check_images(pngs: pyarrow.ChunkedArray, indices: np.ndarray, image_size: tuple[int, int]) -> None:
    heads = pyarrow.compute.binary_slice(pngs, 0, _PNG_HEADER_BYTES).to_pylist()
    ends = pyarrow.compute.binary_slice(pngs, -len(_PNG_END), None).to_pylist()
    for head, end, index in zip(heads, ends, indices):
        if head is None or len(head) < _PNG_HEADER_BYTES or not head.startswith(_PNG_START):
            raise UsageError(f"image {index} is no PNG; the dataset was not written by smi_hf, or is damaged")
        size = int.from_bytes(head[-4:], "big"), int.from_bytes(head[-8:-4], "big")
        if size != tuple(image_size):
            raise UsageError(
                f"image {index} has {size[0]}x{size[1]} px, but the {RECORD_FILE} of the dataset says "
                f"{image_size[0]}x{image_size[1]} px"
            )
        if end != _PNG_END:
            raise UsageError(f"image {index} is a PNG that ends too early; download the dataset or make it again")


def _check_distinct(dataset: "Dataset") -> None:
    """Each image once: that is what (seed, image_index) says, within each source of a concatenated dataset."""
    names = [name for name in (SOURCE_COLUMN, "seed", "image_index") if name in dataset.column_names]
    columns = dataset.select_columns(names).with_format("arrow")[:]
    keys = [columns[name].to_numpy() for name in names]
    order = np.lexsort(keys)
    same = np.logical_and.reduce([key[order][1:] == key[order][:-1] for key in keys])
    for place in np.flatnonzero(same):
        raise UsageError(
            f"image {keys[-1][order[place]]} is in the dataset twice; remove the shard in which it is for the second "
            f"time, or make the dataset again"
        )
