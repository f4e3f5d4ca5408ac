"""Predictors made by hand, which see the brightness of a picture."""

from collections.abc import Callable

import numpy as np
import pytest

from smi_hf.evaluation.predictors import Predictor

NUM_LABELS = 12


class Brightness:
    """An image processor whose output is a picture's red, scaled."""

    def __init__(self, scale: float = 1.0, side: int = 4) -> None:
        self.scale, self.side = scale, side

    def to_dict(self) -> dict[str, float]:
        return {"scale": self.scale, "side": self.side}

    def __call__(self, pictures, return_tensors: str) -> dict[str, np.ndarray]:
        resized = [np.asarray(picture.resize((self.side, self.side))).transpose(2, 0, 1) for picture in pictures]
        return {"pixel_values": self.scale * np.stack(resized)}


@pytest.fixture
def label_names() -> list[str]:
    return [f"label {number}" for number in range(NUM_LABELS)]


@pytest.fixture
def make_predictor(label_names) -> Callable[..., Predictor]:
    """A model that ranks label (brightness + shift) first, the next one second, and so on; it expects its scale."""

    def make(shift: int = 0, *, scale: float = 1.0, side: int = 4, seen: list | None = None) -> Predictor:
        def logits(pixels_BCHW: np.ndarray) -> np.ndarray:
            assert pixels_BCHW.dtype == np.float32
            assert pixels_BCHW.shape[2:] == (side, side)
            if seen is not None:
                seen.extend(pixels_BCHW[:, 0, 0, 0].tolist())
            first = (pixels_BCHW[:, 0, 0, 0] / scale).round().astype(int) + shift
            distance = (np.arange(NUM_LABELS)[None] - first[:, None]) % NUM_LABELS
            return -distance.astype(np.float32)

        return Predictor(logits, Brightness(scale, side), label_names, "by hand")

    return make


@pytest.fixture
def images(saved, label_names):
    """Twelve pictures, the brightness of each its label."""
    from datasets import ClassLabel

    from smi_hf.images.real import load_image_set

    return load_image_set(saved(list(range(NUM_LABELS)), ClassLabel(names=label_names)), label_names)
