"""The last verdicts of rules as JSON, for the live view and `/api/rules`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from models.alerts import Held
from models.kpi.definition import Kpi
from models.rule_status import RuleStatus, ScopeStatus
from models.usual import Usual
from streams.alerting.rule_text import explain
from streams.alerting.rules.rule import Rule
from streams.alerting.status_text import NOT_JUDGED, explain_status
from streams.export.report_queries import ReportQueries

NEAREST_SHOWN: Final = 5
"""Scopes of a rule in the live view: those that fire or are nearest to it."""


def rule_statuses(
    statuses: Sequence[RuleStatus],
    queries: ReportQueries,
    *,
    limit: int = NEAREST_SHOWN,
    offset: int = 0,
) -> list[dict[str, Any]]:
    """Return the last verdicts of rules as JSON.

    Args:
        statuses: the verdicts, in the order of the rules.
        queries: the configuration.
        limit: the number of scopes of each rule, the nearest to firing first.
        offset: the number of scopes of each rule that are left out before.
    """
    rules = {rule.name: rule for rule in queries.rules.rules}
    return [
        _rule(status, rules[status.rule], queries, limit=limit, offset=offset)
        for status in statuses
        if status.rule in rules
    ]


def _rule(
    status: RuleStatus, rule: Rule, queries: ReportQueries, *, limit: int, offset: int
) -> dict[str, Any]:
    kpi = queries.catalogue[rule.kpi]
    meaning = explain(rule, kpi, currency=queries.currency)
    limited = rule.limit_text(kpi, currency=queries.currency)
    why = None if status.not_judged is None else NOT_JUDGED[status.not_judged]
    return {
        "rule": rule.name,
        "kpi": rule.kpi,
        "unit": kpi.shown_unit,
        "scope_kind": rule.scope,
        "window": rule.window,
        "severity": rule.severity,
        "limit_en": limited.en,
        "limit_zh": limited.zh,
        "meaning_en": meaning.en,
        "meaning_zh": meaning.zh,
        "judged": status.judged_ms,
        "not_judged": status.not_judged,
        "not_judged_en": "" if why is None else why.en,
        "not_judged_zh": "" if why is None else why.zh,
        "held": shown_hold(status.held),
        "counts": dict(status.counts),
        "largest_n": status.largest_n,
        "least_n": status.least_n,
        "scopes": [
            _scope(one, rule, kpi, queries) for one in status.scopes[offset : offset + limit]
        ],
    }


def shown_hold(held: Held | None) -> dict[str, Any] | None:
    """Return the silent sources that hold alerts back, as the page reads them; None without any."""
    if held is None:
        return None
    return {"sources": list(held.sources), "since": held.since_ms, "until": held.until_ms}


def shown_usual(usual: Usual | None) -> dict[str, Any] | None:
    """Return what is usual, as the page reads it; None if it is not learned, or not known yet."""
    if usual is None or (usual.expected is None and usual.too_few is None):
        return None
    return usual.model_dump(exclude={"learned"})


def _scope(status: ScopeStatus, rule: Rule, kpi: Kpi, queries: ReportQueries) -> dict[str, Any]:
    value = status.value
    why = explain_status(status, rule, kpi)
    return {
        "scope": queries.text_of(status.scope),
        "campaign": status.scope.campaign,
        "status": status.why,
        "value": None if value is None else value.value,
        "low": None if value is None else value.low,
        "high": None if value is None else value.high,
        "n": 0 if value is None else value.n,
        "required_n": status.required_n,
        "since": status.since_ms,
        "left_seconds": None if status.left_ms is None else status.left_ms / 1000,
        "usual": shown_usual(status.usual),
        "why_en": why.en,
        "why_zh": why.zh,
    }
