"""Silent sources: when sources were silent, in event time, and which windows that affects.

`SourceRhythm` measures silences in broker time. In event time, a silence of n ms that is found when
the frontier is at F began at F - n.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from models.aggregates.ingest_report import Report
from models.events import SourceKind
from models.window import PANE_MS
from streams.kpis.coverage.gaps import Gap
from streams.kpis.coverage.source_rhythm import Activity, RhythmWire, SourceName, SourceRhythm
from streams.kpis.view import Silence

UNSURE_SHARE = 0.05
"""KPIs of a source that was quiet for a larger share of a window are not judged."""


QuietSince = tuple[str, int, int]
"""Topic, partition, and the event time in ms since when the source is quiet."""


class SilentSources:
    """Sources that are quiet (suspect or silent) now, and silences that have ended.

    Args:
        kinds: the kind of each source topic.
        silent_after_ms: a shorter silence, in ms of broker time, never raises an alert.
    """

    def __init__(self, kinds: Mapping[str, SourceKind], *, silent_after_ms: int) -> None:
        self.rhythm = SourceRhythm(silent_after_ms=silent_after_ms)
        self.ended: list[Gap] = []
        self.silent: Sequence[SourceName] = ()
        """The sources that are silent now; suspect ones are not among them."""
        self._kinds = kinds
        self._silent_after_ms = silent_after_ms
        self._quiet_since: dict[SourceName, int] = {}

    def restore(
        self, rhythm: RhythmWire, ended: Iterable[Gap], quiet_since: Iterable[QuietSince]
    ) -> None:
        """Restore a saved state: `rhythm`, `ended` and `quiet_since`."""
        self.rhythm = SourceRhythm(silent_after_ms=self._silent_after_ms, wire=rhythm)
        self.ended = list(ended)
        self._quiet_since = {(topic, partition): ms for topic, partition, ms in quiet_since}

    @property
    def quiet_since(self) -> list[QuietSince]:
        """The sources that are quiet now, and since which event time."""
        return [(*name, since_ms) for name, since_ms in self._quiet_since.items()]

    def record(self, report: Report, *, listened_ms: int, frontier_ms: int) -> bool:
        """Record a report, and return whether it ended a silence.

        A source that says that its history has ended is not silent afterwards.

        Args:
            report: of a source partition.
            listened_ms: the broker time up to which that partition was read before the report.
            frontier_ms: the frontier, in ms of event time.
        """
        if not report.stats.records + report.stats.ends:
            return False
        ended = self.rhythm.spoke(
            report.topic, report.partition, at_ms=report.last_append_ms, listened_ms=listened_ms
        )
        end_ms = max([frontier_ms, report.watermark_ms, *report.panes]) + PANE_MS
        for name, silence_ms in ended:
            start_ms = self._quiet_since.get(name, frontier_ms - silence_ms)
            self.ended.append(Gap(*name, start_ms, end_ms))
        if report.stats.ends:
            self.rhythm.forget(report.topic, report.partition)
        return bool(ended)

    def listen(self, read_up_to_ms: Mapping[SourceName, int], *, frontier_ms: int) -> None:
        """Find the sources that are quiet, and since which event time.

        Args:
            read_up_to_ms: the broker time up to which each source partition was read.
            frontier_ms: the frontier, in ms of event time.
        """
        quiet = self.rhythm.quiet(read_up_to_ms)
        self._quiet_since = {
            name: self._quiet_since.get(name, frontier_ms - silence_ms)
            for name, (_, silence_ms) in quiet.items()
        }
        self.silent = tuple(name for name, (voice, _) in quiet.items() if voice is Activity.SILENT)

    def unsure(self, start_ms: int, end_ms: int) -> dict[SourceKind, Silence]:
        """Return the kinds of source that were quiet for over 5 % of [start_ms, end_ms).

        KPIs of the window that rest on these kinds are affected by a silent source. Of a kind
        with several silences, such as those of two partitions, the first start and the last end
        are returned.
        """
        least_ms = (end_ms - start_ms) * UNSURE_SHARE
        quiet = [
            (topic, Silence(since_ms, None)) for (topic, _), since_ms in self._quiet_since.items()
        ]
        ended = [(one.topic, Silence(one.start_ms, one.end_ms)) for one in self.ended]
        found: dict[SourceKind, Silence] = {}
        for topic, one in (*quiet, *ended):
            until_ms = end_ms if one.until_ms is None else min(end_ms, one.until_ms)
            if until_ms - max(start_ms, one.since_ms) > least_ms and topic in self._kinds:
                kind = self._kinds[topic]
                found[kind] = _together(found.get(kind, one), one)
        return found

    def expire(self, oldest_ms: int) -> None:
        """Drop the silences that ended at or before that event time."""
        self.ended = [one for one in self.ended if one.end_ms > oldest_ms]


def _together(one: Silence, other: Silence) -> Silence:
    ends = [silence.until_ms for silence in (one, other) if silence.until_ms is not None]
    return Silence(min(one.since_ms, other.since_ms), max(ends) if len(ends) == 2 else None)
