"""In which event time sources were silent, and what that leaves unsure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from models.aggregates.ingest_report import Report
from models.kpi.measures import SourceKind
from models.window import PANE_MS
from streams.kpis.coverage.gaps import Gap
from streams.kpis.coverage.source_rhythm import Activity, RhythmWire, SourceName, SourceRhythm

UNSURE_SHARE = 0.05
"""A source that was silent for more of a window than this leaves its KPIs unjudged."""


QuietSince = tuple[str, int, int]
"""Topic, partition, and event time in ms."""


class SilentSources:
    """The silences that last and those that ended.

    Args:
        kinds: the kind of each source topic.
        silent_after_ms: a shorter silence is never an alert.
    """

    def __init__(self, kinds: Mapping[str, SourceKind], *, silent_after_ms: int) -> None:
        self.rhythm = SourceRhythm(silent_after_ms=silent_after_ms)
        self.ended: list[Gap] = []
        self.silent: Sequence[SourceName] = ()
        """The sources that are silent now."""
        self._kinds = kinds
        self._silent_after_ms = silent_after_ms
        self._quiet_since: dict[SourceName, int] = {}

    def restore(
        self, rhythm: RhythmWire, ended: Iterable[Gap], quiet_since: Iterable[QuietSince]
    ) -> None:
        """Take up a saved state."""
        self.rhythm = SourceRhythm(silent_after_ms=self._silent_after_ms, wire=rhythm)
        self.ended = list(ended)
        self._quiet_since = {(topic, partition): ms for topic, partition, ms in quiet_since}

    @property
    def quiet_since(self) -> list[QuietSince]:
        """The sources that are quiet, and since which event time."""
        return [(*name, since_ms) for name, since_ms in self._quiet_since.items()]

    def record(self, report: Report, *, listened_ms: int, frontier_ms: int) -> bool:
        """Take note of a report; say whether a silence ended by it.

        Args:
            report: of a source partition.
            listened_ms: how far that partition was read before, in broker time.
            frontier_ms: event time up to which everything is complete.
        """
        if not report.last_append_ms:
            return False
        ended = self.rhythm.spoke(
            report.topic, report.partition, at_ms=report.last_append_ms, listened_ms=listened_ms
        )
        end_ms = max([frontier_ms, report.watermark_ms, *report.panes]) + PANE_MS
        for name, silence_ms in ended:
            start_ms = self._quiet_since.get(name, frontier_ms - silence_ms)
            self.ended.append(Gap(*name, start_ms, end_ms))
        return bool(ended)

    def listen(self, read_up_to_ms: Mapping[SourceName, int], *, frontier_ms: int) -> None:
        """Note which sources are quiet, and since which event time."""
        quiet = self.rhythm.quiet(read_up_to_ms)
        self._quiet_since = {
            name: self._quiet_since.get(name, frontier_ms - silence_ms)
            for name, (_, silence_ms) in quiet.items()
        }
        self.silent = tuple(name for name, (voice, _) in quiet.items() if voice is Activity.SILENT)

    def unsure(self, start_ms: int, end_ms: int) -> frozenset[SourceKind]:
        """Return the kinds of source that were quiet in a good part of a window."""
        least_ms = (end_ms - start_ms) * UNSURE_SHARE
        quiet = [(topic, since_ms, end_ms) for (topic, _), since_ms in self._quiet_since.items()]
        ended = [(one.topic, one.start_ms, one.end_ms) for one in self.ended]
        return frozenset(
            self._kinds[topic]
            for topic, since_ms, until_ms in (*quiet, *ended)
            if min(end_ms, until_ms) - max(start_ms, since_ms) > least_ms and topic in self._kinds
        )

    def expire(self, oldest_ms: int) -> None:
        """Forget silences that ended before that event time."""
        self.ended = [one for one in self.ended if one.end_ms > oldest_ms]
