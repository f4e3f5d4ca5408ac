"""The arithmetic of PSAQ-ViT's quantizer, against its formulas written out."""

import math

import pytest
import torch

from smi_hf.quantization.psaq import fake_quantize_activations, fake_quantize_weights


def steps_near(position: float, lowest: int, highest: int) -> set[int]:
    """The integers that a position may be rounded to: at a half, either, as the last bit of a division decides."""
    return {min(max(round(position + nudge), lowest), highest) for nudge in (-1e-4, 0, 1e-4)}


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_weights_are_rounded_by_the_formula_channel_by_channel(bits):
    weights = torch.randn(5, 7, generator=torch.Generator().manual_seed(0)) * torch.logspace(-3, 2, 5)[:, None]
    found = fake_quantize_weights(weights, bits)
    for channel, rounded in zip(weights.tolist(), found.tolist()):
        scale = max(map(abs, channel)) / ((2**bits - 1) / 2)
        for before, after in zip(channel, rounded):
            steps = steps_near(before / scale, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
            assert any(math.isclose(after, step * scale, rel_tol=1e-5) for step in steps)
        assert len(set(rounded)) <= 2**bits
    assert torch.equal(fake_quantize_weights(torch.zeros(2, 3), bits), torch.zeros(2, 3))


def test_a_convolutions_weights_are_rounded_as_those_of_the_same_linear_map():
    weights = torch.randn(6, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    flat = fake_quantize_weights(weights.flatten(1), 4)
    assert torch.equal(fake_quantize_weights(weights, 4).flatten(1), flat)


@pytest.mark.parametrize(
    ("low", "high"),
    [(-1.3, 2.9), (-4.0, 0.0), (0.0, 0.7), (1.5, 4.0), (-7.0, -2.0), (3.0, 3.0), (-3.0, -3.0)],
)
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_activations_are_rounded_by_the_formula_on_a_range_with_0(low, high, bits):
    values = torch.linspace(min(low, 0) - 1, max(high, 0) + 1, 301)
    found = fake_quantize_activations(values, low, high, bits)
    bottom, top = min(low, 0.0), max(high, 0.0)
    scale = (top - bottom) / (2**bits - 1)
    zero = -round(bottom / scale)
    for before, after in zip(values.tolist(), found.tolist()):
        steps = steps_near(before / scale + zero, 0, 2**bits - 1)
        assert any(math.isclose(after, (step - zero) * scale, rel_tol=1e-5, abs_tol=1e-6) for step in steps)
    assert len(found.unique()) <= 2**bits
    # Inside the range no value moves by more than half a step; nor do low and high, the ends of the grid.
    inside = values.clamp(bottom, top)
    assert float((fake_quantize_activations(inside, low, high, bits) - inside).abs().max()) <= 0.5001 * scale


def test_zeros_and_constants_survive():
    assert torch.equal(fake_quantize_activations(torch.zeros(3), 0.0, 0.0, 8), torch.zeros(3))
    for value in (5.0, -0.25):
        torch.testing.assert_close(
            fake_quantize_activations(torch.full((3,), value), value, value, 4), torch.full((3,), value)
        )
