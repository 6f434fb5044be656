"""Makes alerts of findings: as a finding leaves them, and as they end."""

from __future__ import annotations

from models.alerts import Alert, AlertState, Ended
from models.kpi.definition import KpiValue
from models.scope import Scope
from streams.alerting.machine import Standing
from streams.alerting.rules.protocol import AlertFacts, Finding, Verdict


def why_over(finding: Finding) -> Ended:
    """Return why a finding ends a pending alert."""
    if finding.verdict is Verdict.NO_JUDGEMENT:
        return "not_judged"
    return "not_long_enough" if finding.ended == "recovered" else finding.ended


def ended_alert(alert: Alert, why: Ended, *, at_ms: int) -> Alert:
    """Return an open alert as it is once it ended at a time, for a reason."""
    return alert.model_copy(
        update={
            "state": AlertState.RESOLVED,
            "resolved_at_ms": at_ms,
            "updated_ms": at_ms,
            "ended": why,
            "held": None,
        }
    )


def _fired_value(
    standing: Standing, before: Alert | None, shown: KpiValue | None, *, at_ms: int
) -> float | None:
    """Return the value on which an alert fired; later values do not change it."""
    if standing.fired_at_ms == at_ms:
        return None if shown is None else float(shown.value)
    return None if before is None else before.fired_value


def described(
    facts: AlertFacts,
    scope: Scope,
    finding: Finding,
    standing: Standing,
    *,
    before: Alert | None,
    at_ms: int,
) -> Alert:
    """Return an alert as a finding leaves it."""
    evidence = finding.evidence
    value = evidence.value
    return Alert(
        rule=facts.rule,
        category=facts.category,
        severity=facts.severity,
        state=standing.state,
        scope=scope,
        window=facts.window,
        kpi=facts.kpi,
        value=None if value is None else float(value.value),
        low=None if value is None else value.low,
        high=None if value is None else value.high,
        n=0 if value is None else value.n,
        threshold=evidence.limit,
        earlier=evidence.earlier,
        usual=evidence.usual,
        exhausted_ms=evidence.exhausted_ms,
        median=evidence.median,
        windows_broken=evidence.windows_broken,
        active_since_ms=standing.active_since_ms,
        fired_at_ms=standing.fired_at_ms,
        # An alert about no window has no value that late data may correct.
        fired_value=_fired_value(standing, before, value, at_ms=at_ms) if facts.window else None,
        correction=None if before is None else before.correction,
        resolved_at_ms=standing.resolved_at_ms,
        no_data_since_ms=finding.no_data_since_ms,
        updated_ms=at_ms,
        owner=facts.owner,
        summary_en=facts.summary_en,
        summary_zh=facts.summary_zh,
        meaning_en=facts.meaning_en,
        meaning_zh=facts.meaning_zh,
        next_step=facts.next_step,
        next_step_zh=facts.next_step_zh,
        runbook=facts.runbook,
    )
