"""How far a share that was counted on a few images can be trusted."""

import math

_Z_95 = 1.959964


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a share, both ends in [0, 1], by Wilson's score.

    It holds near 0 and 1 as well: 40 of 40 is between 0.912 and 1, where the normal approximation says exactly 1.

    Args:
        share: in [0, 1].
        count: how many were looked at, at least 1.

    Source: E. B. Wilson, Probable Inference, the Law of Succession, and Statistical Inference, JASA 1927.
    """
    squared = _Z_95**2 / count
    middle = (share + squared / 2) / (1 + squared)
    half = _Z_95 / (1 + squared) * math.sqrt(share * (1 - share) / count + squared / (4 * count))
    return max(0.0, middle - half), min(1.0, middle + half)
