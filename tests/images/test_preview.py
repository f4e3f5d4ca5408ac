"""Pictures for people: every image at its place, and words at it that fit and can be read."""

import numpy as np
import pytest
from PIL import Image

from smi_hf.images.lettering import letter
from smi_hf.images.preview import image_grid, image_table, save_png

GAP, MARGIN, LINE = 12, 12, 20


def images_of(count: int, size: tuple[int, int] = (112, 120)) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.integers(0, 200, (*size, 3), dtype=np.uint8) for _ in range(count)]


def words(*lines: str) -> list:
    return [letter(line) for line in lines]


@pytest.mark.parametrize(
    ("count", "columns", "expected"),
    [
        (1, None, (1, 1)),
        (5, None, (1, 5)),
        (8, None, (2, 4)),
        (9, None, (3, 3)),
        (11, None, (3, 4)),
        (100, None, (15, 7)),
        (5, 2, (3, 2)),
        (2, 5, (1, 2)),
    ],
)
def test_every_image_is_at_its_place_with_its_words_below_it(count, columns, expected):
    images = images_of(count)
    sheet = np.array(image_grid(images, [words("dog", "5 %")] * count, columns=columns))
    rows, columns = expected
    across, down = 120 + GAP, 112 + 2 * LINE + GAP
    assert sheet.shape == (2 * MARGIN + rows * down - GAP, 2 * MARGIN + columns * across - GAP, 3)
    assert sheet.shape[1] <= 1000
    for number, image in enumerate(images):
        top, left = MARGIN + number // columns * down, MARGIN + number % columns * across
        assert np.array_equal(sheet[top : top + 112, left : left + 120], image)
        for line in range(2):
            below = top + 112 + 2 + line * LINE
            assert sheet[below : below + LINE, left : left + 120].min() < 128
        sheet[top : top + 112 + 2 * LINE + 2, left : left + 120] = 255
    assert (sheet == 255).all()


def test_words_wider_than_an_image_do_not_reach_the_next_one():
    sheet = np.array(image_grid(images_of(2), [words("a label of very many words, " * 9)] * 2))
    between = sheet[:, MARGIN + 120 : MARGIN + 120 + GAP]
    assert (between == 255).all()


@pytest.mark.parametrize(("size", "shown"), [(32, 128), (64, 128), (112, 112), (224, 224), (225, 113), (384, 192)])
def test_images_are_shown_at_a_size_that_words_fit_to_and_in_whole_numbers(size, shown):
    (image,) = images_of(1, (size, size))
    sheet = np.array(image_grid([image], [words("dog")]))
    assert sheet.shape == (2 * MARGIN + shown + LINE, 2 * MARGIN + shown, 3)
    if shown > size:
        factor = shown // size
        assert np.array_equal(sheet[MARGIN : MARGIN + shown : factor, MARGIN : MARGIN + shown : factor], image)


def test_a_table_has_words_over_columns_and_at_rows():
    rows = [images_of(3), images_of(3)]
    sheet = np.array(image_table(rows, [words("dog", "5 %"), words("cat", "6 %")], [words("step 1", "all")] * 3))
    # The images end at the margin on the right and below.
    height, width = sheet.shape[:2]
    top, left = height - MARGIN - 2 * 112 - GAP, width - MARGIN - 3 * 120 - 2 * GAP
    for row, images in enumerate(rows):
        for column, image in enumerate(images):
            above, before = top + row * (112 + GAP), left + column * (120 + GAP)
            assert np.array_equal(sheet[above : above + 112, before : before + 120], image)
            assert sheet[:top, before : before + 120].min() < 128
        assert sheet[top + row * (112 + GAP) :, : left - GAP].min() < 128


def test_a_picture_is_read_back_as_it_was_and_a_failure_leaves_the_one_before(tmp_path):
    path = tmp_path / "preview.png"
    picture = image_grid(images_of(3), [words("dog")] * 3)
    save_png(picture, path)
    assert np.array_equal(np.asarray(Image.open(path)), np.asarray(picture))
    with pytest.raises(OSError, match="cannot write mode CMYK"):
        save_png(picture.convert("CMYK"), path)
    assert np.array_equal(np.asarray(Image.open(path)), np.asarray(picture))
    assert list(tmp_path.iterdir()) == [path]
