"""Pictures of a dataset for people: a grid of images."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from smi_hf.files import replaced_atomically

_GAP = 4
_MAX_COLUMNS = 8
_BACKGROUND = 255


def image_grid(images: Sequence[np.ndarray], *, columns: int | None = None) -> Image.Image:
    """Images side by side on white, row by row.

    Args:
        images: uint8 (H, W, 3), all of one size, at least one.
        columns: images in a row; about square, but at most 8, if None.
    """
    height, width = images[0].shape[:2]
    columns = columns or min(_MAX_COLUMNS, math.ceil(math.sqrt(len(images))))
    rows = math.ceil(len(images) / columns)
    sheet = np.full((rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, 3), _BACKGROUND, dtype=np.uint8)
    for index, image in enumerate(images):
        top, left = index // columns * (height + _GAP), index % columns * (width + _GAP)
        sheet[top : top + height, left : left + width] = image
    return Image.fromarray(sheet)


def save_png(picture: Image.Image, path: Path) -> None:
    """Writes a PNG atomically."""
    with replaced_atomically(path) as temporary:
        picture.save(temporary, format="PNG")
