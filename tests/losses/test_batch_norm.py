"""Batch-norm statistics: against sums written out."""

from dataclasses import replace

import pytest
import torch
from loss_cases import small_inputs

from smi_hf.losses import LOSSES

TERM = LOSSES.get("batch_norm")


def test_it_is_the_sum_of_the_distances_of_means_and_of_variances():
    inputs = small_inputs()
    expected = []
    for image in range(2):
        total = 0.0
        for layer in inputs.batch_statistics:
            for found_BC, wanted_C in (
                (layer.mean_BC, layer.trained_mean_C),
                (layer.variance_BC, layer.trained_variance_C),
            ):
                pairs = zip(found_BC[image].tolist(), wanted_C.tolist(), strict=True)
                total += sum((found - wanted) ** 2 for found, wanted in pairs) ** 0.5
        expected.append(total)
    assert TERM(inputs).tolist() == pytest.approx(expected, rel=1e-12)


def test_its_gradient_is_that_of_finite_differences():
    inputs = small_inputs()
    first, *others = inputs.batch_statistics

    def of(mean_BC, variance_BC):
        return TERM(
            replace(inputs, batch_statistics=(replace(first, mean_BC=mean_BC, variance_BC=variance_BC), *others))
        )

    assert torch.autograd.gradcheck(of, (first.mean_BC, first.variance_BC))


def test_an_image_like_those_of_the_training_has_no_loss_and_a_finite_gradient():
    inputs = small_inputs()
    layer = inputs.batch_statistics[0]
    same = [each.expand(2, -1).clone().requires_grad_() for each in (layer.trained_mean_C, layer.trained_variance_C)]
    found_B = TERM(replace(inputs, batch_statistics=(replace(layer, mean_BC=same[0], variance_BC=same[1]),)))
    assert found_B.tolist() == [0, 0]
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(found_B.sum(), same))
