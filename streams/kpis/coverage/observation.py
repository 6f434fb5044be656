"""Observation: since when the data are complete, and where records are missing.

A window is fully observed if it begins after observation did and overlaps no gap.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from models.aggregates.ingest_report import Report
from models.kpi import measures
from models.kpi.measures import Measured
from models.window import PANE_MS, Window
from streams.kpis.coverage.gaps import Gap

NOT_OBSERVED = 2**62
"""The beginning of observation, as an event time, while there is none."""


class Observation:
    """The begin of observation for each kind of window, and the gaps in it.

    All times are event times in ms.

    Args:
        from_ms: the start of the oldest pane that was reported before `whole_from_ms` was known.
        whole_from_ms: from then on all sources are observed together.
        measured_from_ms: for a version of the measures, the time before which cells may be of an
            older version.
        lost_until_ms: records before that time may be missing, in gaps that were dropped.
        gaps: where records are missing.
        custom_from_ms: for each custom sum that is declared, the time before which cells may lack
            it, because it was not declared yet.
    """

    def __init__(
        self,
        *,
        from_ms: int = NOT_OBSERVED,
        whole_from_ms: int = NOT_OBSERVED,
        measured_from_ms: Mapping[int, int] | None = None,
        lost_until_ms: int = 0,
        gaps: Iterable[Gap] = (),
        custom_from_ms: Mapping[str, int] | None = None,
    ) -> None:
        self.from_ms = from_ms
        self.whole_from_ms = whole_from_ms
        self.measured_from_ms = dict(measured_from_ms or {})
        self.lost_until_ms = lost_until_ms
        self.gaps = list(gaps)
        self.custom_from_ms = dict(custom_from_ms or {})
        self._known: set[tuple[str, int]] = set()
        """The source partitions whose first report with events came since the job was opened."""
        self._begins: dict[str, int] = {}
        """The first event of each topic that is read from its first record, event time in ms."""
        self._lost_before_ms = 0
        """The newest watermark of first reports of the others."""

    def pane_seen(
        self, pane_start: int, *, measures_version: int, custom: Collection[str] = ()
    ) -> None:
        """Record a reported pane, the version of its measures, and the custom sums it may have.

        Once all sources are observed, an older pane is late data and does not move `from_ms` back.
        """
        if self.whole_from_ms == NOT_OBSERVED:
            self.from_ms = min(self.from_ms, pane_start)
        self.record_version(pane_start, measures_version)
        self.record_custom(pane_start, custom)

    def record_version(self, pane_start: int, version: int) -> None:
        """Record that a pane has cells with the measures of a version.

        Example:
            This worker has version 3. A pane of 12:00:00 with cells of version 1 sets
            `measured_from_ms` to {2: 12:00:10, 3: 12:00:10}, one of 12:00:10 with cells of
            version 2 sets it to {2: 12:00:10, 3: 12:00:20}. `measured_at` has version 1 before
            12:00:10, then 2, and 3 from 12:00:20 on.
        """
        from_ms = self.measured_from_ms
        for newer in range(version + 1, measures.VERSION + 1):
            from_ms[newer] = max(from_ms.get(newer, 0), pane_start + PANE_MS)

    def record_custom(self, pane_start: int, declared: Collection[str]) -> None:
        """Record that a pane's cells were made when only these custom sums were declared.

        Example:
            `samples` was added to the file of KPIs, and the worker started again. The newest pane
            in its state is that of 12:00:00: windows that begin before 12:00:10 lack `samples`.
            Those that begin later have it.
        """
        from_ms = self.custom_from_ms
        for name in from_ms.keys() - declared:
            from_ms[name] = max(from_ms[name], pane_start + PANE_MS)

    def measured_at(self, start: int) -> Measured:
        """Return the measures that all cells at or after ``start`` have."""
        older = [version for version, from_ms in self.measured_from_ms.items() if start < from_ms]
        lacking = [name for name, from_ms in self.custom_from_ms.items() if start < from_ms]
        return Measured(min(older, default=measures.VERSION + 1) - 1, frozenset(lacking))

    def record_source(self, report: Report) -> None:
        """Record since when a source partition is observed: its first report with events says so.

        Read from its first record on, it is observed since the first event. If its first records
        are not held any more, nothing is known of the time before its first watermark.
        """
        key = (report.topic, report.partition)
        if self.whole_from_ms != NOT_OBSERVED or not report.watermark_ms or key in self._known:
            return
        self._known.add(key)
        if report.from_offset >= 0:
            self._lost_before_ms = max(self._lost_before_ms, report.watermark_ms)
        elif report.panes:
            begins = min(report.panes)
            self._begins[report.topic] = min(begins, self._begins.get(report.topic, begins))

    def record_whole(self, watermarks: Mapping[tuple[str, int], int]) -> None:
        """Record where observation of all sources begins, once there is a frontier.

        That is one pane after the last topic begins, as topics may begin at different times. A
        topic begins with the first event in any of its partitions.

        Example, of topics that are read from their first records in one go: clicks begin at
        8:00:00, in one partition at 8:04:30, and orders at 8:01:20. All is observed from 8:01:30.

        Args:
            watermarks: the newest watermark of each source partition that had events, in ms.
        """
        if self.whole_from_ms != NOT_OBSERVED:
            return
        # Of a partition whose first report came before a restart, only the watermark is known.
        unknown = (mark for source, mark in watermarks.items() if source not in self._known)
        latest = max((*unknown, *self._begins.values(), self._lost_before_ms))
        self.whole_from_ms = latest + PANE_MS

    def record_gap(self, report: Report, *, frontier_ms: int) -> None:
        """Record a gap for lost records.

        Their event times are unknown. The gap is assumed to begin at the frontier and to end one
        pane after the newest of the frontier, the report's watermark and its panes. Windows that
        overlap it stay incomplete.
        """
        ends = [report.watermark_ms, *report.panes, frontier_ms]
        self.gaps.append(Gap(report.topic, report.partition, frontier_ms, max(ends) + PANE_MS))

    def starts_of(self, window: Window) -> int:
        """Return the event time, in ms, at which observation begins for a kind of window.

        Windows of a fixed length need all sources from their start. Those of business days count
        from the first pane that was read. The all-time window counts everything.
        """
        if window.length_ms is not None:
            return self.whole_from_ms
        return self.from_ms if window.days else 0

    def knows(self, window: Window, period: tuple[int, int]) -> bool:
        """Return whether all of a period, [start, end), was observed without a gap."""
        start, end = period
        return start >= self.starts_of(window) and self.complete(start, end)

    def complete(self, start: int, end: int) -> bool:
        """Return whether no records of [start, end) are missing."""
        return start >= self.lost_until_ms and not any(
            gap.start_ms < end and start < gap.end_ms for gap in self.gaps
        )

    def gaps_after(self, time_ms: int) -> int:
        """Return the number of gaps that end after that event time."""
        return sum(gap.end_ms > time_ms for gap in self.gaps)

    def expire(self, oldest_ms: int) -> None:
        """Drop gaps older than ``oldest_ms``; `lost_until_ms` keeps up to when there were any."""
        forgotten = [gap.end_ms for gap in self.gaps if gap.end_ms <= oldest_ms]
        self.lost_until_ms = max(self.lost_until_ms, *forgotten, 0)
        self.gaps = [gap for gap in self.gaps if gap.end_ms > oldest_ms]
