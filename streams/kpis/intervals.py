"""Intervals of 95 % around what was measured."""

from __future__ import annotations

from math import sqrt

Z95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Return the Wilson score interval of a proportion.

    E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical
    Inference", JASA 22 (1927).

    Args:
        successes: how many of n, 0 to n.
        n: at least 1.
    """
    share = successes / n
    square = Z95 * Z95
    centre = (share + square / (2 * n)) / (1 + square / n)
    margin = Z95 * sqrt(share * (1 - share) / n + square / (4 * n * n)) / (1 + square / n)
    low = 0.0 if successes == 0 else max(0.0, centre - margin)
    high = 1.0 if successes == n else min(1.0, centre + margin)
    return low, high
