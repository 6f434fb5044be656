"""Collects the last verdicts of a rule in all scopes, with the nearest to firing first.

However many scopes a rule has, `NEAREST_KEPT` of them are kept; all are counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from models.alerts import Alert, AlertState, Held
from models.kpi.definition import Kpi, KpiValue
from models.rule_status import NotJudged, RuleStatus, ScopeStatus, Why
from models.usual import Usual
from streams.alerting.machine import Standing
from streams.alerting.rules.rule import Rule

NEAREST_KEPT: Final = 500
"""Scopes of a rule whose verdicts are kept: those that fire or are nearest to it."""


def nearness(status: ScopeStatus, rule: Rule) -> tuple[int, float]:
    """Return a key that sorts scopes: firing, pending, then the nearest to firing.

    A value beyond the limit is nearer than any other, by n as a share of the n that is required;
    then come values within the limit, by their distance as a share of the limit.
    """
    if status.why is Why.FIRING:
        return 0, 0.0
    if status.why is Why.PENDING:
        return 1, status.left_ms or 0
    value = status.value
    if value is None:
        return 4, 0.0
    if status.why in {Why.NOT_SIGNIFICANT, Why.TOO_FEW}:
        return 2, 1 - value.n / status.required_n if status.required_n else 0.0
    distance = rule.distance(status) if status.why is Why.WITHIN else None
    return (4, 0.0) if distance is None else (3, distance)


class StatusCollector:
    """Collects the verdicts of a rule on one window.

    Args:
        rule: the rule.
        kpi: the definition of its KPI.
    """

    def __init__(self, rule: Rule, kpi: Kpi) -> None:
        self._rule = rule
        self._least_n = rule.least(kpi).n
        self._counts: Counter[Why] = Counter()
        self._nearest: list[tuple[tuple[int, float], ScopeStatus]] = []
        self._largest_n = 0

    def add(self, statuses: Iterable[ScopeStatus]) -> None:
        """Add the verdicts in some more scopes, of which there are few for a step."""
        for status in statuses:
            self._counts[status.why] += 1
            if status.value is not None and status.value.n > self._largest_n:
                self._largest_n = status.value.n
            self._nearest.append((nearness(status, self._rule), status))
        self._nearest.sort(key=lambda one: (one[0], one[1].scope))
        del self._nearest[NEAREST_KEPT:]

    def status(self, *, judged_ms: int, before: RuleStatus | None) -> RuleStatus:
        """Return the verdicts.

        Args:
            judged_ms: end of the window, event time in ms.
            before: the status after the window before.
        """
        return RuleStatus(
            rule=self._rule.name,
            judged_ms=judged_ms,
            counts=dict(self._counts),
            scopes=tuple(status for _, status in self._nearest),
            largest_n=max(self._largest_n, before.largest_n if before else 0),
            least_n=self._least_n,
        )


def not_judged(status: RuleStatus, why: NotJudged, *, held: Held | None = None) -> RuleStatus:
    """Return a status whose newest window was not judged; the last verdicts stay.

    A window that lacks records ends what was pending.
    """
    scopes: Sequence[ScopeStatus] = status.scopes
    counts = dict(status.counts)
    if why is NotJudged.INCOMPLETE and (pending := counts.pop(Why.PENDING, 0)):
        counts[Why.INCOMPLETE] = counts.get(Why.INCOMPLETE, 0) + pending
        scopes = tuple(
            one._replace(why=Why.INCOMPLETE, since_ms=None, left_ms=None)
            if one.why is Why.PENDING
            else one
            for one in scopes
        )
    return replace(status, scopes=scopes, counts=counts, not_judged=why, held=held)


def alert_status(
    rule: Rule,
    alert: Alert,
    standing: Standing,
    *,
    value: KpiValue | None,
    usual: Usual | None,
) -> ScopeStatus:
    """Return the verdict on the scope of an open alert.

    Args:
        rule: the rule.
        alert: its alert.
        standing: the state of the alert.
        value: the value that was judged.
        usual: what is usual, of a rule that learns it.
    """
    if alert.state is AlertState.FIRING:
        return ScopeStatus(alert.scope, Why.FIRING, value, since_ms=alert.fired_at_ms, usual=usual)
    broken_ms = alert.updated_ms - standing.active_since_ms - standing.paused_ms
    left_ms = max(0, rule.for_s * 1000 - broken_ms)
    return ScopeStatus(
        alert.scope,
        Why.PENDING,
        value,
        since_ms=alert.active_since_ms,
        left_ms=left_ms,
        usual=usual,
    )
