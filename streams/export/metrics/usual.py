"""Metrics of rules: their verdicts, and what those that learn it expect."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from prometheus_client.core import Metric

from models.rule_status import RuleStatus
from models.scope import PARTS
from streams.alerting.rules.rule import Rule
from streams.export.metrics.families import Spec, family

LARGEST_USUAL_COUNT = 1_000
"""Scopes of rules whose bands are in a scrape: of each rule those nearest to firing first."""
_LABELS = ("rule", "kpi", "scope", *PARTS, "window")
VALUE = Spec(
    "kpi_monitor_judged_value",
    "Value of the window that a rule of the kind anomaly judged last, in the unit of the KPI",
    _LABELS,
)
EXPECTED = Spec(
    "kpi_monitor_usual_expected",
    "Value that the rule expected of that window, in the unit of the KPI",
    _LABELS,
)
LOW = Spec(
    "kpi_monitor_usual_low",
    "Low end of the values that are usual for that window alone, in the unit of the KPI",
    _LABELS,
)
HIGH = Spec(
    "kpi_monitor_usual_high",
    "High end of the values that are usual for that window alone, in the unit of the KPI",
    _LABELS,
)
SCORE = Spec(
    "kpi_monitor_unusual_score",
    "Evidence that the values are unusual: 1 or more is a reason to alert, on whichever side",
    _LABELS,
)
LEFT_OUT = Spec(
    "kpi_monitor_usual_left_out",
    f"Number of scopes of a rule whose bands are not in this scrape, as there are more than"
    f" {LARGEST_USUAL_COUNT:,} of all rules",
    ("rule",),
)
VERDICTS = Spec(
    "kpi_monitor_rule_scopes",
    "Number of scopes that a rule judged last, by verdict",
    ("rule", "verdict"),
)
SPECS = (VALUE, EXPECTED, LOW, HIGH, SCORE, LEFT_OUT, VERDICTS)


class _Band(NamedTuple):
    """The band of a scope, as its samples are labelled."""

    labels: tuple[str, ...]
    value: float
    expected: float
    low: float
    high: float
    score: float


def rule_metrics(statuses: Sequence[RuleStatus], rules: Iterable[Rule]) -> Iterator[Metric]:
    """Yield the metrics of the last verdicts of rules."""
    by_name = {rule.name: rule for rule in rules}
    known = [status for status in statuses if status.rule in by_name]
    bands_of = {status.rule: list(_bands(by_name[status.rule], status)) for status in known}
    bands = list(chain.from_iterable(bands_of.values()))
    shown = bands[:LARGEST_USUAL_COUNT]
    yield family(VALUE, [(band.labels, band.value) for band in shown])
    yield family(EXPECTED, [(band.labels, band.expected) for band in shown])
    yield family(LOW, [(band.labels, band.low) for band in shown])
    yield family(HIGH, [(band.labels, band.high) for band in shown])
    yield family(SCORE, [(band.labels, band.score) for band in shown])
    left_out = Counter(band.labels[0] for band in bands[LARGEST_USUAL_COUNT:])
    yield family(LEFT_OUT, [((rule,), left_out[rule]) for rule, some in bands_of.items() if some])
    yield family(
        VERDICTS,
        [((one.rule, why.value), count) for one in known for why, count in one.counts.items()],
    )


def _bands(rule: Rule, status: RuleStatus) -> Iterator[_Band]:
    """Yield the bands of a rule, of the scopes of which one is known."""
    for one in status.scopes:
        value, usual = one.value, one.usual
        if value is None or usual is None:
            continue
        if usual.expected is None or usual.low is None or usual.high is None:
            continue
        labels = (rule.name, rule.kpi, *one.scope, rule.window)
        yield _Band(labels, float(value.value), usual.expected, usual.low, usual.high, usual.score)
