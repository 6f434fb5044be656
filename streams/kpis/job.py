"""The state machine of the KPI stage: reports in, closed windows out.

Merges reports, finds out how far they are complete, evaluates the windows that
closed, and hands them to the judge. A pure function of its state, the batch
and the clock it is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from models import reports
from models.dead_letters import Reason
from models.measures import SourceKind
from models.reports import Report
from models.windows import PANE_MS, BusinessDay, Window
from streams.engine.letters import dead_letter
from streams.engine.stage import Output, Position, Record, Saved, Snapshot, SourcePartition
from streams.kpis import saved as saved_states
from streams.kpis.bucket import Cold
from streams.kpis.buckets import KEPT_MS, Buckets
from streams.kpis.closing import Closing
from streams.kpis.comparing import comparisons_in_turn, shown
from streams.kpis.completeness import Completeness
from streams.kpis.counting import Counted
from streams.kpis.effects import effects_in_turn
from streams.kpis.evaluating import WindowEvaluator
from streams.kpis.evaluations import Encode, Evaluations
from streams.kpis.health import health_at
from streams.kpis.judging import Judge
from streams.kpis.ledger import Ledger, Verdict, counts_of
from streams.kpis.moments import Moments
from streams.kpis.observation import Observation
from streams.kpis.pace import Pace
from streams.kpis.plans import Plans
from streams.kpis.publish import alert_outputs
from streams.kpis.saved import VERSION, KpiState
from streams.kpis.seen import SeenInputs
from streams.kpis.shares import Shares
from streams.kpis.silences import Silences
from streams.kpis.stages import STEP_MS, stages_in_turn
from streams.kpis.values import Evaluator
from streams.kpis.view import Evaluation, KpiView
from streams.kpis.waits import Waits

VIEW_EVERY_MS = 300
VIEW_EVERY_CATCHING_UP_MS = 2_000
"""While there is much to read, reading goes before showing."""
CURRENT_WITHIN_MS = 3_000


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
        evaluator: Evaluator,
        expected: Iterable[tuple[str, int]],
        kinds: Mapping[str, SourceKind],
        silent_after_ms: int,
        day: BusinessDay,
        top_campaigns: int,
        moments: Moments,
        plans: Plans,
        judge: Judge,
        source: SourcePartition,
        alerts_topic: str,
        dead_letters_topic: str,
        encode_values: Encode | None = None,
        cold: Cold | None = None,
        saved: Saved | None = None,
    ) -> None:
        self.judge = judge
        self.view: KpiView | None = None
        self._day = day
        self._evaluator = evaluator
        self._source = source
        self._alerts_topic = alerts_topic
        self._dead_letters_topic = dead_letters_topic
        self._buckets = Buckets(day, cold)
        self._ledger = Ledger()
        self._closing = Closing(day, self._buckets.holds)
        self._evaluations = Evaluations(
            self.evaluate, closing=self._closing, judge=judge, encode=encode_values
        )
        self._observation = Observation()
        self._seen = SeenInputs(evaluator.needed)
        self._counted = Counted()
        self._letters: list[Output] = []
        self._changed = False
        self._pending = 0
        self._silences = Silences(kinds, silent_after_ms=silent_after_ms)
        self._shares = Shares()
        self._waits = Waits()
        self._overlapping = 0
        self._pace = Pace()
        frontier_ms = 0 if saved is None else self._restore(saved)
        self._completeness = Completeness(expected, frontier_ms=frontier_ms)
        self._windows = WindowEvaluator(
            evaluator,
            day=day,
            buckets=self._buckets,
            seen=self._seen,
            observation=self._observation,
            silences=self._silences,
            plans=plans,
            top_campaigns=top_campaigns,
        )
        self._moments = moments
        self._stages = stages_in_turn(
            self._windows, self._moments, small=lambda: self._evaluations.small
        )
        self._effects = effects_in_turn(self._windows, self._moments, catalogue=evaluator.catalogue)
        self._comparisons = comparisons_in_turn(
            self._windows,
            day=day,
            latest=lambda: self._evaluations.latest,
            small=lambda: self._evaluations.small,
        )
        self._pinned_at_ms = 0

    def _restore(self, saved: Saved) -> int:
        state = saved_states.decode(saved.state)
        self._buckets.restore(
            saved.segments,
            frontier_ms=state.frontier_ms,
            offset=saved.offset,
            pinned=state.pinned,
            quarters_from_ms=state.quarters_whole_from_ms,
        )
        self._ledger = Ledger(state.ledger)
        self._closing.restore(state.due, state.evaluated)
        self._seen = SeenInputs(self._evaluator.needed, state.seen, wire_needed=state.needed)
        self._seen.expire(day_start=self._day.start_of(state.frontier_ms))
        self._observation = state.observation
        if state.version < VERSION:
            self._take_over_older(state)
        self._counted = Counted(state.totals, state.unknown)
        self._evaluations.sparkline.extend(state.sparkline)
        self._silences.restore(state.rhythm, state.silences)
        self.judge.restore(state.judge)
        return state.frontier_ms

    def _take_over_older(self, state: KpiState) -> None:
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
        """Take the next reports and evaluate the windows that they complete."""
        for record in records:
            told = reports.decode(record.value or b"")
            for report in told.reports:
                self._take(report, at_offset=record.offset)
            self._waits.note(told.waiting, at_ms=record.timestamp)
        self._pending += len(records)
        self._advance()

    def _take(self, report: Report, *, at_offset: int) -> None:
        ruling = self._ledger.rule(report)
        if ruling.verdict is Verdict.OVERLAPPING:
            self._overlapping += 1
            return
        repeated = ruling.verdict in {Verdict.HEARTBEAT, Verdict.REPEATED}
        if ruling.missing or (report.stats.lost and not repeated):
            self._changed = True
            self._observation.note_gap(report, frontier_ms=self._completeness.frontier_ms)
        listened_ms = self._completeness.read_up_to(report.topic, report.partition)
        self._completeness.note(report)
        self._changed |= self._silences.note(
            report, listened_ms=listened_ms, frontier_ms=self._completeness.frontier_ms
        )
        if repeated:
            return
        self._changed = True
        self._buckets.apply(report.panes, undo=ruling.undo, at_offset=at_offset)
        self._shares.note(counts_of(report.stats), at_ms=report.read_up_to_ms)
        self._counted.note(report, undo=ruling.undo_counts)
        for pane_start, cells in report.panes.items():
            self._observation.pane_seen(pane_start, cells)
            self._closing.pane_changed(pane_start, frontier_ms=self._completeness.frontier_ms)
            day_start = self._day.start_of(pane_start)
            if self._seen.note_pane(cells, day_start=day_start, pane_start=pane_start):
                self._closing.inputs_changed(pane_start)

    def _advance(self) -> None:
        """Move the frontier and evaluate the windows that somebody waits for."""
        frontier_ms = self._completeness.advance()
        if frontier_ms <= 0:
            return
        self._observation.note_whole(
            self._completeness.watermark_by_source.values(), frontier_ms=frontier_ms
        )
        self._silences.listen(self._completeness.read_up_to_by_source, frontier_ms=frontier_ms)
        self._changed |= self._evaluations.advance(frontier_ms)
        oldest_ms = frontier_ms - max(KEPT_MS)
        if frontier_ms >= self._pinned_at_ms + STEP_MS:
            self._pinned_at_ms = frontier_ms
            self._changed |= self._buckets.pin(self._moments.days(oldest_ms, frontier_ms))
        self._buckets.expire(frontier_ms)
        self._observation.expire(oldest_ms)
        self._silences.expire(oldest_ms)
        self._seen.expire(day_start=self._day.start_of(frontier_ms))

    def evaluate(self, window: Window, end: int) -> Evaluation:
        """Return the KPIs of every scope that had an event in the window or that day."""
        return self._windows.evaluate(window, end)

    def tick(self, position: Position, *, now_ms: int) -> None:
        """Judge the health of the data, close and compare the newest windows, renew the view."""
        del position
        completeness = self._completeness
        read_up_to_ms = completeness.read_up_to_ms
        current = read_up_to_ms is not None and now_ms - read_up_to_ms < CURRENT_WITHIN_MS
        every_ms = VIEW_EVERY_MS if current else VIEW_EVERY_CATCHING_UP_MS
        if self.view is not None and 0 <= now_ms - self.view.health.now_ms < every_ms:
            return
        self._changed |= self._evaluations.close_newest(completeness.frontier_ms)
        self._stages.take_one(completeness.frontier_ms)
        self._effects.take_one(completeness.frontier_ms)
        if current:
            self._comparisons.take_one(completeness.frontier_ms)
        health = health_at(
            now_ms,
            completeness=completeness,
            observation=self._observation,
            silences=self._silences,
            shares=self._shares,
            waits=self._waits,
        )
        self._changed |= self.judge.health(health)
        self.view = KpiView(
            frontier_ms=completeness.frontier_ms,
            latest=dict(self._evaluations.latest),
            comparisons=shown(self._comparisons.latest, completeness.frontier_ms),
            stages=self._stages.latest,
            effects=self._effects.latest,
            sparkline=tuple(self._evaluations.sparkline),
            totals={topic: dict(counts) for topic, counts in self._counted.totals.items()},
            health=health,
            behind=completeness.behind_by_source,
            watermarks=completeness.watermark_by_source,
            incomplete_panes=self._buckets.panes_after(completeness.frontier_ms),
            records_per_second=self._pace.at(now_ms, records=self._counted.records),
            alerts=tuple(self.judge.alerts()),
            unknown_campaigns=tuple(self._counted.unknown),
            overlapping_reports=self._overlapping,
            uncorrected_panes=self._closing.uncorrected,
            buckets=len(self._buckets),
            corrections=self._evaluations.corrections,
        )

    def snapshot(self) -> Snapshot:
        """Return the changed buckets, the rest of the state, and what is to be sent."""
        letters, self._letters = self._letters, []
        self._changed = False
        self._pending = 0
        observation = self._observation
        state = KpiState(
            frontier_ms=self._completeness.frontier_ms,
            observed_from_ms=observation.from_ms,
            ledger=self._ledger.entries(),
            due=self._closing.due,
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
        )
        return Snapshot(
            state=saved_states.encode(state),
            segments=list(self._buckets.take_segments()),
            early_outputs=letters + self._evaluations.take_outputs(),
            outputs=alert_outputs(self.judge.take_changes(), self._alerts_topic),
        )
