"""Rules of the kind range: what breaks them, what resolves them, and how they read."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.kpi.catalogue import CATALOGUE
from models.kpi.definition import KpiValue
from models.rule_status import Why
from streams.alerting.rule_text import explain
from streams.alerting.rules.protocol import Verdict
from streams.alerting.rules.range import RangeRule
from streams.alerting.rules.registry import RuleBook
from streams.alerting.rules.rule import Rule
from streams.alerting.rules.threshold import ThresholdRule

CONVERSION = CATALOGUE["conversion_rate"]


def rule(**keys: Any) -> Rule:
    made = {"name": "r", "kpi": "conversion_rate", **keys}
    book = RuleBook.model_validate({"rules": [made]}, context={"catalogue": CATALOGUE})
    (found,) = book.rules
    return found


def ranged(**keys: Any) -> RangeRule:
    found = rule(kind="range", low=0.02, high=0.06, **keys)
    assert isinstance(found, RangeRule)
    return found


def threshold(**keys: Any) -> ThresholdRule:
    found = rule(kind="threshold", **keys)
    assert isinstance(found, ThresholdRule)
    return found


_shares = st.floats(0, 0.1)


@given(st.tuples(_shares, _shares, _shares).map(sorted), st.integers(0, 200), st.integers(0, 100))
def test_a_range_is_two_thresholds(bounds: list[float], n: int, min_n: int) -> None:
    """It is broken where one of the thresholds is, and holds where both do."""
    low, middle, high = bounds
    value = KpiValue(middle, low, high, n)
    verdicts = {
        one.compare(value)
        for one in (threshold(below=0.02, min_n=min_n), threshold(above=0.06, min_n=min_n))
    }
    found = ranged(min_n=min_n).compare(value)
    if Verdict.BROKEN in verdicts:
        assert found is Verdict.BROKEN
    elif verdicts == {Verdict.HOLDS}:
        assert found is Verdict.HOLDS
    else:
        assert found in verdicts - {Verdict.HOLDS}


@pytest.mark.parametrize(
    ("value", "limit", "verdict"),
    [
        (0.019, 0.02, Verdict.BROKEN),
        (0.0239, 0.02, Verdict.BETWEEN),
        (0.024, 0.02, Verdict.HOLDS),
        (0.056, 0.06, Verdict.HOLDS),
        (0.0561, 0.06, Verdict.BETWEEN),
        (0.061, 0.06, Verdict.BROKEN),
    ],
)
def test_hysteresis_is_of_the_width(value: float, limit: float, verdict: Verdict) -> None:
    """A tenth of a width of 0.04 is 0.004 on either side; alerts name the nearer limit."""
    found = ranged(hysteresis=0.1)
    assert found.compare(KpiValue(value)) is verdict
    assert found.limit_of(KpiValue(value)) == limit


def test_no_judgement_without_enough_events() -> None:
    found = ranged(min_n=100)
    assert found.compare(None) is Verdict.NO_JUDGEMENT
    assert found.compare(KpiValue(0.0, 0.0, 0.01, 99)) is Verdict.NO_JUDGEMENT
    assert found.why_not(KpiValue(0.0, 0.0, 0.01, 99)) is Why.TOO_FEW


def test_needed_events_are_those_of_the_nearer_limit() -> None:
    """Six clicks without an order are not significant: some 190 would be below 2 % for sure."""
    value = KpiValue(0.0, 0.0, 0.39, 6)
    found = ranged()
    why = found.why_not(value)
    assert why is Why.NOT_SIGNIFICANT
    least = found.least(CONVERSION)
    assert found.needed_n(CONVERSION, value, why, least_n=least.n) == threshold(
        below=0.02
    ).needed_n(CONVERSION, value, why, least_n=least.n)


def test_sentence() -> None:
    meaning = explain(ranged(hysteresis=0.1), CONVERSION, currency="CNY")
    assert "surely outside of 2 % to 6 %" in meaning.en
    assert "resolves once it is 2.4 % to 5.6 %" in meaning.en
    assert "确定超出 2% 至 6%" in meaning.zh
