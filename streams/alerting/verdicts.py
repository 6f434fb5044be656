"""Verdicts of alert rules on single values."""

from __future__ import annotations

from enum import Enum, auto

from models.alerts import ThresholdRule
from models.kpi.definition import KpiValue


class Verdict(Enum):
    """Result of judging a closed window, or the health of the data, by a rule."""

    BROKEN = auto()
    """A reason to alert: the value is beyond the limit, or there is no traffic."""
    HOLDS = auto()
    """No reason to alert: the value is within the limit by the hysteresis, or there is traffic."""
    BETWEEN = auto()
    """Neither: the value is inside the hysteresis, or its interval includes the limit."""
    NO_JUDGEMENT = auto()
    """No value, too few events, or only a part of the window was observed."""


def threshold(rule: ThresholdRule, value: KpiValue | None) -> Verdict:
    """Judge a value against the rule's limit.

    A value with an interval breaks the rule only if the whole interval is beyond the limit.
    The rule holds once the value itself is back at `ThresholdRule.back_at`.

    Args:
        rule: the rule.
        value: the value in the unit of the rule; None if the KPI is absent.
    """
    if value is None or value.n < rule.min_n:
        return Verdict.NO_JUDGEMENT
    if rule.below is not None:
        edge = value.value if value.high is None else value.high
        if edge < rule.below:
            return Verdict.BROKEN
        cleared = value.value >= rule.back_at
    else:
        edge = value.value if value.low is None else value.low
        if edge > rule.limit:
            return Verdict.BROKEN
        cleared = value.value <= rule.back_at
    return Verdict.HOLDS if cleared else Verdict.BETWEEN


def absence(value: KpiValue | None) -> Verdict:
    """Judge whether there is traffic in a complete window; None and 0 break the rule."""
    return Verdict.HOLDS if value is not None and value.value else Verdict.BROKEN
