"""The images of a dataset, as many as a page can hold, with the patches that each keeps."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from smi_hf.data.reader import load_sparse_dataset
from smi_hf.data.record import DatasetRecord
from smi_hf.patches import PatchGrid
from smi_hf.reports.parts import Section, Subject
from smi_hf.reports.stages import read_stages
from smi_hf.reports.thumbnails import as_data

MAX_IMAGES = 512


@dataclass(frozen=True)
class Tile:
    """An image of the gallery.

    Args:
        number: of the image in its dataset.
        label: its name.
        probability: that the teacher gives the label, in [0, 1].
        num_kept: patches that it keeps.
        stage: of its trajectory, from 1; 0 where a trajectory gives one image.
        source: a data URI.
        pruned, edge: paths in units of patches: what is not kept, and the outline of what is; empty if all is.
    """

    number: int
    label: str
    probability: float
    num_kept: int
    stage: int
    source: str
    pruned: str
    edge: str


def section(subject: Subject, *, max_images: int = MAX_IMAGES) -> Section | None:
    """The gallery of a dataset, None of a model.

    Args:
        max_images: shown at most, the first.

    Raises:
        UsageError: the images cannot be read.
    """
    record = subject.record
    if not isinstance(record, DatasetRecord) or max_images < 1:
        return None
    grid = record.grid
    dataset = load_sparse_dataset(subject.folder, streaming=True).dataset
    tiles = [_tile(row, record) for row in dataset.take(max_images)]
    return Section(
        title="Images",
        template="gallery.html.jinja",
        values={
            "tiles": tiles,
            "labels": sorted(Counter(tile.label for tile in tiles).items()),
            "num_images": record.num_images,
            "num_patches": grid.num_patches,
            "rows": grid.rows,
            "columns": grid.columns,
            "width": grid.image_width,
            "height": grid.image_height,
            "is_optimized": record.settings["num_steps"] > 0,
            "is_sparse": record.keep_counts[-1] < grid.num_patches,
            "stages": read_stages(subject.folder, record),
            "leaving": leaving_words(record),
        },
    )


def leaving_words(record: DatasetRecord) -> list[str]:
    """When the image of each stage of a trajectory left it, after words for all of them; empty of single images."""
    if record.num_stages == 1:
        return []
    steps = [*record.settings["prune_steps"], record.settings["num_steps"]]
    return [
        "all",
        *(f"{stage} of {len(steps)}, which left after step {step}" for stage, step in enumerate(steps, start=1)),
    ]


def _tile(row: dict[str, Any], record: DatasetRecord) -> Tile:
    kept = row["kept_patches"]
    return Tile(
        number=row["image_index"],
        label=record.label_names[row["label"]],
        probability=row["target_probability"],
        num_kept=len(kept),
        stage=row["stage"] + 1 if record.num_stages > 1 else 0,
        source=as_data(row["image"].convert("RGB")),
        pruned=pruned_path(kept, record.grid),
        edge=edge_path(kept, record.grid),
    )


def pruned_path(kept: Sequence[int], grid: PatchGrid) -> str:
    """What is not kept of an image as an SVG path, in units of patches, a rectangle for each run in a row."""
    parts = []
    for y, row in enumerate(_mask(kept, grid)):
        edges = np.flatnonzero(np.diff(np.concatenate([[True], row, [True]])))
        parts += [f"M{left} {y}h{right - left}v1H{left}z" for left, right in edges.reshape(-1, 2)]
    return "".join(parts)


def edge_path(kept: Sequence[int], grid: PatchGrid) -> str:
    """The line between what is kept of an image and what is not, as an SVG path in units of patches."""
    if len(kept) == grid.num_patches:
        return ""
    mask = np.pad(_mask(kept, grid), 1)
    level = [f"M{x - 1} {y}h1" for y, x in np.argwhere(mask[1:] != mask[:-1])]
    upright = [f"M{x} {y - 1}v1" for y, x in np.argwhere(mask[:, 1:] != mask[:, :-1])]
    return "".join([*level, *upright])


def _mask(kept: Sequence[int], grid: PatchGrid) -> np.ndarray:
    """Whether each patch is kept, (rows, columns)."""
    mask = np.zeros(grid.num_patches, dtype=bool)
    mask[list(kept)] = True
    return mask.reshape(grid.rows, grid.columns)
