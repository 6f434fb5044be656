"""The PromQL of the dashboards, kept apart from their layout.

KPI queries aggregate with ``max`` over the labels that a scrape adds (job, instance), so that
a restarted worker does not double a figure. A query of the live board is named
``<section>.<subject>``; the subject is also its Grafana refId.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from string import Template
from types import MappingProxyType
from typing import Final

from models.campaigns.campaign_change import EFFECT_KPIS
from models.kpi.definition import Kpi
from models.scope import PARTS
from models.window import COMPARED, Reference

CURRENCY: Final = "$currency"
"""Grafana's variable of the reporting currency; series in others are filtered out."""
NEWEST_CURRENCY: Final = (
    "topk(1, max by (currency) (max_over_time(timestamp(kpi_monitor_currency_info)[1d:15s])))"
)
"""PromQL of the reporting currency that a monitor exported last, within a day."""
CURRENCIES: Final = f"query_result({NEWEST_CURRENCY})"
"""Query of the variable `currency`."""
CURRENCY_OF: Final = '/currency="([A-Z]{3})"/'
"""Regular expression that takes the currency out of a series of `CURRENCIES`."""

DEFAULT_WINDOW: Final = "5m"
UP: Final = 'up{job="kpi-monitor"}'
"""PromQL of whether the last scrape of each worker succeeded: 1 or 0."""

EVERY_VALUE: Final = ".+"
"""Regular expression that stands in a query when all campaigns or channels are chosen."""

_REGEX_CHARACTER: Final = re.compile(r"[$^*{}\[\]+?.()|']")


@dataclass(frozen=True, slots=True)
class Query:
    """A PromQL expression and the legend format of its series."""

    expr: str
    legend: str


def _kpi(metric: str, *, by: str, at: str = "") -> str:
    matchers = [f'scope="{by}"', 'window="$window"']
    if by != "all":
        matchers.append(f'{by}=~"${by}"')
    if metric.endswith("_money"):
        matchers.append(f'currency="{CURRENCY}"')
    grouping = "max" if by == "all" else f"max by ({by})"
    return f"{grouping} ({metric}{{{', '.join(matchers)}}}{at})"


def _bound(side: str, *, by: str) -> str:
    # `@ end()` takes the leader in clicks at the end of the graph, so that the band does not jump.
    leader = _kpi("kpi_clicks_count", by=by, at=" @ end()")
    return f"{_kpi(f'kpi_conversion_rate_ratio_{side}', by=by)} and on ({by}) topk(1, {leader})"


def _increase(counter: str, *, by: str, over: str) -> str:
    return f"sum by ({by}) (increase({counter}[{over}]))"


def _rate(counter: str, *, by: str) -> str:
    return f"sum by ({by}) (rate({counter}[$__rate_interval]))"


_JUDGED: Final = f"rule, scope, {', '.join(PARTS)}"
"""The labels of what a rule judges."""


def _unusual() -> dict[str, Query]:
    # `@ end()` takes the scope that is nearest to an alert at the end of the graph.
    rule = 'rule=~"$rule"'
    names = "{{rule}} {{campaign}} {{channel}} {{region}} {{segment}}"
    score = f"max by ({_JUDGED}) (kpi_monitor_unusual_score{{{rule}}}"

    def nearest(metric: str) -> str:
        return (
            f"max by ({_JUDGED}) ({metric}{{{rule}}}) and on ({_JUDGED}) topk(1, {score} @ end()))"
        )

    return {
        "unusual.score": Query(f"topk(10, {score}))", names),
        "unusual.value": Query(nearest("kpi_monitor_judged_value"), f"{names} value 当前值"),
        "unusual.expected": Query(nearest("kpi_monitor_usual_expected"), "expected 预期"),
        "unusual.lower": Query(nearest("kpi_monitor_usual_low"), "usual, low end 常态下限"),
        "unusual.upper": Query(nearest("kpi_monitor_usual_high"), "usual, high end 常态上限"),
    }


def _overall() -> dict[str, Query]:
    subjects = {
        "orders": ("kpi_orders_count", "Orders 订单数量"),
        "revenue": ("kpi_revenue_gross_money", "Gross revenue 成交总额"),
        "conversion": ("kpi_conversion_rate_ratio", "Conversion rate 转化率"),
        "ctr": ("kpi_ctr_ratio", "CTR 点击率"),
        "visitors": ("kpi_unique_visitors_users", "Unique visitors 独立访客"),
        "clicks": ("kpi_clicks_count", "Clicks 点击量"),
        "spend": ("kpi_spend_money", "Spend 投放花费"),
        "roas": ("kpi_roas_ratio", "ROAS 广告支出回报率"),
    }
    return {
        f"now.{name}": Query(_kpi(metric, by="all"), legend)
        for name, (metric, legend) in subjects.items()
    }


def _per(by: str) -> dict[str, Query]:
    legend = f"{{{{{by}}}}}"
    subjects = {
        "clicks": "kpi_clicks_count",
        "orders": "kpi_orders_count",
        "revenue": "kpi_revenue_gross_money",
        "conversion": "kpi_conversion_rate_ratio",
        "roas": "kpi_roas_ratio",
    }
    return {
        f"{by}.{name}": Query(_kpi(metric, by=by), legend) for name, metric in subjects.items()
    } | {
        f"{by}.lower": Query(_bound("lower", by=by), "lower bound 下限"),
        f"{by}.upper": Query(_bound("upper", by=by), f"{legend} upper bound 上限"),
    }


def _or_none(count: str) -> str:
    """Return a query that is 0 instead of empty while the monitor is up, and empty otherwise."""
    return f"{count} or on () 0 * max ({UP} == 1)"


def _monitor() -> dict[str, Query]:
    return {
        "monitor.up": Query(f"sum ({UP})", "up 在线"),
        "alerts.firing": Query(
            _or_none('count (kpi_monitor_alert_active{state="firing"} == 1)'), "firing 触发中"
        ),
        "alerts.open": Query(
            f"max by (severity, rule, state, category, scope, {', '.join(PARTS)})"
            " (kpi_monitor_alert_active == 1)",
            "{{rule}}",
        ),
        "alerts.held": Query(
            "1000 * max by (severity, rule, state, category, scope, source,"
            f" {', '.join(PARTS)}) (kpi_monitor_alert_held_since_timestamp_seconds)",
            "{{rule}}",
        ),
        "monitor.lag": Query("max (kpi_monitor_lag_seconds)", "lag 延迟"),
        "monitor.reporting": Query("min (kpi_monitor_sources_reporting)", "reporting 已上报"),
        "monitor.expected": Query("max (kpi_monitor_sources_expected)", "expected 应上报"),
        "monitor.frontier": Query(
            "time() - min (kpi_monitor_frontier_timestamp_seconds > 0)", "age 已过时间"
        ),
        "monitor.left_out": Query(
            "sum (max by (scope) (kpi_monitor_series_left_out))", "left out 未导出"
        ),
        "monitor.in_other": Query(
            'sum (max by (scope) (kpi_monitor_scopes_in_other{scope!~"campaign_.*"}))',
            "in other 合并",
        ),
        "monitor.unsure": Query(
            _or_none("count (max by (kpi, window) (kpi_monitor_kpi_complete) == 0)"),
            "incomplete 不完整",
        ),
        "monitor.silent": Query(
            _or_none("count (max by (topic, partition) (kpi_monitor_source_silent))"),
            "silent 静默",
        ),
        "monitor.waiting": Query(
            _or_none("count (max by (topic, partition) (kpi_monitor_source_waiting))"),
            "waiting 等待",
        ),
        "monitor.panes": Query("max (kpi_monitor_incomplete_panes)", "panes 窗格"),
        "monitor.skew": Query("max (abs(kpi_monitor_clock_skew_seconds))", "skew 偏差"),
        "monitor.watermark": Query(
            "time() - min by (topic, partition) (kpi_monitor_watermark_timestamp_seconds)",
            "{{topic}} {{partition}}",
        ),
        "monitor.dead": Query(
            _rate("kpi_monitor_dead_letters_total", by="topic, reason"), "{{topic}}: {{reason}}"
        ),
        "monitor.late": Query(
            _increase("kpi_monitor_late_events_total", by="topic", over="5m"), "{{topic}}"
        ),
        "monitor.duplicates": Query(_rate("kpi_monitor_duplicates_total", by="topic"), "{{topic}}"),
        "monitor.unknown": Query(
            _increase("kpi_monitor_unknown_names_total", by="kind", over="5m"), "{{kind}}"
        ),
        "monitor.renamed": Query(
            _increase("kpi_monitor_renamed_total", by="kind, change", over="5m"),
            "{{kind}}: {{change}}",
        ),
        "monitor.guests": Query(_rate("kpi_monitor_guest_events_total", by="topic"), "{{topic}}"),
        "names.unknown": Query(
            "max by (kind, name) (kpi_monitor_unknown_name_sample)", "{{kind}} {{name}}"
        ),
        "names.campaigns": Query(
            'max by (campaign, name, phase) (kpi_monitor_campaign_info{campaign=~"$campaign"})',
            "{{campaign}} {{name}}",
        ),
        "monitor.costs": Query("max(kpi_monitor_period_costs)", "kept"),
        "monitor.costs_restated": Query("max(kpi_monitor_period_costs_restated)", "restated"),
        "monitor.costs_expired": Query(
            "sum(increase(kpi_monitor_period_costs_expired_total[5m]))", "too old in 5 min"
        ),
        "monitor.rounded": Query(
            _increase("kpi_monitor_rounded_amounts_total", by="topic", over="5m"), "{{topic}}"
        ),
        "monitor.touched": Query(
            "max (kpi_monitor_orders_with_touch_ratio)", "with a touch 有触点"
        ),
        "monitor.not_kept": Query(
            _increase("kpi_monitor_customer_entries_dropped_total", by="topic", over="5m"),
            "{{topic}}",
        ),
        "monitor.events": Query(_rate("kpi_monitor_events_total", by="topic"), "{{topic}}"),
    }


def of_kpi(kpi: Kpi) -> Query:
    """Return the query for a KPI in every scope of the chosen kind."""
    return Query(_chosen_scopes(kpi.metric), _WHOSE)


def bound_of_kpi(kpi: Kpi, side: str) -> Query:
    """Return the query for a bound of a KPI's interval, ``lower`` or ``upper``."""
    return Query(_chosen_scopes(f"{kpi.metric}_{side}"), f"{_WHOSE} {side}")


def benchmark_of_kpi(kpi: Kpi) -> Query:
    """Return the query for a KPI's benchmark; it has a series only if one is configured."""
    return Query(f'max (kpi_benchmark{{kpi="{kpi.name}"}})', "benchmark 行业基准")


_WHOSE: Final = " ".join(f"{{{{{part}}}}}" for part in PARTS)


def _chosen_scopes(metric: str) -> str:
    matchers = ['scope="$scope"', 'window="$window"', 'campaign=~"$campaign|"']
    if metric.removesuffix("_lower").removesuffix("_upper").endswith("_money"):
        matchers.append(f'currency="{CURRENCY}"')
    return f"max by ({', '.join(PARTS)}) ({metric}{{{', '.join(matchers)}}})"


def _compared(metric: str, reference: Reference) -> str:
    matchers = ['scope="$scope"', 'window="$window"', 'campaign=~"$campaign|"']
    matchers.append(f'reference="{reference}"')
    return f"max by (kpi, campaign, channel) ({metric}{{{', '.join(matchers)}}})"


def _comparisons() -> dict[str, Query]:
    then = {name: _compared("kpi_monitor_reference", name) for name in COMPARED}
    change = {name: _compared("kpi_monitor_change_ratio", name) for name in COMPARED}
    now = " or ".join(f"{then[name]} * (1 + {change[name]})" for name in COMPARED)
    found = {"now": Query(now, "{{kpi}}")}
    for name in COMPARED:
        found[name] = Query(then[name], "{{kpi}}")
        found[f"{name}_change"] = Query(change[name], "{{kpi}}")
    return found


COMPARISONS: Final = _comparisons()
"""Queries of comparisons: values and changes by reference period.

``now`` is the value that was compared, computed as reference * (1 + change).
"""

SCORECARDS: Final = {
    "points": Query(
        f"max by (scorecard, {', '.join(PARTS)}) (kpi_scorecard_points)", "{{scorecard}} " + _WHOSE
    ),
    "coverage": Query(
        f"min by (scorecard, {', '.join(PARTS)}) (kpi_scorecard_coverage_ratio)",
        "{{scorecard}} " + _WHOSE,
    ),
    "dimensions": Query(
        f"max by (scorecard, dimension, {', '.join(PARTS)}) (kpi_scorecard_dimension_points)",
        "{{scorecard}} {{dimension}} " + _WHOSE,
    ),
    "attainment": Query(
        f"max by (scorecard, kpi, {', '.join(PARTS)})"
        ' (kpi_scorecard_indicator_attainment_ratio{target="base"})',
        "{{scorecard}} {{kpi}} " + _WHOSE,
    ),
}
"""Queries of the scorecards."""

FUNNEL: Final = Query(
    f"max by (step, {', '.join(PARTS)}) (kpi_funnel_excess_loss_orders)", "{{step}} " + _WHOSE
)
"""Query of the orders that each step of the funnel loses beyond the usual."""

PEERS: Final = Query(
    f"max by (kpi, window, scope, {', '.join(PARTS)}) (kpi_monitor_peer_z)", "{{kpi}} " + _WHOSE
)
"""Query of the modified z-scores of outliers among peers."""

EXHAUSTED: Final = Query(
    "1000 * max by (campaign) (kpi_monitor_budget_exhausted_timestamp_seconds)", "{{campaign}}"
)
"""Query of the moments at which campaigns will have spent their budgets, ms since the epoch."""

MODELS: Final = ("first_touch", "last_touch", "linear", "declared")
"""Attribution models, as they stand in the names of KPIs."""


def _attribution(by: str) -> dict[str, Query]:
    legend = f"{{{{{by}}}}}"
    metrics = {f"orders_{model}": f"kpi_orders_{model}_count" for model in MODELS}
    metrics |= {f"roas_{model}": f"kpi_roas_{model}_ratio" for model in MODELS}
    metrics["spread"] = "kpi_attribution_spread_ratio"
    return {
        f"{by}_models.{name}": Query(_kpi(metric, by=by), legend)
        for name, metric in metrics.items()
    }


def _effects() -> dict[str, Query]:
    return {
        f"effects.{period}": Query(
            "max by (campaign, change, what, kpi) (kpi_monitor_effect"
            f'{{period="{period}", campaign=~"$campaign", kpi=~"{"|".join(EFFECT_KPIS)}"}})',
            "{{campaign}} {{change}} {{what}} {{kpi}}",
        )
        for period in ("before", "after")
    }


QUERIES: Final[Mapping[str, Query]] = MappingProxyType(
    _overall()
    | _per("campaign")
    | _per("channel")
    | _attribution("campaign")
    | _attribution("channel")
    | _effects()
    | _unusual()
    | _monitor()
)
"""Every query of the live board by name, with Grafana's variables in it."""


def substitute(
    expr: str,
    *,
    window: str = DEFAULT_WINDOW,
    currency: str = "CNY",
    campaign: tuple[str, ...] = (),
    channel: tuple[str, ...] = (),
    scope: str = "all",
    rule: tuple[str, ...] = (),
    rate_interval: str = "1m",
) -> str:
    """Return the query as Grafana would send it to Prometheus.

    Args:
        expr: a query with template variables.
        window: the chosen window.
        currency: the reporting currency.
        campaign: the chosen campaigns; empty for all.
        channel: the chosen channels; empty for all.
        scope: the chosen kind of scope.
        rule: the chosen rules; empty for all.
        rate_interval: the value of ``$__rate_interval``.

    Raises:
        KeyError: the query uses a variable that the dashboard does not have.
    """
    return Template(expr).substitute(
        window=window,
        currency=currency,
        campaign=_chosen(campaign),
        channel=_chosen(channel),
        scope=scope,
        rule=_chosen(rule),
        __rate_interval=rate_interval,
    )


def _chosen(values: tuple[str, ...]) -> str:
    if not values:
        return EVERY_VALUE
    escaped = [_REGEX_CHARACTER.sub(r"\\\\\g<0>", v.replace("\\", "\\" * 4)) for v in values]
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"
