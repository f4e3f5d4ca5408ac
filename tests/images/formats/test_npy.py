"""One array: read by numpy, as onnx2tf and Hailo do."""

import numpy as np
import pytest


def test_the_array_holds_every_image_in_order_channels_last(export):
    folder, expected = export("npy")
    array = np.load(folder / "images.npy", allow_pickle=False)
    assert array.dtype == np.float32 and array.shape == (6, 32, 32, 3)
    assert np.array_equal(array, expected.permute(0, 2, 3, 1).numpy())


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_8_bits_are_those_of_the_dataset(export, in_8_bits, layout):
    folder, expected = export("npy", "tiled", values="uint8", layout=layout)
    array = np.load(folder / "images.npy", allow_pickle=False)
    assert array.dtype == np.uint8
    assert np.array_equal(array.transpose(0, 2, 3, 1) if layout == "NCHW" else array, in_8_bits(expected))


def test_onnx2tf_finds_what_it_divides_by_one(export):
    """It subtracts a mean and divides by a deviation: 0 and 1 leave normalized images alone."""
    folder, expected = export("npy")
    array = np.load(folder / "images.npy")
    seen = (array[:1] - np.array([[[[0, 0, 0]]]])) / np.array([[[[1, 1, 1]]]])
    assert np.array_equal(seen[0], expected[0].permute(1, 2, 0).numpy())
