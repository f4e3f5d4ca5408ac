"""What a sparse dataset looks like on disk: columns, file names, and one batch of rows.

A dataset folder holds `README.md` (card), `data/*.parquet`, `smi.json` (`DatasetRecord`) and `preview.png`; stock
`datasets.load_dataset(folder)` reads it.

Legend: `B` images, `K` kept patches, `C` channels, `P Q` patch pixels.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from datasets import Features

SCHEMA_VERSION = 2
DATA_FOLDER = "data"
RECORD_FILE = "smi.json"
CARD_FILE = "README.md"
PREVIEW_FILE = "preview.png"
STAGES_FILE = "preview_stages.png"
# Patches are numbered in int16, and images in file names by eight digits.
MAX_PATCHES = 2**15
MAX_IMAGES = 10_000_000
COLUMNS = ("image", "label", "kept_patches", "image_index", "seed", "target_probability", "steps")
# Datasets whose trajectories give several images (policy `pri`) have these besides: the trajectory that an image left,
# int64, and at which of its stages, from 0, int16. image_index is trajectory * images_per_trajectory + stage.
TRAJECTORY_COLUMNS = ("trajectory", "stage")
# Concatenated datasets have it besides: which of the datasets that were put together a row comes from, int16.
SOURCE_COLUMN = "source"


@dataclass(frozen=True)
class FinishedImages:
    """Finished images, as they are written.

    Args:
        image_indices: which images of the run, B numbers; all images of a trajectory are among them, or none.
        seed: seed of the run.
        steps: optimization steps taken, one number for all, or one an image.
        labels: target labels, int (B,).
        patches_BKCPQ: kept patches, uint8.
        kept_BK: their places on the grid, int, increasing in each image.
        target_probability_B: what the teacher gives the target label for these 8-bit patches, float in [0, 1].
    """

    image_indices: tuple[int, ...]
    seed: int
    steps: int | Sequence[int]
    labels: Sequence[int]
    patches_BKCPQ: np.ndarray
    kept_BK: np.ndarray
    target_probability_B: np.ndarray


def dataset_features(label_names: Sequence[str], *, has_trajectories: bool = False) -> "Features":
    """Columns and types of a sparse dataset whose teacher has these labels.

    Args:
        has_trajectories: with `TRAJECTORY_COLUMNS`.
    """
    from datasets import ClassLabel, Features, Image, List, Value

    trajectory_features = {"trajectory": Value("int64"), "stage": Value("int16")} if has_trajectories else {}
    return Features(
        {
            "image": Image(),
            "label": ClassLabel(names=distinct_names(label_names)),
            "kept_patches": List(Value("int16")),
            "image_index": Value("int64"),
            "seed": Value("int64"),
            "target_probability": Value("float32"),
            "steps": Value("int32"),
            **trajectory_features,
        }
    )


def distinct_names(label_names: Sequence[str]) -> list[str]:
    """Label names with the label added to those that occur twice (ImageNet has two cranes): ClassLabel wants a set."""
    counts = Counter(label_names)
    distinct = []
    for label, name in enumerate(label_names):
        if counts[name] > 1:
            name = f"{name} ({label})"
            # A label may be called "crane (0)" itself.
            while name in counts:
                name = f"{name} ({label})"
        distinct.append(name)
    return distinct
