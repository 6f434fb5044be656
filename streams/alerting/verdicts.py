"""Rules applied to a value: does the rule hold, and if not, by what evidence."""

from __future__ import annotations

from enum import Enum, auto

from models.alerts import ThresholdRule
from models.kpi.definition import KpiValue


class Verdict(Enum):
    """What a rule says of a closed window."""

    BROKEN = auto()
    """The rule does not hold: reason to alert."""
    HOLDS = auto()
    """The rule holds."""
    BETWEEN = auto()
    """Neither: inside the hysteresis, or the interval includes the limit."""
    NO_JUDGEMENT = auto()
    """There is no value, or too few events to judge by."""


def threshold(rule: ThresholdRule, value: KpiValue | None) -> Verdict:
    """Judge a value against the rule's limit.

    A value with an interval breaks the rule only when the whole interval is
    beyond the limit.
    """
    if value is None or value.n < rule.min_n:
        return Verdict.NO_JUDGEMENT
    if rule.below is not None:
        edge = value.value if value.high is None else value.high
        if edge < rule.below:
            return Verdict.BROKEN
        cleared = value.value >= rule.below * (1 + rule.hysteresis)
    else:
        assert rule.above is not None
        edge = value.value if value.low is None else value.low
        if edge > rule.above:
            return Verdict.BROKEN
        cleared = value.value <= rule.above * (1 - rule.hysteresis)
    return Verdict.HOLDS if cleared else Verdict.BETWEEN


def absence(value: KpiValue | None) -> Verdict:
    """Judge whether there is any traffic in a complete window."""
    return Verdict.HOLDS if value is not None and value.value else Verdict.BROKEN
