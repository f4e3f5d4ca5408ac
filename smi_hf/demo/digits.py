"""Generated 64x64 RGB images of one handwritten digit in clutter, so that a foreground and a background exist.

The digits come from the 1,797 scans that scikit-learn bundles (8x8 pixels, from the UCI repository), so nothing is
downloaded. The clutter is smooth colored noise under short strokes and blobs: bright things that are not digits,
so that brightness alone does not give the foreground away.

Everything that is drawn is an integer and Pillow does the arithmetic on bytes: an image is the same on every
platform, for a given release of NumPy and Pillow.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from smi_hf.environment import how_to_install

if TYPE_CHECKING:
    from datasets import Dataset


IMAGE_SIZE = 64
CLASS_NAMES = tuple("0123456789")
SPLITS = ("train", "test")

# Every fifth scan of each class is held out. A rule on the index needs no random numbers, and counting within the
# class keeps the classes balanced, where a rule on the plain index would not: the scans start as 0, 1, ... 9, 0, 1.
_HELD_OUT_EVERY = 5


def generate_digits(split: str, num_images: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draws `num_images` images, each of one digit at a random place on a cluttered background.

    Image `i` depends on `(split, seed, i)` alone: a larger `num_images` only appends images.

    Args:
        split: "train" or "test". No handwritten digit is in both.
        num_images: how many images to draw, at least 1. About 0.3 ms each.
        seed: which sequence of images, 0 or more.

    Returns:
        The images, uint8 of shape `(num_images, 64, 64, 3)`, RGB from 0 to 255, and their labels, int64 of shape
        `(num_images,)`, from 0 to 9.

    Raises:
        ValueError: for an unknown split, fewer than one image or a negative seed.
        ImportError: without scikit-learn.
    """
    if split not in SPLITS:
        raise ValueError(f'split is {split!r}, but the digits have only "train" and "test"; give one of these two')
    if num_images < 1:
        raise ValueError(f"num_images is {num_images}, but at least 1 image has to be drawn")
    if seed < 0:
        raise ValueError(f"seed is {seed}, but NumPy accepts only 0 or more")

    scans, scan_labels = _scans(split)
    images = np.empty((num_images, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)
    labels = np.empty(num_images, dtype=np.int64)
    for index in range(num_images):
        entropy = np.random.SeedSequence(seed, spawn_key=(SPLITS.index(split), index))
        generator = np.random.Generator(np.random.PCG64(entropy))
        scan = int(generator.integers(len(scans)))
        image = _draw_background(generator)
        _paste_digit(image, scans[scan], generator)
        images[index] = np.asarray(image)
        labels[index] = scan_labels[scan]
    return images, labels


def digits_dataset(split: str, num_images: int, *, seed: int = 0) -> Dataset:
    """Puts the images of `generate_digits` in a `datasets.Dataset`, stored as PNG and thus without loss.

    Args:
        split: "train" or "test".
        num_images: how many rows, at least 1.
        seed: which sequence of images, 0 or more.

    Returns:
        A dataset with the columns `image` (a PIL RGB image of 64x64) and `label` (a `ClassLabel` of "0" to "9").

    Raises:
        ValueError: for an unknown split, fewer than one image or a negative seed.
        ImportError: without scikit-learn.
    """
    import datasets

    images, labels = generate_digits(split, num_images, seed=seed)
    features = datasets.Features(
        {"image": datasets.Image(mode="RGB"), "label": datasets.ClassLabel(names=list(CLASS_NAMES))}
    )
    rows = {"image": [Image.fromarray(image) for image in images], "label": labels.tolist()}
    return datasets.Dataset.from_dict(rows, features=features)


@lru_cache(maxsize=len(SPLITS))
def _scans(split: str) -> tuple[np.ndarray, np.ndarray]:
    """The source digits of a split: ink of shape (num_scans, 8, 8), uint8 from 0 to 255, and labels (num_scans,)."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            f"the demo digits come with scikit-learn; install it with {how_to_install('demo')}"
        ) from error

    bundle = load_digits()
    ink = (bundle.images.astype(np.int64) * 255 // 16).astype(np.uint8)
    labels = bundle.target.astype(np.int64)
    rank_in_class = np.empty_like(labels)
    for label in range(len(CLASS_NAMES)):
        of_label = np.flatnonzero(labels == label)
        rank_in_class[of_label] = np.arange(len(of_label))
    is_held_out = rank_in_class % _HELD_OUT_EVERY == _HELD_OUT_EVERY - 1
    is_in_split = is_held_out if split == "test" else ~is_held_out
    return ink[is_in_split], labels[is_in_split]


def _draw_background(generator: np.random.Generator) -> Image.Image:
    """Smooth colored noise, dark to medium, with brighter strokes and blobs on it."""
    # A 2x2 grid resizes to a gradient, a 9x9 one to soft spots: the blend of two gives both.
    coarse = _smooth_noise(int(generator.integers(2, 4)), generator)
    fine = _smooth_noise(int(generator.integers(5, 10)), generator)
    image = Image.blend(coarse, fine, int(generator.integers(2, 7)) / 8)

    canvas = ImageDraw.Draw(image)
    for _ in range(int(generator.integers(3, 7))):
        x, y, dx, dy = (int(value) for value in generator.integers((0, 0, -10, -10), (64, 64, 11, 11)))
        canvas.line((x, y, x + dx, y + dy), fill=_color(40, 180, generator), width=int(generator.integers(1, 4)))
    for _ in range(int(generator.integers(2, 5))):
        x, y, width, height = (int(value) for value in generator.integers((-2, -2, 3, 3), (62, 62, 10, 10)))
        canvas.ellipse((x, y, x + width, y + height), fill=_color(40, 180, generator))
    return image


def _smooth_noise(grid_size: int, generator: np.random.Generator) -> Image.Image:
    grid = generator.integers(0, 120, size=(grid_size, grid_size, 3), dtype=np.uint8)
    return Image.fromarray(grid).resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC)


def _color(low: int, high: int, generator: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in generator.integers(low, high, size=3))
    return red, green, blue


def _paste_digit(image: Image.Image, ink: np.ndarray, generator: np.random.Generator) -> None:
    """Paints one digit of about 20 to 32 pixels on `image`, in place, in a bright color and fully inside it."""
    # One empty pixel around the 8x8 scan lets the resize fade out where the ink touches the border.
    padded = Image.fromarray(np.pad(ink, 1))
    height = int(generator.integers(25, 41))
    width = min(max(height + int(generator.integers(-5, 6)), 25), 40)
    mask = padded.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (int(value) for value in generator.integers(0, (IMAGE_SIZE - width + 1, IMAGE_SIZE - height + 1)))

    bright = list(_color(170, 256, generator))
    bright[int(generator.integers(3))] = 255
    image.paste(tuple(bright), (left, top), mask)
