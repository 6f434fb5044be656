"""Source rhythm: finds sources that are silent for unusually long, measured by their own gaps.

The gaps between records are measured for each partition and each topic, in broker time. Time counts
only as far as the source was read: unread records are not silence. A source is *suspect* after 3
times its longest recent gap, at least 2 s, and *silent* after 6 times that gap, at least
`silent_after_ms`. In both cases its KPIs are not judged. A silent source also raises an alert,
until it has a record again or a day has passed. A source whose history has ended is forgotten, and
its rhythm is learned again.

Example, with `silent_after_ms` of 20 s:

    longest recent gap          suspect after   silent after
    0.5 s                       2 s             20 s
    1 s                         3 s             20 s
    90 s (an order a minute)    4.5 min         9 min
    1 h                         3 h             6 h

A gap counts for 10 minutes or 4 times its length, whichever is longer: one of 90 s for 10 minutes,
one of 1 h for 4 h.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto

import msgspec

from models.window import DAY_MS, MINUTE_MS

OBSERVED_MS = 30_000
"""The least time between a source's first and last record before its silence is judged."""
REMEMBERED_MS = 10 * MINUTE_MS
"""The shortest time for which a gap counts."""
REMEMBERED_GAPS = 4
"""A long gap counts for this multiple of its own length."""
SUSPECT_GAPS = 3
"""A source is suspect after this multiple of its longest gap, and silent after twice as much."""
SUSPECT_AFTER_MS = 2_000
"""A shorter silence is never suspect."""
FORGOTTEN_MS = DAY_MS
"""After so long a silence the source is forgotten, and its rhythm is learned again."""


class Activity(Enum):
    """The state of a source."""

    SPEAKS = auto()
    SUSPECT = auto()
    SILENT = auto()


class _Source(msgspec.Struct, array_like=True):
    """The rhythm of one source, in ms of broker time.

    Args:
        first_ms: when its first record was appended.
        last_ms: when its newest record was appended.
        gaps: the length and the end of each gap that counts, the longest and oldest first.
    """

    first_ms: int
    last_ms: int
    gaps: list[tuple[int, int]]

    def learn(self, gap_ms: int, *, at_ms: int) -> None:
        """Add a gap, and drop those that have expired or are not longer.

        A gap that is not longer than a newer one can never be the longest again.
        """
        kept = [
            (gap, ended)
            for gap, ended in self.gaps
            if gap > gap_ms and at_ms - ended < max(REMEMBERED_MS, REMEMBERED_GAPS * gap)
        ]
        self.gaps = [*kept, (gap_ms, at_ms)]


SourceName = tuple[str, int]
"""Topic and partition; partition -1 stands for the whole topic."""
RhythmWire = list[tuple[str, int, _Source]]
"""The saved state: topic, partition and rhythm of each source."""


class SourceRhythm:
    """The gaps between the records of each source.

    Args:
        silent_after_ms: a shorter silence never raises an alert, in ms.
        wire: the saved state, from `to_wire`.
    """

    def __init__(self, *, silent_after_ms: int, wire: RhythmWire | None = None) -> None:
        self._silent_after_ms = silent_after_ms
        self._sources = {(topic, partition): source for topic, partition, source in wire or ()}

    def spoke(
        self, topic: str, partition: int, *, at_ms: int, listened_ms: int
    ) -> list[tuple[SourceName, int]]:
        """Record when the newest record of a source partition was appended.

        Args:
            topic: the source topic.
            partition: its partition.
            at_ms: the broker time at which that record was appended.
            listened_ms: the broker time up to which the partition was read before. Gaps are
                measured up to there: more records than the newest one may have come since.

        Returns:
            The sources whose silence ended with it, and how long it was, in ms.
        """
        names = ((topic, partition), (topic, -1))
        until_ms = min(at_ms, listened_ms)
        return [(name, ended) for name in names if (ended := self._record(name, at_ms, until_ms))]

    def _record(self, name: SourceName, at_ms: int, until_ms: int) -> int:
        """Return the length, in ms, of the silence that ended; 0 if there was none."""
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

    def forget(self, topic: str, partition: int) -> None:
        """Forget the rhythm of a source partition, and of its topic; both are learned again."""
        for name in ((topic, partition), (topic, -1)):
            self._sources.pop(name, None)

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

        A topic as a whole is heard up to the smallest time of its partitions.

        Args:
            read_up_to_ms: the broker time up to which each source partition was read.
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
        """Return the state to be saved."""
        return [(topic, partition, source) for (topic, partition), source in self._sources.items()]
