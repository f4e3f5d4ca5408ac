"""What a notebook shows of a sparse dataset: facts, and the first images."""

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

from PIL import Image

from smi_hf.data.captions import image_words, record_words
from smi_hf.notebook import facts, panel, strip

if TYPE_CHECKING:
    from smi_hf.data.reader import SparseDataset

_NUM_IMAGES = 8
_LONGER_SIDE = 112
# Each output is saved with its notebook.
_MAX_BYTES = 190_000


def dataset_html(dataset: "SparseDataset") -> str:
    """HTML of at most 200 KB; of a streamed dataset the facts alone, as its images may be far away.

    Raises:
        UsageError: an image cannot be decoded.
    """
    in_use = {} if len(dataset) == dataset.record.num_images else {"images in use": f"the first {len(dataset)}"}
    title = f"Sparse dataset {dataset.name}".rstrip()
    pictures = strip(_thumbnails(dataset), max_bytes=_MAX_BYTES)
    return panel(title, facts(record_words(dataset.record) | in_use), pictures)


def _thumbnails(dataset: "SparseDataset") -> Iterator[tuple[bytes, list[str]]]:
    """The first images as PNGs of a size to look at, and what is to be said of each."""
    if dataset.is_streamed:
        return
    numbers = range(min(_NUM_IMAGES, len(dataset)))
    rows = dataset.random_access("display").with_format("arrow")[list(numbers)].to_pylist()
    pixels_BCHW = dataset.decoded(numbers)["pixel_values"]
    for pixels_CHW, row in zip(pixels_BCHW, rows):
        picture = Image.fromarray(pixels_CHW.permute(1, 2, 0).numpy())
        png = io.BytesIO()
        picture.reduce(max(1, round(max(picture.size) / _LONGER_SIDE))).save(png, format="PNG", optimize=True)
        yield png.getvalue(), image_words(dataset.record, row)
