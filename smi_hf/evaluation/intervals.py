"""How far an accuracy on few images can be trusted."""

import math

_Z_95 = 1.959963984540054


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share, (low, high) in [0, 1]; unlike the normal one it is not empty at 0 and at 1.

    Args:
        share: of successes, in [0, 1].
        count: of trials, at least 1.
    """
    assert count > 0 and 0 <= share <= 1
    weight = _Z_95**2 / count
    center = (share + weight / 2) / (1 + weight)
    half = math.sqrt(share * (1 - share) * weight + weight**2 / 4) / (1 + weight)
    return max(0.0, center - half), min(1.0, center + half)
