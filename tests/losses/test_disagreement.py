"""Disagreement: against the divergence written out."""

import math
from dataclasses import replace

import pytest
import torch
from loss_cases import check_gradient, small_inputs

from smi_hf.losses import LOSSES

TERM = LOSSES.get("disagreement")


def divergence(first: list[float], second: list[float]) -> float:
    """Jensen-Shannon divergence of two distributions, in nats."""
    middle = [(one + other) / 2 for one, other in zip(first, second)]

    def to_middle(distribution):
        return sum(one * math.log(one / other) for one, other in zip(distribution, middle) if one)

    return (to_middle(first) + to_middle(second)) / 2


def test_it_is_1_minus_the_jensen_shannon_divergence_of_the_answers():
    inputs = small_inputs()
    answers = [logits.softmax(dim=1).tolist() for logits in (inputs.logits_BL, inputs.student_logits_BL)]
    expected = [1 - divergence(one, other) for one, other in zip(*answers)]
    assert TERM(inputs).tolist() == pytest.approx(expected, rel=1e-12)


def test_its_gradient_is_that_of_finite_differences():
    inputs = small_inputs()
    check_gradient(TERM, inputs, logits_BL=inputs.logits_BL, student_logits_BL=inputs.student_logits_BL)


@pytest.mark.parametrize(("student", "expected"), [([900.0, 0.0], 1.0), ([0.0, 900.0], 1 - math.log(2))])
def test_answers_that_are_sure_give_its_bounds_and_finite_gradients(student, expected):
    inputs = replace(
        small_inputs(),
        logits_BL=torch.tensor([[900.0, 0.0]], requires_grad=True),
        student_logits_BL=torch.tensor([student], requires_grad=True),
    )
    found_B = TERM(inputs)
    assert found_B.tolist() == pytest.approx([expected])
    gradients = torch.autograd.grad(found_B.sum(), (inputs.logits_BL, inputs.student_logits_BL))
    assert all(gradient.isfinite().all() for gradient in gradients)
