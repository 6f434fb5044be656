"""Computes how a KPI differs from another period, and whether that is significant."""

from __future__ import annotations

from typing import NamedTuple

from models.kpi.definition import Kpi, KpiValue
from models.kpi.value_range import is_counted
from models.scope import Scope
from streams.kpis.calculation import confidence_intervals
from streams.kpis.view import Comparison


class Difference(NamedTuple):
    """A KPI's value in a window and in another period.

    Args:
        now: the value in the window; None if the KPI is absent there.
        then: the value in the other period.
        ratio: now / then - 1, such as 0.25 for 25 % more; None if ``then`` is not above 0.
        low: the lower bound of the 95 % interval of now - then; None if it is not tested.
        high: the upper bound, likewise.
        significant: whether the difference is statistically significant at the 95% level, and both
            values rest on enough; None if it is not tested.
    """

    now: KpiValue | None
    then: KpiValue
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    significant: bool | None = None


def difference_of(kpi: Kpi, scope: Scope, comparison: Comparison) -> Difference | None:
    """Return the difference of a KPI in a scope; None if the reference period has no value."""
    then = comparison.then.values.get(scope, {}).get(kpi.name)
    if then is None:
        return None
    now = comparison.now.values.get(scope, {}).get(kpi.name)
    if now is None:
        return Difference(None, then)
    tested = difference_between(kpi, now, then)
    if comparison.complete_for(kpi):
        return tested
    return Difference(now, then, tested.ratio)


def difference_between(kpi: Kpi, now: KpiValue, then: KpiValue) -> Difference:
    """Return the difference of two values of a KPI, which are complete and of equal periods.

    Tested are values that both have an interval, and counts of events or users.
    """
    ratio = now.value / then.value - 1 if then.value > 0 else None
    bounds, bounds_then = now.interval, then.interval
    if bounds is not None and bounds_then is not None:
        found = confidence_intervals.difference(now.value, bounds, then.value, bounds_then)
    elif is_counted(kpi) and min(now.value, then.value) >= 0:
        found = confidence_intervals.counts_difference(now.value, then.value)
    else:
        return Difference(now, then, ratio)
    significant = confidence_intervals.excludes_zero(found) and now.significant and then.significant
    return Difference(now, then, ratio, *found, significant)


class BenchmarkDifference(NamedTuple):
    """A KPI's value compared with its benchmark.

    Args:
        ratio: value / benchmark - 1; None if the benchmark is not above 0.
        significant: whether the value's 95% interval excludes the benchmark and the value rests
            on enough; None if it has no interval.
    """

    ratio: float | None
    significant: bool | None


def benchmark_difference_of(kpi: Kpi, value: KpiValue) -> BenchmarkDifference | None:
    """Return how a value differs from its KPI's benchmark; None without a benchmark."""
    if kpi.benchmark is None:
        return None
    usual, bounds = kpi.benchmark.value, value.interval
    return BenchmarkDifference(
        value.value / usual - 1 if usual > 0 else None,
        None if bounds is None else value.significant and not bounds[0] <= usual <= bounds[1],
    )
