"""The first images of a dataset at each prune, cut from the picture that the run left."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from smi_hf.data.record import DatasetRecord
from smi_hf.data.schema import STAGES_FILE
from smi_hf.files import one_line
from smi_hf.images.preview import BOXES_KEY
from smi_hf.reports.thumbnails import as_data

logger = logging.getLogger(__name__)

_MAX_SIDE = 20_000

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Stage:
    """Some images at one moment of their optimization.

    Args:
        words: which moment.
        sources: the images as data URIs.
    """

    words: str
    sources: tuple[str, ...]


def read_stages(folder: Path, record: DatasetRecord) -> list[Stage]:
    """The stages that a dataset's folder has a picture of, the first one first; empty if there is none.

    Trajectories that give several images have no such stages: their images left one after the other.
    """
    path, words = folder / STAGES_FILE, _words(record)
    if record.num_stages > 1 or not path.is_file():
        return []
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            if max(picture.size) > _MAX_SIDE:
                raise ValueError(f"it has {picture.width}x{picture.height} px")
            boxes = _boxes(picture)
            pixels = picture.convert("RGB")
    except (OSError, SyntaxError, ValueError, TypeError, Image.DecompressionBombError) as error:
        logger.warning("%s is not shown: %s", path.name, one_line(error))
        return []
    if len(boxes) != len(words):
        return []
    return [Stage(each, tuple(as_data(pixels.crop(box)) for box in row)) for each, row in zip(words, boxes)]


def _words(record: DatasetRecord) -> list[str]:
    counts, total = record.keep_counts, record.keep_counts[0]
    steps = [0, *record.settings["prune_steps"]]
    stages = [
        f"{f'after step {step}' if step else 'at the start'}: {count} of {total} patches"
        for step, count in zip(steps, counts)
    ]
    return [*stages, f"finished, after step {record.settings['num_steps']}: {counts[-1]} of {total} patches"]


def _boxes(picture: Image.Image) -> list[list[Box]]:
    """Where the images of each stage lie; empty where the picture does not say."""
    text = getattr(picture, "text", {}).get(BOXES_KEY, "[]")
    boxes = [[tuple(map(int, box)) for box in row] for row in json.loads(text)]
    if any(len(box) != 4 or not _is_inside(box, picture) for row in boxes for box in row):
        raise ValueError("its text names boxes that it does not have")
    return boxes


def _is_inside(box: tuple[int, ...], picture: Image.Image) -> bool:
    left, top, right, bottom = box
    return 0 <= left < right <= picture.width and 0 <= top < bottom <= picture.height
