"""How far all source partitions together are complete.

The frontier is the event time up to which every window is complete. Sources
are compared at one broker time: the earliest ``read_up_to`` of all of them. A
source that is far ahead of the others in reading is taken as it stood then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from models.aggregates.ingest_report import Report


class SourceWatermark(NamedTuple):
    """Having read up to a broker time, a source was complete to its watermark."""

    read_up_to_ms: int
    watermark_ms: int
    idle: bool


@dataclass(slots=True)
class _Source:
    marks: deque[SourceWatermark]
    behind: int = 0


class Frontier:
    """The progress of all source partitions."""

    def __init__(self, expected: Iterable[tuple[str, int]], *, frontier_ms: int = 0) -> None:
        self._expected = frozenset(expected)
        self._sources: dict[tuple[str, int], _Source] = {}
        self.frontier_ms = frontier_ms

    @property
    def expected(self) -> int:
        """How many source partitions there should be."""
        return len(self._expected)

    @property
    def reporting(self) -> int:
        """How many source partitions have reported."""
        return len(self._sources.keys() & self._expected)

    @property
    def missing(self) -> list[tuple[str, int]]:
        """The source partitions that have not reported."""
        return sorted(self._expected - self._sources.keys())

    @property
    def behind(self) -> int:
        """How many records wait in the broker."""
        return sum(source.behind for source in self._sources.values())

    @property
    def behind_by_source(self) -> dict[tuple[str, int], int]:
        """How many records wait, by source partition."""
        return {key: source.behind for key, source in self._sources.items()}

    @property
    def watermark_by_source(self) -> dict[tuple[str, int], int]:
        """The newest watermark of each source partition that had events, ms."""
        return {
            key: source.marks[-1].watermark_ms
            for key, source in self._sources.items()
            if source.marks[-1].watermark_ms
        }

    @property
    def read_up_to_by_source(self) -> dict[tuple[str, int], int]:
        """Broker time up to which each source partition was read."""
        return {key: source.marks[-1].read_up_to_ms for key, source in self._sources.items()}

    def read_up_to(self, topic: str, partition: int) -> int:
        """Return the broker time up to which a source partition was read; 0 if it was not."""
        source = self._sources.get((topic, partition))
        return source.marks[-1].read_up_to_ms if source else 0

    @property
    def read_up_to_ms(self) -> int | None:
        """Broker time up to which everything was read.

        None until all source partitions reported that they read anything: a fresh worker
        whose topics hold history does not know how old what it has not read is.
        """
        if self.reporting < self.expected:
            return None
        return min(source.marks[-1].read_up_to_ms for source in self._sources.values()) or None

    def record(self, report: Report) -> None:
        """Take note of a source's progress; an older report changes nothing."""
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
        """Return the frontier, after moving it as far as the marks allow."""
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
                # Nothing is known of the source as it stood then.
                return self.frontier_ms
            if mark.watermark_ms:
                (silent if mark.idle else active).append(mark.watermark_ms)
        if active:
            self.frontier_ms = max(self.frontier_ms, min(active))
        elif silent:
            self.frontier_ms = max(self.frontier_ms, *silent)
        return self.frontier_ms
