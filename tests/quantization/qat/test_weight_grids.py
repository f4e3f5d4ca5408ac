import pytest
import torch
from torch import Tensor

from smi_hf.quantization.qat.weight_grids import least_squares_range


@pytest.mark.parametrize("bits", [4, 2])
def test_ranges_are_better_than_those_of_any_narrower_or_wider_reach(bits):
    weights = torch.randn(6, 96, generator=torch.Generator().manual_seed(0))
    weights[1] = weights[1].exp()
    last = 2**bits - 1

    def error(scale: Tensor, shift: Tensor) -> Tensor:
        codes = ((weights + shift) / scale).round().clamp(0, last)
        return (scale * codes - shift - weights).square().mean(dim=1)

    scale, shift = least_squares_range(weights, bits)
    assert scale.shape == shift.shape == (6, 1)
    found = error(scale, shift)
    low, high = weights.aminmax(dim=1, keepdim=True)
    for first in torch.linspace(0, 0.5, 11):
        for width in torch.linspace(0.2, 1, 17):
            least = low + first * (high - low)
            # Both are searches; neither is exhaustive.
            assert (found <= 1.05 * error(width * (high - low) / last, -least)).all()


def test_a_group_that_needs_few_values_is_represented_exactly():
    weights = torch.tensor([[0.0] * 8, [0.3] * 8, [-0.1, 0.2] * 4, [0.0, 0.1, 0.2, 0.3] * 2])
    scale, shift = least_squares_range(weights, 2)
    codes = ((weights + shift) / scale).round().clamp(0, 3)
    assert torch.allclose(scale * codes - shift, weights, atol=1e-6)
    assert (scale > 0).all()


def test_an_important_weight_is_represented_best():
    weights = torch.tensor([[-1.0, -0.35, 0.1, 0.4, 1.0, 0.77]])
    importance = torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, 1000.0])
    errors = []
    for each in (None, importance):
        scale, shift = least_squares_range(weights, 2, each)
        codes = ((weights + shift) / scale).round().clamp(0, 3)
        errors.append(float((scale * codes - shift - weights)[0, 5].abs()))
    assert errors[1] < 0.1 * errors[0] and errors[1] < 0.01
