"""Head similarity: against structural similarity written out."""

from dataclasses import replace

import pytest
import torch
from loss_cases import check_gradient, small_inputs

from smi_hf.losses import LOSSES

TERM = LOSSES.get("head_similarity")


def structural_similarity(first: list[float], second: list[float]) -> float:
    """Of two pictures as one window, with the constants of values of about 1."""
    number = len(first)
    mean, other_mean = sum(first) / number, sum(second) / number
    variance = sum((value - mean) ** 2 for value in first) / number
    other_variance = sum((value - other_mean) ** 2 for value in second) / number
    covariance = sum((one - mean) * (other - other_mean) for one, other in zip(first, second)) / number
    means = (2 * mean * other_mean + 1e-4) / (mean**2 + other_mean**2 + 1e-4)
    return means * (2 * covariance + 9e-4) / (variance + other_variance + 9e-4)


def test_it_is_1_minus_the_similarity_of_two_heads_mean_over_pairs_patches_and_blocks():
    inputs = small_inputs()
    expected = []
    for image in range(2):
        distances = []
        for attention in inputs.attentions:
            for query in range(2, 6):
                rows = (4 * attention[image, :, query, 2:]).tolist()
                for first, second in ((0, 1), (0, 2), (1, 2)):
                    distances.append(1 - abs(structural_similarity(rows[first], rows[second])))
        expected.append(sum(distances) / len(distances))
    assert TERM(inputs).tolist() == pytest.approx(expected, rel=1e-12)


def test_its_gradient_is_that_of_finite_differences():
    inputs = small_inputs()
    check_gradient(TERM, inputs, attentions=inputs.attentions)


def test_heads_that_look_alike_have_no_loss():
    inputs = small_inputs()
    same = tuple(attention[:, :1].expand_as(attention) for attention in inputs.attentions)
    assert TERM(replace(inputs, attentions=same)).tolist() == pytest.approx([0, 0], abs=1e-12)


def test_one_head_alone_has_no_loss_and_a_gradient_of_0():
    inputs = small_inputs()
    one = tuple(attention[:, :1].detach().requires_grad_() for attention in inputs.attentions)
    found_B = TERM(replace(inputs, attentions=one))
    assert found_B.tolist() == [0, 0]
    assert all((gradient == 0).all() for gradient in torch.autograd.grad(found_B.sum(), one))
