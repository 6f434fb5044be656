"""Computes how a KPI differs from its reference period, and whether that is significant."""

from __future__ import annotations

from typing import NamedTuple

from models.kpi.definition import Kpi, KpiValue
from models.scope import Scope
from streams.kpis.calculation import confidence_intervals
from streams.kpis.view import Comparison


class Difference(NamedTuple):
    """A KPI's value in a window and in the reference period.

    Args:
        now: the value in the window; None if the KPI is absent there.
        then: the value in the reference period.
        ratio: now / then - 1, such as 0.25 for 25 % more; None if ``then`` is not above 0.
        significant: whether the difference is statistically significant at the 95% level; None
            if it is not tested.
    """

    now: KpiValue | None
    then: KpiValue
    ratio: float | None = None
    significant: bool | None = None


def difference_of(kpi: Kpi, scope: Scope, comparison: Comparison) -> Difference | None:
    """Return the difference of a KPI in a scope; None if the reference period has no value."""
    then = comparison.then.values.get(scope, {}).get(kpi.name)
    if then is None:
        return None
    now = comparison.now.values.get(scope, {}).get(kpi.name)
    if now is None:
        return Difference(None, then)
    ratio = now.value / then.value - 1 if then.value > 0 else None
    return Difference(
        now, then, ratio, _significant(kpi, now, then) if comparison.complete_for(kpi) else None
    )


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
    usual, bounds = kpi.benchmark.value, _bounds(value)
    return BenchmarkDifference(
        value.value / usual - 1 if usual > 0 else None,
        None if bounds is None else value.significant and not bounds[0] <= usual <= bounds[1],
    )


def _significant(kpi: Kpi, now: KpiValue, then: KpiValue) -> bool | None:
    """Return whether two values differ at the 95% level, and both rest on enough.

    Tested are values that both have an interval, and counts of events or users that are not
    negative. Returns None for others.
    """
    bounds, bounds_then = _bounds(now), _bounds(then)
    if bounds is not None and bounds_then is not None:
        differ = confidence_intervals.differ(now.value, bounds, then.value, bounds_then)
    elif kpi.volume and kpi.unit in {"count", "users"} and min(now.value, then.value) >= 0:
        differ = confidence_intervals.counts_differ(now.value, then.value)
    else:
        return None
    return differ and now.significant and then.significant


def _bounds(value: KpiValue) -> confidence_intervals.Bounds | None:
    return None if value.low is None or value.high is None else (value.low, value.high)
