"""Immutable snapshots of the KPI stage, from which the page and the metrics are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

from models.alerts import Alert
from models.campaigns.campaign_change import Change
from models.events import SourceKind
from models.kpi.definition import Kpi, KpiValue
from models.kpi.measures import STOCKS
from models.rule_status import RuleStatus
from models.scope import Scope
from models.window import DAY_MS, MINUTE_MS, STAGE, BusinessDay, Reference, ShownWindow, WindowName
from streams.kpis.calculation.kpi_calculator import KpiValues
from streams.kpis.storage.cost_book import CostCounts
from streams.kpis.storage.user_stocks import Past

HISTORY_PACE = 10.0
"""Seconds of event time closed per second of the clock; from here on, history is being read.

Catching up after an outage is seldom as fast.
"""
HISTORY_AGE_MS = DAY_MS
"""Windows that are closed later than this after their time are history."""


class Silence(NamedTuple):
    """When a source was silent, event time in ms. ``until_ms`` is None while it still is."""

    since_ms: int
    until_ms: int | None


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Evaluation:
    """The KPIs of all scopes in one closed window. Compared and hashed by identity.

    Args:
        window: name of the window.
        start_ms: start of the window, event time in ms.
        end_ms: end of the window, event time in ms.
        values: the KPIs by scope.
        observed_from_ms: since when events were observed. Of a window that begins before, an
            unknown part is missing.
        complete: False if records of the window were lost.
        unsure: kinds of source with a partition, or a whole topic, that was silent for unusually
            long in the window, and when; KPIs made of them may be too low.
        ranked: False if the small scopes were not set apart, which takes time and which only
            people and metrics need.
        small: the scopes that are not shown one by one, as others of their kind are larger.
        other: the KPIs of the ``small`` scopes of a kind as one, by `models.scope.others_of`;
            without kinds for which they were not calculated.
        exhausted_ms: when each campaign will have spent its budget if it keeps its pace, in ms,
            the small ones included; only in the all-time window.
        previous: the equal period before, [start, end) in ms; None if it is not known whole.
        unsure_before: what ``unsure`` is, for the period before.
        past: the business days before the window from which customers are counted; None if they
            are not known whole, or none are counted.
        unsure_past: what ``unsure`` is, for these days.
        unmeasured: the KPIs, by name, whose measures some cells of the window lack: they have no
            value in any scope, and that is no sign that nothing came.
        unconnected: the KPIs of which an input never came, in any scope.
    """

    window: ShownWindow
    start_ms: int
    end_ms: int
    values: Mapping[Scope, KpiValues]
    observed_from_ms: int = 0
    complete: bool = True
    unsure: Mapping[SourceKind, Silence] = field(default_factory=dict)
    ranked: bool = True
    small: Set[Scope] = frozenset()
    other: Mapping[Scope, KpiValues] = field(default_factory=dict)
    exhausted_ms: Mapping[str, int] = field(default_factory=dict)
    previous: tuple[int, int] | None = None
    unsure_before: Mapping[SourceKind, Silence] = field(default_factory=dict)
    past: Past | None = None
    unsure_past: Mapping[SourceKind, Silence] = field(default_factory=dict)
    unmeasured: frozenset[str] = frozenset()
    unconnected: frozenset[str] = frozenset()

    def complete_for(self, kpi: Kpi) -> bool:
        """Return whether a KPI's value is complete: no record lost, none of its sources silent.

        Of a KPI that looks back, the sources must not be silent in the period before, either; of
        one that counts customers or open leads, in the days from which they are counted.
        """
        return self.complete and not self.silences_of(kpi)

    def silences_of(self, kpi: Kpi) -> Mapping[SourceKind, Silence]:
        """Return the sources of a KPI that were silent for unusually long, and when."""
        periods = [self.unsure]
        if kpi.looks_back:
            periods.insert(0, self.unsure_before)
        if not kpi.figures.isdisjoint(STOCKS):
            periods.insert(0, self.unsure_past)
        return {kind: unsure[kind] for unsure in periods for kind in kpi.sources if kind in unsure}

    @property
    def observed(self) -> bool:
        """Whether the whole window was observed."""
        return self.start_ms >= self.observed_from_ms


@dataclass(frozen=True, slots=True)
class Comparison:
    """A window and its reference period, which was observed completely.

    Args:
        reference: which reference period it is.
        now: the evaluation of the window.
        then: the evaluation of the reference period.

    ``then`` has only the kinds of scope that are compared, and no KPIs that look back. ``now``
    may be the window's regular evaluation, which has all scopes and KPIs.
    """

    reference: Reference
    now: Evaluation
    then: Evaluation

    def complete_for(self, kpi: Kpi) -> bool:
        """Return whether both values of a KPI are complete."""
        return self.now.complete_for(kpi) and self.then.complete_for(kpi)


@dataclass(frozen=True, slots=True)
class Effect:
    """The KPIs before and after a change of a campaign.

    They differ also for reasons other than the change.

    Args:
        change: the change.
        scope: what the KPIs are of: the campaign; of its start and its end, everything, since
            the campaign itself has no events before it starts.
        moment_ms: its event time in ms, rounded up to a whole quarter of an hour.
        length_ms: length of the period before the moment and of that after it, in ms.
        before: the scope's complete KPIs in the period before the moment.
        after: the scope's complete KPIs in the period after the moment. Both are empty if one
            of the periods was not observed, lacks records, or is no longer held.
    """

    change: Change
    scope: Scope
    moment_ms: int
    length_ms: int
    before: KpiValues = field(default_factory=dict)
    after: KpiValues = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Completeness of the data at a moment. Sources are (topic, partition).

    Args:
        now_ms: the moment, broker time in ms.
        expected: number of source partitions that should report.
        reporting: number of source partitions that have reported.
        missing: the source partitions that have not.
        read_up_to_ms: broker time up to which all sources were read, in ms; None if unknown.
        behind: number of records that wait in the broker.
        reading_history: whether windows of days ago are being closed much faster than live.
        gaps: number of stretches of event time that lack records and ended lately.
        silent: sources that are silent for unusually long; partition -1 is the topic as a whole.
        waiting: sources that wait for a service outside, and why.
        dead_letter_share: share of dead letters among the records of the last minutes, 0 to 1.
        mis_keyed_share: share of records in another partition than that of their key.
        late_share: share of late events.
        duplicate_share: share of events that were seen before.
        orders_with_touch: share of the present day's orders that a click of their customer led to;
            None if it is not known.
    """

    now_ms: int
    expected: int
    reporting: int
    missing: Sequence[tuple[str, int]]
    read_up_to_ms: int | None
    behind: int
    reading_history: bool = False
    gaps: int = 0
    silent: Sequence[tuple[str, int]] = ()
    waiting: Mapping[tuple[str, int], str] = field(default_factory=dict)
    dead_letter_share: float = 0.0
    mis_keyed_share: float = 0.0
    late_share: float = 0.0
    duplicate_share: float = 0.0
    orders_with_touch: KpiValue | None = None

    @property
    def lag_s(self) -> float | None:
        """Age, in s, of the broker time up to which all sources were read; None if unknown."""
        if self.read_up_to_ms is None:
            return None
        return max(0.0, (self.now_ms - self.read_up_to_ms) / 1000)


class HistoryProgress(NamedTuple):
    """The progress of reading history.

    Example: three days of history are read, and windows are closed up to noon of the second one.
    The third is ``date`` 26 Nov, ``day`` 2 of ``days`` 3. At a pace of one hour of event time a
    second, the 36 hours that are left take ``left_s`` 36 s.

    Args:
        date: the business day up to which windows are closed.
        day: its number, from 1, counted from the first day that was read.
        days: the number of days; None while records wait in the broker, whose times are unknown.
        left_s: seconds until all windows are closed, at the pace of the last seconds; None if the
            end is not known or nothing moves.
        unread: the number of records that wait in the broker.
    """

    date: date
    day: int
    days: int | None
    left_s: float | None
    unread: int

    @property
    def text(self) -> str:
        """The progress in words, such as ``26 Nov, day 2 of 3, 40 s left``."""
        parts = [
            f"{self.date:%-d %b}",
            f"day {self.day}" if self.days is None else f"day {self.day} of {self.days}",
        ]
        if self.left_s is not None:
            parts.append(f"{_duration(self.left_s)} left")
        if self.unread:
            parts.append(f"{self.unread:,} events to read")
        return ", ".join(parts)


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6_000 else f"{seconds / 3_600:.0f} h"


def history_progress(
    day: BusinessDay,
    *,
    from_ms: int,
    closed_ms: int,
    newest_ms: int,
    unread: int,
    event_pace: float,
) -> HistoryProgress | None:
    """Return how far the reading of history came; None before the first window is closed.

    The last day is that of a minute before ``newest_ms``: history that ends at midnight, and the
    seconds of silence after it, are no day of their own.

    Args:
        day: the calendar.
        from_ms: event time at which the history begins.
        closed_ms: event time up to which windows are closed; 0 if none is.
        newest_ms: event time up to which sources were read.
        unread: the number of records that wait in the broker; without any, ``newest_ms`` is the
            end of the history.
        event_pace: seconds of event time closed per second of the clock.
    """
    if not closed_ms:
        return None
    today, first = day.date_of(closed_ms), day.date_of(min(from_ms, closed_ms))
    ends = not unread and newest_ms >= closed_ms
    last = day.date_of(newest_ms - MINUTE_MS)
    return HistoryProgress(
        date=today,
        day=(today - first).days + 1,
        days=(max(today, last) - first).days + 1 if ends else None,
        left_s=(newest_ms - closed_ms) / 1000 / event_pace if ends and event_pace > 0 else None,
        unread=unread,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Progress of closing windows, which may be behind the frontier.

    Args:
        complete_ms: the frontier, event time in ms.
        windows_waiting: number of awaited windows that end up to the frontier and are not closed.
        windows_closed: number of windows closed since the stage was opened.
        windows_per_second: windows closed per second of the clock, over the last seconds.
        event_pace: seconds of event time closed per second of the clock: about 1 when events
            are followed live, more while history is read, 0 when nothing moves.
        history: how far the reading of history came, if history is what is read; None before the
            first window is closed.
    """

    complete_ms: int
    windows_waiting: int
    windows_closed: int
    windows_per_second: float
    event_pace: float
    history: HistoryProgress | None = None

    def reads_history(
        self, *, closed_ms: int, now_ms: int, before: bool, is_measured: bool
    ) -> bool:
        """Return whether windows of more than a day ago are being closed, much faster than live.

        History that was begun is read to its end, also when the end is less than a day ago.

        Args:
            closed_ms: event time up to which windows are closed, in ms; 0 if none is.
            now_ms: broker time in ms.
            before: whether history was read when this was asked last.
            is_measured: whether ``event_pace`` is known; at the start it is not, and old windows
                are probably closed fast.
        """
        is_fast = self.event_pace >= HISTORY_PACE or not is_measured
        is_old = before or now_ms - closed_ms > HISTORY_AGE_MS
        return is_fast and is_old and closed_ms > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class KpiView:
    """Everything that is shown of the KPI stage. Sources are (topic, partition).

    Args:
        frontier_ms: event time up to which windows are closed, in ms.
        latest: the newest evaluation of each window whose small scopes are set apart.
        comparisons: comparisons by window and reference.
        stages: current phases of campaigns, one evaluation for each moment at which some began.
        effects: effects of the last changes of campaigns, the newest first.
        sparkline: ends of the last 1m windows, in ms, and the KPIs of the scope ``all``.
        totals: counts by topic and name, since the beginning.
        health: how complete the data are.
        behind: number of records that wait in the broker, by source.
        watermarks: newest watermark of each source that had events, event time in ms.
        incomplete_panes: number of panes with events that end after ``frontier_ms``.
        records_per_second: records read per second, over the last seconds.
        progress: how far and how fast windows are closed.
        alerts: the open alerts and those resolved lately.
        rules: the last verdicts of each rule.
        unknown: samples of names that nobody defined, by kind, the newest last.
        overlapping_reports: number of refused reports since the stage was opened.
        uncorrected_panes: number of late panes that changed a closed window which could not be
            corrected any more.
        buckets: number of buckets.
        costs: number of costs of periods that are kept, and how often they were restated.
        corrections: number of corrections of closed windows since the stage was opened.
    """

    frontier_ms: int
    latest: Mapping[WindowName, Evaluation]
    comparisons: Mapping[tuple[ShownWindow, Reference], Comparison]
    stages: Sequence[Evaluation]
    effects: Sequence[Effect]
    sparkline: Sequence[tuple[int, KpiValues]]
    totals: Mapping[str, Mapping[str, int]]
    health: Health
    behind: Mapping[tuple[str, int], int]
    watermarks: Mapping[tuple[str, int], int]
    incomplete_panes: int
    records_per_second: float
    progress: Progress
    alerts: Sequence[Alert]
    rules: Sequence[RuleStatus]
    unknown: Mapping[str, Sequence[str]]
    overlapping_reports: int
    uncorrected_panes: int
    buckets: int
    costs: CostCounts
    corrections: int = field(default=0)

    @property
    def by_window(self) -> Mapping[ShownWindow, Sequence[Evaluation]]:
        """The newest evaluations: one of each window, and for `stage` one for each start."""
        found: dict[ShownWindow, Sequence[Evaluation]] = {
            name: (latest,) for name, latest in self.latest.items()
        }
        if self.stages:
            found[STAGE] = self.stages
        return found

    def total(self, name: str) -> int:
        """Return a count summed over topics; a name that ends in / sums all that begin with it."""
        if name.endswith("/"):
            return sum(
                count
                for counts in self.totals.values()
                for key, count in counts.items()
                if key.startswith(name)
            )
        return sum(counts.get(name, 0) for counts in self.totals.values())
