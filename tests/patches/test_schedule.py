"""The prune schedule: its default, its counts, and what it refuses."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smi_hf.errors import UsageError
from smi_hf.patches import PruneSchedule


def test_the_papers_schedule_keeps_the_papers_counts():
    schedule = PruneSchedule.resolve(4000)
    assert schedule == PruneSchedule((50, 100, 200, 300), (0.3, 0.3, 0.3, 0.3))
    assert schedule.keep_counts(196) == (196, 137, 95, 66, 46)


@pytest.mark.parametrize(
    ("num_steps", "steps"),
    [
        (4000, (50, 100, 200, 300)),
        (400, (50, 100, 200, 300)),
        (399, (49, 99, 199, 299)),
        (100, (12, 25, 50, 75)),
        (10, (1, 2, 5, 7)),
        (3, (1, 2)),
        (2, (1,)),
        (1, ()),
    ],
)
def test_the_default_follows_the_length_of_the_run(num_steps, steps):
    schedule = PruneSchedule.resolve(num_steps)
    assert schedule.steps == steps
    assert schedule.ratios == (0.3,) * len(steps)


def test_one_ratio_serves_every_step():
    assert PruneSchedule.resolve(400, ratios=[0.5]).ratios == (0.5,) * 4
    assert PruneSchedule.resolve(10, steps=[3, 6], ratios=[0.5]).ratios == (0.5, 0.5)


def test_steps_without_ratios_get_the_papers_ratio():
    assert PruneSchedule.resolve(10, steps=[3, 6]) == PruneSchedule((3, 6), (0.3, 0.3))


def test_no_steps_prune_nothing():
    schedule = PruneSchedule.resolve(10, steps=[])
    assert schedule == PruneSchedule()
    assert list(schedule.stages(10, 16)) == [(10, 16)]


@pytest.mark.parametrize(
    ("num_patches", "ratio", "kept"),
    [
        (100, 0.9, 10),  # 100 * (1 - 0.9) is 9.999999999999998
        (10, 0.7, 3),  # 10 * (1 - 0.7) is 3.0000000000000004
        (1000, 0.999, 1),  # 1.0000000000000009
        (196, 0.3, 137),  # 137.2, cut as in the paper
        (16, 0.0, 16),
    ],
)
def test_kept_counts_round_down_the_exact_product_and_not_its_binary_neighbour(num_patches, ratio, kept):
    assert PruneSchedule((1,), (ratio,)).keep_counts(num_patches) == (num_patches, kept)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(2, 5000), st.integers(20, 2000), st.lists(st.floats(0, 0.5), min_size=1, max_size=1))
def test_the_stages_of_any_run_add_up_to_it_and_never_keep_more_than_before(num_steps, num_patches, ratios):
    schedule = PruneSchedule.resolve(num_steps, ratios=ratios)
    stages = list(schedule.stages(num_steps, num_patches))
    assert sum(steps for steps, _ in stages) == num_steps
    assert all(steps >= 1 for steps, _ in stages)
    counts = [count for _, count in stages]
    assert counts[0] == num_patches
    assert counts == sorted(counts, reverse=True)
    assert tuple(counts) == schedule.keep_counts(num_patches)


def test_the_stages_of_the_paper_are_these():
    assert list(PruneSchedule.resolve(4000).stages(4000, 196)) == [
        (50, 196),
        (50, 137),
        (100, 95),
        (100, 66),
        (3700, 46),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"steps": [50, 100, 200, 300], "ratios": [0.3, 0.2, 0.1]},
            "prune_ratios has 3 values (0.3, 0.2, 0.1) but prune_steps has 4 (50, 100, 200, 300); give one ratio per",
        ),
        ({"steps": [100, 50]}, "prune_steps must be positive and increase, but (100, 50) was given; sort them"),
        ({"steps": [50, 50]}, "prune_steps must be positive and increase, but (50, 50) was given"),
        ({"steps": [0, 50]}, "prune_steps must be positive and increase, but (0, 50) was given"),
        ({"steps": [-5]}, "prune_steps must be positive and increase, but (-5,) was given"),
        ({"steps": [50], "ratios": [1.0]}, "prune ratio 1.0 is outside [0, 1); it is the fraction of the remaining"),
        ({"steps": [50], "ratios": [-0.1]}, "prune ratio -0.1 is outside [0, 1)"),
        ({"steps": [50], "ratios": [30]}, "prune ratio 30.0 is outside [0, 1)"),
        ({"steps": [50], "ratios": [float("nan")]}, "prune ratio nan is outside [0, 1)"),
        (
            {"steps": [400]},
            "prune step 400 is not before the last of 400 steps, so it would do nothing; use a smaller",
        ),
        ({"steps": [50, 500]}, "prune step 500 is not before the last of 400 steps"),
        (
            {"ratios": [0.3, 0.3]},
            "prune_ratios has 2 values but the default prune_steps are (50, 100, 200, 300); give one ratio, 4 ratios,",
        ),
        ({"ratios": []}, "prune_ratios has 0 values but the default prune_steps are (50, 100, 200, 300)"),
    ],
)
def test_a_schedule_that_cannot_be_meant_is_refused_with_what_was_given(arguments, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        PruneSchedule.resolve(400, **arguments)


def test_a_schedule_that_leaves_no_patch_is_refused_with_its_counts():
    message = "prune_ratios (0.9, 0.9) leave 16 -> 1 -> 0 of 16 patches; use smaller or fewer ratios"
    with pytest.raises(UsageError, match=re.escape(message)):
        PruneSchedule((1, 2), (0.9, 0.9)).keep_counts(16)


def test_a_ratio_that_no_prune_would_use_is_refused():
    assert PruneSchedule.resolve(1) == PruneSchedule()
    with pytest.raises(UsageError, match=r"a run of 1 steps has no default prune steps; use more steps"):
        PruneSchedule.resolve(1, ratios=[0.3])
