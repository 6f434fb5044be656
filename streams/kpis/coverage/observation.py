"""Observation: since when the data are complete, and where records are missing.

A window is fully observed if it begins after observation did and overlaps no gap.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from models.aggregates.ingest_report import FacetCell, Report
from models.kpi.measures import NEWEST_MEASURES, WIDTH_BEFORE
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
        days_from_ms: from then on the buckets of business days are complete. It is 0 unless an
            older version of the state had dropped days.
        measured_from_ms: for a version of the state, the time before which cells may have been
            measured by an older version.
        lost_until_ms: records before that time may be missing, in gaps that were dropped.
        gaps: where records are missing.
    """

    def __init__(
        self,
        *,
        from_ms: int = NOT_OBSERVED,
        whole_from_ms: int = NOT_OBSERVED,
        days_from_ms: int = 0,
        measured_from_ms: Mapping[int, int] | None = None,
        lost_until_ms: int = 0,
        gaps: Iterable[Gap] = (),
    ) -> None:
        self.from_ms = from_ms
        self.whole_from_ms = whole_from_ms
        self.days_from_ms = days_from_ms
        self.measured_from_ms = dict.fromkeys(WIDTH_BEFORE, 0) | dict(measured_from_ms or {})
        self.lost_until_ms = lost_until_ms
        self.gaps = list(gaps)

    def pane_seen(self, pane_start: int, cells: Iterable[FacetCell]) -> None:
        """Record a reported pane, and the versions that measured its cells.

        Once all sources are observed, an older pane is late data and does not move `from_ms` back.
        """
        if self.whole_from_ms == NOT_OBSERVED:
            self.from_ms = min(self.from_ms, pane_start)
        narrowest = min(
            (len(row.cell.sums) for row in cells), default=max(WIDTH_BEFORE.values()) + 1
        )
        for version, width in WIDTH_BEFORE.items():
            if narrowest <= width:
                self.measured_before(version, pane_start)

    def measured_before(self, version: int, pane_start: int) -> None:
        """Record that a pane has a cell that was measured before ``version``."""
        from_ms = self.measured_from_ms
        from_ms[version] = max(from_ms[version], pane_start + PANE_MS)

    def version_at(self, start: int) -> int:
        """Return the oldest version that may have measured cells at or after ``start``."""
        older = [version for version, from_ms in self.measured_from_ms.items() if start < from_ms]
        return min(older, default=NEWEST_MEASURES + 1) - 1

    def days_begin(self, time_ms: int) -> None:
        """Record that day buckets are complete only from then on.

        This has no effect if observation began later.
        """
        if self.from_ms < time_ms:
            self.days_from_ms = max(self.days_from_ms, time_ms)

    def record_whole(self, watermarks: Iterable[int], *, frontier_ms: int) -> None:
        """Record where observation of all sources begins, once there is a frontier.

        That is one pane after the newest watermark: sources may begin at different times.
        """
        if self.whole_from_ms == NOT_OBSERVED:
            self.whole_from_ms = max(frontier_ms, *watermarks) + PANE_MS

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
        from the first pane that was read. The all-time window counts everything, unless an older
        version had dropped days.
        """
        if window.length_ms is not None:
            return self.whole_from_ms
        if not window.days:
            return self.days_from_ms
        return max(self.from_ms, self.days_from_ms) if window.days > 1 else self.from_ms

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
