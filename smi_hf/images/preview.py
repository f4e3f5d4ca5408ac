"""Pictures of a dataset for people: images with words at them, as a grid or as a table.

Small images are shown larger, each pixel as a square; large ones smaller, so that words beside them can be read on a
page.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, PngImagePlugin

from smi_hf.files import replaced_atomically
from smi_hf.images.lettering import Line, cut_to

# Text of the PNG of a table that says where its images lie: for each column the (left, top, right, bottom) of each.
BOXES_KEY = "smi_hf boxes"
_GAP = 12
_MARGIN = 12
_MAX_WIDTH = 1000
# Pixels of the longer side of an image as it is shown, at least and at most.
_SMALLEST, _LARGEST, _LARGEST_IN_TABLE = 112, 224, 128
_LINE = 20
_BACKGROUND, _WORDS, _SOFT = "#ffffff", "#1b1b1b", "#595959"


def image_grid(
    images: Sequence[np.ndarray], captions: Sequence[Sequence[Line]], *, columns: int | None = None
) -> Image.Image:
    """Images side by side on white, row by row, each with its lines below it.

    Args:
        images: uint8 (H, W, 3), all of one size, at least one.
        captions: lines of each image, equally many of each; what is wider than the image ends with an ellipsis.
        columns: images in a row, at most as many as fit a page; about square, with full rows if it can be, if None.
    """
    shown = [_at_reading_size(image, _LARGEST) for image in images]
    width, height = shown[0].size
    fitting = max(1, (_MAX_WIDTH - 2 * _MARGIN + _GAP) // (width + _GAP))
    columns = min(fitting, columns or _columns_without_holes(len(images), fitting), len(images))
    cell = height + _LINE * len(captions[0]) + _GAP
    rows = math.ceil(len(images) / columns)
    sheet = _new_sheet(columns * (width + _GAP) - _GAP, rows * cell - _GAP)
    for number, (image, lines) in enumerate(zip(shown, captions)):
        left, top = _MARGIN + number % columns * (width + _GAP), _MARGIN + number // columns * cell
        sheet.paste(image, (left, top))
        _write(sheet, lines, left, top + height + 2, width)
    return sheet


def image_table(
    rows: Sequence[Sequence[np.ndarray]],
    row_captions: Sequence[Sequence[Line]],
    column_captions: Sequence[Sequence[Line]],
) -> Image.Image:
    """Rows of images, with lines over each column and lines at the left of each row; says where they lie in its info.

    Args:
        rows: uint8 (H, W, 3), all of one size; equally many in each row, at least one.
        row_captions, column_captions: lines of each row and of each column; what is wider than an image ends with an
            ellipsis.
    """
    shown = [[_at_reading_size(image, _LARGEST_IN_TABLE) for image in row] for row in rows]
    width, height = shown[0][0].size
    side = min(width, math.ceil(max(line.width for lines in row_captions for line in lines)))
    left, top = _MARGIN + side + _GAP, _MARGIN + _LINE * len(column_captions[0]) + 2
    sheet = _new_sheet(side + len(rows[0]) * (width + _GAP), top - _MARGIN + len(rows) * (height + _GAP) - _GAP)
    for column, lines in enumerate(column_captions):
        _write(sheet, lines, left + column * (width + _GAP), _MARGIN - 2, width)
    boxes: list[list[tuple[int, int, int, int]]] = [[] for _ in rows[0]]
    for row, (images, lines) in enumerate(zip(shown, row_captions)):
        above = top + row * (height + _GAP)
        for column, image in enumerate(images):
            start = left + column * (width + _GAP)
            sheet.paste(image, (start, above))
            boxes[column].append((start, above, start + width, above + height))
        _write(sheet, lines, _MARGIN, above + (height - _LINE * len(lines)) // 2, side)
    sheet.info[BOXES_KEY] = json.dumps(boxes)
    return sheet


def save_png(picture: Image.Image, path: Path) -> None:
    """Writes a PNG atomically, with where its images lie if it is a table."""
    text = PngImagePlugin.PngInfo()
    if BOXES_KEY in picture.info:
        text.add_text(BOXES_KEY, picture.info[BOXES_KEY])
    with replaced_atomically(path) as temporary:
        picture.save(temporary, format="PNG", optimize=True, pnginfo=text)


def _at_reading_size(image: np.ndarray, largest: int) -> Image.Image:
    """Enlarged or reduced by a whole number, so that patches keep their edges."""
    picture = Image.fromarray(image)
    longer = max(picture.size)
    if longer < _SMALLEST:
        factor = math.ceil(_SMALLEST / longer)
        return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    return picture.reduce(math.ceil(longer / largest)) if longer > largest else picture


def _columns_without_holes(count: int, most: int) -> int:
    square = min(most, math.ceil(math.sqrt(count)))
    return next((columns for columns in range(square, most + 1) if count % columns == 0), square)


def _new_sheet(width: int, height: int) -> Image.Image:
    return Image.new("RGB", (width + 2 * _MARGIN, height + 2 * _MARGIN), _BACKGROUND)


def _write(sheet: Image.Image, lines: Sequence[Line], left: int, top: int, width: int) -> None:
    """Lines one below the other, the first of them darker."""
    draw = ImageDraw.Draw(sheet)
    for number, line in enumerate(lines):
        cut_to(line, width).draw(draw, left, top + number * _LINE, _SOFT if number else _WORDS)
