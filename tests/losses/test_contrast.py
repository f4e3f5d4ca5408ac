"""Contrast: against the share written out."""

import math
from dataclasses import replace

import pytest
from loss_cases import check_gradient, small_inputs

from smi_hf.losses import LOSSES

TERM = LOSSES.get("contrast")


def test_it_is_minus_the_log_of_an_images_share_among_itself_and_the_memory():
    inputs = small_inputs()
    expected = []
    for own in inputs.features_BD.detach():
        weights = [math.exp(float(own @ other / (own.norm() * other.norm())) / 0.2) for other in inputs.memory_MD]
        itself = math.exp(1 / 0.2)
        expected.append(-math.log(itself / (itself + sum(weights))))
    assert TERM(inputs).tolist() == pytest.approx(expected, rel=1e-12)


def test_its_gradient_is_that_of_finite_differences():
    inputs = small_inputs()
    check_gradient(TERM, inputs, features_BD=inputs.features_BD)


def test_a_memory_of_nothing_but_the_image_itself_gives_the_most_that_there_is():
    inputs = small_inputs()
    same = replace(inputs, memory_MD=inputs.features_BD[:1].detach().expand(6, -1))
    assert float(TERM(same)[0]) == pytest.approx(math.log(7))
    assert TERM(same)[1] < math.log(7)
