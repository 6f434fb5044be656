"""Tracks how much of the data is there: the frontier, gaps, silent sources, odd records."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from models.aggregates.cell import CellWire
from models.aggregates.ingest_report import FacetCell, Report, Waiting
from models.aggregates.period_cost import PeriodCost
from models.events import SourceKind
from models.kpi.definition import KpiValue
from models.kpi.measures import SUM_INDEX
from models.window import MINUTE_MS, BusinessDay
from streams.kpis.coverage.first_inputs import FirstInputs
from streams.kpis.coverage.frontier import Frontier
from streams.kpis.coverage.observation import Observation
from streams.kpis.coverage.seen_inputs import SeenInputs
from streams.kpis.coverage.silent_sources import SilentSources
from streams.kpis.coverage.waits import WaitingSources
from streams.kpis.intake.report_ledger import counts_of
from streams.kpis.intake.shares import Shares
from streams.kpis.view import Health

_A_REPORT = tuple(int(name == "spend_reports") for name in SUM_INDEX)
"""The sums of a cell with one report of a cost."""
GAP_REPORTED_MS = 15 * MINUTE_MS
"""Event time for which a gap is part of the health of the data after it ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The sources that the stage waits for.

    Args:
        expected: all source partitions, as (topic, partition); the frontier does not move until
            all of them have reported.
        kinds: the kind of each source topic.
        silent_after_ms: shorter silences of a source are never reported.
    """

    expected: Collection[tuple[str, int]]
    kinds: Mapping[str, SourceKind]
    silent_after_ms: int


class Coverage:
    """The parts that together say whether a value rests on all data that it should rest on.

    Args:
        frontier: event time up to which all sources are complete.
        observation: since when data are whole, and where records are missing.
        first_inputs: when each kind of event first came.
        seen: the inputs that each scope showed on each business day.
        silences: when sources were silent.
    """

    def __init__(
        self,
        *,
        frontier: Frontier,
        observation: Observation,
        first_inputs: FirstInputs,
        seen: SeenInputs,
        silences: SilentSources,
    ) -> None:
        self.frontier = frontier
        self.observation = observation
        self.first_inputs = first_inputs
        self.seen = seen
        self.silences = silences
        self._shares = Shares()
        self._waits = WaitingSources()

    def record_progress(self, report: Report, *, missing: bool) -> bool:
        """Record the progress of a report's source, before its cells are merged.

        Args:
            report: any report, also a heartbeat or a repeated one.
            missing: whether records before it or in it were lost.

        Returns:
            Whether the state changed.
        """
        frontier_ms = self.frontier.frontier_ms
        if missing:
            self.observation.record_gap(report, frontier_ms=frontier_ms)
        listened_ms = self.frontier.read_up_to(report.topic, report.partition)
        self.frontier.record(report)
        self.observation.record_source(report)
        changed = self.silences.record(report, listened_ms=listened_ms, frontier_ms=frontier_ms)
        return changed or missing

    def record_counts(self, report: Report) -> None:
        """Count the dead letters, late and repeated records of an applied report."""
        self._shares.record(counts_of(report.stats), at_ms=report.read_up_to_ms)

    def record_waiting(self, waiting: Iterable[Waiting], *, at_ms: int) -> None:
        """Record which sources wait for a service, at a broker time in ms."""
        self._waits.record(waiting, at_ms=at_ms)

    def record_pane(
        self,
        cells: Sequence[FacetCell],
        *,
        day_start: int,
        pane_start: int,
        measures_version: int,
        custom: Collection[str],
    ) -> bool:
        """Record the inputs of a pane's cells; return whether one is new on that business day.

        Args:
            cells: the cells of the pane.
            day_start: start of the pane's business day, event time in ms.
            pane_start: start of the pane, event time in ms.
            measures_version: the version of the measures in the cells.
            custom: the custom sums that were declared when the cells were made.
        """
        self.observation.pane_seen(pane_start, measures_version=measures_version, custom=custom)
        first = self.first_inputs.record_pane(cells, pane_start=pane_start)
        return self.seen.record_pane(cells, day_start=day_start, pane_start=pane_start) or first

    def record_cost(self, cost: PeriodCost, *, day: BusinessDay) -> list[int]:
        """Record a cost of a period, which is an input of each business day of the period.

        Returns:
            The panes, by their start in ms, in which the input is new on their business day.
        """
        cell = FacetCell(cost.campaign, cost.channel, CellWire(list(_A_REPORT)))
        news = []
        at = cost.from_ms
        while at < cost.covered_ms:
            day_start = day.start_of(at)
            first = self.first_inputs.record_pane([cell], pane_start=at)
            if self.seen.knows(day_start):
                first |= self.seen.record_pane([cell], day_start=day_start, pane_start=at)
            if first:
                news.append(at)
            at = day.end_of(at)
        return news

    def advance(self) -> bool:
        """Move the frontier as far as the sources allow; return whether there is one yet."""
        frontier, frontier_ms = self.frontier, self.frontier.advance()
        if frontier_ms <= 0:
            return False
        self.observation.record_whole(frontier.watermark_by_source)
        self.silences.listen(frontier.read_up_to_by_source, frontier_ms=frontier_ms)
        return True

    def expire(self, *, oldest_ms: int, day_start: int) -> None:
        """Drop what no later window needs.

        Args:
            oldest_ms: event time before which no window is evaluated any more.
            day_start: start of the business day up to which windows are closed.
        """
        self.observation.expire(oldest_ms)
        self.silences.expire(oldest_ms)
        self.seen.expire(day_start=day_start)

    def health(
        self, now_ms: int, *, reading_history: bool, orders_with_touch: KpiValue | None = None
    ) -> Health:
        """Return how complete the data are.

        Args:
            now_ms: broker time.
            reading_history: whether event time of days ago is read faster than the clock runs.
            orders_with_touch: the KPI of this name, of the present business day.
        """
        frontier, shares = self.frontier, self._shares
        return Health(
            now_ms=now_ms,
            expected=frontier.expected,
            reporting=frontier.reporting,
            missing=frontier.missing,
            read_up_to_ms=frontier.read_up_to_ms,
            behind=frontier.behind,
            reading_history=reading_history,
            gaps=self.observation.gaps_after(frontier.frontier_ms - GAP_REPORTED_MS),
            silent=self.silences.silent,
            waiting=self._waits.at(now_ms),
            dead_letter_share=shares.share("dead_letters/", now_ms=now_ms),
            mis_keyed_share=shares.share("mis_keyed", now_ms=now_ms),
            late_share=shares.share("late", now_ms=now_ms),
            duplicate_share=shares.share("duplicates", now_ms=now_ms),
            orders_with_touch=orders_with_touch,
        )
