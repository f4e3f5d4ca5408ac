"""Patch-similarity entropy in closed form: against the variance written out."""

import math
from dataclasses import replace

import pytest
from loss_cases import check_gradient, small_inputs

from smi_hf.losses import LOSSES

TERM = LOSSES.get("psaq_gaussian")


def test_it_is_minus_the_entropy_of_a_gaussian_of_the_similarities_variance_summed_over_blocks():
    inputs = small_inputs()
    expected = []
    for image in range(2):
        total = 0.0
        for heads in inputs.head_outputs:
            patches = heads[image, -4:].mean(dim=1).detach()
            values = [float(one @ other / (one.norm() * other.norm())) for one in patches for other in patches]
            mean = sum(values) / len(values)
            variance = sum((value - mean) ** 2 for value in values) / len(values)
            total -= math.log(2 * math.pi * math.e * (variance + 1e-6)) / 2
        expected.append(total)
    assert TERM(inputs).tolist() == pytest.approx(expected, rel=1e-12)


def test_its_gradient_is_that_of_finite_differences():
    inputs = small_inputs()
    check_gradient(TERM, inputs, head_outputs=inputs.head_outputs)


def test_patches_that_differ_in_many_ways_have_less_loss_than_patches_that_are_one():
    inputs = small_inputs()
    same = tuple(heads[:, :1].expand_as(heads) for heads in inputs.head_outputs)
    assert (TERM(inputs) < TERM(replace(inputs, head_outputs=same))).all()
