"""Histograms: counts by bucket, from which quantiles and sums of squares are computed.

Buckets grow by a constant factor, as in DDSketch: C. Masson, J. E. Rim, H. K. Lee, "DDSketch: a
fast and fully-mergeable quantile sketch with relative-error guarantees", VLDB 12 (2019). Each
value is known to within 1 % (`RELATIVE_ERROR`), whatever its size. Merging adds counts and is
exact.

Example: 250, 251 and 255 ms are counted as {277: 2, 278: 1}. Bucket 277 stands for 252.2 and
bucket 278 for 257.3, so that the median is 252.2 ms.
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
"""The bucket of zeros. Values are integers, so that all others are at least 1."""

Histogram = dict[int, int]
"""The number of values by bucket. Bucket i holds the values in (γ^(i-1), γ^i]."""


def bucket_of(value: int) -> int:
    """Return the bucket of an integer that is not negative."""
    return ceil(log(value) / _LOG_GAMMA) if value > 0 else ZERO_BUCKET


def value_of(bucket: int) -> float:
    """Return the value that stands for a bucket; it is within 1 % of each value in it."""
    return 0.0 if bucket == ZERO_BUCKET else exp(bucket * _LOG_GAMMA) * _MIDDLE


def merge(into: Histogram, other: Mapping[int, int]) -> None:
    """Add the counts of a histogram to another one."""
    for bucket, count in other.items():
        into[bucket] = into.get(bucket, 0) + count


def count_of(histogram: Mapping[int, int]) -> int:
    """Return the number of values in a histogram."""
    return sum(histogram.values())


def at_ranks(histogram: Mapping[int, int], ranks: Iterable[int]) -> list[float]:
    """Return the values at some ranks, within 1 %.

    Args:
        histogram: a histogram of at least one value.
        ranks: ranks from 0, in any order; one beyond the last gives the largest value.
    """
    buckets = sorted(histogram)
    passed = list(accumulate(map(histogram.__getitem__, buckets)))
    largest = len(buckets) - 1
    return [value_of(buckets[min(bisect_right(passed, rank), largest)]) for rank in ranks]


def sum_of_squares(histogram: Mapping[int, int]) -> float:
    """Return the sum of the squares of all values, within about 2 %.

    `fsum` makes the result independent of the order in which buckets were filled.
    """
    return fsum(count * value_of(bucket) ** 2 for bucket, count in histogram.items())


def rank_bounds(n: int, share: float, *, z: float) -> tuple[int, int]:
    """Return the ranks, from 0, of the values that bound the interval of a quantile.

    Uses the normal approximation of the binomial distribution of the rank: W. J. Conover,
    "Practical Nonparametric Statistics", 3.2. The median of 100 values has ranks 40 to 60.

    Args:
        n: the number of values.
        share: the quantile, 0 to 1.
        z: the standard normal quantile of the level, 1.96 for 95 %.
    """
    middle = share * n
    margin = z * sqrt(n * share * (1 - share))
    return max(0, int(middle - margin)), min(n - 1, ceil(middle + margin))
