"""Metrics of rules: the band of those that learn, and the verdicts of all."""

from __future__ import annotations

from collections import Counter

from prometheus_client.core import Metric

from models.kpi.definition import KpiValue
from models.rule_status import RuleStatus, ScopeStatus, Why
from models.scope import Scope
from models.usual import Usual
from streams.alerting.rules.registry import RuleBook
from streams.export.metrics import usual as metrics

USUAL = Usual(learned=1, expected=400, low=300, high=500, score=0.62)
RULES = RuleBook.model_validate(
    {
        "rules": [
            {"name": "unusual", "kind": "anomaly", "kpi": "clicks", "scope": "campaign"},
            {"name": "few", "kind": "threshold", "kpi": "clicks", "below": 5, "window": "1h"},
        ]
    }
).rules


def campaign(number: int, usual: Usual | None = USUAL) -> ScopeStatus:
    value = None if usual is None else KpiValue(330 + number)
    return ScopeStatus(Scope("campaign", f"c{number}"), Why.WITHIN, value, usual=usual)


def collected(*statuses: RuleStatus) -> dict[str, Metric]:
    return {one.name: one for one in metrics.rule_metrics(statuses, RULES)}


def test_band() -> None:
    """Of each scope whose band is known: the value, what was expected, the band, the evidence."""
    learning = campaign(2, Usual(learned=0.4))
    status = RuleStatus(rule="unusual", scopes=(campaign(1), learning, campaign(3, None)))
    found = collected(status)
    labels = {
        **{"rule": "unusual", "kpi": "clicks", "scope": "campaign", "campaign": "c1"},
        **{"channel": "", "region": "", "segment": "", "window": "5m"},
    }
    for name, value in (
        ("kpi_monitor_judged_value", 331),
        ("kpi_monitor_usual_expected", 400),
        ("kpi_monitor_usual_low", 300),
        ("kpi_monitor_usual_high", 500),
        ("kpi_monitor_unusual_score", 0.62),
    ):
        (sample,) = found[name].samples
        assert (sample.labels, sample.value) == (labels, value)


def test_verdicts() -> None:
    """All scopes are counted by verdict; a rule that is gone is left out."""
    few = RuleStatus(rule="few", counts={Why.WITHIN: 3, Why.FIRING: 1})
    gone = RuleStatus(rule="gone", counts={Why.WITHIN: 9})
    samples = collected(few, gone)["kpi_monitor_rule_scopes"].samples
    assert {(one.labels["rule"], one.labels["verdict"]): one.value for one in samples} == {
        ("few", "within"): 3,
        ("few", "firing"): 1,
    }


def test_bands_are_bounded() -> None:
    """The bands of a thousand scopes are exported, of all rules by turns; others are counted."""
    many = tuple(campaign(number) for number in range(500))
    names = ("a", "b", "c")
    rules = [RULES[0].model_copy(update={"name": name}) for name in names]
    statuses = [RuleStatus(rule=name, scopes=many, counts={Why.WITHIN: 900}) for name in names]
    found = {one.name: one for one in metrics.rule_metrics(statuses, rules)}
    shown = Counter(one.labels["rule"] for one in found["kpi_monitor_usual_low"].samples)
    assert shown == {"a": 334, "b": 333, "c": 333}
    left_out = found["kpi_monitor_usual_left_out"].samples
    assert {one.labels["rule"]: one.value for one in left_out} == {"a": 566, "b": 567, "c": 567}
