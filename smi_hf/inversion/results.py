"""What is measured and shown of a finished dataset, from the files as they are on disk."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from smi_hf.data.captions import image_words
from smi_hf.data.parquet import open_parquet
from smi_hf.data.record import DatasetRecord
from smi_hf.data.schema import PREVIEW_FILE, STAGES_FILE
from smi_hf.data.sizes import shard_sizes
from smi_hf.data.writer import SparseDatasetWriter
from smi_hf.evaluation.target_accuracy import target_top1
from smi_hf.images.lettering import Line, letter, letter_label
from smi_hf.images.preview import image_grid, save_png
from smi_hf.models import Teacher

if TYPE_CHECKING:
    from datasets import IterableDataset


def measure_images(writer: SparseDatasetWriter, teacher: Teacher, *, batch_size: int) -> dict[str, Any]:
    """What the teacher sees in the kept patches, read back from the PNGs; digest and sizes of the shards."""
    rows = _rows(writer)
    probabilities = [row["target_probability"] for row in rows.select_columns(["target_probability"])]
    top1 = target_top1(teacher.model, rows, normalization=teacher.normalization, batch_size=batch_size)
    return {
        "target_top1": round(top1, 4),
        "mean_target_probability": round(float(np.mean(probabilities)), 4),
        "content_sha256": writer.content_sha256(),
        **shard_sizes(writer.shards()),
    }


def save_pictures(writer: SparseDatasetWriter, num_images: int) -> list[str]:
    """Writes a preview of the first `num_images` images, none if 0; returns the names of all pictures there are.

    Each has its label below it, the probability that the teacher gives it, and the share of patches kept. Images of
    one trajectory stand in one row, where a row is long enough.
    """
    if num_images:
        rows = list(_rows(writer).take(num_images))
        images = [np.asarray(row["image"]) for row in rows]
        captions = [_caption(writer.record, row) for row in rows]
        num_stages = writer.record.num_stages
        picture = image_grid(images, captions, columns=num_stages if num_stages > 1 else None)
        save_png(picture, writer.folder / PREVIEW_FILE)
    stages = [STAGES_FILE] if (writer.folder / STAGES_FILE).is_file() else []
    return ([PREVIEW_FILE] if num_images else []) + stages


def _caption(record: DatasetRecord, row: Mapping[str, Any]) -> list[Line]:
    _, *lines = image_words(record, row)
    return [letter_label(record.label_names[row["label"]], row["label"]), *map(letter, lines)]


def _rows(writer: SparseDatasetWriter) -> "IterableDataset":
    """The rows on disk, streamed: a copy would double a large dataset for one look at it."""
    return open_parquet(writer.shards(), streaming=True)
