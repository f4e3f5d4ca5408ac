"""Wilson's interval of a share."""

import math

import pytest

from smi_hf.evaluation.intervals import wilson_interval


@pytest.mark.parametrize(("hits", "count"), [(853, 1000), (5, 10), (1, 7), (39, 40)])
def test_its_ends_are_the_shares_that_are_just_not_rejected(hits, count):
    for end in wilson_interval(hits / count, count):
        assert abs(hits / count - end) == pytest.approx(1.959964 * math.sqrt(end * (1 - end) / count))


def test_of_none_and_of_all_it_is_no_point():
    # 1.96^2 / (n + 1.96^2)
    assert wilson_interval(0, 10) == pytest.approx((0, 0.27753), abs=1e-5)
    assert wilson_interval(1, 40) == pytest.approx((0.91238, 1), abs=1e-5)


def test_of_more_images_it_is_narrower_and_always_around_the_share():
    widths = []
    for count in (1, 10, 1000, 10**6):
        low, high = wilson_interval(0.9, count)
        assert 0 <= low < 0.9 < high <= 1
        widths.append(high - low)
    assert widths == sorted(widths, reverse=True)
