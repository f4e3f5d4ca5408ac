"""The schedule of Patch Rebirth: steps and shares of equal size."""

import pytest

from smi_hf import UsageError
from smi_hf.patches import PruneSchedule, ShareSchedule


def test_the_papers_shares_are_these():
    schedule = ShareSchedule.divide(4000, 4)
    assert schedule.steps == (1000, 2000, 3000)
    assert schedule.keep_counts(196) == (196, 147, 98, 49)
    assert schedule.num_leaving(196) == 49
    assert list(schedule.stages(4000, 196)) == [(1000, 196), (1000, 147), (1000, 98), (1000, 49)]
    # Seven images of 28 patches, every 571 steps: three of 4,000 steps are not taken.
    assert ShareSchedule.divide(4000, 7).last_step(4000) == 3997
    assert ShareSchedule.divide(4000, 7).keep_counts(196)[-1] == 28


@pytest.mark.parametrize(
    ("num_steps", "num_shares", "num_patches"), [(10, 3, 17), (7, 7, 7), (400, 2, 1369), (5, 4, 6)]
)
def test_all_images_have_equally_many_patches_and_equally_many_steps_apart(num_steps, num_shares, num_patches):
    schedule = ShareSchedule.divide(num_steps, num_shares)
    counts, share = schedule.keep_counts(num_patches), num_patches // num_shares
    assert counts[0] == num_patches and counts[-1] == share == schedule.num_leaving(num_patches)
    # What is left over is dropped at the first prune.
    assert counts[1:] == tuple(range(share * (num_shares - 1), 0, -share))
    assert 0 <= counts[0] - counts[1] - share < num_shares
    stages = list(schedule.stages(num_steps, num_patches))
    assert [steps for steps, _ in stages] == [num_steps // num_shares] * num_shares
    assert [kept for _, kept in stages] == list(counts)


def test_ratios_say_which_fraction_of_the_patches_leaves():
    assert ShareSchedule.divide(100, 4).ratios == pytest.approx((1 / 4, 1 / 3, 1 / 2))
    schedule = ShareSchedule.divide(100, 4)
    assert PruneSchedule(schedule.steps, schedule.ratios).keep_counts(196) == schedule.keep_counts(196)


def test_more_images_than_steps_or_patches_are_refused():
    with pytest.raises(UsageError, match=r"num_steps is 3, but a trajectory of 4 images .* use more steps"):
        ShareSchedule.divide(3, 4)
    with pytest.raises(UsageError, match=r"3 patches cannot be shared by 4 images .* use fewer images"):
        ShareSchedule.divide(8, 4).keep_counts(3)
