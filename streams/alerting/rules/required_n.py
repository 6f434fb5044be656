"""Computes how many events a value must rest on for a rule to be broken by it."""

from __future__ import annotations

from math import floor
from typing import Protocol

from models.kpi.definition import Kpi, KpiValue
from models.kpi.formula import Quotient
from streams.kpis.calculation.confidence_intervals import Z95, per_count_n, scaled_n, wilson_n


class Limited(Protocol):
    """A rule with a limit on one side."""

    @property
    def below(self) -> float | None:
        """The limit below which a value breaks the rule; None if it is an upper limit."""

    @property
    def limit(self) -> float:
        """The limit, of whichever side."""

    @property
    def min_n(self) -> int:
        """Smallest n of a value that is judged."""


def is_beyond(rule: Limited, value: KpiValue) -> bool:
    """Return whether a value itself is beyond the limit, whatever its interval is."""
    return value.value > rule.limit if rule.below is None else value.value < rule.limit


def required_n(rule: Limited, kpi: Kpi, value: KpiValue) -> int | None:
    """Return the smallest n with which a value beyond the limit would break a rule.

    The value stays as it is, and so do the events that it is made of: their number grows. For
    shares and costs per event it is computed from the method of the interval, Wilson or Poisson,
    exactly; for other intervals from their margin, which shrinks with the root of n.

    Args:
        rule: the rule.
        kpi: the definition of its KPI.
        value: the value.

    Returns:
        At least ``min_n``; None if the value is not beyond the limit.
    """
    if not is_beyond(rule, value):
        return None
    facing = value.low if rule.below is None else value.high
    if facing is None:
        return max(rule.min_n, 1)
    limit, estimate = rule.limit, float(value.value)
    if _is_plain_share(kpi) and 0 < limit < 1 and 0 <= estimate <= 1:
        needed = wilson_n(estimate, limit)
    elif _is_cost_per_event(kpi) and limit > 0 and estimate > 0:
        needed = per_count_n(estimate, limit)
    else:
        needed = scaled_n(
            max(value.n, 1), margin=abs(facing - estimate), distance=abs(limit - estimate)
        )
    return max(rule.min_n, needed)


def least_n(rule: Limited, kpi: Kpi) -> int:
    """Return the smallest n with which any value breaks a rule.

    Of a share it is the n with which 0 or 1 is surely beyond the limit: with fewer events, the
    rule can't fire.

    Example:
        A conversion below 1 %: 381 clicks without an order. Above 20 %: one order from one click.
    """
    least = 0
    if _is_plain_share(kpi) and 0 < rule.limit < 1:
        odds = rule.limit / (1 - rule.limit)
        # The bound of 0 of n is z² / (n + z²), that of n of n is n / (n + z²).
        least = floor(Z95 * Z95 * (odds if rule.below is None else 1 / odds)) + 1
    return max(rule.min_n, least)


def _is_plain_share(kpi: Kpi) -> bool:
    """Return whether a KPI is a share of its n with Wilson's interval."""
    return (
        kpi.interval == "wilson"
        and isinstance(kpi.parsed, Quotient)
        and kpi.parsed.times == 1
        and kpi.n_terms in {None, kpi.parsed.under}
    )


def _is_cost_per_event(kpi: Kpi) -> bool:
    """Return whether a KPI is a cost for each event of its n, with the interval of a count."""
    return (
        kpi.interval == "poisson"
        and isinstance(kpi.parsed, Quotient)
        and kpi.n_terms in {None, kpi.parsed.under}
    )
