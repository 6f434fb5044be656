"""Builds the live view as JSON: the page shows it, and `/api/live` returns it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from models.alerts import Alert, AlertState
from models.campaigns.campaign_change import EFFECT_KPIS
from models.kpi.definition import Catalogue, Kpi, KpiValue
from models.limits import DEAD_LETTER_SHARE, FRONTIER_AGE_S, LAG_S, ORDERS_WITHOUT_TOUCH
from models.scope import ALL, Scope, ScopeKind
from models.window import COMPARED, SHOWN_WINDOWS, WindowName
from streams.alerting.rules.health import UNITS
from streams.analysis import funnel
from streams.analysis.differences import (
    benchmark_difference_of,
    difference_between,
    difference_of,
)
from streams.analysis.peer_outliers import Peer
from streams.analysis.scorecard_points import IndicatorScore, Score
from streams.export.importance import by_importance
from streams.export.report_queries import OUTLIERS_SHOWN, ReportQueries
from streams.export.rule_statuses import rule_statuses, shown_hold, shown_usual
from streams.export.worker_view import WorkerView
from streams.kpis.calculation.kpi_calculator import KpiValues
from streams.kpis.view import Comparison, Effect, Evaluation, HistoryProgress, KpiView
from streams.kpis.windows.change_effects import SHOWN as EFFECTS_SHOWN

CAMPAIGNS_SHOWN = 200
"""Largest number of campaigns that the page lists, and of campaigns whose funnels it has."""
RULES_SHOWN = 100
"""Largest number of rules whose last verdicts the page lists, in the order of the file."""
ALERTS_SHOWN = 200
"""Largest number of open alerts that the page lists, the most severe first."""
CAMPAIGN_COLUMNS = ("clicks", "orders", "conversion_rate", "revenue_gross", "spend", "roas")
"""KPIs that the page's table of campaigns shows, in the order of its columns."""

CAMPAIGN_KPIS = (
    *CAMPAIGN_COLUMNS,
    *("impressions", "ctr", "unique_visitors", "buyers", "revenue_net", "aov", "cpc", "roi"),
    *("revenue_cost_ratio", "budget_used", "budget_used_today", "traffic_uplift"),
    *("traffic_uplift_paid", "traffic_uplift_natural", "sales_contribution", "retention_rate"),
)
"""KPIs that the live view has of each campaign; /metrics has the others."""


def live(view: WorkerView, exports: ReportQueries) -> dict[str, Any]:
    """Return the live view; on workers that do not own the KPIs, the parts about KPIs are empty."""
    kpis = view.kpis
    catalogue = exports.catalogue
    campaigns = _campaigns(kpis, exports)
    funnels, funnels_left_out = _funnels(kpis, exports)
    alerts = _shown_alerts(kpis)
    return {
        "now": view.now_ms,
        "worker": view.worker,
        "owner": kpis is not None,
        "phase": view.phase,
        "recovery": _recovery(view),
        "currency": exports.currency,
        "kpis": [
            {
                "name": kpi.name,
                "title_en": kpi.title_en,
                "title_zh": kpi.title_zh,
                "unit": kpi.shown_unit,
                "direction": kpi.direction,
                "objective": kpi.objective,
                "benchmark": None if kpi.benchmark is None else kpi.benchmark.model_dump(),
            }
            for kpi in catalogue.values()
        ],
        "limits": {
            "lag_seconds": LAG_S._replace(alert=exports.lag_alert_s)._asdict(),
            "frontier_age_seconds": FRONTIER_AGE_S._asdict(),
            "dead_letter_share": DEAD_LETTER_SHARE._asdict(),
            "orders_without_touch": ORDERS_WITHOUT_TOUCH._asdict(),
        },
        "windows": list(SHOWN_WINDOWS),
        "frontier": (kpis.frontier_ms or None) if kpis else None,
        "progress": _progress(kpis),
        "health": _health(kpis),
        "incomplete": _incomplete(kpis, catalogue),
        "totals": _totals(kpis, catalogue),
        "comparisons": _comparisons(kpis, catalogue),
        "sparklines": _sparklines(kpis, catalogue),
        "campaign_columns": _known(CAMPAIGN_COLUMNS, catalogue),
        "campaigns": campaigns,
        "effect_kpis": _known(EFFECT_KPIS, catalogue),
        "effects": [_effect(one, exports) for one in kpis.effects] if kpis else [],
        "effects_limit": EFFECTS_SHOWN,
        "funnels": funnels,
        "peers": _peers(exports.outliers(kpis), exports) if kpis else {},
        "scorecards": [_score(one, exports) for one in exports.scores(kpis)] if kpis else [],
        "alerts": [_alert(alert, exports) for alert in alerts],
        "alert_counts": _alert_counts(kpis),
        "rules": rule_statuses(kpis.rules[:RULES_SHOWN], exports) if kpis else [],
        "not_shown": {
            "campaigns": _count(kpis, "campaign") - len(campaigns),
            "funnels": funnels_left_out,
            "scorecards": exports.scorecards_left_out(kpis) if kpis else 0,
            "alerts": len(kpis.alerts) - len(alerts) if kpis else 0,
            "rules": max(0, len(kpis.rules) - RULES_SHOWN) if kpis else 0,
        },
        "unknown": _unknown(kpis),
    }


def _unknown(kpis: KpiView | None) -> dict[str, dict[str, Any]]:
    """Return by kind how many events had a name that nobody defined, and samples, newest first."""
    if kpis is None:
        return {}
    return {
        kind: {"events": kpis.total(f"unknown/{kind}"), "samples": list(reversed(names))}
        for kind, names in sorted(kpis.unknown.items())
    }


def _known(names: Iterable[str], catalogue: Catalogue) -> list[str]:
    return [name for name in names if name in catalogue]


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


def _progress(kpis: KpiView | None) -> dict[str, Any] | None:
    """Return how many complete windows still wait to be closed, the pace, and what is left."""
    if kpis is None:
        return None
    progress = kpis.progress
    return {
        "complete": progress.complete_ms or None,
        "windows_waiting": progress.windows_waiting,
        "windows_per_second": round(progress.windows_per_second, 1),
        "event_pace": round(progress.event_pace, 2),
        "reading_history": kpis.health.reading_history,
        "history": _history(progress.history),
    }


def _history(history: HistoryProgress | None) -> dict[str, Any] | None:
    if history is None:
        return None
    return {
        "date": history.date.isoformat(),
        "day": history.day,
        "days": history.days,
        "left_seconds": None if history.left_s is None else round(history.left_s),
        "unread": history.unread,
    }


def _health(kpis: KpiView | None) -> dict[str, Any]:
    if kpis is None:
        return {}
    health = kpis.health
    touched = health.orders_with_touch
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
        "waiting": sorted(set(health.waiting.values())),
        "events": kpis.total("records"),
        "events_per_second": kpis.records_per_second,
        "counted": kpis.total("counted"),
        "dead_letters": kpis.total("dead_letters/"),
        "late": kpis.total("late"),
        "duplicates": kpis.total("duplicates"),
        "mis_keyed": kpis.total("mis_keyed"),
        "guests": kpis.total("guests"),
        "renamed": kpis.total("renamed/"),
        "orders_with_touch": None if touched is None else float(touched.value),
        "orders": 0 if touched is None else touched.n,
    }


def _incomplete(kpis: KpiView | None, catalogue: Catalogue) -> dict[str, list[str]]:
    """Return by window the KPIs whose value lacks records or is affected by a silent source."""
    if kpis is None:
        return {}
    return {
        name: [
            kpi.name
            for kpi in catalogue.values()
            if not all(evaluation.complete_for(kpi) for evaluation in several)
        ]
        for name, several in kpis.by_window.items()
    }


def _totals(kpis: KpiView | None, catalogue: Catalogue) -> dict[str, Any]:
    if kpis is None:
        return {}
    return {
        name: _values(evaluation.values.get(ALL, {}), catalogue, benchmarks=True)
        for name, evaluation in kpis.latest.items()
    }


def _comparisons(kpis: KpiView | None, catalogue: Catalogue) -> dict[str, dict[str, Any]]:
    """Return the comparisons of the scope ``all``, by window and reference period.

    The reference periods of a window are in the order of `COMPARED`.
    """
    if kpis is None:
        return {}
    found: dict[str, dict[str, Any]] = {}
    for reference, windows in COMPARED.items():
        for window in windows:
            if one := kpis.comparisons.get((window, reference)):
                found.setdefault(window, {})[reference] = _comparison(one, catalogue)
    return found


def _comparison(one: Comparison, catalogue: Catalogue) -> dict[str, Any]:
    return {
        "start": one.now.start_ms,
        "end": one.now.end_ms,
        "then_start": one.then.start_ms,
        "then_end": one.then.end_ms,
        "kpis": {
            kpi.name: {
                "now": difference.now.value,
                "then": difference.then.value,
                "ratio": difference.ratio,
                "low": difference.low,
                "high": difference.high,
                "significant": difference.significant,
            }
            for kpi in catalogue.values()
            if (difference := difference_of(kpi, ALL, one)) is not None
            and difference.now is not None
        },
    }


def _sparklines(kpis: KpiView | None, catalogue: Catalogue) -> dict[str, list[Any]]:
    if kpis is None:
        return {}
    return {
        kpi.name: [
            [end_ms, None if (value := values.get(kpi.name)) is None else value.value]
            for end_ms, values in kpis.sparkline
        ]
        for kpi in catalogue.values()
    }


def _campaigns(kpis: KpiView | None, exports: ReportQueries) -> list[dict[str, Any]]:
    if kpis is None:
        return []
    evaluations = [*kpis.latest.values(), *kpis.stages]
    return [
        {
            "campaign": scope.campaign,
            "name": exports.name_of(scope.campaign),
            "phase": exports.phase_of(scope.campaign, kpis),
            "windows": {
                one.window: _values(_chosen(one.values[scope], CAMPAIGN_KPIS), exports.catalogue)
                for one in evaluations
                if scope in one.values
            },
        }
        for scope in by_importance(evaluations, _is_campaign, most=CAMPAIGNS_SHOWN)
    ]


def _is_campaign(_: Evaluation, scope: Scope) -> bool:
    return scope.kind == "campaign"


def _count(kpis: KpiView | None, kind: ScopeKind) -> int:
    """Return the number of scopes of a kind in all windows together."""
    if kpis is None:
        return 0
    evaluations = (*kpis.latest.values(), *kpis.stages)
    return len({scope for one in evaluations for scope in one.values if scope.kind == kind})


def _chosen(values: KpiValues, names: Iterable[str]) -> KpiValues:
    return {name: values[name] for name in names if name in values}


def _effect(effect: Effect, exports: ReportQueries) -> dict[str, Any]:
    change, catalogue = effect.change, exports.catalogue
    return {
        "id": f"{change.campaign}/{change.what}/{change.at_ms}/{change.event_id}",
        "campaign": change.campaign,
        "scope": str(effect.scope),
        "name": exports.name_of(change.campaign),
        "at": change.at_ms,
        "moment": effect.moment_ms,
        "length": effect.length_ms,
        "what": change.what,
        "from": change.from_value,
        "to": change.to_value,
        "who": change.who,
        "before": _values(_chosen(effect.before, EFFECT_KPIS), catalogue),
        "after": _values(_chosen(effect.after, EFFECT_KPIS), catalogue),
        "differences": {
            name: {
                "difference": after.value - before.value,
                "ratio": one.ratio,
                "low": one.low,
                "high": one.high,
                "significant": one.significant,
            }
            for name in _known(EFFECT_KPIS, catalogue)
            if (before := effect.before.get(name)) is not None
            and (after := effect.after.get(name)) is not None
            and (one := difference_between(catalogue[name], after, before))
        },
    }


def _funnels(kpis: KpiView | None, exports: ReportQueries) -> tuple[list[dict[str, Any]], int]:
    """Return the funnels of everything together and of the largest campaigns, and how many more.

    Small campaigns have no funnel; they are among those that are not shown.
    """
    newest = None if kpis is None else kpis.latest.get(funnel.WINDOW)
    if kpis is None or newest is None:
        return [], 0
    funnels = exports.funnels(kpis)
    with_steps = {scope for scope, found in funnels.items() if found.steps}
    order = by_importance(
        [newest],
        lambda _, scope: scope.kind in {"all", "campaign"} and scope in with_steps,
    )
    small = sum(scope.kind == "campaign" for scope in newest.small) if order else 0
    made = [
        {
            "scope": exports.text_of(scope),
            "worst": None if (most := shown.worst) is None else most.name,
            "steps": [asdict(step) for step in shown.steps],
            "branches": [asdict(branch) for branch in shown.branches],
        }
        for scope in order[: CAMPAIGNS_SHOWN + 1]
        for shown in (funnels[scope],)
    ]
    return made, len(order) - len(made) + small


def _peers(
    outliers: Mapping[WindowName, Sequence[Peer]], exports: ReportQueries
) -> dict[str, dict[str, Any]]:
    return {
        window: {
            "count": len(found),
            "outliers": [
                asdict(peer) | {"scope": exports.text_of(peer.scope)}
                for peer in found[:OUTLIERS_SHOWN]
            ],
        }
        for window, found in outliers.items()
    }


def _score(score: Score, exports: ReportQueries) -> dict[str, Any]:
    return {
        "card": score.card,
        "title_en": score.title_en,
        "title_zh": score.title_zh,
        "owner": score.owner,
        "scope": exports.text_of(score.scope),
        "window": score.window,
        "points": score.points,
        "coverage": score.coverage,
        "notes": list(score.notes),
        "dimensions": [
            {
                "name": one.name,
                "title_en": one.title_en,
                "title_zh": one.title_zh,
                "weight": one.weight,
                "points": one.points,
                "coverage": one.coverage,
                "indicators": [_indicator(indicator) for indicator in one.indicators],
            }
            for one in score.dimensions
        ],
    }


def _indicator(indicator: IndicatorScore) -> dict[str, Any]:
    until = indicator.exempt_until
    return asdict(indicator) | {"exempt_until": None if until is None else until.isoformat()}


def _values(values: KpiValues, catalogue: Catalogue, *, benchmarks: bool = False) -> dict[str, Any]:
    """Return values as JSON; with ``benchmarks`` also how they differ from their benchmarks."""
    return {
        name: {
            "value": value.value,
            "low": value.low,
            "high": value.high,
            "n": value.n,
            "significant": value.significant,
        }
        | (_against_benchmark(catalogue[name], value) if benchmarks else {})
        for name, value in values.items()
        if name in catalogue
    }


def _shown_alerts(kpis: KpiView | None) -> list[Alert]:
    """Return the open alerts, up to a limit, and those resolved lately."""
    if kpis is None:
        return []
    still_open = [one for one in kpis.alerts if one.state is not AlertState.RESOLVED]
    resolved = [one for one in kpis.alerts if one.state is AlertState.RESOLVED]
    return still_open[:ALERTS_SHOWN] + resolved


def _alert_counts(kpis: KpiView | None) -> dict[str, int]:
    """Return the number of alerts in each state, and of those that are inhibited."""
    counts = Counter(
        "inhibited" if one.inhibited and one.state is not AlertState.RESOLVED else one.state.value
        for one in (kpis.alerts if kpis else ())
    )
    return dict(counts)


def _against_benchmark(kpi: Kpi, value: KpiValue) -> dict[str, Any]:
    difference = benchmark_difference_of(kpi, value)
    return {} if difference is None else {"against_benchmark": difference._asdict()}


def _alert(alert: Alert, exports: ReportQueries) -> dict[str, Any]:
    kpi = exports.catalogue.get(alert.kpi)
    return {
        "id": alert.id,
        "rule": alert.rule,
        "severity": alert.severity,
        "state": alert.state.value,
        "category": alert.category,
        "scope": exports.text_of(alert.scope),
        "scope_kind": alert.scope.kind,
        "summary_en": alert.summary_en,
        "summary_zh": alert.summary_zh,
        "meaning_en": alert.meaning_en,
        "meaning_zh": alert.meaning_zh,
        "since": alert.active_since_ms,
        "fired": alert.fired_at_ms,
        "owner": alert.owner,
        "resolved": alert.resolved_at_ms,
        "ended": alert.ended,
        "no_data_since": alert.no_data_since_ms,
        "held": shown_hold(alert.held),
        "value": alert.value,
        "low": alert.low,
        "high": alert.high,
        "threshold": alert.threshold,
        "earlier": alert.earlier,
        "usual": shown_usual(alert.usual),
        "exhausted": alert.exhausted_ms,
        "median": alert.median,
        "windows_broken": alert.windows_broken,
        "n": alert.n,
        "kpi": alert.kpi or None,
        "unit": kpi.shown_unit if kpi else UNITS.get(alert.rule),
        "window": alert.window,
        "inhibited": alert.inhibited,
        "next_step_en": alert.next_step,
        "next_step_zh": alert.next_step_zh,
        "campaign": alert.scope.campaign,
        "board_url": exports.links.board_of(alert),
        "runbook_url": exports.links.runbook_of(alert),
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
