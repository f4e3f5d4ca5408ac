"""Factors of the learning rate, against the libraries whose names they bear."""

import pytest
import torch
from transformers import get_scheduler

from smi_hf.inversion.lr_schedules import LR_SCHEDULES, one_cycle


def factors(name, num_steps):
    return [LR_SCHEDULES[name](step, num_steps) for step in range(num_steps)]


def followed(make, num_steps):
    """The learning rates of a scheduler of torch, of an optimizer whose learning rate is 1."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler, values = make(optimizer), []
    for _ in range(num_steps):
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return values


@pytest.mark.parametrize("name", ["constant", "linear", "cosine"])
def test_a_name_of_transformers_has_the_values_of_transformers(name):
    expected = followed(lambda optimizer: get_scheduler(name, optimizer, 0, 20), 20)
    assert factors(name, 20) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("num_steps", [4, 20, 100])
def test_one_cycle_is_that_of_torch(num_steps):
    # OneCycleLR steps beyond its end with an error; the last step is asked for before that.
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=num_steps)
    expected = []
    for step in range(num_steps):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step < num_steps - 1:
            scheduler.step()
    assert factors("one_cycle", num_steps) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", sorted(LR_SCHEDULES))
@pytest.mark.parametrize("num_steps", [1, 2, 3, 7])
def test_no_run_is_too_short_and_no_factor_above_one(name, num_steps):
    assert all(0 < factor <= 1 for factor in factors(name, num_steps))


def test_a_constant_learning_rate_is_exactly_the_one_given():
    assert factors("constant", 5) == [1.0] * 5


def test_one_cycle_rises_falls_and_peaks_at_three_tenths():
    values = [one_cycle(step, 100) for step in range(100)]
    assert values.index(max(values)) == 29 and values[29] == 1.0
    assert values[:30] == sorted(values[:30]) and values[29:] == sorted(values[29:], reverse=True)
