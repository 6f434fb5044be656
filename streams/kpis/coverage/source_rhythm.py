"""Which sources are silent against their own rhythm.

Silence is measured in the broker's time, by topic and by partition, and only as
far as was listened: what waits unread is not silence. A source that was never
silent for more than a second is suspect after a few and silent after
`silent_after_ms`; one that speaks once an hour needs hours. While a source is
suspect, what depends on it is not judged; once it is silent, that is an alert of
its own, until it speaks again or a day has passed.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto

import msgspec

from models.window import DAY_MS, MINUTE_MS

OBSERVED_MS = 30_000
"""A source must have spoken for so long before its silence says anything."""
REMEMBERED_MS = 10 * MINUTE_MS
REMEMBERED_GAPS = 4
"""A gap counts for ten minutes, or for so many times its own length."""
SUSPECT_GAPS = 3
"""So many times the longest gap of late is suspect, twice as many is silence."""
SUSPECT_AFTER_MS = 2_000
FORGOTTEN_MS = DAY_MS


class Activity(Enum):
    """What a source's silence says."""

    SPEAKS = auto()
    SUSPECT = auto()
    SILENT = auto()


class _Source(msgspec.Struct, array_like=True):
    """``gaps`` has the gaps that count, each with when it ended, in ms; the longest first."""

    first_ms: int
    last_ms: int
    gaps: list[tuple[int, int]]

    def learn(self, gap_ms: int, *, at_ms: int) -> None:
        """Remember a gap, and forget those that are over or shorter."""
        kept = [
            (gap, ended)
            for gap, ended in self.gaps
            if gap > gap_ms and at_ms - ended < max(REMEMBERED_MS, REMEMBERED_GAPS * gap)
        ]
        self.gaps = [*kept, (gap_ms, at_ms)]


SourceName = tuple[str, int]
"""Topic and partition; partition -1 is the topic as a whole."""
RhythmWire = list[tuple[str, int, _Source]]


class SourceRhythm:
    """The gaps between the records of every source.

    Args:
        silent_after_ms: a shorter silence is never an alert.
    """

    def __init__(self, *, silent_after_ms: int, wire: RhythmWire | None = None) -> None:
        self._silent_after_ms = silent_after_ms
        self._sources = {(topic, partition): source for topic, partition, source in wire or ()}

    def spoke(
        self, topic: str, partition: int, *, at_ms: int, listened_ms: int
    ) -> list[tuple[SourceName, int]]:
        """Take note that a source partition's newest record came at that broker time.

        Args:
            topic: the source topic.
            partition: its partition.
            at_ms: when the broker appended that record.
            listened_ms: how far the partition was read before, in broker time. What
                came between then and now may hold more than its newest record.

        Returns:
            The silences that ended by it, and how long they were, in ms.
        """
        names = ((topic, partition), (topic, -1))
        until_ms = min(at_ms, listened_ms)
        return [(name, ended) for name in names if (ended := self._record(name, at_ms, until_ms))]

    def _record(self, name: SourceName, at_ms: int, until_ms: int) -> int:
        """Return the length of the silence that ended; 0 if there was none."""
        source = self._sources.get(name)
        if source is None or until_ms - source.last_ms >= FORGOTTEN_MS:
            self._sources[name] = _Source(at_ms, at_ms, [])
            return 0
        if at_ms <= source.last_ms:
            return 0
        gap_ms = max(0, until_ms - source.last_ms)
        silent = self._voice(source, until_ms) is Activity.SILENT
        source.learn(gap_ms, at_ms=at_ms)
        source.last_ms = at_ms
        return gap_ms if silent else 0

    def _voice(self, source: _Source, now_ms: int) -> Activity:
        silence_ms = now_ms - source.last_ms
        if source.last_ms - source.first_ms < OBSERVED_MS or silence_ms >= FORGOTTEN_MS:
            return Activity.SPEAKS
        longest_ms = source.gaps[0][0] if source.gaps else 0
        if silence_ms >= max(self._silent_after_ms, 2 * SUSPECT_GAPS * longest_ms):
            return Activity.SILENT
        if silence_ms >= max(SUSPECT_AFTER_MS, SUSPECT_GAPS * longest_ms):
            return Activity.SUSPECT
        return Activity.SPEAKS

    def quiet(
        self, read_up_to_ms: Mapping[SourceName, int]
    ) -> dict[SourceName, tuple[Activity, int]]:
        """Return the sources that are suspect or silent, and for how long, in ms.

        Args:
            read_up_to_ms: how far each source partition was read, in broker time.
        """
        heard: dict[SourceName, int] = dict(read_up_to_ms)
        for (topic, _), up_to_ms in read_up_to_ms.items():
            heard[topic, -1] = min(up_to_ms, heard.get((topic, -1), up_to_ms))
        found: dict[SourceName, tuple[Activity, int]] = {}
        for name, source in self._sources.items():
            if name in heard:
                voice = self._voice(source, heard[name])
                if voice is not Activity.SPEAKS:
                    found[name] = voice, heard[name] - source.last_ms
        return found

    def to_wire(self) -> RhythmWire:
        """Return what is to be saved."""
        return [(topic, partition, source) for (topic, partition), source in self._sources.items()]
