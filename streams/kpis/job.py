"""The state machine of the KPI stage: reports in, closed windows out.

Merges reports, finds out how far they are complete, evaluates the windows that
closed, and hands them to the judge. A pure function of its state, the batch
and the clock it is given.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from models.aggregates import ingest_report
from models.aggregates.ingest_report import Report
from models.dead_letters import Reason
from models.kpi.measures import SourceKind
from models.window import PANE_MS, WINDOWS, BusinessDay, Window
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
from streams.kpis import state as saved_states
from streams.kpis.calculation.campaign_budgets import CampaignBudgets
from streams.kpis.calculation.kpi_calculator import KpiCalculator
from streams.kpis.coverage.data_health import health_at
from streams.kpis.coverage.frontier import Frontier
from streams.kpis.coverage.seen_inputs import SeenInputs
from streams.kpis.coverage.silent_sources import SilentSources
from streams.kpis.coverage.waits import WaitingSources
from streams.kpis.intake.pace import Pace
from streams.kpis.intake.report_ledger import Ledger, Verdict, counts_of
from streams.kpis.intake.shares import Shares
from streams.kpis.intake.source_counters import SourceCounters
from streams.kpis.judging import Judge
from streams.kpis.output_records import alert_outputs
from streams.kpis.state import VERSION, KpiState, pack
from streams.kpis.storage.bucket_store import KEPT_MS, PANES_A_STEP, BucketStore, in_cells
from streams.kpis.storage.spilled_buckets import Spill
from streams.kpis.unwritten_snapshot import UnwrittenSnapshot
from streams.kpis.view import Health, KpiView, Progress
from streams.kpis.windows.campaign_phases import STEP_MS, stages_in_turn
from streams.kpis.windows.campaign_timeline import CampaignTimeline
from streams.kpis.windows.change_effects import effects_in_turn
from streams.kpis.windows.comparisons import comparisons_in_turn, shown
from streams.kpis.windows.window_closer import Encode, WindowCloser
from streams.kpis.windows.window_evaluator import WindowEvaluator
from streams.kpis.windows.window_schedule import WindowSchedule

VIEW_EVERY_MS = 300
VIEW_EVERY_CATCHING_UP_MS = 2_000
"""While there is much to read, reading goes before showing."""
CURRENT_WITHIN_MS = 3_000
MANY_OUTPUTS = 2_000
"""So many records of closed windows, some 20 MB at most, are published before more are made."""


class KpiJob:
    """The one partition of the topic of reports.

    Args:
        evaluator: computes the KPIs.
        expected: all source partitions; windows are complete once all reported.
        kinds: the kind of each source topic.
        silent_after_ms: a source that is silent for a shorter time is no alert.
        day: the business day.
        top_campaigns: so many are exported one by one, the others as one.
        moments: when stages of campaigns begin, and when campaigns were changed.
        plans: what campaigns may cost.
        judge: decides on what closed.
        source: where the reports come from.
        alerts_topic: where changes of alerts go.
        dead_letters_topic: where reports go that can't be applied.
        cold: where buckets are kept that are seldom looked at; without it, in memory.
        encode_values: writes a closed window as a record; None publishes none.
    """

    def __init__(
        self,
        *,
        evaluator: KpiCalculator,
        expected: Iterable[tuple[str, int]],
        kinds: Mapping[str, SourceKind],
        silent_after_ms: int,
        day: BusinessDay,
        top_campaigns: int,
        moments: CampaignTimeline,
        plans: CampaignBudgets,
        judge: Judge,
        source: SourcePartition,
        alerts_topic: str,
        dead_letters_topic: str,
        encode_values: Encode | None = None,
        cold: Spill | None = None,
        saved: Saved | None = None,
    ) -> None:
        state = saved_states.nothing() if saved is None else saved_states.decode(saved.state)
        self.judge = judge
        self.view: KpiView | None = None
        self._day = day
        self._evaluator = evaluator
        self._source = source
        self._alerts_topic = alerts_topic
        self._dead_letters_topic = dead_letters_topic
        self._moments = moments
        self._buckets = BucketStore(day, cold)
        self._ledger = Ledger(state.ledger)
        self._frontier = Frontier(expected, frontier_ms=state.frontier_ms)
        self._observation = state.observation
        self._seen = SeenInputs(evaluator.needed, state.seen, wire_needed=state.needed)
        self._seen.expire(day_start=day.start_of(state.closed_ms))
        self._silences = SilentSources(kinds, silent_after_ms=silent_after_ms)
        self._silences.restore(state.rhythm, state.silences, state.quiet_since)
        self._counted = SourceCounters(state.totals, state.unknown)
        self._shares = Shares()
        self._waits = WaitingSources()
        self._records_pace, self._windows_pace, self._event_pace = Pace(), Pace(), Pace()
        self._overlapping = 0
        self._letters: list[Output] = []
        self._changed = False
        self._pending = 0
        self.windows = windows = WindowEvaluator(
            evaluator,
            day=day,
            buckets=self._buckets,
            seen=self._seen,
            observation=self._observation,
            silences=self._silences,
            plans=plans,
            top_campaigns=top_campaigns,
        )
        self._closing = WindowSchedule(day, self._buckets.holds)
        self._closing.restore(state.ends, state.evaluated, state.to_correct)
        judge.restore(state.judge)
        self._evaluations = evaluations = WindowCloser(
            windows.evaluate, closing=self._closing, judge=judge, encode=encode_values
        )
        evaluations.sparkline.extend(state.sparkline)
        self._stages = stages_in_turn(windows, moments, small=lambda: evaluations.small)
        self._effects = effects_in_turn(windows, moments, catalogue=evaluator.catalogue)
        self._comparisons = comparisons_in_turn(
            windows,
            day=day,
            latest=lambda: evaluations.latest,
            small=lambda: evaluations.small,
        )
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
        yield from self._buckets.restore(
            saved.segments,
            frontier_ms=state.closed_ms,
            offset=saved.offset,
            pinned=state.pinned,
            quarters_from_ms=state.quarters_whole_from_ms,
        )
        if state.version < VERSION:
            self._migrate(state)

    def _migrate(self, state: KpiState) -> None:
        """Go on with the buckets of an older version, which kept fewer days, or none."""
        self._observation.days_begin(self._buckets.days_from_ms(partial=state.version < 4))
        for version in range(state.version + 1, VERSION + 1):
            newest = max(self._buckets.panes(), default=state.frontier_ms - PANE_MS)
            self._observation.measured_before(version, newest)
        for pane_start in self._buckets.panes():
            self._closing.pane_changed(pane_start, frontier_ms=state.frontier_ms)

    @property
    def dirty(self) -> bool:
        """Whether reports were applied or alerts changed since the last snapshot."""
        return self._changed

    @property
    def pending(self) -> int:
        """How many records were applied since the last snapshot."""
        return self._pending

    def skip(self, record: Record, *, why: str) -> None:
        """Leave reports out on which `apply` failed; the ledger will miss them."""
        self._letters.append(
            dead_letter(
                record,
                source=self._source,
                reason=Reason.STAGE_FAILURE,
                detail=why,
                topic=self._dead_letters_topic,
            )
        )
        self._changed = True

    def lost(self, records: int, *, before: int) -> None:
        """Take no note of lost reports: the ledger will miss them."""
        del records, before

    def apply(self, records: Sequence[Record]) -> None:
        """Take the next reports; `work` merges them, one after the other."""
        self._unmerged.extend(records)
        self._pending += len(records)

    @property
    def large(self) -> bool:
        """Whether much waits to be published."""
        return self._evaluations.unpublished >= MANY_OUTPUTS

    @property
    def whole(self) -> bool:
        """Whether everything that was applied is merged and no window is half closed."""
        return self._work is None and not self._unmerged and self._failure is None

    def work(self, out_of_time: OutOfTime, *, until_whole: bool = False) -> bool:
        """Merge reports and close windows, in order, for a slice of time.

        Each report is merged, and every window that it completes is closed, before the next
        one is merged: what is computed does not depend on where slices end. What is only
        shown is evaluated in between.

        Args:
            out_of_time: asked after each step.
            until_whole: whether to stop as soon as a snapshot may be taken.

        Returns:
            Whether reports or windows are left.
        """
        if self._failure is not None:
            raise self._failure  # its work was done in part: this job is of no use any more
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
        """Whether reports wait to be merged, or windows to be corrected, closed or settled."""
        if self._unmerged or self._closing.correcting:
            return True
        return self._settled_ms < self._frontier.frontier_ms

    def _next_work(self) -> Steps[None] | None:
        """Return what to work on next.

        What is only shown takes turns with the rest. Windows that somebody waits for are
        evaluated at their newest end once all ends before it are closed.
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
        """Do the first work of a queue; with the last one the view has news."""
        yield from _beside_records(queue.popleft()())
        self._news = not (self._to_show or self._to_close)

    def _next_in_order(self) -> Steps[None] | None:
        if (correction := self._evaluations.correct_next()) is not None:
            self._changed = True
            return correction
        if (closed_ms := self._closed_ms) > self._settled_ms:
            return self._settle(closed_ms)
        frontier_ms = self._frontier.frontier_ms
        if (closing := self._evaluations.close_next(frontier_ms, judged=self._judged)) is not None:
            self._changed = True
            return closing
        return self._merge(self._unmerged.popleft()) if self._unmerged else None

    def _merge(self, record: Record) -> Steps[None]:
        """Merge the reports of a record, and move the frontier."""
        told = ingest_report.decode(record.value or b"")  # up to 900 kB, some 30 ms
        yield
        for report in told.reports:
            yield from self._take(report, at_offset=record.offset)
        self._waits.record(told.waiting, at_ms=record.timestamp)
        frontier_ms = self._frontier.advance()
        if frontier_ms > 0:
            self._observation.record_whole(
                self._frontier.watermark_by_source.values(), frontier_ms=frontier_ms
            )
            self._silences.listen(self._frontier.read_up_to_by_source, frontier_ms=frontier_ms)
            # What these reports complete is judged by the health of the data as it is now.
            self._judged = not self.judge.held_back

    def _take(self, report: Report, *, at_offset: int) -> Steps[None]:
        ruling = self._ledger.rule(report)
        if ruling.verdict is Verdict.OVERLAPPING:
            self._overlapping += 1
            return
        repeated = ruling.verdict in {Verdict.HEARTBEAT, Verdict.REPEATED}
        if ruling.missing or (report.stats.lost and not repeated):
            self._changed = True
            self._observation.record_gap(report, frontier_ms=self._frontier.frontier_ms)
        listened_ms = self._frontier.read_up_to(report.topic, report.partition)
        self._frontier.record(report)
        self._changed |= self._silences.record(
            report, listened_ms=listened_ms, frontier_ms=self._frontier.frontier_ms
        )
        if repeated:
            return
        self._changed = True
        yield from self._buckets.apply(report.panes, undo=ruling.undo, at_offset=at_offset)
        for pane_start in ruling.undo:
            self.windows.pane_changed(pane_start)
        self._shares.record(counts_of(report.stats), at_ms=report.read_up_to_ms)
        self._counted.record(report, undo=ruling.undo_counts)
        for starts in in_groups(report.panes, of=PANES_A_STEP):
            for pane_start in starts:
                self._closing.pane_changed(pane_start, frontier_ms=self._frontier.frontier_ms)
                self.windows.pane_changed(pane_start)
            yield
        for panes in in_cells(report.panes):
            for pane_start, cells in panes:
                self._observation.pane_seen(pane_start, cells)
                day_start = self._day.start_of(pane_start)
                if self._seen.record_pane(cells, day_start=day_start, pane_start=pane_start):
                    self._closing.inputs_changed(pane_start)
            yield

    @property
    def _closed_ms(self) -> int:
        """Event time up to which every window that somebody waits for is closed."""
        frontier_ms = self._frontier.frontier_ms
        next_end = self._closing.next_end(frontier_ms=frontier_ms)
        return frontier_ms if next_end is None else next_end - PANE_MS

    def _settle(self, closed_ms: int) -> Steps[None]:
        """Sum up and forget what lies far enough behind the windows that are closed."""
        passed = self._settled_ms // STEP_MS < closed_ms // STEP_MS
        self._settled_ms = closed_ms
        if not passed:
            return
        oldest_ms = closed_ms - max(KEPT_MS)
        self._changed |= self._buckets.pin(self._moments.days(oldest_ms, closed_ms))
        yield from self._buckets.expire(closed_ms)
        self._observation.expire(oldest_ms)
        self._silences.expire(oldest_ms)
        self._seen.expire(day_start=self._day.start_of(closed_ms))

    def tick(self, position: Position, *, now_ms: int) -> None:
        """Judge the health of the data, have the newest windows evaluated, renew the view."""
        del position
        completeness = self._frontier
        read_up_to_ms = completeness.read_up_to_ms
        current = read_up_to_ms is not None and now_ms - read_up_to_ms < CURRENT_WITHIN_MS
        every_ms = VIEW_EVERY_MS if current else VIEW_EVERY_CATCHING_UP_MS
        recent = self.view is not None and 0 <= now_ms - self.view.health.now_ms < every_ms
        if recent and not self._news:
            return
        if not (self._to_show or self._news):
            self._show_and_close(current=current)
        self._news = False
        progress = self._progress(now_ms)
        health = health_at(
            now_ms,
            completeness=completeness,
            observation=self._observation,
            silences=self._silences,
            shares=self._shares,
            waits=self._waits,
            reading_history=progress.reads_history(closed_ms=self._closed_ms, now_ms=now_ms),
        )
        self._changed |= self.judge.health(health)
        self.view = self._viewed(health, progress)

    def _show_and_close(self, *, current: bool) -> None:
        """Note the work that brings what is shown up to date."""
        awaited = self._evaluations.awaited(judged=self._judged)
        newest = [
            (window.name in awaited, partial(self._close_newest, window)) for window in WINDOWS
        ]
        self._to_show.extend(partial(self._evaluations.show_latest, one) for one in WINDOWS)
        self._to_close = deque(work for waited_for, work in newest if waited_for)
        self._to_show.extend(work for waited_for, work in newest if not waited_for)
        self._to_show.append(lambda: self._stages.compute_next(self._closed_ms))
        self._to_show.append(lambda: self._effects.compute_next(self._closed_ms))
        if current:
            self._to_show.append(lambda: self._comparisons.compute_next(self._closed_ms))

    def _close_newest(self, window: Window) -> Steps[None]:
        closed = self._evaluations.closed
        yield from self._evaluations.close_newest(window, self._closed_ms)
        self._changed |= self._evaluations.closed > closed

    def _viewed(self, health: Health, progress: Progress) -> KpiView:
        completeness, closed_ms = self._frontier, self._closed_ms
        return KpiView(
            frontier_ms=closed_ms,
            latest=dict(self._evaluations.shown),
            comparisons=shown(self._comparisons.latest, closed_ms),
            stages=self._stages.latest,
            effects=self._effects.latest,
            sparkline=tuple(self._evaluations.sparkline),
            totals={topic: dict(counts) for topic, counts in self._counted.totals.items()},
            health=health,
            behind=completeness.behind_by_source,
            watermarks=completeness.watermark_by_source,
            incomplete_panes=self._buckets.panes_after(closed_ms),
            records_per_second=self._records_pace.at(health.now_ms, count=self._counted.records),
            progress=progress,
            alerts=tuple(self.judge.alerts()),
            unknown_campaigns=tuple(self._counted.unknown),
            overlapping_reports=self._overlapping,
            uncorrected_panes=self._closing.uncorrected,
            buckets=len(self._buckets),
            corrections=self._evaluations.corrections,
        )

    def _progress(self, now_ms: int) -> Progress:
        frontier_ms = self._frontier.frontier_ms
        awaited = self._evaluations.awaited(judged=self._judged)
        closed, closed_ms = self._evaluations.closed, self._closed_ms
        return Progress(
            complete_ms=frontier_ms,
            windows_waiting=self._closing.waiting(frontier_ms=frontier_ms, windows=awaited),
            windows_closed=closed,
            windows_per_second=self._windows_pace.at(now_ms, count=closed),
            event_pace=self._event_pace.at(now_ms, count=closed_ms) / 1000 if closed_ms else 0.0,
        )

    def snapshot(self) -> UnwrittenSnapshot:
        """Return the changed buckets, the rest of the state, and what is to be sent."""
        letters, self._letters = self._letters, []
        self._changed = False
        self._pending = 0
        observation = self._observation
        state = KpiState(
            frontier_ms=self._frontier.frontier_ms,
            observed_from_ms=observation.from_ms,
            ledger=self._ledger.entries(),
            to_correct=self._closing.to_correct,
            closed_up_to_ms=self._settled_ms,
            judged=self._judged,
            quiet_since=self._silences.quiet_since,
            seen=self._seen.to_wire(),
            totals=self._counted.totals,
            unknown=self._counted.unknown,
            sparkline=list(self._evaluations.sparkline),
            evaluated=self._closing.evaluated,
            judge=self.judge.to_bytes(),
            gaps=observation.gaps,
            rhythm=self._silences.rhythm.to_wire(),
            silences=self._silences.ended,
            seen_whole_from_ms=observation.whole_from_ms,
            needed=self._evaluator.needed,
            days_from_ms=observation.days_from_ms,
            version=VERSION,
            measured_from_ms=observation.measured_from_ms[4],
            customers_from_ms=observation.measured_from_ms[5],
            lost_until_ms=observation.lost_until_ms,
            pinned=self._buckets.pinned,
            quarters_from_ms=self._buckets.quarters_from_ms,
            due_ends=pack(self._closing.ends),
        )
        return UnwrittenSnapshot(
            segments=list(self._buckets.take_segments()),
            state=saved_states.encode(state),
            early_outputs=letters + self._evaluations.take_outputs(),
            outputs=alert_outputs(self.judge.take_changes(), self._alerts_topic),
        )


def _beside_records(work: Steps[None]) -> Steps[None]:
    """Do work that no record is to blame for.

    Raises:
        BesideRecordsError: it failed.
    """
    try:
        yield from work
    except Exception as error:
        raise BesideRecordsError(f"what is shown can't be computed: {error!r}") from error
