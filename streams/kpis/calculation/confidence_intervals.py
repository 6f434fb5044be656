"""Intervals of 95 % around what was measured."""

from __future__ import annotations

from math import fsum, sqrt

from models.aggregates import histograms
from models.aggregates.histograms import Histogram

Z95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""

Bounds = tuple[float, float]


def wilson(successes: float, n: float) -> Bounds:
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


def mean(total: float, squares: float, n: float) -> Bounds | None:
    """Return the interval of a mean by its standard error; None for fewer than two.

    Args:
        total: the sum of the values.
        squares: the sum of their squares.
        n: how many there are.
    """
    if n < 2:
        return None
    variance = max(0.0, squares - total * total / n) / (n - 1)
    margin = Z95 * sqrt(variance / n)
    return total / n - margin, total / n + margin


def mean_of(histogram: Histogram, *, around: float) -> Bounds | None:
    """Return the interval of a mean whose values are known by their distribution, to 1 %.

    Args:
        histogram: the values.
        around: their mean, which is known exactly.
    """
    n = histograms.count_of(histogram)
    if n < 2:
        return None
    values = [(histograms.value_of(bucket), count) for bucket, count in histogram.items()]
    centre = fsum(value * count for value, count in values) / n
    variance = fsum(count * (value - centre) ** 2 for value, count in values) / (n - 1)
    margin = Z95 * sqrt(variance / n)
    return around - margin, around + margin


def compound(value: float, *, squares: float, under: float) -> Bounds:
    """Return the interval of a sum of amounts over a cost that is known.

    The number of amounts is random as well as their size: a compound Poisson sum
    has the variance n·E[x²], which the sum of the squares estimates; the delta
    method carries it over to the quotient.

    Args:
        value: the quotient.
        squares: the sum of the squares of the amounts.
        under: the cost.
    """
    margin = Z95 * sqrt(squares) / under
    return value - margin, value + margin


def per_count(over: float, n: float) -> Bounds:
    """Return the interval of a known cost per event, whose number is Poisson's.

    The score interval of a Poisson mean, n + z²/2 ± z·√(n + z²/4): the counterpart
    of Wilson's for proportions.

    Args:
        over: the cost.
        n: how many events, at least 1.
    """
    centre = n + Z95 * Z95 / 2
    margin = Z95 * sqrt(n + Z95 * Z95 / 4)
    return over / (centre + margin), over / (centre - margin)


def differ(now: float, now_bounds: Bounds, then: float, then_bounds: Bounds) -> bool:
    """Say whether two independent estimates differ at 95 %.

    They do where their distance exceeds the root of the sum of the squares of the margins
    that face each other: the interval of a difference by square-and-add, R. G. Newcombe,
    Statistics in Medicine 17 (1998), which for symmetric intervals is the standard test of
    N. Schenker and J. F. Gentleman, The American Statistician 55 (2001). That intervals do
    not overlap would ask for too much.
    """
    if now < then:
        now, now_bounds, then, then_bounds = then, then_bounds, now, now_bounds
    return now - then > sqrt((now - now_bounds[0]) ** 2 + (then_bounds[1] - then) ** 2)


def counts_differ(now: float, then: float) -> bool:
    """Say whether two Poisson counts of equal periods differ at 95 %.

    Their difference has the variance that their sum estimates; J. Przyborowski and
    H. Wilenski, Biometrika 31 (1940), give the exact test, of which this is the normal
    approximation.
    """
    return abs(now - then) > Z95 * sqrt(now + then)


def quantile(histogram: Histogram, share: float) -> list[float]:
    """Return a quantile, and the values at the ranks that bound its rank.

    The quantile is the value of rank ⌊share · (n − 1)⌋ from 0, the lower median for a half.

    Args:
        histogram: holds at least one value.
        share: 0 to 1.
    """
    n = histograms.count_of(histogram)
    ranks = int(share * (n - 1)), *histograms.rank_bounds(n, share, z=Z95)
    return histograms.at_ranks(histogram, ranks)
