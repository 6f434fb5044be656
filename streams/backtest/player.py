"""Plays recorded events through the jobs of a worker, by a clock that follows the records.

The jobs are those of a live worker: `Stage.open_job` makes them, and they do no I/O and have no
clock. Live, the engine gives them records and the time. Here the player does, as a worker that is
never behind would: it takes steps of `STEP_MS` of broker time. In each step every source is read
up to the step's end, reports what it read, and the KPI stages merge the reports, close windows and
have rules judge them. So the same records always lead to the same alerts.

While nothing comes, a step is as long as a pane: windows close at whole panes, so that each end is
judged, as it is live.

Example: clicks arrive at 12:00:00.3, 12:00:01.1 and 12:00:24.2, with steps of one second.

    12:00:01    the first click is applied and reported, the other sources send heartbeats
    12:00:02    the second click, likewise
    12:00:12    heartbeats only: time passes by itself
    12:00:22    likewise
    12:00:24    likewise, up to the second of the next click
    12:00:25    the third click

Several KPI stages may get the same reports, each with its own rules, so that rules are compared on
the same events, which are read once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from models.window import PANE_MS, SECOND_MS, align_down
from streams.engine.contracts import Output, Position, Snapshot, SourcePartition, Stage
from streams.ingest.job import IngestJob
from streams.ingest.watermark import CLOCK_SLACK_MS
from streams.kpis.job import KpiJob

STEP_MS = SECOND_MS
"""Broker time between two reports of a source. Live, it is half a second or more."""
STEPS_KEPT = 600
"""Steps after which what the KPI stages would save is dropped."""


class Arrival(NamedTuple):
    """A record as it arrived in a source partition."""

    source: SourcePartition
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


class _Report(NamedTuple):
    """A record of the topic of reports."""

    offset: int
    timestamp: int
    key: None
    value: bytes


class Player:
    """Plays records through the jobs of the stages.

    Args:
        ingest: the stage of the source topics.
        kpis: stages that read the reports of ingest; each has its own alerts.
    """

    def __init__(self, ingest: Stage, kpis: Sequence[Stage]) -> None:
        self._ingest = ingest
        self._sources: dict[SourcePartition, IngestJob] = {}
        for topic in ingest.topics:
            for number in range(ingest.partitions):
                source = SourcePartition(topic, number)
                job = ingest.open_job(source, epoch=1, saved=None)
                assert isinstance(job, IngestJob)
                self._sources[source] = job
        self._kpis: list[KpiJob] = []
        for stage in kpis:
            opened = stage.open_job(SourcePartition(stage.topics[0], 0), epoch=1, saved=None)
            assert isinstance(opened, KpiJob)
            self._kpis.append(opened)
        self.alerts: list[list[Output]] = [[] for _ in kpis]
        """For each of the KPI stages, the records of the topic of alerts."""
        self.records = 0
        """Number of records that were played."""
        self.begun_ms = 0
        """Event time of the first events; 0 before the first step."""
        self.last_ms = 0
        """Broker time of the last record; 0 before the first."""
        self._now_ms = 0
        self._waiting: defaultdict[SourcePartition, list[Arrival]] = defaultdict(list)
        self._report_offset = 0
        self._steps = 0

    @property
    def dead_letters(self) -> int:
        """Number of records that were not counted."""
        views = [job.view for job in self._kpis[:1] if job.view is not None]
        counts = [one for view in views for one in view.totals.values()]
        return sum(
            count
            for by_name in counts
            for name, count in by_name.items()
            if name.startswith("dead_letters/")
        )

    def play(self, records: Iterable[Arrival]) -> Iterator[int]:
        """Play records.

        Args:
            records: in the order of their broker times, and of each source, of their offsets.

        Yields:
            The broker time after each step.
        """
        for record in records:
            if not self.last_ms:
                self._now_ms = align_down(record.timestamp, step_ms=STEP_MS)
            yield from self._steps_to(align_down(record.timestamp, step_ms=STEP_MS))
            self._waiting[record.source].append(record)
            self.last_ms = record.timestamp

    def finish(self, until_ms: int) -> Iterator[int]:
        """Let time pass after the last record, and take the last alerts.

        Args:
            until_ms: broker time until which it passes.

        Yields:
            The broker time after each step.
        """
        yield from self._steps_to(until_ms)
        self._collect()

    def _steps_to(self, until_ms: int) -> Iterator[int]:
        """Take steps up to a broker time; the records that wait are in the first of them."""
        while self._now_ms < until_ms:
            longest_ms = STEP_MS if self._waiting else PANE_MS
            yield self._step(min(longest_ms, until_ms - self._now_ms))

    def _step(self, length_ms: int) -> int:
        """Apply the records of a step, report them, and let the KPI stages work."""
        self._now_ms += length_ms
        for source, records in self._waiting.items():
            self._apply(self._sources[source], records)
        self._waiting.clear()
        self.begun_ms = self.begun_ms or self._oldest_event_ms
        # Times are the broker's own: the sources are read up to now, without slack for two clocks.
        position = Position(caught_up_at_ms=self._now_ms + CLOCK_SLACK_MS, behind=0)
        for job in self._sources.values():
            job.tick(position, now_ms=self._now_ms)
        self._report(position)
        for kpi_job in self._kpis:
            kpi_job.tick(position, now_ms=self._now_ms)
            kpi_job.work(_never)
        self._steps += 1
        if self._steps % STEPS_KEPT == 0:
            self._collect()
        return self._now_ms

    @property
    def _oldest_event_ms(self) -> int:
        """The newest event time of the source whose events are oldest; 0 without any."""
        newest = (job.watermark.newest_event_time for job in self._sources.values())
        return min((one for one in newest if one is not None), default=0)

    @property
    def closed_ms(self) -> int:
        """Event time up to which windows are closed; 0 before there is a frontier."""
        return min((job.view.frontier_ms for job in self._kpis if job.view), default=0)

    def _apply(self, job: IngestJob, records: Sequence[Arrival]) -> None:
        """Apply records of a source; it reports early if its report becomes large."""
        self.records += len(records)
        at_once = self._ingest.records_at_once
        for first in range(0, len(records), at_once):
            job.apply(records[first : first + at_once])
            if job.large:
                self._deliver(_snapshot(job).outputs)

    def _report(self, position: Position) -> None:
        """Let every source report: those that read something first, clicks before orders."""
        for job in self._sources.values():
            if job.dirty:
                self._deliver(_snapshot(job).outputs)
        quiet = [(source, job, position) for source, job in self._sources.items()]
        self._deliver(self._ingest.heartbeat(quiet, {}, now_ms=self._now_ms))

    def _deliver(self, outputs: Iterable[Output]) -> None:
        """Give reports to the KPI stages, which merge them and close windows at once."""
        for output in outputs:
            report = _Report(self._report_offset, self._now_ms, None, output.value)
            self._report_offset += 1
            for job in self._kpis:
                job.apply([report])
                job.work(_never)

    def _collect(self) -> None:
        """Take the alerts that changed; what else a checkpoint would save is dropped."""
        for job, alerts in zip(self._kpis, self.alerts, strict=True):
            alerts.extend(job.snapshot().outputs)


def _snapshot(job: IngestJob) -> Snapshot:
    snapshot = job.snapshot()
    assert isinstance(snapshot, Snapshot)  # It is pending with customers only.
    return snapshot


def _never() -> bool:
    return False
