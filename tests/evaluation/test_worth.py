import random

import pytest

from smi_hf.errors import UsageError
from smi_hf.evaluation.worth import Spread, worth

NOISE, PHOTOGRAPHS = [10.0, 14.0, 12.0], [40.0, 46.0, 46.0]


def test_noise_is_worth_0_and_photographs_1_by_construction():
    generator = random.Random(0)
    for _ in range(20):
        noise = [generator.uniform(0, 30) for _ in range(generator.randint(1, 5))]
        photographs = [generator.uniform(40, 90) for _ in range(generator.randint(1, 5))]
        assert worth(noise, noise, photographs).mean == pytest.approx(0, abs=1e-12)
        assert worth(photographs, noise, photographs).mean == pytest.approx(1)


def test_the_spread_is_that_of_the_set_in_units_of_what_photographs_gain():
    found = worth([28.0, 32.0, 24.0], NOISE, PHOTOGRAPHS)
    assert found == Spread(pytest.approx(0.5), pytest.approx(4 / 32), 3)


def test_a_single_run_has_no_spread():
    assert worth([28.0], NOISE, PHOTOGRAPHS) == Spread(0.5, None, 1)


def test_the_unit_does_not_matter():
    of_shares = worth([0.2], [0.1], [0.4])
    assert of_shares.mean == pytest.approx(worth([20], [10], [40]).mean)


def test_better_than_photographs_is_above_1_and_worse_than_noise_below_0():
    assert worth([50.0], NOISE, PHOTOGRAPHS).mean > 1
    assert worth([9.0], NOISE, PHOTOGRAPHS).mean < 0


@pytest.mark.parametrize("photographs", [[12.0], [11.0], [10.0, 14.0]])
def test_nothing_is_told_where_photographs_are_no_better_than_noise(photographs):
    assert worth([50.0], NOISE, photographs) is None


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        (([], NOISE, PHOTOGRAPHS), "the set"),
        ((NOISE, [], NOISE), "Gaussian noise"),
        ((NOISE, NOISE, []), "photographs"),
    ],
)
def test_a_set_without_a_run_is_refused_by_name(given, missing):
    with pytest.raises(UsageError, match=f"there is none of {missing}"):
        worth(*given)
