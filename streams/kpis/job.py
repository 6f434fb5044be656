"""The state machine of the KPI stage: reports in, closed windows out.

Merges reports, finds out how far they are complete, evaluates the windows that
closed, and hands them to the judge. A pure function of its state, the batch
and the clock it is given.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from operator import or_

from models import reports
from models.cells import Cell
from models.dead_letters import Reason
from models.measures import SUM_INDEX, WIDTH_BEFORE_4, SourceKind
from models.reports import Report
from models.scopes import ALL, Scope, scopes_of
from models.windows import (
    MINUTE_MS,
    PANE_MS,
    WINDOWS,
    BusinessDay,
    Window,
    WindowName,
    align_down,
    start_of_window,
)
from streams.engine.letters import dead_letter
from streams.engine.stage import Output, Position, Record, Saved, Snapshot, SourcePartition
from streams.kpis import saved as saved_states
from streams.kpis.buckets import KEPT_MS, Buckets, Cold
from streams.kpis.completeness import Completeness
from streams.kpis.gaps import Gap
from streams.kpis.judging import Judge
from streams.kpis.ledger import Ledger, Verdict, counts_of
from streams.kpis.saved import VERSION, KpiState
from streams.kpis.schedule import Schedule
from streams.kpis.seen import SeenInputs
from streams.kpis.shares import Shares
from streams.kpis.silences import Silences
from streams.kpis.values import Evaluator, KpiValues
from streams.kpis.view import Evaluation, Health, KpiView
from streams.kpis.waits import Waits

GAP_TOLD_MS = 15 * MINUTE_MS
"""For so long, in event time, a gap is an alert."""
SPARKLINE_POINTS = 60
UNKNOWN_SAMPLES = 20
NOT_OBSERVED = 2**62
VIEW_EVERY_MS = 300
VIEW_EVERY_CATCHING_UP_MS = 2_000
"""While there is much to read, reading goes before showing."""
CURRENT_WITHIN_MS = 3_000
MANY_SCOPES = 1_000
"""With more of them, one window is closed in a tick."""
_SPARKLINE_WINDOW: WindowName = "1m"


class KpiJob:
    """The one partition of the topic of reports.

    Args:
        evaluator: computes the KPIs.
        expected: all source partitions; windows are complete once all reported.
        kinds: the kind of each source topic.
        silent_after_ms: a source that is silent for a shorter time is no alert.
        day: the business day.
        top_campaigns: so many are exported one by one, the others as one.
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
        judge: Judge,
        source: SourcePartition,
        alerts_topic: str,
        dead_letters_topic: str,
        encode_values: Callable[[Evaluation, bool], Sequence[Output]] | None = None,
        cold: Cold | None = None,
        saved: Saved | None = None,
    ) -> None:
        self.judge = judge
        self.view: KpiView | None = None
        self._day = day
        self._evaluator = evaluator
        self._top_campaigns = top_campaigns
        self._source = source
        self._alerts_topic = alerts_topic
        self._dead_letters_topic = dead_letters_topic
        self._encode_values = encode_values
        self._buckets = Buckets(day, cold)
        self._ledger = Ledger()
        self._schedule = Schedule()
        self._seen = SeenInputs(evaluator.needed)
        self._totals: dict[str, dict[str, int]] = {}
        self._unknown: list[str] = []
        self._observed_from_ms = NOT_OBSERVED
        self._seen_whole_from_ms = NOT_OBSERVED
        self._days_from_ms = 0
        self._measured_from_ms = 0
        self._latest: dict[WindowName, Evaluation] = {}
        self._sparkline: deque[tuple[int, KpiValues]] = deque(maxlen=SPARKLINE_POINTS)
        self._evaluated: dict[WindowName, deque[int]] = {
            window.name: deque(maxlen=200) for window in WINDOWS
        }
        self._to_correct: dict[WindowName, set[int]] = {window.name: set() for window in WINDOWS}
        self._early_outputs: list[Output] = []
        self._changed = False
        self._pending = 0
        self._gaps: list[Gap] = []
        self._silences = Silences(kinds, silent_after_ms=silent_after_ms)
        self._shares = Shares()
        self._waits = Waits()
        self._overlapping = 0
        self._uncorrected = 0
        self._corrections = 0
        self._rate_from: tuple[int, int] | None = None
        self._rate = 0.0
        frontier_ms = 0
        if saved is not None:
            frontier_ms = self._restore(saved)
        self._completeness = Completeness(expected, frontier_ms=frontier_ms)

    def _restore(self, saved: Saved) -> int:
        state = saved_states.decode(saved.state)
        self._buckets.restore(saved.segments)
        self._ledger = Ledger(state.ledger)
        self._schedule = Schedule(state.due)
        self._seen = SeenInputs(self._evaluator.needed, state.seen, wire_needed=state.needed)
        self._days_from_ms = state.days_from_ms or 0
        self._measured_from_ms = state.measured_from_ms
        if state.version < VERSION:
            self._take_over_older(frontier_ms=state.frontier_ms)
        self._totals = state.totals
        self._unknown = state.unknown
        self._observed_from_ms = state.observed_from_ms
        self._seen_whole_from_ms = (
            state.observed_from_ms if state.seen_whole_from_ms is None else state.seen_whole_from_ms
        )
        self._sparkline.extend(state.sparkline)
        for name, ends in state.evaluated.items():
            self._evaluated[name].extend(ends)
        self._gaps = list(state.gaps)
        self._silences.restore(state.rhythm, state.silences)
        self.judge.restore(state.judge)
        return state.frontier_ms

    def _take_over_older(self, *, frontier_ms: int) -> None:
        """Go on with the buckets of a version before 4: no days, and fewer measures."""
        self._days_from_ms = self._buckets.days_whole_from()
        for pane_start in self._buckets.panes():
            self._measured_from_ms = max(self._measured_from_ms, pane_start + PANE_MS)
            self._schedule.pane_changed(pane_start, frontier_ms=frontier_ms)

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
        self._early_outputs.append(
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
            self._note_gap(report)
        listened_ms = self._completeness.read_up_to(report.topic, report.partition)
        self._completeness.note(report)
        if self._silences.note(
            report, listened_ms=listened_ms, frontier_ms=self._completeness.frontier_ms
        ):
            self._changed = True
        if repeated:
            return
        self._changed = True
        self._buckets.apply(report.panes, undo=ruling.undo, at_offset=at_offset)
        counts = counts_of(report.stats)
        self._shares.note(counts, at_ms=report.read_up_to_ms)
        totals = self._totals.setdefault(report.topic, {})
        for name, count in counts.items():
            totals[name] = totals.get(name, 0) + count
        for name, count in ruling.undo_counts.items():
            totals[name] -= count
        for sample in report.stats.unknown_samples:
            if sample not in self._unknown:
                self._unknown = [*self._unknown, sample][-UNKNOWN_SAMPLES:]
        for pane_start, cells in report.panes.items():
            self._observed_from_ms = min(self._observed_from_ms, pane_start)
            day_start = self._day.start_of(pane_start)
            earlier = False
            for row in cells:
                if len(row.cell.sums) <= WIDTH_BEFORE_4:
                    self._measured_from_ms = max(self._measured_from_ms, pane_start + PANE_MS)
                earlier |= self._seen.note(
                    scopes_of(row.facet),
                    row.cell.sums,
                    day_start=day_start,
                    pane_start=pane_start,
                )
            self._schedule_pane(pane_start)
            if earlier:
                self._correct_what_was_not_seen(pane_start, day_start=day_start)

    def _note_gap(self, report: Report) -> None:
        """Windows that may lack records are not complete, and never will be."""
        self._changed = True
        start_ms = self._completeness.frontier_ms
        ends = [report.watermark_ms, *report.panes, start_ms]
        self._gaps.append(Gap(report.topic, report.partition, start_ms, max(ends) + PANE_MS))

    def _schedule_pane(self, pane_start: int) -> None:
        frontier_ms = self._completeness.frontier_ms
        passed = self._schedule.pane_changed(pane_start, frontier_ms=frontier_ms)
        if not passed:
            return
        if pane_start < self._buckets.oldest_kept(frontier_ms):
            self._uncorrected += 1
            return
        for window, end in passed:
            self._to_correct[window.name].add(end)
        for window in WINDOWS:
            for end in self._evaluated[window.name]:
                if start_of_window(window, end, day=self._day) <= pane_start < end:
                    self._to_correct[window.name].add(end)

    def _correct_what_was_not_seen(self, pane_start: int, *, day_start: int) -> None:
        """Correct the closed windows of the day in which a scope or an input was unknown."""
        for window in WINDOWS:
            for end in self._evaluated[window.name]:
                if end > pane_start and self._day.start_of(end - 1) == day_start:
                    self._to_correct[window.name].add(end)

    def _advance(self) -> None:
        """Move the frontier and evaluate the windows that somebody waits for."""
        frontier_ms = self._completeness.advance()
        if frontier_ms <= 0:
            return
        if self._seen_whole_from_ms == NOT_OBSERVED:
            # From the newest of where the sources stand: some may begin before others.
            newest_ms = max(self._completeness.watermark_by_source.values(), default=frontier_ms)
            self._seen_whole_from_ms = max(frontier_ms, newest_ms) + PANE_MS
        self._silences.listen(self._completeness.read_up_to_by_source, frontier_ms=frontier_ms)
        due: list[tuple[int, Window]] = []
        for window in WINDOWS:
            ends = self._schedule.take(window, frontier_ms=frontier_ms)
            self._correct(window, passed=set(ends))
            if self._encode_values is not None or self.judge.waits_for(window.name):
                due.extend((end, window) for end in ends)
        for end, window in sorted(due, key=lambda item: item[0]):
            self._close(window, end)
        self._buckets.expire(frontier_ms)
        oldest_ms = frontier_ms - max(KEPT_MS)
        self._gaps = [gap for gap in self._gaps if gap.end_ms > oldest_ms]
        self._silences.expire(oldest_ms)
        self._seen.expire(day_start=self._day.start_of(frontier_ms))

    def _close(self, window: Window, end: int) -> None:
        evaluation = self.evaluate(window, end)
        self._changed = True
        latest = self._latest.get(window.name)
        if latest is None or end >= latest.end_ms:
            self._latest[window.name] = evaluation
            self.judge.closed(evaluation)
            if window.name == _SPARKLINE_WINDOW:
                self._sparkline.append((end, evaluation.values.get(ALL, {})))
        self._evaluated[window.name].append(end)
        self._publish(evaluation, corrected=False)

    def _close_newest(self) -> None:
        """Evaluate the newest end of each window, for people and rules to see."""
        frontier_ms = self._completeness.frontier_ms
        for window in WINDOWS:
            newest = align_down(frontier_ms, step_ms=window.step_ms)
            latest = self._latest.get(window.name)
            if frontier_ms > 0 and (latest is None or newest > latest.end_ms):
                self._close(window, newest)
                if len(self._latest[window.name].values) > MANY_SCOPES:
                    # The others wait for the next ticks, and records do not wait for them all.
                    return

    def _correct(self, window: Window, *, passed: set[int]) -> None:
        ends = self._to_correct[window.name]
        if not ends:
            return
        self._to_correct[window.name] = set()
        latest = self._latest.get(window.name)
        for end in sorted(ends - passed):
            self._corrections += 1
            is_latest = latest is not None and end == latest.end_ms
            is_evidence = self.judge.awaits_correction(window.name, end)
            if is_latest or is_evidence or self._encode_values is not None:
                evaluation = self.evaluate(window, end)
                evaluated = self._evaluated[window.name]
                if end not in evaluated:
                    evaluated.append(end)
                if is_evidence:
                    self.judge.corrected(evaluation)
                if is_latest:
                    self._latest[window.name] = evaluation
                self._publish(evaluation, corrected=True)

    def evaluate(self, window: Window, end: int) -> Evaluation:
        """Return the KPIs of every scope that had an event in the window or that day."""
        start = start_of_window(window, end, day=self._day)
        day_start = self._day.start_of(end - 1)
        evaluator = self._evaluator
        inputs = dict(self._seen.scopes(day_start=day_start, end=end))
        cells = self._buckets.totals(start, end)
        for scope in inputs:
            if scope not in cells:
                cells[scope] = Cell()
        whole = start >= self._measured_from_ms
        values = {
            scope: evaluator.evaluate(
                cell, inputs=evaluator.inputs_in(cell) | inputs.get(scope, 0), whole=whole
            )
            for scope, cell in cells.items()
            if whole or not (scope.region or scope.segment)
        }
        # The first panes may hold what came late of a time that was not seen; a day so
        # far is seen from where reading began.
        observed_from_ms = self._observed_from_ms if window.days else self._seen_whole_from_ms
        if window.days > 1:
            observed_from_ms = max(observed_from_ms, self._days_from_ms)
        complete = not any(gap.start_ms < end and start < gap.end_ms for gap in self._gaps)
        return Evaluation(
            window.name,
            start,
            end,
            values,
            observed_from_ms,
            complete,
            self._silences.unsure(start, end),
            *self._other(cells, inputs),
        )

    def _other(
        self, cells: Mapping[Scope, Cell], inputs: Mapping[Scope, int]
    ) -> tuple[frozenset[str], KpiValues]:
        """Return the campaigns beyond the largest, and their KPIs together."""
        campaigns = [scope for scope in cells if scope.kind == "campaign"]
        if len(campaigns) <= self._top_campaigns:
            return frozenset(), {}
        campaigns.sort(key=lambda scope: (-_volume(cells[scope]), scope))
        small = campaigns[self._top_campaigns :]
        total = Cell.total([cells[scope] for scope in small])
        seen = reduce(or_, (inputs.get(scope, 0) for scope in small))
        values = self._evaluator.evaluate(total, inputs=self._evaluator.inputs_in(total) | seen)
        return frozenset(scope.campaign for scope in small), values

    def _publish(self, evaluation: Evaluation, *, corrected: bool) -> None:
        if self._encode_values is not None:
            self._early_outputs.extend(self._encode_values(evaluation, corrected))

    def tick(self, position: Position, *, now_ms: int) -> None:
        """Judge the health of the data, close the newest windows and renew the view."""
        del position
        completeness = self._completeness
        read_up_to_ms = completeness.read_up_to_ms
        current = read_up_to_ms is not None and now_ms - read_up_to_ms < CURRENT_WITHIN_MS
        every_ms = VIEW_EVERY_MS if current else VIEW_EVERY_CATCHING_UP_MS
        if self.view is not None and 0 <= now_ms - self.view.health.now_ms < every_ms:
            return
        self._close_newest()
        health = Health(
            now_ms=now_ms,
            expected=completeness.expected,
            reporting=completeness.reporting,
            missing=completeness.missing,
            read_up_to_ms=read_up_to_ms,
            behind=completeness.behind,
            gaps=sum(gap.end_ms > completeness.frontier_ms - GAP_TOLD_MS for gap in self._gaps),
            silent=self._silences.silent,
            waiting=self._waits.at(now_ms),
            dead_letter_share=self._shares.share("dead_letters/", now_ms=now_ms),
            mis_keyed_share=self._shares.share("mis_keyed", now_ms=now_ms),
            late_share=self._shares.share("late", now_ms=now_ms),
            duplicate_share=self._shares.share("duplicates", now_ms=now_ms),
        )
        if self.judge.health(health):
            self._changed = True
        self.view = KpiView(
            frontier_ms=completeness.frontier_ms,
            latest=dict(self._latest),
            sparkline=tuple(self._sparkline),
            totals={topic: dict(counts) for topic, counts in self._totals.items()},
            health=health,
            behind=completeness.behind_by_source,
            watermarks=completeness.watermark_by_source,
            incomplete_panes=self._buckets.panes_after(completeness.frontier_ms),
            records_per_second=self._rate_at(now_ms),
            alerts=tuple(self.judge.alerts()),
            unknown_campaigns=tuple(self._unknown),
            overlapping_reports=self._overlapping,
            uncorrected_panes=self._uncorrected,
            buckets=len(self._buckets),
            corrections=self._corrections,
        )

    def _rate_at(self, now_ms: int) -> float:
        records = sum(counts.get("records", 0) for counts in self._totals.values())
        if self._rate_from is None:
            self._rate_from = (now_ms, records)
        since_ms, before = self._rate_from
        if now_ms - since_ms >= 3000:
            self._rate = (records - before) * 1000 / (now_ms - since_ms)
            self._rate_from = (now_ms, records)
        return self._rate

    def snapshot(self) -> Snapshot:
        """Return the changed buckets, the rest of the state, and what is to be sent."""
        early_outputs, self._early_outputs = self._early_outputs, []
        outputs = [
            Output(
                topic=self._alerts_topic,
                key=alert.id.encode(),
                value=alert.model_dump_json().encode(),
            )
            for alert in self.judge.take_changes()
        ]
        self._changed = False
        self._pending = 0
        state = KpiState(
            frontier_ms=self._completeness.frontier_ms,
            observed_from_ms=self._observed_from_ms,
            ledger=self._ledger.entries(),
            due=self._schedule.items(),
            seen=self._seen.to_wire(),
            totals=self._totals,
            unknown=self._unknown,
            sparkline=list(self._sparkline),
            evaluated={name: list(ends) for name, ends in self._evaluated.items()},
            judge=self.judge.to_bytes(),
            gaps=self._gaps,
            rhythm=self._silences.rhythm.to_wire(),
            silences=self._silences.ended,
            seen_whole_from_ms=self._seen_whole_from_ms,
            needed=self._evaluator.needed,
            days_from_ms=self._days_from_ms,
            version=VERSION,
            measured_from_ms=self._measured_from_ms,
        )
        return Snapshot(
            state=saved_states.encode(state),
            segments=list(self._buckets.take_segments()),
            early_outputs=early_outputs,
            outputs=outputs,
        )


def _volume(cell: Cell) -> int:
    return cell.sums[SUM_INDEX["clicks"]] + cell.sums[SUM_INDEX["orders"]]
