import base64
import io

import numpy as np
from PIL import Image

from smi_hf.reports.thumbnails import as_data


def opened(data: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(data.partition(",")[2])))


def test_a_small_picture_is_kept_as_it_is():
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    assert np.array_equal(np.asarray(opened(as_data(Image.fromarray(pixels)))), pixels)


def test_512_pictures_of_noise_take_less_than_25_megabytes():
    pixels = np.random.default_rng(0).integers(0, 256, (384, 384, 3), dtype=np.uint8)
    data = as_data(Image.fromarray(pixels))
    assert 512 * len(data) < 25e6
    assert opened(data).size == (192, 192)
