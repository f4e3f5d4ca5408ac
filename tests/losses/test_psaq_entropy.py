"""Patch-similarity entropy: against kernels and trapezoids written out."""

import math
from dataclasses import replace

import pytest
import torch
from loss_cases import loss_inputs, small_inputs, with_everything

from smi_hf.losses import LOSSES
from smi_hf.losses.psaq_entropy import similarities
from smi_hf.patches import PatchGrid

TERM = LOSSES.get("psaq_entropy")


def cosines(heads_THD: torch.Tensor, num_kept: int) -> list[float]:
    """Of every pair of patches, itself included: what heads read, mean over heads; prefix tokens come first."""
    num_tokens, num_heads, _ = heads_THD.shape
    read = [sum(heads_THD[token, head] for head in range(num_heads)) / num_heads for token in range(num_tokens)]
    patches = read[num_tokens - num_kept :]
    return [float(one @ other / (one.norm() * other.norm())) for one in patches for other in patches]


def entropy(values: list[float]) -> float:
    low, high = min(values), max(values)
    points = [low + (high - low) * number / 9 for number in range(10)]

    def integrand(point: float) -> float:
        kernels = [
            math.exp(-(((point - value) / 0.01) ** 2) / 2) / (0.01 * math.sqrt(2 * math.pi)) for value in values
        ]
        density = sum(kernels) / len(kernels) + 1e-4
        return -density * math.log(density)

    heights = [integrand(point) for point in points]
    return sum((points[i + 1] - points[i]) * (heights[i] + heights[i + 1]) / 2 for i in range(9))


def test_similarities_are_cosines_of_kept_patches():
    inputs = small_inputs()
    found_BV = similarities(inputs.head_outputs[0], inputs)
    for image in range(2):
        expected = cosines(inputs.head_outputs[0][image].detach(), 4)
        assert found_BV[image].tolist() == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_it_is_minus_the_entropy_of_the_kernel_density_summed_over_blocks():
    inputs = small_inputs()
    expected = [
        -sum(entropy(cosines(heads[image].detach(), 4)) for heads in inputs.head_outputs) for image in range(2)
    ]
    assert TERM(inputs).tolist() == pytest.approx(expected, rel=1e-9)


def by_autograd(heads: torch.Tensor, num_kept: int) -> torch.Tensor:
    """The entropy of one block of one image with the gradient that autograd finds, the points left alone."""
    patches = heads[-num_kept:].mean(dim=1)
    values = torch.nn.functional.cosine_similarity(patches[None], patches[:, None], dim=2).flatten()
    points = torch.linspace(*map(float, values.detach().aminmax()), 10, dtype=values.dtype)
    kernels = torch.exp(-(((points[:, None] - values) / 0.01) ** 2) / 2) / (0.01 * math.sqrt(2 * math.pi))
    density = kernels.mean(dim=1) + 1e-4
    return torch.trapezoid(-density * density.log(), points)


def test_its_gradient_is_that_of_autograd_with_the_points_left_alone():
    inputs = small_inputs()
    weights_B = torch.tensor([1.0, -2.0], dtype=torch.float64)
    found = torch.autograd.grad((weights_B * TERM(inputs)).sum(), inputs.head_outputs)
    total = -sum(
        weights_B[image] * by_autograd(heads[image], 4) for heads in inputs.head_outputs for image in range(2)
    )
    expected = torch.autograd.grad(total, inputs.head_outputs)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)
    assert any((gradient != 0).any() for gradient in found)


def test_patches_that_differ_in_many_ways_have_less_loss_than_patches_that_are_nearly_one():
    grid = PatchGrid(12, 12, 2, 2)
    inputs = with_everything(loss_inputs(grid, torch.zeros(2, 3, 12, 12, dtype=torch.float64)))
    near = tuple(heads[:, :1] + 0.1 * heads for heads in inputs.head_outputs)
    assert (TERM(inputs) < TERM(replace(inputs, head_outputs=near))).all()


def test_one_patch_alone_has_no_loss_and_a_finite_gradient():
    grid = PatchGrid(4, 4, 2, 2)
    inputs = with_everything(loss_inputs(grid, torch.zeros(1, 3, 4, 4), torch.tensor([[2]])))
    found_B = TERM(inputs)
    assert found_B.tolist() == [0]
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(found_B.sum(), inputs.head_outputs))
