"""What a set of images is worth for a task, between Gaussian noise (0) and photographs (1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from smi_hf.errors import UsageError


@dataclass(frozen=True)
class Spread:
    """Several runs of one measurement.

    Args:
        mean: over the runs.
        deviation: standard deviation over the runs; None of a single one.
        count: of runs.
    """

    mean: float
    deviation: float | None
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Mean and spread of at least one value."""
        return cls(mean(values), stdev(values) if len(values) > 1 else None, len(values))


def worth(scores: Sequence[float], noise: Sequence[float], photographs: Sequence[float]) -> Spread | None:
    """`(scores - noise) / (photographs - noise)`, with noise and photographs at their means over runs.

    1 is as good as photographs, 0 no better than noise; above 1 and below 0 happen. Of `noise` itself it is 0 and of
    `photographs` 1, each with its own spread. Runs are not paired: a run of one set has nothing in common with a run
    of another.

    Args:
        scores: of the set, one a run, in any unit of which more is better.
        noise: of Gaussian noise, in that unit.
        photographs: of as many photographs, in that unit.

    Returns:
        None where photographs are no better than noise: then nothing can be told by this task.

    Raises:
        UsageError: one of the three has no run.
    """
    for name, values in (("the set", scores), ("Gaussian noise", noise), ("photographs", photographs)):
        if not values:
            raise UsageError(f"worth needs at least one run of each, but there is none of {name}")
    floor, reach = mean(noise), mean(photographs) - mean(noise)
    if reach <= 0:
        return None
    return Spread.of([(score - floor) / reach for score in scores])
