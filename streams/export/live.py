"""The live picture as JSON: what the page shows, and `/api/live` returns."""

from __future__ import annotations

from typing import Any

from models.alerts import Alert
from models.kpis import KPI_BY_NAME, KPIS
from models.scopes import ALL, Scope
from models.windows import WINDOWS
from streams.export.worker_view import WorkerView
from streams.kpis.values import KpiValues
from streams.kpis.view import KpiView

CAMPAIGNS_SHOWN = 200


def live(view: WorkerView, *, currency: str) -> dict[str, Any]:
    """Return the live picture; without the KPI stage, its parts are empty."""
    kpis = view.kpis
    return {
        "now": view.now_ms,
        "worker": view.worker,
        "owner": kpis is not None,
        "phase": view.phase,
        "recovery": _recovery(view),
        "currency": currency,
        "kpis": [
            {
                "name": kpi.name,
                "title_en": kpi.title_en,
                "title_zh": kpi.title_zh,
                "unit": kpi.unit,
            }
            for kpi in KPIS
        ],
        "windows": [window.name for window in WINDOWS],
        "frontier": (kpis.frontier_ms or None) if kpis else None,
        "health": _health(kpis),
        "incomplete": _incomplete(kpis),
        "totals": _totals(kpis),
        "sparklines": _sparklines(kpis),
        "campaigns": _campaigns(kpis),
        "alerts": [_alert(alert) for alert in kpis.alerts] if kpis else [],
        "unknown_campaigns": list(kpis.unknown_campaigns) if kpis else [],
    }


def _recovery(view: WorkerView) -> dict[str, int] | None:
    progress = view.recovery
    if progress is None:
        return None
    return {
        "done": progress.records - progress.records_left,
        "total": progress.records,
        "partitions_done": progress.partitions - progress.partitions_left,
        "partitions": progress.partitions,
        "per_second": round(progress.records_per_s),
    }


def _health(kpis: KpiView | None) -> dict[str, Any]:
    if kpis is None:
        return {}
    health = kpis.health
    return {
        "sources_expected": health.expected,
        "sources_reporting": health.reporting,
        "lag_seconds": health.lag_s,
        "lag_records": health.behind,
        "gaps": health.gaps,
        "silent": [
            topic if partition < 0 else f"{topic}[{partition}]"
            for topic, partition in health.silent
        ],
        "events": kpis.total("records"),
        "events_per_second": kpis.records_per_second,
        "counted": kpis.total("counted"),
        "dead_letters": kpis.total("dead_letters/"),
        "late": kpis.total("late"),
        "duplicates": kpis.total("duplicates"),
        "mis_keyed": kpis.total("mis_keyed"),
    }


def _incomplete(kpis: KpiView | None) -> dict[str, list[str]]:
    """Return the KPIs that rest on less than everything, by window."""
    if kpis is None:
        return {}
    return {
        name: [kpi.name for kpi in KPIS if not evaluation.tells(kpi)]
        for name, evaluation in kpis.latest.items()
    }


def _totals(kpis: KpiView | None) -> dict[str, Any]:
    if kpis is None:
        return {}
    return {
        name: _values(evaluation.values.get(ALL, {})) for name, evaluation in kpis.latest.items()
    }


def _sparklines(kpis: KpiView | None) -> dict[str, list[Any]]:
    if kpis is None:
        return {}
    return {
        kpi.name: [
            [end_ms, None if (value := values.get(kpi.name)) is None else kpi.shown(value.value)]
            for end_ms, values in kpis.sparkline
        ]
        for kpi in KPIS
    }


def _campaigns(kpis: KpiView | None) -> list[dict[str, Any]]:
    if kpis is None:
        return []
    campaigns = {
        scope.campaign
        for evaluation in kpis.latest.values()
        for scope in evaluation.values
        if scope.kind == "campaign"
    }
    return [
        {
            "campaign": campaign,
            "windows": {
                name: _values(evaluation.values.get(Scope("campaign", campaign), {}))
                for name, evaluation in kpis.latest.items()
            },
        }
        for campaign in sorted(campaigns)[:CAMPAIGNS_SHOWN]
    ]


def _values(values: KpiValues) -> dict[str, Any]:
    return {
        name: {
            "value": KPI_BY_NAME[name].shown(value.value),
            "low": value.low,
            "high": value.high,
            "n": value.n,
        }
        for name, value in values.items()
    }


def _alert(alert: Alert) -> dict[str, Any]:
    kpi = KPI_BY_NAME.get(alert.kpi)
    return {
        "id": alert.id,
        "rule": alert.rule,
        "severity": alert.severity,
        "state": alert.state.value,
        "category": alert.category,
        "scope": str(alert.scope),
        "summary_en": alert.summary_en,
        "summary_zh": alert.summary_zh,
        "since": alert.active_since_ms,
        "resolved": alert.resolved_at_ms,
        "value": alert.value,
        "threshold": alert.threshold,
        "n": alert.n,
        "kpi": alert.kpi or None,
        "unit": kpi.unit if kpi else None,
        "window": alert.window,
        "inhibited": alert.inhibited,
        "next_step": alert.next_step,
        "correction": (
            None
            if alert.correction is None
            else {
                "from": alert.fired_value,
                "to": alert.correction.value,
                "holds": alert.correction.holds,
            }
        ),
    }
