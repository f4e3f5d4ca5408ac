"""Pictures for people: every image at its place, and nothing but white between them."""

import numpy as np
import pytest
from PIL import Image

from smi_hf.images.preview import image_grid, save_png

GAP = 4


def dark_images(count: int) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.integers(0, 200, (6, 8, 3), dtype=np.uint8) for _ in range(count)]


@pytest.mark.parametrize(
    ("count", "columns", "expected"),
    [(1, None, (1, 1)), (5, None, (2, 3)), (9, None, (3, 3)), (100, None, (13, 8)), (5, 2, (3, 2)), (2, 5, (1, 5))],
)
def test_every_image_is_at_its_place_and_the_rest_is_white(count, columns, expected):
    images = dark_images(count)
    sheet = np.array(image_grid(images, columns=columns))
    rows, columns = expected
    assert sheet.shape == (rows * (6 + GAP) - GAP, columns * (8 + GAP) - GAP, 3)
    for number, image in enumerate(images):
        top, left = number // columns * (6 + GAP), number % columns * (8 + GAP)
        assert np.array_equal(sheet[top : top + 6, left : left + 8], image)
        sheet[top : top + 6, left : left + 8] = 255
    assert (sheet == 255).all()


def test_a_picture_is_read_back_as_it_was_and_a_failure_leaves_the_one_before(tmp_path):
    path = tmp_path / "preview.png"
    picture = image_grid(dark_images(3))
    save_png(picture, path)
    assert np.array_equal(np.asarray(Image.open(path)), np.asarray(picture))
    with pytest.raises(OSError, match="cannot write mode CMYK"):
        save_png(picture.convert("CMYK"), path)
    assert np.array_equal(np.asarray(Image.open(path)), np.asarray(picture))
    assert list(tmp_path.iterdir()) == [path]
