"""Pixel units: normalised values and the 8 bits of an image file."""

import re

import pytest
import torch

from smi_hf.errors import UsageError
from smi_hf.patches import Normalization

NORMALIZATIONS = {
    "imagenet": Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "none": Normalization((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}


@pytest.fixture(params=NORMALIZATIONS.values(), ids=NORMALIZATIONS.keys())
def normalization(request):
    return request.param


def test_every_8_bit_value_survives_the_way_to_normalised_units_and_back(normalization):
    values_3PQ = torch.arange(256, dtype=torch.uint8).reshape(16, 16).expand(3, 16, 16)
    normalised_3PQ = normalization.from_uint8(values_3PQ)
    assert normalised_3PQ.dtype == torch.float32
    assert torch.equal(normalization.to_uint8(normalised_3PQ), values_3PQ)


def test_normalised_units_are_those_of_an_image_processor(normalization):
    values_3PQ = torch.arange(192, dtype=torch.uint8).reshape(3, 8, 8)
    expected = torch.stack(
        [
            (channel.float() / 255 - mean) / std
            for channel, mean, std in zip(values_3PQ, normalization.mean, normalization.std)
        ]
    )
    # Float32 rounding of values up to 3.
    torch.testing.assert_close(normalization.from_uint8(values_3PQ), expected, rtol=0, atol=1e-6)


def test_leading_dimensions_are_images_and_patches(normalization):
    values_BKCPQ = torch.randint(0, 256, (2, 5, 3, 4, 6), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    normalised_BKCPQ = normalization.from_uint8(values_BKCPQ)
    assert torch.equal(normalization.to_uint8(normalised_BKCPQ), values_BKCPQ)
    assert torch.equal(normalised_BKCPQ[1, 3], normalization.from_uint8(values_BKCPQ[1, 3]))


def test_the_bounds_are_black_and_white(normalization):
    lowest_C11, highest_C11 = normalization.bounds(torch.zeros(1))
    assert lowest_C11.shape == highest_C11.shape == (3, 1, 1)
    assert (normalization.to_uint8(lowest_C11) == 0).all()
    assert (normalization.to_uint8(highest_C11) == 255).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_bounds_have_the_type_of_the_pixels(normalization, dtype):
    assert [bound.dtype for bound in normalization.bounds(torch.zeros(1, dtype=dtype))] == [dtype, dtype]


def test_values_beyond_black_and_white_are_cut_off(normalization):
    lowest_C11, highest_C11 = normalization.bounds(torch.zeros(1))
    assert (normalization.to_uint8(lowest_C11 - 1) == 0).all()
    assert (normalization.to_uint8(highest_C11 + 1) == 255).all()


def test_a_value_becomes_the_nearest_8_bit_value():
    pixels_3PQ = torch.tensor([0.4, 0.6, 1.4]).reshape(1, 1, 3).expand(3, 1, 3) / 255
    assert NORMALIZATIONS["none"].to_uint8(pixels_3PQ)[0].tolist() == [[0, 1, 1]]


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        ((0.5, 0.5, 0.5), (0.5, 0.5)),
        ((0.5, 0.5, 0.5), (0.5, 0.5, 0.0)),
        ((0.5, 0.5, 0.5), (0.5, 0.5, -0.5)),
        ((0.5, 0.5, 0.5), (0.5, 0.5, float("nan"))),
    ],
)
def test_a_mean_and_std_that_cannot_be_undone_are_refused_with_their_values(mean, std):
    message = f"image mean {mean} and std {std} must have one value per channel, and std be positive"
    with pytest.raises(UsageError, match=re.escape(message)):
        Normalization(mean, std)


@pytest.mark.parametrize("wanted", NORMALIZATIONS.values(), ids=NORMALIZATIONS)
def test_pixels_converted_for_another_model_are_the_same_8_bit_values(normalization, wanted):
    values_BCPQ = torch.arange(0, 255, dtype=torch.uint8).reshape(1, 3, 5, 17)
    converted = normalization.converted(normalization.from_uint8(values_BCPQ), wanted)
    assert torch.equal(wanted.to_uint8(converted), values_BCPQ)
    assert torch.allclose(converted, wanted.from_uint8(values_BCPQ), atol=1e-5)


def test_pixels_for_a_model_that_normalizes_alike_are_not_touched(normalization):
    pixels = torch.randn(1, 3, 2, 2)
    assert normalization.converted(pixels, normalization) is pixels
