"""From when on what was observed is whole, and where records are missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from models.aggregates.ingest_report import FacetCell, Report
from models.kpi.measures import NEWEST_MEASURES, WIDTH_BEFORE
from models.window import PANE_MS, Window
from streams.kpis.coverage.gaps import Gap

NOT_OBSERVED = 2**62


class Observation:
    """What windows have to reach back to at most, to rest on everything.

    Args:
        from_ms: the oldest pane that was reported.
        whole_from_ms: from when on every source was followed live.
        days_from_ms: from when on buckets of days are whole, if later than observation.
        measured_from_ms: for a version, before when cells may be of an older one.
        lost_until_ms: up to where gaps were forgotten.
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
        """Note a pane that was reported; what comes late begins no observation."""
        if self.whole_from_ms == NOT_OBSERVED:
            self.from_ms = min(self.from_ms, pane_start)
        narrowest = min(
            (len(row.cell.sums) for row in cells), default=max(WIDTH_BEFORE.values()) + 1
        )
        for version, width in WIDTH_BEFORE.items():
            if narrowest <= width:
                self.measured_before(version, pane_start)

    def measured_before(self, version: int, pane_start: int) -> None:
        """Note that a pane has a cell of a version before that one."""
        from_ms = self.measured_from_ms
        from_ms[version] = max(from_ms[version], pane_start + PANE_MS)

    def version_at(self, start: int) -> int:
        """Return the oldest version that measured anything from that time on."""
        older = [version for version, from_ms in self.measured_from_ms.items() if start < from_ms]
        return min(older, default=NEWEST_MEASURES + 1) - 1

    def days_begin(self, time_ms: int) -> None:
        """Note from when on days are held that are whole; those before it are forgotten."""
        if self.from_ms < time_ms:
            self.days_from_ms = max(self.days_from_ms, time_ms)

    def record_whole(self, watermarks: Iterable[int], *, frontier_ms: int) -> None:
        """Note where observation of all sources begins, once there is a frontier.

        It is the newest of where the sources stand: some may begin before others.
        """
        if self.whole_from_ms == NOT_OBSERVED:
            self.whole_from_ms = max(frontier_ms, *watermarks) + PANE_MS

    def record_gap(self, report: Report, *, frontier_ms: int) -> None:
        """Note missing records: windows that may lack them never will be complete."""
        ends = [report.watermark_ms, *report.panes, frontier_ms]
        self.gaps.append(Gap(report.topic, report.partition, frontier_ms, max(ends) + PANE_MS))

    def starts_of(self, window: Window) -> int:
        """Return where observation begins for windows of that name.

        The first panes may hold what came late of a time that was not seen; a day so
        far is seen from where reading began. Everything so far is whole, unless an
        older version had forgotten days.
        """
        if window.length_ms is not None:
            return self.whole_from_ms
        if not window.days:
            return self.days_from_ms
        return max(self.from_ms, self.days_from_ms) if window.days > 1 else self.from_ms

    def knows(self, window: Window, period: tuple[int, int]) -> bool:
        """Say whether all of a period, [start, end), was observed, with no gap."""
        start, end = period
        return start >= self.starts_of(window) and self.complete(start, end)

    def complete(self, start: int, end: int) -> bool:
        """Say whether no records of [start, end) are missing."""
        return start >= self.lost_until_ms and not any(
            gap.start_ms < end and start < gap.end_ms for gap in self.gaps
        )

    def gaps_after(self, time_ms: int) -> int:
        """Return how many gaps end after that event time."""
        return sum(gap.end_ms > time_ms for gap in self.gaps)

    def expire(self, oldest_ms: int) -> None:
        """Forget the gaps that ended before that event time, but that there were some."""
        forgotten = [gap.end_ms for gap in self.gaps if gap.end_ms <= oldest_ms]
        self.lost_until_ms = max(self.lost_until_ms, *forgotten, 0)
        self.gaps = [gap for gap in self.gaps if gap.end_ms > oldest_ms]
