"""How the learning rate changes over a run, as a factor of the one that was given.

Names and values are those of `transformers.get_scheduler` without warm-up, and of torch's `OneCycleLR`.
"""

import math
from collections.abc import Callable, Mapping

# A function of the step, in [0, num_steps), and of num_steps; in [0, 1].
LearningRateSchedule = Callable[[int, int], float]

# OneCycleLR's defaults: the share of the run that rises, the first factor, and the last one.
_RISING, _FIRST, _LAST = 0.3, 1 / 25, 1 / 25 / 1e4


def constant(step: int, num_steps: int) -> float:
    """1 all along."""
    return 1.0


def linear(step: int, num_steps: int) -> float:
    """From 1 in a straight line towards 0, which would be reached one step after the last."""
    return 1 - step / num_steps


def cosine(step: int, num_steps: int) -> float:
    """From 1 along half a cosine towards 0, which would be reached one step after the last."""
    return (1 + math.cos(math.pi * step / num_steps)) / 2


def one_cycle(step: int, num_steps: int) -> float:
    """Up from 1/25 to 1 over the first 30 % of the run, then down to nearly nothing, each along half a cosine.

    Source: Smith and Topin, Super-Convergence (arXiv 1708.07120), section 3; with the halves that torch uses.
    """
    top, last = max(_RISING * num_steps - 1, 0.0), num_steps - 1
    if step < top:
        return _between(_FIRST, 1.0, step / top)
    return _between(1.0, _LAST, (step - top) / (last - top) if last > top else 0.0)


def _between(start: float, end: float, progress: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


LR_SCHEDULES: Mapping[str, LearningRateSchedule] = {
    schedule.__name__: schedule for schedule in (constant, linear, cosine, one_cycle)
}
