"""Computes 95% confidence intervals and tests at the 95% level.

Example:
    3 orders from 100 clicks are a conversion rate of 3 %. `wilson(3, 100)` returns
    (0.0103, 0.0845): 1.0 % to 8.5 %. The simple interval, share ± 1.96 standard errors, would
    be -0.3 % to 6.3 %, with a bound that no share can have.
    12 orders from 400 clicks are 3 % as well, and (0.0172, 0.0517): 1.7 % to 5.2 %.
    No order from 30 clicks is 0 %, and (0.0, 0.1135): up to 11.4 % can't be ruled out.
"""

from __future__ import annotations

from math import floor, fsum, sqrt

from models.aggregates.histogram import Histogram, at_ranks, count_of, rank_bounds, value_of

Z95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution: 95 % lie within ± z."""

Bounds = tuple[float, float]
"""The lower and the upper bound of an interval."""


def wilson(successes: float, n: float) -> Bounds:
    """Return the Wilson score interval of a proportion.

    E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical
    Inference", JASA 22 (1927).

    Args:
        successes: the number of successes, 0 to n.
        n: the number of trials, at least 1.

    Returns:
        Bounds of the share, both in 0 to 1.
    """
    share = successes / n
    square = Z95 * Z95
    centre = (share + square / (2 * n)) / (1 + square / n)
    margin = Z95 * sqrt(share * (1 - share) / n + square / (4 * n * n)) / (1 + square / n)
    low = 0.0 if successes == 0 else max(0.0, centre - margin)
    high = 1.0 if successes == n else min(1.0, centre + margin)
    return low, high


def mean(total: float, squares: float, n: float) -> Bounds | None:
    """Return the interval of a mean, ± z standard errors; None for fewer than two values.

    Args:
        total: the sum of the values.
        squares: the sum of their squares.
        n: the number of values.
    """
    if n < 2:
        return None
    variance = max(0.0, squares - total * total / n) / (n - 1)
    margin = Z95 * sqrt(variance / n)
    return total / n - margin, total / n + margin


def mean_of(histogram: Histogram, *, around: float) -> Bounds | None:
    """Return the interval of a mean, with the variance taken from a histogram.

    The histogram has each value to within 1 %. The interval is centred on the exact mean.

    Args:
        histogram: the distribution of the values.
        around: the exact mean of the values.

    Returns:
        None for fewer than two values.
    """
    n = count_of(histogram)
    if n < 2:
        return None
    values = [(value_of(bucket), count) for bucket, count in histogram.items()]
    centre = fsum(value * count for value, count in values) / n
    variance = fsum(count * (value - centre) ** 2 for value, count in values) / (n - 1)
    margin = Z95 * sqrt(variance / n)
    return around - margin, around + margin


def compound(value: float, *, squares: float, under: float) -> Bounds:
    """Return the interval of a sum of random amounts divided by a known cost, such as ROAS.

    The number of amounts is random as well as their size. Such a compound Poisson sum has the
    variance n·E[x²], which the sum of the squares estimates. Dividing its standard deviation by
    the cost gives that of the quotient (delta method).

    Args:
        value: the quotient.
        squares: the sum of the squares of the amounts.
        under: the cost, scaled so that sum of amounts / under is the quotient.
    """
    margin = Z95 * sqrt(squares) / under
    return value - margin, value + margin


def per_count(over: float, n: float) -> Bounds:
    """Return the interval of a known cost per event, if the number of events is Poisson.

    The cost is divided by the bounds of the score interval of a Poisson mean,
    n + z²/2 ± z·√(n + z²/4), which is the counterpart of Wilson's interval of a proportion.

    Example:
        A spend of 800 for 16 orders is 50 an order. The mean number of orders is within 9.85
        and 25.99, so the cost of one is within 30.78 and 81.23.

    Args:
        over: the cost; negative if more was credited than spent.
        n: the number of events, at least 1.
    """
    centre = n + Z95 * Z95 / 2
    margin = Z95 * sqrt(n + Z95 * Z95 / 4)
    bounds = over / (centre + margin), over / (centre - margin)
    return min(bounds), max(bounds)


def difference(now: float, now_bounds: Bounds, then: float, then_bounds: Bounds) -> Bounds:
    """Return the interval of the difference of two independent estimates, now - then.

    On each side its margin is the root of the sum of the squares of the margins that face each
    other (square-and-add, R. G. Newcombe, Statistics in Medicine 17, 1998).

    Example:
        20 of 1,000 are 2 % (1.30 % to 3.07 %), 35 of 1,000 are 3.5 % (2.53 % to 4.83 %). The
        difference is 1.5 points, from 1.5 - sqrt(0.97² + 1.07²) = 0.06 to
        1.5 + sqrt(1.33² + 0.70²) = 3.00 points: it is significant.

    Args:
        now: the first estimate.
        now_bounds: its interval.
        then: the second estimate, in the same unit.
        then_bounds: its interval.
    """
    distance = now - then
    return (
        distance - sqrt((now - now_bounds[0]) ** 2 + (then_bounds[1] - then) ** 2),
        distance + sqrt((now_bounds[1] - now) ** 2 + (then - then_bounds[0]) ** 2),
    )


def counts_difference(now: float, then: float) -> Bounds:
    """Return the interval of the difference of two Poisson counts of equal periods, now - then.

    Their sum estimates the variance of their difference. The exact test is that of
    J. Przyborowski and H. Wilenski, Biometrika 31 (1940); this is its normal approximation.

    Example:
        130 and 100 differ: 30 ± 1.96 * sqrt(230) is 0.3 to 59.7.
    """
    margin = Z95 * sqrt(now + then)
    return now - then - margin, now - then + margin


def excludes_zero(bounds: Bounds) -> bool:
    """Return whether an interval of a difference says that there is one, at the 95% level.

    For symmetric intervals this is the standard test of N. Schenker and J. F. Gentleman, The
    American Statistician 55 (2001). Intervals of estimates that overlap may still differ:
    requiring that they do not overlap would be too strict.
    """
    return bounds[0] > 0 or bounds[1] < 0


def quantile(histogram: Histogram, share: float) -> list[float]:
    """Return a quantile and its interval: the values at the ranks that bound its rank.

    The quantile is the value of rank ⌊share · (n − 1)⌋, counted from 0: for a share of 0.5 the
    lower median.

    Args:
        histogram: the distribution, of at least one value.
        share: the share of values below the quantile, 0 to 1.

    Returns:
        The quantile, the lower bound and the upper bound, each to within 1 %.
    """
    n = count_of(histogram)
    ranks = int(share * (n - 1)), *rank_bounds(n, share, z=Z95)
    return at_ranks(histogram, ranks)


def wilson_n(share: float, limit: float) -> int:
    """Return the number of trials from which on Wilson's interval of a share excludes a limit.

    The interval is that of the score test: it includes the limit L while
    |share - L| <= z·√(L(1 - L) / n).

    Example:
        `wilson_n(0, 0.01)` is 381: no order from 381 clicks is surely fewer than 1 %.

    Args:
        share: the share of successes, 0 to 1, which stays the same as n grows.
        limit: above 0 and below 1, and not the share.
    """
    return floor(Z95 * Z95 * limit * (1 - limit) / (share - limit) ** 2) + 1


def per_count_n(value: float, limit: float) -> int:
    """Return the number of events from which on the interval of `per_count` excludes a limit.

    At the limit, n·value / limit events were expected for the same cost. The interval includes the
    limit while n is within z standard deviations of that Poisson mean.

    Example:
        An order costs 50. `per_count_n(50, 80)` is 18: with 18 orders for 900 the interval is
        31.6 to 79.1, with 17 for 850 it is 31.2 to 80.1.

    Args:
        value: the cost per event, above 0, which stays the same as n grows.
        limit: above 0, and not the value.
    """
    ratio = value / limit
    return floor(Z95 * Z95 * ratio / (1 - ratio) ** 2) + 1


def scaled_n(n: int, *, margin: float, distance: float) -> int:
    """Return the n from which on a margin that shrinks with √n is smaller than a distance.

    This holds for means and compound sums whose events stay alike, and about so for quantiles.

    Args:
        n: the number of events of the value, at least 1.
        margin: the distance from the value to the bound that faces the limit.
        distance: the distance from the value to the limit, above 0.
    """
    return floor(n * (margin / distance) ** 2) + 1
