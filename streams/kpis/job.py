"""State machine of the KPI stage: merges reports, closes windows and has them judged.

The job does no I/O and has no clock: it works on its saved state, the records of `apply` and the
time given to `tick`. It also reads the campaigns, their changes and the exchange rates, which
other tasks may change while it runs.

`work` takes one record of reports at a time, and completes these steps before the next record:

1. Merge: add the reports' cells to the buckets, schedule the ends that their panes change, and
   queue corrections of windows that are closed already.
2. Advance: move the frontier as far as all sources are complete.
3. Correct: evaluate queued closed windows again, if they are published, shown, or an alert
   fired on them.
4. Close: evaluate the ends that the frontier has passed, in order of time, if rules or the topic
   of values await them.
5. Settle: when all ends up to some time are closed, sum up the days that are over and expire
   what later windows do not need.

Example:
    All windows are awaited, and the frontier is 12:00:04. A record has events of 12:00:07 and a
    late one of 11:59:36.
    Merge       The pane 12:00:00 schedules the ends 12:00:10, 12:01:00 and later ones. The pane
                11:59:30 changes closed windows: of 1m and 5m those that ended at 11:59:40,
                11:59:50 and 12:00:00, of the longer windows those that ended at 12:00:00.
    Advance     The watermarks of the record move the frontier to 12:00:14.
    Correct     Those windows are evaluated again, and published again with `corrected`.
    Close       The 1m and 5m windows that end at 12:00:10 are evaluated, judged and published.
    Settle      Everything up to 12:00:14 is closed. The next record is merged.

What `tick` queues for the view alternates with these steps: the newest ends of windows that are
not awaited, phases, effects, comparisons. The newest ends of awaited windows are evaluated when
no step is left.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from models.aggregates import ingest_report
from models.aggregates.ingest_report import Report, Reports
from models.dead_letters import Reason
from models.kpi import measures
from models.scope import ALL
from models.window import DAY, PANE_MS, WINDOWS, Window
from streams.engine.contracts import (
    BesideRecordsError,
    Output,
    Position,
    Record,
    Saved,
    SourcePartition,
)
from streams.engine.dead_letter_output import dead_letter
from streams.engine.steps import OutOfTime, Steps, in_groups
from streams.errors import StateError
from streams.kpis import state as saved_states
from streams.kpis.coverage.coverage import Sources
from streams.kpis.intake.pace import Pace
from streams.kpis.intake.report_ledger import Ledger, Verdict
from streams.kpis.intake.source_counters import SourceCounters
from streams.kpis.judging import ALERTS_PREFIX, LEARNED_PREFIX, Judge, LiveSegments
from streams.kpis.output_records import alert_outputs
from streams.kpis.state import KpiState, pack
from streams.kpis.storage.bucket_store import PANES_A_STEP, BucketStore, in_cells
from streams.kpis.storage.cost_book import Outcome, merged_stretches
from streams.kpis.storage.spilled_buckets import Spill
from streams.kpis.unwritten_snapshot import UnwrittenSnapshot
from streams.kpis.view import HISTORY_AGE_MS, Health, KpiView, Progress, history_progress
from streams.kpis.windows.campaign_phases import STEP_MS, stages_in_turn
from streams.kpis.windows.change_effects import effects_in_turn
from streams.kpis.windows.comparisons import comparisons_in_turn, shown
from streams.kpis.windows.definitions import Definitions
from streams.kpis.windows.window_closer import Encode, WindowCloser
from streams.kpis.windows.window_evaluator import WindowEvaluator
from streams.kpis.windows.window_schedule import WindowSchedule

COSTS_A_STEP = 100
"""The most costs of periods recorded in one step of up to 5 ms."""
VIEW_EVERY_MS = 300
"""Time between two views while sources are read up to now."""
VIEW_EVERY_CATCHING_UP_MS = 2_000
"""Time between two views while there is much to read: reading goes first."""
CURRENT_WITHIN_MS = 3_000
"""Sources count as read up to now if they were read up to this long ago."""
MANY_OUTPUTS = 2_000
"""With this many unpublished records, some 20 MB at most, a checkpoint is taken early."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Topics:
    """The topics that records come from and go to.

    Args:
        source: the source partition that the reports come from.
        alerts: topic of the changes of alerts.
        dead_letters: topic of records that can't be applied.
        encode_values: writes a closed window as records; None publishes none.
    """

    source: SourcePartition
    alerts: str
    dead_letters: str
    encode_values: Encode | None = None


class KpiJob:
    """The job of the only partition of the topic of reports.

    Args:
        sources: the sources of the events.
        definitions: the KPIs, the business day, the campaigns.
        judge: judges closed windows and the health of the data.
        topics: where records come from and go to.
        spill: storage for spilled buckets; None keeps them in memory.
        saved: the state to resume from; None starts without any.
        viewed: whether somebody looks at the view. If not, windows are evaluated only if rules or
            the topic of values await them, and nothing is compared.
    """

    def __init__(
        self,
        *,
        sources: Sources,
        definitions: Definitions,
        judge: Judge,
        topics: Topics,
        spill: Spill | None = None,
        saved: Saved | None = None,
        viewed: bool = True,
    ) -> None:
        state = saved_states.nothing() if saved is None else saved_states.decode(saved.state)
        self.judge = judge
        self.view: KpiView | None = None
        self._is_viewed = viewed
        self._day = day = definitions.day
        self._definitions = definitions
        self._topics = topics
        catalogue = definitions.calculator.catalogue
        self._coverage = state.coverage(
            sources, needed=catalogue.needed, custom=catalogue.custom.sums
        )
        self._coverage.seen.expire(day_start=day.start_of(state.closed_ms))
        self._buckets = BucketStore(
            day, spill, custom=catalogue.custom, customer_days=definitions.customer_days
        )
        self._ledger = Ledger(state.ledger)
        self._counted = SourceCounters(state.totals, state.unknown)
        self._records_pace, self._windows_pace, self._event_pace = Pace(), Pace(), Pace()
        self._live_ms = 0
        """Event time up to which windows were closed when they were last closed within a day."""
        self._overlapping = 0
        self._letters: list[Output] = []
        self._pending = 0
        self.windows = windows = WindowEvaluator(
            definitions, buckets=self._buckets, coverage=self._coverage
        )
        self._closing = WindowSchedule(day, self._buckets.holds, regular=judge.regular_windows)
        self._closing.restore(state.ends, state.evaluated, state.to_correct)
        self._changed = False
        self._alerts_known = saved is None
        self._closer = closer = WindowCloser(
            windows,
            closing=self._closing,
            judge=judge,
            encode=topics.encode_values,
            viewed=viewed,
        )
        closer.sparkline.extend(state.sparkline)
        timeline = definitions.timeline
        self._stages = stages_in_turn(windows, timeline, closer=closer)
        self._effects = effects_in_turn(windows, timeline, catalogue=catalogue)
        self._comparisons = comparisons_in_turn(windows, closer=closer)
        self._judged = state.judged
        self._settled_ms = state.closed_ms
        self._unmerged: deque[Record] = deque()
        self._to_show: deque[Callable[[], Steps[None]]] = deque()
        self._to_close: deque[Callable[[], Steps[None]]] = deque()
        self._shown_last = False
        self._news = False
        self._work = None if saved is None else self._restore(state, saved)
        self._failure: Exception | None = None

    def _restore(self, state: KpiState, saved: Saved) -> Steps[None]:
        judged: dict[bytes, bytes] = {}
        buckets: dict[bytes, bytes] = {}
        for key, data in saved.segments.items():
            (judged if key.startswith((ALERTS_PREFIX, LEARNED_PREFIX)) else buckets)[key] = data
        yield
        try:
            ended = yield from self.judge.restore(
                state.judge,
                judged,
                live=LiveSegments(state.alert_segments, state.learned_segments),
            )
        except StateError as error:
            raise BesideRecordsError(str(error)) from error
        self._changed |= ended
        self._alerts_known = True
        yield from self._buckets.restore(
            buckets,
            frontier_ms=state.closed_ms,
            offset=saved.offset,
            pinned=state.pinned,
        )
        newest = max(self._buckets.panes(), default=state.frontier_ms - PANE_MS)
        observation = self._coverage.observation
        observation.record_version(newest, state.measures_version)
        observation.record_custom(newest, state.custom_from_ms.keys())

    @property
    def dirty(self) -> bool:
        """Whether reports were applied or alerts changed since the last snapshot."""
        return self._changed

    @property
    def pending(self) -> int:
        """Number of records that were applied since the last snapshot."""
        return self._pending

    def skip(self, record: Record, *, why: str) -> None:
        """Send a record that can't be applied to the dead letters; the ledger will find the gap."""
        self._letters.append(
            dead_letter(
                record,
                source=self._topics.source,
                reason=Reason.STAGE_FAILURE,
                detail=why,
                topic=self._topics.dead_letters,
            )
        )
        self._changed = True

    def lost(self, records: int, *, before: int) -> None:
        """Do nothing about lost records: the ledger will find the gap in the reports' offsets."""
        del records, before

    def apply(self, records: Sequence[Record]) -> None:
        """Queue the next records; `work` merges them one after the other."""
        self._unmerged.extend(records)
        self._pending += len(records)

    @property
    def large(self) -> bool:
        """Whether at least `MANY_OUTPUTS` records wait to be published."""
        return self._closer.unpublished >= MANY_OUTPUTS

    @property
    def whole(self) -> bool:
        """Whether all applied records are merged and no work is half done; only then `snapshot`."""
        return self._work is None and not self._unmerged and self._failure is None

    def work(self, out_of_time: OutOfTime, *, until_whole: bool = False) -> bool:
        """Merge records and close windows, in order, for a slice of time.

        A record is merged, and all windows that it completes are closed, before the next one is
        merged: what these steps compute does not depend on where slices end. What is only shown
        is evaluated in between.

        Args:
            out_of_time: asked after each step.
            until_whole: whether to stop as soon as a snapshot may be taken.

        Returns:
            Whether records are left to merge, or windows to correct, close or settle.

        Raises:
            Exception: the work failed. Further calls raise the same: the job must be opened again.
        """
        if self._failure is not None:
            raise self._failure  # half of its work is done: the job must be opened again
        while True:
            if self._work is None:
                self._work = self._next_work()
            if self._work is None:
                return False
            try:
                for _ in self._work:
                    if out_of_time():
                        return True
            except Exception as error:
                self._failure = error
                raise
            self._work = None
            if out_of_time() or (until_whole and self.whole):
                return self._behind

    @property
    def _behind(self) -> bool:
        """Whether records wait to be merged, or windows to be corrected, closed or settled."""
        if self._unmerged or self._closing.correcting:
            return True
        return self._settled_ms < self._coverage.frontier.frontier_ms

    def _next_work(self) -> Steps[None] | None:
        """Return the next work; None if there is none.

        Work that is only shown alternates with merging and closing. Awaited windows are
        evaluated at their newest end once nothing is left to merge or close before it.
        """
        behind = self._behind
        if self._to_show and not (self._shown_last and behind):
            self._shown_last = True
            return self._shown(self._to_show)
        self._shown_last = False
        if self._to_close and not behind:
            return self._shown(self._to_close)
        return self._next_in_order()

    def _shown(self, queue: deque[Callable[[], Steps[None]]]) -> Steps[None]:
        """Do the first work of a queue; after the last one the view is due for renewal."""
        yield from _beside_records(queue.popleft()())
        self._news = not (self._to_show or self._to_close)

    def _next_in_order(self) -> Steps[None] | None:
        """Return the next work by priority: correct, settle, close, merge a record."""
        if (correction := self._closer.correct_next()) is not None:
            self._changed = True
            return correction
        if (closed_ms := self._closed_ms) > self._settled_ms:
            return self._settle(closed_ms)
        frontier_ms = self._coverage.frontier.frontier_ms
        if (closing := self._closer.close_next(frontier_ms, judged=self._judged)) is not None:
            self._changed = True
            return closing
        return self._merge(self._unmerged.popleft()) if self._unmerged else None

    def _merge(self, record: Record) -> Steps[None]:
        """Merge the reports of a record, and advance the frontier."""
        message = ingest_report.decode(record.value or b"")  # up to 900 kB, some 30 ms
        if message.measures_version > measures.VERSION:
            raise BesideRecordsError(
                f"a report has measures of version {message.measures_version}, this worker knows "
                f"those up to {measures.VERSION}; run one version of the monitor, the newest"
            )
        yield
        for report in message.reports:
            yield from self._take(report, at_offset=record.offset, message=message)
        self._coverage.record_waiting(message.waiting, at_ms=record.timestamp)
        if self._coverage.advance():
            # Whether rules judge the windows that these reports complete is decided now, by the
            # current health of the data.
            self._judged = not self.judge.held_back

    def _take(self, report: Report, *, at_offset: int, message: Reports) -> Steps[None]:
        ruling = self._ledger.rule(report)
        if ruling.verdict is Verdict.OVERLAPPING:
            self._overlapping += 1
            return
        repeated = ruling.verdict in {Verdict.HEARTBEAT, Verdict.REPEATED}
        missing = ruling.missing or bool(report.stats.lost and not repeated)
        self._changed |= self._coverage.record_progress(report, missing=missing)
        if repeated:
            return
        self._changed = True
        yield from self._buckets.apply(
            report.panes, retracted=ruling.retracted, at_offset=at_offset
        )
        for pane_start in ruling.retracted:
            self.windows.pane_changed(pane_start)
        self._coverage.record_counts(report)
        self._counted.record(report, retracted=ruling.retracted_counts)
        for starts in in_groups(report.panes, of=PANES_A_STEP):
            for pane_start in starts:
                self._closing.pane_changed(
                    pane_start, frontier_ms=self._coverage.frontier.frontier_ms
                )
                self.windows.pane_changed(pane_start)
            yield
        for panes in in_cells(report.panes):
            for pane_start, cells in panes:
                if self._coverage.record_pane(
                    cells,
                    day_start=self._day.start_of(pane_start),
                    pane_start=pane_start,
                    measures_version=message.measures_version,
                    custom=message.custom,
                ):
                    self._closing.inputs_changed(pane_start)
            yield
        yield from self._take_costs(report, at_offset=at_offset)

    def _take_costs(self, report: Report, *, at_offset: int) -> Steps[None]:
        """Record the costs of periods in a report.

        They are not retracted when a report replaces another one. It covers the same records, so it
        has the same costs, by the same names, and the book keeps each once: also if a campaign was
        defined meanwhile, and the cost counts in another place.
        """
        changed = []
        for costs in in_groups(report.costs, of=COSTS_A_STEP):
            for cost in costs:
                recorded = self._buckets.record_cost(cost, at_offset=at_offset)
                if recorded.outcome is Outcome.EXPIRED:
                    self._counted.count(report.topic, "costs_expired")
                if recorded.changed is None:
                    continue
                changed.append(recorded.changed)
                for pane_start in self._coverage.record_cost(cost, day=self._day):
                    self._closing.inputs_changed(pane_start)
            yield
        for start, end in merged_stretches(changed):
            yield from self._closing.costs_changed(
                start, end, frontier_ms=self._coverage.frontier.frontier_ms
            )
            self.windows.pane_changed(start)

    @property
    def _closed_ms(self) -> int:
        """Event time, in ms, up to which every due window is closed.

        Without an end that waits it is the frontier. Otherwise it is one pane before the earliest
        one: ends are whole panes, so that all ends up to there are closed.
        """
        frontier_ms = self._coverage.frontier.frontier_ms
        next_end = self._closing.next_end(frontier_ms=frontier_ms)
        closed_ms = frontier_ms if next_end is None else next_end - PANE_MS
        return max(closed_ms, self._settled_ms)

    def _settle(self, closed_ms: int) -> Steps[None]:
        """Record that windows are closed up to a time, and expire what later windows do not need.

        Expiry runs when the time passes a whole minute.
        """
        passed = self._settled_ms // STEP_MS < closed_ms // STEP_MS
        self._settled_ms = closed_ms
        if not passed:
            return
        oldest_ms = closed_ms - max(self._buckets.kept_ms)
        self._changed |= self._buckets.pin(self._definitions.timeline.days(oldest_ms, closed_ms))
        yield from self._buckets.expire(closed_ms)
        self._coverage.expire(oldest_ms=oldest_ms, day_start=self._day.start_of(closed_ms))

    def tick(self, position: Position, *, now_ms: int) -> None:
        """Judge the health of the data, queue the newest windows to be evaluated, renew the view.

        Does nothing if the view is recent and nothing in it has changed, and until the saved
        alerts are restored: the health of the data continues them.

        Args:
            position: not used.
            now_ms: broker time in ms.
        """
        del position
        if not self._alerts_known:
            return
        read_up_to_ms = self._coverage.frontier.read_up_to_ms
        current = read_up_to_ms is not None and now_ms - read_up_to_ms < CURRENT_WITHIN_MS
        every_ms = VIEW_EVERY_MS if current else VIEW_EVERY_CATCHING_UP_MS
        recent = self.view is not None and 0 <= now_ms - self.view.health.now_ms < every_ms
        if recent and not self._news:
            return
        if not (self._to_show or self._news):
            self._show_and_close(current=current)
        self._news = False
        progress = self._progress(now_ms)
        reading_history = progress.reads_history(
            closed_ms=self._closed_ms,
            now_ms=now_ms,
            before=self._was_reading_history,
            is_measured=self._event_pace.is_measured,
        )
        today = self._closer.shown.get(DAY.name)
        totals = {} if today is None else today.values.get(ALL, {})
        health = self._coverage.health(
            now_ms,
            reading_history=reading_history,
            orders_with_touch=totals.get("orders_with_touch"),
        )
        self._changed |= self.judge.health(health)
        self.view = self._viewed(health, progress)

    @property
    def _was_reading_history(self) -> bool:
        """Whether history was read when the view was renewed last."""
        return self.view is not None and self.view.health.reading_history

    def _show_and_close(self, *, current: bool) -> None:
        """Queue the evaluation of the newest ends, and the work that brings the view up to date.

        Args:
            current: whether sources are read up to now; comparisons are computed only then.
        """
        awaited = self._closer.awaited(judged=self._judged)
        newest = [
            (window.name in awaited, partial(self._close_newest, window)) for window in WINDOWS
        ]
        self._to_close = deque(work for waited_for, work in newest if waited_for)
        if not self._is_viewed:
            return
        self._to_show.extend(partial(self._closer.show_latest, one) for one in WINDOWS)
        self._to_show.extend(work for waited_for, work in newest if not waited_for)
        self._to_show.append(lambda: self._stages.compute_next(self._closed_ms))
        self._to_show.append(lambda: self._effects.compute_next(self._closed_ms))
        if current:
            self._to_show.append(lambda: self._comparisons.compute_next(self._closed_ms))

    def _close_newest(self, window: Window) -> Steps[None]:
        closed = self._closer.closed
        yield from self._closer.close_newest(window, self._closed_ms)
        self._changed |= self._closer.closed > closed

    def _viewed(self, health: Health, progress: Progress) -> KpiView:
        frontier, closed_ms = self._coverage.frontier, self._closed_ms
        return KpiView(
            frontier_ms=closed_ms,
            latest=dict(self._closer.shown),
            comparisons=shown(self._comparisons.latest, closed_ms),
            stages=self._stages.latest,
            effects=self._effects.latest,
            sparkline=tuple(self._closer.sparkline),
            totals={topic: dict(counts) for topic, counts in self._counted.totals.items()},
            health=health,
            behind=frontier.behind_by_source,
            watermarks=frontier.watermark_by_source,
            incomplete_panes=self._buckets.panes_after(closed_ms),
            records_per_second=self._records_pace.at(health.now_ms, count=self._counted.records),
            progress=progress,
            alerts=tuple(self.judge.alerts()),
            rules=tuple(self.judge.rule_statuses()),
            unknown={kind: tuple(names) for kind, names in self._counted.unknown.items()},
            overlapping_reports=self._overlapping,
            uncorrected_panes=self._closing.uncorrected,
            buckets=len(self._buckets),
            costs=self._buckets.cost_counts,
            corrections=self._closer.corrections,
        )

    def _progress(self, now_ms: int) -> Progress:
        frontier_ms = self._coverage.frontier.frontier_ms
        awaited = self._closer.awaited(judged=self._judged)
        closed, closed_ms = self._closer.closed, self._closed_ms
        event_pace = self._event_pace.at(now_ms, count=closed_ms) / 1000 if closed_ms else 0.0
        if now_ms - closed_ms <= HISTORY_AGE_MS and not self._was_reading_history:
            self._live_ms = closed_ms
        frontier = self._coverage.frontier
        history = history_progress(
            self._day,
            from_ms=max(self._coverage.observation.from_ms, self._live_ms),
            closed_ms=closed_ms,
            newest_ms=max(frontier.watermark_by_source.values(), default=0),
            unread=frontier.behind,
            event_pace=event_pace,
        )
        return Progress(
            complete_ms=frontier_ms,
            windows_waiting=self._closing.waiting(frontier_ms=frontier_ms, windows=awaited),
            windows_closed=closed,
            windows_per_second=self._windows_pace.at(now_ms, count=closed),
            event_pace=event_pace,
            history=history,
        )

    def snapshot(self) -> UnwrittenSnapshot:
        """Return the changed buckets and alerts, the rest of the state, and the records to send."""
        letters, self._letters = self._letters, []
        self._changed = False
        self._pending = 0
        coverage = self._coverage
        observation, silences = coverage.observation, coverage.silences
        segments = [*self._buckets.take_segments(), *self.judge.take_segments()]
        live = self.judge.live_segments
        state = KpiState(
            frontier_ms=coverage.frontier.frontier_ms,
            closed_ms=self._settled_ms,
            judged=self._judged,
            observed_from_ms=observation.from_ms,
            observed_whole_from_ms=observation.whole_from_ms,
            lost_until_ms=observation.lost_until_ms,
            gaps=observation.gaps,
            ledger=self._ledger.entries(),
            seen=coverage.seen.to_wire(),
            needed=self._definitions.calculator.needed,
            rhythm=silences.rhythm.to_wire(),
            silences=silences.ended,
            quiet_since=silences.quiet_since,
            totals=self._counted.totals,
            unknown=self._counted.unknown,
            due=pack(self._closing.ends),
            evaluated=self._closing.evaluated,
            to_correct=self._closing.to_correct,
            pinned=self._buckets.pinned,
            sparkline=list(self._closer.sparkline),
            judge=saved_states.NO_ALERTS,
            measures_version=measures.VERSION,
            measured_from_ms=observation.measured_from_ms,
            first_inputs=coverage.first_inputs.to_wire(),
            custom_from_ms=observation.custom_from_ms,
            alert_segments=list(live.alerts),
            learned_segments=list(live.learned),
        )
        return UnwrittenSnapshot(
            segments=segments,
            state=saved_states.encode(state),
            early_outputs=letters + self._closer.take_outputs(),
            outputs=alert_outputs(self.judge.take_changes(), self._topics.alerts),
        )


def _beside_records(work: Steps[None]) -> Steps[None]:
    """Do work whose failure is not caused by a record.

    Raises:
        BesideRecordsError: the work failed. The engine then sets no record aside for it.
    """
    try:
        yield from work
    except Exception as error:
        raise BesideRecordsError(f"what is shown can't be computed: {error!r}") from error
