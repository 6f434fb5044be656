"""Frontier: the event time up to which all source partitions are complete.

Each report has a mark: its partition was read up to broker time A (``read_up_to_ms``), and was then
complete up to event time W (``watermark_ms``). All partitions are compared at the same broker time,
the smallest A of all. A partition that was read further counts with the mark that it had then. The
frontier is the smallest W of those marks. So history closes the same windows at any reading speed.

Example: partition 1 is slower than partition 0.

    report                              smallest A  marks at that A             frontier
    0: A 12:00:10, W 12:00:04           none        partition 1 is missing      none
    0: A 12:00:20, W 12:00:14           none        partition 1 is missing      none
    1: A 12:00:12, W 12:00:05           12:00:12    W 12:00:04 and W 12:00:05   12:00:04
    1: A 12:00:20, W 12:00:15           12:00:20    W 12:00:14 and W 12:00:15   12:00:14

At 12:00:04 the windows that end at 12:00:00 are closed, at 12:00:14 those that end at 12:00:10. A
partition whose mark is idle does not delay the frontier: its W is left out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from models.aggregates.ingest_report import Report


class SourceWatermark(NamedTuple):
    """The progress of a source partition in one report.

    Args:
        read_up_to_ms: broker time before which everything was read.
        watermark_ms: event time up to which the partition is then complete; 0 without events.
        idle: whether it was read to its end and had no records for a while.
    """

    read_up_to_ms: int
    watermark_ms: int
    idle: bool


@dataclass(slots=True)
class _Source:
    marks: deque[SourceWatermark]
    behind: int = 0


class Frontier:
    """The progress of all source partitions.

    `frontier_ms` is the frontier, in ms of event time; 0 until there is one. It never moves back.

    Args:
        expected: topic and partition of all source partitions.
        frontier_ms: the saved frontier.
    """

    def __init__(self, expected: Iterable[tuple[str, int]], *, frontier_ms: int = 0) -> None:
        self._expected = frozenset(expected)
        self._sources: dict[tuple[str, int], _Source] = {}
        self.frontier_ms = frontier_ms

    @property
    def expected(self) -> int:
        """The number of source partitions that are expected to report."""
        return len(self._expected)

    @property
    def reporting(self) -> int:
        """The number of expected source partitions that have reported."""
        return len(self._sources.keys() & self._expected)

    @property
    def missing(self) -> list[tuple[str, int]]:
        """The expected source partitions that have not reported, sorted."""
        return sorted(self._expected - self._sources.keys())

    @property
    def behind(self) -> int:
        """The number of records that wait in the broker, unread."""
        return sum(source.behind for source in self._sources.values())

    @property
    def behind_by_source(self) -> dict[tuple[str, int], int]:
        """The number of unread records by source partition."""
        return {key: source.behind for key, source in self._sources.items()}

    @property
    def watermark_by_source(self) -> dict[tuple[str, int], int]:
        """The newest watermark of each source partition that had events, in ms of event time."""
        return {
            key: source.marks[-1].watermark_ms
            for key, source in self._sources.items()
            if source.marks[-1].watermark_ms
        }

    @property
    def read_up_to_by_source(self) -> dict[tuple[str, int], int]:
        """The broker time up to which each source partition was read, in ms."""
        return {key: source.marks[-1].read_up_to_ms for key, source in self._sources.items()}

    def read_up_to(self, topic: str, partition: int) -> int:
        """Return the broker time, in ms, up to which a source partition was read; 0 if unknown."""
        source = self._sources.get((topic, partition))
        return source.marks[-1].read_up_to_ms if source else 0

    @property
    def read_up_to_ms(self) -> int | None:
        """The broker time, in ms, up to which all source partitions were read.

        None until every expected partition has reported that it read something. Until then the age
        of the unread records is unknown.
        """
        if self.reporting < self.expected:
            return None
        return min(source.marks[-1].read_up_to_ms for source in self._sources.values()) or None

    def record(self, report: Report) -> None:
        """Record the progress of a source partition; marks older than its newest are ignored."""
        mark = SourceWatermark(report.read_up_to_ms, report.watermark_ms, report.idle)
        key = (report.topic, report.partition)
        source = self._sources.get(key)
        if source is None:
            source = self._sources[key] = _Source(deque([mark]))
        elif mark.read_up_to_ms >= source.marks[-1].read_up_to_ms:
            if mark.read_up_to_ms == source.marks[-1].read_up_to_ms:
                source.marks.pop()
            source.marks.append(mark)
        source.behind = report.behind

    def advance(self) -> int:
        """Move the frontier as far as the marks allow, and return it.

        If all partitions with events are idle, the frontier is the newest of their watermarks.
        """
        read_up_to_ms = self.read_up_to_ms
        if read_up_to_ms is None:
            return self.frontier_ms
        active: list[int] = []
        silent: list[int] = []
        for source in self._sources.values():
            marks = source.marks
            while len(marks) > 1 and marks[1].read_up_to_ms <= read_up_to_ms:
                marks.popleft()
            mark = marks[0]
            if mark.read_up_to_ms > read_up_to_ms:
                # The oldest mark of this partition is newer: its watermark at that time is unknown.
                return self.frontier_ms
            if mark.watermark_ms:
                (silent if mark.idle else active).append(mark.watermark_ms)
        if active:
            self.frontier_ms = max(self.frontier_ms, min(active))
        elif silent:
            self.frontier_ms = max(self.frontier_ms, *silent)
        return self.frontier_ms
