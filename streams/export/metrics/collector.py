"""Collects the metrics of a worker from its current view.

Only what the worker owns now is exported: a campaign that is no longer in the newest windows, or
a partition that moved to another worker, is missing from the next scrape. Metrics of the monitor
are declared once, as a `Spec` here or in the modules beside; those of KPIs follow from the
catalogue.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from itertools import accumulate
from typing import NamedTuple

from prometheus_client.core import GaugeMetricFamily, Metric

from models.alerts import Alert, AlertState
from models.dead_letters import Reason
from models.kpi.definition import Catalogue, Kpi, KpiValue, Unit
from models.kpi.formula import Formula, Growth, Newest, Quantile, Quotient, Spread
from models.scope import BUCKETS, PARTS, SCOPE_KINDS, Scope, ScopeKind
from models.window import SO_FAR
from streams.export.importance import by_importance
from streams.export.metrics.comparisons import SPECS as COMPARISON_SPECS
from streams.export.metrics.comparisons import difference_samples
from streams.export.metrics.effects import SPECS as EFFECT_SPECS
from streams.export.metrics.effects import effect_samples
from streams.export.metrics.families import Sample, ScopeSamples, Spec, families, family
from streams.export.metrics.peers import OUTLIERS, outlier_counts, peer_samples
from streams.export.metrics.peers import SPECS as PEER_SPECS
from streams.export.metrics.scorecards import SPECS as SCORECARD_SPECS
from streams.export.metrics.scorecards import funnel_samples, scorecard_samples
from streams.export.metrics.usual import SPECS as USUAL_SPECS
from streams.export.metrics.usual import rule_metrics
from streams.export.report_queries import ReportQueries, Series
from streams.export.worker_view import WorkerView
from streams.kpis.calculation.kpi_calculator import KpiValues
from streams.kpis.view import Effect, Evaluation, KpiView

_LABELS = ("scope", *PARTS, "window")
LARGEST_ALERT_COUNT = 2_000
"""Largest number of open alerts that are exported, each as one or two series; all are counted."""

EVENTS = Spec(
    "kpi_monitor_events",
    "Total number of source records read, duplicates and dead letters included",
    ("topic",),
    counter=True,
)
DUPLICATES = Spec(
    "kpi_monitor_duplicates",
    "Total number of events not counted because their id was counted before",
    ("topic",),
    counter=True,
)
LATE = Spec(
    "kpi_monitor_late_events",
    "Total number of events that arrived behind the watermark and were still counted",
    ("topic",),
    counter=True,
)
MIS_KEYED = Spec(
    "kpi_monitor_mis_keyed",
    "Total number of records whose key is not the id of their user (in the topic of campaigns, of"
    " their campaign); they are counted",
    ("topic",),
    counter=True,
)
ROUNDED = Spec(
    "kpi_monitor_rounded_amounts",
    "Total number of events whose amount or value had more than 4 decimals and was rounded, half to"
    " even",
    ("topic",),
    counter=True,
)
UNKNOWN = Spec(
    "kpi_monitor_unknown_names",
    "Total number of events with a name that nobody defined, by kind of name",
    ("topic", "kind"),
    counter=True,
)
RENAMED = Spec(
    "kpi_monitor_renamed",
    "Total number of events with a name that is shown otherwise than the event has it: an alias,"
    " another spelling, or shortened",
    ("topic", "kind", "change"),
    counter=True,
)
GUESTS = Spec(
    "kpi_monitor_guest_events",
    "Total number of events without a user, or with the id of a guest; they count, but as no user",
    ("topic",),
    counter=True,
)
NOT_KEPT = Spec(
    "kpi_monitor_customer_entries_dropped",
    "Total number of clicks, orders, refunds and links that the full log of their customer did not"
    " take; further orders count where they say, and are not attributed",
    ("topic",),
    counter=True,
)
ORDERS_WITH_TOUCH = Spec(
    "kpi_monitor_orders_with_touch_ratio",
    "Share, 0 to 1, of the orders of the present business day that a click of their customer led"
    " to; absent without stored customers, without orders, and before the first click",
)
UNKNOWN_SAMPLE = Spec(
    "kpi_monitor_unknown_name_sample",
    "1 for each of the newest 20 names of a kind that nobody defined",
    ("kind", "name"),
)
DEAD_LETTERS = Spec(
    "kpi_monitor_dead_letters",
    "Total number of records that could not be counted",
    ("topic", "reason"),
    counter=True,
)
LAG = Spec(
    "kpi_monitor_lag_seconds",
    "Age in seconds of the oldest unread source record; absent until all partitions were read from",
)
BEHIND = Spec(
    "kpi_monitor_lag_records",
    "Number of records of a source partition that are not read yet",
    ("topic", "partition"),
)
FRONTIER = Spec(
    "kpi_monitor_frontier_timestamp_seconds",
    "Event time up to which all windows are closed, in seconds since the Unix epoch; absent"
    " before the first window is closed",
)
WINDOWS_WAITING = Spec(
    "kpi_monitor_windows_waiting", "Number of windows that are complete and not closed yet"
)
WINDOWS_CLOSED = Spec(
    "kpi_monitor_windows_closed",
    "Total number of windows closed since this worker took over the KPIs",
    counter=True,
)
REPORTING = Spec("kpi_monitor_sources_reporting", "Number of source partitions that have reported")
EXPECTED = Spec("kpi_monitor_sources_expected", "Number of source partitions that should report")
ALERT = Spec(
    "kpi_monitor_alert_active",
    "1 for an alert that is pending or firing; absent once it is resolved",
    ("rule", "severity", "category", "state", "scope", *PARTS),
)
ALERT_HELD = Spec(
    "kpi_monitor_alert_held_since_timestamp_seconds",
    "Time since when a source is silent, in seconds since the Unix epoch (event time), for an alert"
    " that is not judged because of it; absent for alerts that are judged",
    ("rule", "severity", "category", "state", "scope", *PARTS, "source"),
)
ALERTS_LEFT_OUT = Spec(
    "kpi_monitor_alerts_left_out",
    f"Number of open alerts that exceed {LARGEST_ALERT_COUNT:,} and are not in this scrape, by kind"
    " of scope; alerts about the data come first, then those that fire, then the most severe",
    ("scope",),
)
SERIES = Spec(
    "kpi_monitor_series_exported",
    "Number of series of KPIs, scorecards, funnels, effects, outliers and comparisons in this"
    " scrape",
)
CURRENCY = Spec(
    "kpi_monitor_currency_info", "1 for the reporting currency (KPI_CURRENCY)", ("currency",)
)
MIN_N = Spec(
    "kpi_min_n",
    "Smallest number of events or users (n) at which a value of the KPI is significant",
    ("kpi",),
)
BENCHMARK = Spec(
    "kpi_benchmark",
    "Benchmark of a KPI from the file of KPIs, in the KPI's unit; absent without one",
    ("kpi",),
)
LEFT_OUT = Spec(
    "kpi_monitor_series_left_out",
    "Number of series of KPIs, scorecards, funnels, effects and outliers that exceed"
    " KPI_LARGEST_SERIES_COUNT and are not in this scrape, by kind of scope",
    ("scope",),
)
IN_OTHER = Spec(
    "kpi_monitor_scopes_in_other",
    "Number of scopes of a kind that have no series of their own, as others are larger (largest in"
    " the file of KPIs); of the window in which they are most",
    ("scope",),
)
COMPARISONS_LEFT_OUT = Spec(
    "kpi_monitor_comparison_series_left_out",
    "Number of series of comparisons that exceed KPI_LARGEST_SERIES_COUNT and are not in this"
    " scrape, by kind of scope; they are left out before all others",
    ("scope",),
)
OVERLAPPING = Spec(
    "kpi_monitor_overlapping_reports",
    "Total number of ingest reports refused because they overlap reports that are applied, since"
    " this worker took over the KPIs",
    counter=True,
)
CORRECTIONS = Spec(
    "kpi_monitor_corrections",
    "Total number of closed windows evaluated again because of late data, since this worker took"
    " over the KPIs",
    counter=True,
)
COSTS = Spec(
    "kpi_monitor_period_costs",
    "Number of costs of periods that are kept: one for each campaign, channel, kind of cost and"
    " period",
)
COSTS_RESTATED = Spec(
    "kpi_monitor_period_costs_restated",
    "Number of reports that replaced an earlier one about a cost that is kept",
)
COSTS_EXPIRED = Spec(
    "kpi_monitor_period_costs_expired",
    "Total number of costs that were left out because their period ended on a business day that is"
    " not kept any more",
    ("topic",),
    counter=True,
)
UNCORRECTED = Spec(
    "kpi_monitor_uncorrected_panes",
    "Total number of 10 s intervals with late events that changed a closed window which is too old"
    " to be corrected",
    counter=True,
)
RUNNING = Spec(
    "kpi_monitor_running",
    "1 if the worker has restored its state and reads its sources, 0 if not",
)
RECOVERED = Spec(
    "kpi_monitor_recovery_ratio",
    "Share of the state that is restored from the changelogs, 0 to 1",
)
CLOCK_SKEW = Spec(
    "kpi_monitor_clock_skew_seconds",
    "Seconds by which this machine's clock is ahead of the broker's; below 0 if it is behind",
)
CHECKPOINTS = Spec(
    "kpi_monitor_checkpoints",
    "Total number of checkpoints written by this worker",
    counter=True,
)
CHECKPOINT_FAILURES = Spec(
    "kpi_monitor_checkpoint_failures",
    "Total number of failed attempts of this worker to write a checkpoint",
    counter=True,
)
LOST = Spec(
    "kpi_monitor_lost_records",
    "Total number of records that the broker removed before this worker read them",
    counter=True,
)
ISOLATED = Spec(
    "kpi_monitor_isolated_records",
    "Total number of records that this worker failed to process and sent to the dead letters",
    counter=True,
)
GAPS = Spec(
    "kpi_monitor_gaps",
    "Number of intervals of event time with lost records that ended in the last 15 minutes of"
    " event time",
)
WINDOW_COMPLETE = Spec(
    "kpi_monitor_window_complete",
    "1 if no records of the newest window were lost, 0 if some were",
    ("window",),
)
KPI_COMPLETE = Spec(
    "kpi_monitor_kpi_complete",
    "1 if the KPI is complete in the newest window (no records lost, none of its sources silent),"
    " 0 if not",
    ("kpi", "window"),
)
CAMPAIGN_INFO = Spec(
    "kpi_monitor_campaign_info",
    "1 for each exported campaign, with its name and its current phase, empty without",
    ("campaign", "name", "phase"),
)
EXHAUSTED = Spec(
    "kpi_monitor_budget_exhausted_timestamp_seconds",
    "Time at which a campaign will have spent its budget at its average pace since its start, in"
    " seconds since the Unix epoch; absent without a start, a budget or spend, and once the"
    " campaign has ended",
    ("campaign",),
)
WATERMARK = Spec(
    "kpi_monitor_watermark_timestamp_seconds",
    "Event time up to which a source partition is complete, in seconds since the Unix epoch;"
    " absent before its first event",
    ("topic", "partition"),
)
INCOMPLETE_PANES = Spec(
    "kpi_monitor_incomplete_panes",
    "Number of 10 s intervals of event time that have events and are not complete yet",
)
SILENT = Spec(
    "kpi_monitor_source_silent",
    "1 for a source that has been silent for unusually long; the label partition is empty if the"
    " whole topic is silent; absent for sources that are not silent",
    ("topic", "partition"),
)
WAITING = Spec(
    "kpi_monitor_source_waiting",
    "1 for a source partition that waits for Redis, which stores the customers; absent for"
    " partitions that do not wait",
    ("topic", "partition"),
)
DELIVERED = Spec(
    "kpi_monitor_alerts_delivered",
    "Total number of alerts that Alertmanager accepted from this worker",
    counter=True,
)
DELIVERY_FAILURES = Spec(
    "kpi_monitor_delivery_failures",
    "Total number of failed deliveries of alerts by this worker",
    counter=True,
)

_BESIDE = (
    *COMPARISON_SPECS,
    *SCORECARD_SPECS,
    *EFFECT_SPECS,
    *(spec for spec in PEER_SPECS if spec is not OUTLIERS),
)
SPECS = (
    *(value for value in list(globals().values()) if isinstance(value, Spec)),
    *SCORECARD_SPECS,
    *COMPARISON_SPECS,
    *EFFECT_SPECS,
    *PEER_SPECS,
    *USUAL_SPECS,
)


def moment_metrics(view: WorkerView) -> Iterator[Metric]:
    """Yield the metrics that may change with every scrape: those of the worker and its stages."""
    yield from _worker_metrics(view)
    if view.kpis is not None:
        yield from _stage_metrics(view.kpis)


class KpiMetrics:
    """Collects the metrics of closed windows.

    Args:
        exports: says which series are exported, and returns scores, funnels and comparisons.
    """

    def __init__(self, exports: ReportQueries) -> None:
        self._exports = exports
        self._catalogue = exports.catalogue

    def chosen(self, kpis: KpiView) -> Chosen:
        """Select the series of a view that fit the limit, the most important scopes first.

        First come the KPIs of what is summed up as others, then all series of one scope after the
        other. Comparisons get what these leave of the limit, and nothing if any are left out.
        """
        evaluations = [*kpis.latest.values(), *kpis.stages]
        scopes = by_importance(evaluations, lambda one, scope: scope not in one.small)
        rows = [*self._of_others(evaluations), *self._of_scopes(kpis, evaluations, scopes)]
        differences = list(difference_samples(self._exports.differences(kpis), scopes=scopes))
        limit = self._exports.largest_series_count
        shown = _fitting([(row.scope, self._series_count(row)) for row in rows], limit=limit)
        rest = 0 if shown.left_out else limit - shown.series
        compared = _fitting([(row.scope, len(row.samples)) for row in differences], limit=rest)
        by_evaluation: dict[int, list[_Row]] = {id(one): [] for one in evaluations}
        beside = differences[: compared.rows]
        for row in rows[: shown.rows]:
            if isinstance(row, _Row):
                by_evaluation[id(row.evaluation)].append(row)
            else:
                beside.append(row)
        return Chosen(by_evaluation, beside, shown, compared, object())

    def day_of(self, kpis: KpiView) -> date:
        """Return the business day of the newest windows."""
        return self._exports.day.date_of(kpis.frontier_ms)

    def of_window(self, rows: Sequence[_Row]) -> Iterator[Metric]:
        """Yield the metrics of one closed window: for each KPI its value, its n and its bounds."""
        for kpi in self._catalogue.values():
            yield from self._metrics_of(kpi, rows)

    def beside(self, kpis: KpiView, chosen: Chosen) -> Iterator[Metric]:
        """Yield the other metrics of closed windows.

        They are comparisons, scorecards, funnels, effects of changes, outliers, completeness, and
        the numbers of series that are exported and left out.
        """
        yield from families(_BESIDE, chosen.beside)
        yield outlier_counts(self._exports.outliers(kpis))
        yield from rule_metrics(kpis.rules, self._exports.rules.rules)
        yield from _completeness_metrics(kpis, self._catalogue)
        yield family(CAMPAIGN_INFO, self._campaign_info(kpis, chosen))
        yield family(CURRENCY, [((self._exports.currency,), 1.0)])
        yield family(MIN_N, [((kpi.name,), kpi.min_n) for kpi in self._catalogue.values()])
        yield family(
            BENCHMARK,
            [
                ((kpi.name,), kpi.benchmark.value)
                for kpi in self._catalogue.values()
                if kpi.benchmark is not None
            ],
        )
        yield family(SERIES, [((), chosen.shown.series + chosen.compared.series)])
        for spec, part in ((LEFT_OUT, chosen.shown), (COMPARISONS_LEFT_OUT, chosen.compared)):
            yield family(spec, [((kind,), part.left_out_of[kind]) for kind in SCOPE_KINDS])
        small = [Counter(scope.kind for scope in one.small) for one in kpis.latest.values()]
        kinds = [kind for kind in SCOPE_KINDS if kind != "all"]
        most = {kind: max((counts[kind] for counts in small), default=0) for kind in kinds}
        yield family(IN_OTHER, [((kind,), count) for kind, count in most.items()])

    def _campaign_info(self, kpis: KpiView, chosen: Chosen) -> list[Sample]:
        """Return the names and phases of the campaigns with series of their own."""
        scopes = {row.scope for rows in chosen.rows.values() for row in rows}
        campaigns = {scope.campaign for scope in scopes if scope.kind == "campaign"} - BUCKETS
        exports = self._exports
        return [
            ((one, exports.name_of(one), exports.phase_of(one, kpis)), 1.0)
            for one in sorted(campaigns)
        ]

    def _of_others(self, evaluations: Iterable[Evaluation]) -> Iterator[_Row]:
        """Yield the rows of the small scopes, which are summed up as one for each kind."""
        for evaluation in evaluations:
            for scope, values in evaluation.other.items():
                yield from self._row(evaluation, scope, values)

    def _of_scopes(
        self, kpis: KpiView, evaluations: Sequence[Evaluation], scopes: Sequence[Scope]
    ) -> Iterator[_Row | ScopeSamples]:
        """Yield everything about each scope in the given order, then about scopes without KPIs."""
        exports = self._exports
        beside: defaultdict[Scope, list[ScopeSamples]] = defaultdict(list)
        for one in (
            *scorecard_samples(exports.scores(kpis)),
            *funnel_samples(exports.funnels(kpis)),
            *effect_samples(self._effects(kpis), self._catalogue),
            *peer_samples(exports.outliers(kpis)),
        ):
            beside[one.scope].append(one)
        for scope in scopes:
            for evaluation in evaluations:
                values = evaluation.values.get(scope)
                if values is not None and scope not in evaluation.small:
                    yield from self._row(evaluation, scope, values)
            yield from beside.pop(scope, ())
        for rest in beside.values():
            yield from rest

    def _effects(self, kpis: KpiView) -> Iterator[Effect]:
        """Yield the effects of changes of campaigns that are exported on their own."""
        all_time = kpis.latest.get(SO_FAR)
        small = frozenset() if all_time is None else all_time.small
        for effect in kpis.effects:
            if Scope("campaign", effect.change.campaign) not in small:
                yield effect

    def _row(self, evaluation: Evaluation, scope: Scope, values: KpiValues) -> Iterator[_Row]:
        """Yield the row of a scope in a window, if any of its KPIs is exported."""
        series = self._exports.series(scope.kind, evaluation.window)
        exported = {name: values[name] for name in series if name in values}
        if exported:
            yield _Row(evaluation, scope, exported, series)

    def _series_count(self, row: _Row | ScopeSamples) -> int:
        """Return the number of series of a row: each KPI's value, and n and bounds if exported."""
        if isinstance(row, ScopeSamples):
            return len(row.samples)
        return sum(
            1 + self._with_n(name, row) + 2 * _with_bounds(name, value, row)
            for name, value in row.values.items()
        )

    def _with_n(self, name: str, row: _Row) -> bool:
        return "n" in row.series[name] and self._catalogue[name].has_n

    def _metrics_of(self, kpi: Kpi, rows: Iterable[_Row]) -> Iterator[Metric]:
        money = kpi.unit == "money"
        labels = (*_LABELS, "currency") if money else _LABELS
        value_metric = GaugeMetricFamily(kpi.metric, _help_of(kpi), labels=labels)
        n_metric = GaugeMetricFamily(
            f"kpi_{kpi.name}_n",
            f"Number of events or users that {kpi.metric} is computed from",
            labels=_LABELS,
        )
        bounds = [
            GaugeMetricFamily(
                f"{kpi.metric}_{side}",
                f"{side.capitalize()} bound of the 95% confidence interval of {kpi.metric}; absent"
                " if no interval can be computed",
                labels=labels,
            )
            for side in (("lower", "upper") if kpi.interval != "none" else ())
        ]
        for row in rows:
            value = row.values.get(kpi.name)
            if value is None:
                continue
            plain = (*row.scope, row.evaluation.window)
            full = (*plain, self._exports.currency) if money else plain
            value_metric.add_metric(full, value.value)
            if self._with_n(kpi.name, row):
                n_metric.add_metric(plain, value.n)
            if _with_bounds(kpi.name, value, row):
                assert value.low is not None
                assert value.high is not None
                bounds[0].add_metric(full, value.low)
                bounds[1].add_metric(full, value.high)
        yield value_metric
        if kpi.has_n:
            yield n_metric
        yield from bounds


class _Fitting(NamedTuple):
    """The part of a list of rows that fits a limit of series.

    ``rows`` is the number of rows from the first that fit, ``series`` the number of their series,
    ``left_out_of`` the number of series of all other rows, by kind of scope.
    """

    rows: int
    series: int
    left_out_of: Counter[ScopeKind]

    @property
    def left_out(self) -> int:
        """Number of series of all rows that do not fit."""
        return self.left_out_of.total()


def _fitting(counts: Sequence[tuple[Scope, int]], *, limit: int) -> _Fitting:
    """Return how many rows fit a limit of series, from the first.

    Example: rows of 5, 3 and 4 series and a limit of 9: the first 2 rows fit, with 8 series;
    4 series are left out.

    Args:
        counts: the scope and the number of series of each row, the most important row first.
        limit: the largest number of series.
    """
    so_far = [0, *accumulate(count for _, count in counts)]
    rows = bisect_right(so_far, limit) - 1
    left_out: Counter[ScopeKind] = Counter()
    for scope, count in counts[rows:]:
        left_out[scope.kind] += count
    return _Fitting(rows, so_far[rows], left_out)


class Chosen(NamedTuple):
    """The series of a view that are exported.

    Args:
        rows: of each evaluation, by its `id`.
        beside: scorecards, funnels, effects, outliers and comparisons.
        shown: how much fits the limit, without comparisons.
        compared: how much of the comparisons fits the rest of the limit.
        mark: a new object for each choice, by which a cache notices another choice.
    """

    rows: Mapping[int, Sequence[_Row]]
    beside: Sequence[ScopeSamples]
    shown: _Fitting
    compared: _Fitting
    mark: object


class _Row(NamedTuple):
    """The KPIs of one scope in one window, and which of their series are exported."""

    evaluation: Evaluation
    scope: Scope
    values: Mapping[str, KpiValue]
    series: Series


_UNITS: Mapping[Unit, str] = {
    "count": "",
    "users": "",
    "ratio": "; a ratio, 1 is 100%",
    "money": "; in units of the label currency",
    "seconds": "; in seconds",
    "score": "",
}
"""Units of KPIs, as HELP texts name them."""
_NO_VALUE: Mapping[type[Formula], str] = {
    Quotient: "if the divisor is not above 0",
    Quantile: "without a value in the window",
    Spread: "if none of its parts is above 0",
    Newest: "without a measurement in the window",
    Growth: "without a measurement in the window, or one above 0 in the period before",
}
"""By type of formula, when it has no value."""


def _help_of(kpi: Kpi) -> str:
    """Return the HELP text of a KPI: what is measured, its unit, and when it is absent.

    Example: ``Advertising spend per click; in units of the label currency; absent without any
    spend reports on the business day, or if the divisor is not above 0``.
    """
    absent = []
    if kpi.needs:
        absent.append(f"without any {' or '.join(kpi.needs).replace('_', ' ')} on the business day")
    if frozenset({"orders_touched"}) in kpi.inputs:
        absent.append("until an order has a click of its customer before it")
    if type(kpi.parsed) in _NO_VALUE:
        absent.append(_NO_VALUE[type(kpi.parsed)])
    if kpi.looks_back:
        absent.append("if the period before is not known completely")
    return f"{kpi.help}{_UNITS[kpi.unit]}" + (f"; absent {', or '.join(absent)}" if absent else "")


def _with_bounds(name: str, value: KpiValue, row: _Row) -> bool:
    return "bounds" in row.series[name] and value.low is not None and value.high is not None


def _worker_metrics(view: WorkerView) -> Iterator[Metric]:
    stats = view.engine
    yield family(RUNNING, [((), float(view.phase == "running"))])
    yield family(RECOVERED, [((), view.recovery.share if view.recovery else 1.0)])
    yield family(CLOCK_SKEW, [((), view.clock_skew_s)])
    yield family(CHECKPOINTS, [((), stats.checkpoints)])
    yield family(CHECKPOINT_FAILURES, [((), stats.checkpoint_failures)])
    yield family(LOST, [((), stats.lost_records)])
    yield family(ISOLATED, [((), stats.isolated_records)])
    yield family(DELIVERED, [((), view.alerts_delivered)])
    yield family(DELIVERY_FAILURES, [((), view.delivery_failures)])


def _stage_metrics(kpis: KpiView) -> Iterator[Metric]:
    def by_topic(name: str) -> list[tuple[tuple[str, ...], float]]:
        return [((topic,), counts.get(name, 0)) for topic, counts in sorted(kpis.totals.items())]

    def by_topic_and(group: str) -> list[tuple[tuple[str, ...], float]]:
        """Return the counts named ``group/…``, by topic and the other parts of the name."""
        return [
            ((topic, *name.split("/")[1:]), count)
            for topic, counts in sorted(kpis.totals.items())
            for name, count in sorted(counts.items())
            if name.startswith(f"{group}/")
        ]

    yield family(EVENTS, by_topic("records"))
    yield family(DUPLICATES, by_topic("duplicates"))
    yield family(LATE, by_topic("late"))
    yield family(MIS_KEYED, by_topic("mis_keyed"))
    yield family(GUESTS, by_topic("guests"))
    yield family(RENAMED, by_topic_and("renamed"))
    yield family(ROUNDED, by_topic("rounded"))
    yield family(NOT_KEPT, by_topic("not_kept"))
    touched = kpis.health.orders_with_touch
    yield family(ORDERS_WITH_TOUCH, [] if touched is None else [((), float(touched.value))])
    yield family(UNKNOWN, by_topic_and("unknown"))
    yield family(
        UNKNOWN_SAMPLE,
        [((kind, name), 1.0) for kind, names in sorted(kpis.unknown.items()) for name in names],
    )
    yield family(
        DEAD_LETTERS,
        [
            ((topic, reason), counts.get(f"dead_letters/{reason}", 0))
            for topic, counts in sorted(kpis.totals.items())
            for reason in Reason
        ],
    )
    lag_s = kpis.health.lag_s
    yield family(LAG, [] if lag_s is None else [((), lag_s)])
    yield family(
        BEHIND,
        [
            ((topic, str(partition)), behind)
            for (topic, partition), behind in sorted(kpis.behind.items())
        ],
    )
    yield family(FRONTIER, [((), kpis.frontier_ms / 1000)] if kpis.frontier_ms else [])
    yield family(WINDOWS_WAITING, [((), kpis.progress.windows_waiting)])
    yield family(WINDOWS_CLOSED, [((), kpis.progress.windows_closed)])
    yield family(GAPS, [((), kpis.health.gaps)])
    yield family(
        WATERMARK,
        [
            ((topic, str(partition)), watermark_ms / 1000)
            for (topic, partition), watermark_ms in sorted(kpis.watermarks.items())
        ],
    )
    yield family(INCOMPLETE_PANES, [((), kpis.incomplete_panes)])
    yield family(
        SILENT,
        [
            ((topic, "" if partition < 0 else str(partition)), 1.0)
            for topic, partition in kpis.health.silent
        ],
    )
    yield family(
        WAITING,
        [((topic, str(partition)), 1.0) for topic, partition in kpis.health.waiting],
    )
    yield family(REPORTING, [((), kpis.health.reporting)])
    yield family(EXPECTED, [((), kpis.health.expected)])
    yield family(OVERLAPPING, [((), kpis.overlapping_reports)])
    yield family(CORRECTIONS, [((), kpis.corrections)])
    yield family(UNCORRECTED, [((), kpis.uncorrected_panes)])
    yield family(COSTS, [((), kpis.costs.kept)])
    yield family(COSTS_RESTATED, [((), kpis.costs.restated)])
    yield family(COSTS_EXPIRED, by_topic("costs_expired"))
    yield from _alert_metrics(kpis.alerts)


def _alert_metrics(alerts: Sequence[Alert]) -> Iterator[Metric]:
    """Yield the metrics of open alerts; of very many, the most important.

    Args:
        alerts: the alerts, those about the data first, then the most severe.
    """
    still_open = [one for one in alerts if one.state is not AlertState.RESOLVED]
    if len(still_open) > LARGEST_ALERT_COUNT:
        still_open.sort(key=lambda one: (one.category == "kpi", one.state is not AlertState.FIRING))
    shown = [
        ((*(one.rule, one.severity, one.category, one.state.value), *one.scope), one.held)
        for one in still_open[:LARGEST_ALERT_COUNT]
    ]
    yield family(ALERT, [(labels, 1.0) for labels, _ in shown])
    yield family(
        ALERT_HELD,
        [
            ((*labels, ", ".join(held.sources)), held.since_ms / 1000)
            for labels, held in shown
            if held is not None
        ],
    )
    left_out = Counter(one.scope.kind for one in still_open[LARGEST_ALERT_COUNT:])
    yield family(ALERTS_LEFT_OUT, [((kind,), left_out[kind]) for kind in SCOPE_KINDS])


def _completeness_metrics(kpis: KpiView, catalogue: Catalogue) -> Iterator[Metric]:
    yield family(
        WINDOW_COMPLETE,
        [
            ((window,), float(all(one.complete for one in several)))
            for window, several in kpis.by_window.items()
        ],
    )
    yield family(
        KPI_COMPLETE,
        [
            ((kpi.name, window), float(all(one.complete_for(kpi) for one in several)))
            for window, several in kpis.by_window.items()
            for kpi in catalogue.values()
        ],
    )
    yield family(
        EXHAUSTED,
        [
            ((campaign,), moment_ms / 1000)
            for latest in kpis.latest.values()
            for campaign, moment_ms in sorted(latest.exhausted_ms.items())
            if Scope("campaign", campaign) not in latest.small
        ],
    )
