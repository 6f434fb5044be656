"""Distributions: counts by bucket, from which quantiles and second moments are read.

The buckets grow by a constant factor, as in DDSketch: C. Masson, J. E. Rim,
H. K. Lee, "DDSketch: a fast and fully-mergeable quantile sketch with
relative-error guarantees", VLDB 12 (2019). A value is known to within 1 %
(`RELATIVE_ERROR`), whatever its size; merging adds counts and is exact.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from itertools import accumulate
from math import ceil, exp, fsum, log, sqrt
from typing import Final

RELATIVE_ERROR: Final = 0.01
_GAMMA: Final = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_LOG_GAMMA: Final = log(_GAMMA)
_MIDDLE: Final = 2 / (1 + _GAMMA)
ZERO_BUCKET: Final = -1
"""Holds zeros; values are whole numbers, so that all others are at least 1."""

Histogram = dict[int, int]
"""How many values a bucket holds. Bucket i holds the values in (γ^(i-1), γ^i]."""


def bucket_of(value: int) -> int:
    """Return the bucket of a whole number that is not negative."""
    return ceil(log(value) / _LOG_GAMMA) if value > 0 else ZERO_BUCKET


def value_of(bucket: int) -> float:
    """Return the value that stands for a bucket: off by at most 1 % of any in it."""
    return 0.0 if bucket == ZERO_BUCKET else exp(bucket * _LOG_GAMMA) * _MIDDLE


def merge(into: Histogram, other: Mapping[int, int]) -> None:
    """Add another histogram's counts to the first."""
    for bucket, count in other.items():
        into[bucket] = into.get(bucket, 0) + count


def count_of(histogram: Mapping[int, int]) -> int:
    """Return how many values a histogram holds."""
    return sum(histogram.values())


def at_ranks(histogram: Mapping[int, int], ranks: Iterable[int]) -> list[float]:
    """Return the values of ranks from 0, within 1 %; the largest for ranks beyond it.

    Args:
        histogram: holds at least one value.
        ranks: in any order.
    """
    buckets = sorted(histogram)
    passed = list(accumulate(map(histogram.__getitem__, buckets)))
    largest = len(buckets) - 1
    return [value_of(buckets[min(bisect_right(passed, rank), largest)]) for rank in ranks]


def sum_of_squares(histogram: Mapping[int, int]) -> float:
    """Return the sum of the squares of all values, within 2 %.

    `fsum` makes it the same in whatever order the buckets were filled.
    """
    return fsum(count * value_of(bucket) ** 2 for bucket, count in histogram.items())


def rank_bounds(n: int, share: float, *, z: float) -> tuple[int, int]:
    """Return the ranks, from 0, of the values that bound a quantile's interval.

    By the normal approximation of the binomial distribution of the rank: W. J.
    Conover, "Practical Nonparametric Statistics", 3.2.
    """
    middle = share * n
    margin = z * sqrt(n * share * (1 - share))
    return max(0, int(middle - margin)), min(n - 1, ceil(middle + margin))
