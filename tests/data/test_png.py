"""A PNG gives back the pixels that it was made of."""

import io

import numpy as np
from PIL import Image

from smi_hf.data.png import encode_png


def test_a_png_holds_every_pixel():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    with Image.open(io.BytesIO(encode_png(pixels))) as picture:
        assert (picture.format, picture.mode) == ("PNG", "RGB")
        assert np.array_equal(np.asarray(picture), pixels)
