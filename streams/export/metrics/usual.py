"""Metrics of rules: their verdicts, and what those that learn it expect."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice, zip_longest
from typing import NamedTuple

from prometheus_client.core import Metric

from models.rule_status import RuleStatus, Why
from models.scope import PARTS
from streams.alerting.rules.rule import Rule
from streams.export.metrics.families import Spec, family

LARGEST_USUAL_COUNT = 1_000
"""Scopes whose bands are in a scrape: of all rules by turns, those nearest to firing first."""
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
    "Evidence that the values are unusual: 1 or more is a reason to alert; 0 on a side that does"
    " not fire",
    _LABELS,
)
LEFT_OUT = Spec(
    "kpi_monitor_usual_left_out",
    "Number of scopes that a rule judged by what is usual and whose bands are not in this scrape:"
    f" it has {LARGEST_USUAL_COUNT:,} of all rules, and 500 of one at most",
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
    by_turns = chain.from_iterable(zip_longest(*bands_of.values()))
    shown = list(islice(filter(None, by_turns), LARGEST_USUAL_COUNT))
    yield family(VALUE, [(band.labels, band.value) for band in shown])
    yield family(EXPECTED, [(band.labels, band.expected) for band in shown])
    yield family(LOW, [(band.labels, band.low) for band in shown])
    yield family(HIGH, [(band.labels, band.high) for band in shown])
    yield family(SCORE, [(band.labels, band.score) for band in shown])
    in_scrape = Counter(band.labels[0] for band in shown)
    yield family(
        LEFT_OUT,
        [
            ((status.rule,), _judged(status) - in_scrape[status.rule])
            for status in known
            if bands_of[status.rule]
        ],
    )
    yield family(
        VERDICTS,
        [((one.rule, why.value), count) for one in known for why, count in one.counts.items()],
    )


def _judged(status: RuleStatus) -> int:
    """Return the number of scopes of a rule with a verdict on what is usual."""
    return sum(status.counts.get(why, 0) for why in (Why.FIRING, Why.PENDING, Why.WITHIN))


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
