"""Runs the jobs: resumes them from state, feeds them batches, lets them see the time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

from faust.types import TP

from streams.engine import state as states
from streams.engine.checkpoint import Checkpoints
from streams.engine.fence import PauseFence, end_process
from streams.engine.running import EngineStats, Running
from streams.engine.stage import Position, SourcePartition, Stage
from streams.engine.transport import Batch, BatchThread

log = logging.getLogger(__name__)

PENDING_LIMIT = 200_000
"""With so many records since the last snapshot, a source waits for its checkpoint."""


class Runner:
    """Owns the jobs of all stages on this worker.

    Args:
        app: the Faust app, whose consumer and producer are used.
        start_offsets: where sources without state are read from.
        now_ms: the clock.
        fence: keeps a worker that was paused from writing.
    """

    def __init__(
        self,
        app: Any,
        *,
        start_offsets: Callable[[set[TP], BatchThread], Any],
        now_ms: Callable[[], int],
        fence: PauseFence,
    ) -> None:
        self.app = app
        self.stats = EngineStats()
        self.running: dict[SourcePartition, Running] = {}
        self._stages: dict[str, Stage] = {}
        self._tables: dict[str, Any] = {}
        self._start_offsets = start_offsets
        self._now_ms = now_ms
        self._checkpoints = Checkpoints(
            app, self._tables, fence=fence, stats=self.stats, now_ms=now_ms
        )
        self._resuming = asyncio.Lock()
        self._complete_generation: int | None = None
        self._heartbeat_due = 0.0

    def add(self, stage: Stage, table: Any) -> None:
        """Take a stage and the Faust table that holds its state."""
        self._tables[stage.name] = table
        for topic in stage.topics:
            self._stages[topic] = stage

    @property
    def topics(self) -> frozenset[str]:
        """The source topics of all stages."""
        return frozenset(self._stages)

    def state_is_complete(self) -> None:
        """The tables of the present assignment are recovered: jobs may be opened."""
        self._complete_generation = self._generation

    async def resume(self, tps: set[TP], thread: BatchThread) -> None:
        """Open the jobs of the assigned partitions and seek to where they stand.

        Faust also asks when a fetch ended while a rebalance is going on, at any
        moment of it. Until the tables are recovered there is nothing to resume
        from: what they hold is old, or nothing yet.
        """
        async with self._resuming:
            if self._complete_generation != self._generation:
                return
            await self._resume(tps, thread)

    async def _resume(self, tps: set[TP], thread: BatchThread) -> None:
        offsets: dict[TP, int] = {}
        without_state: set[TP] = set()
        self._drop_what_is_not_ours(tps)
        for tp in tps:
            source = SourcePartition(tp.topic, tp.partition)
            running = self.running.get(source) or self._open_saved(source)
            if running is None:
                without_state.add(tp)
            else:
                offsets[tp] = running.offset + 1
        await self._refuse_recreated(offsets, thread)
        if without_state:
            for tp, offset in (await self._start_offsets(without_state, thread)).items():
                self._open_new(SourcePartition(tp.topic, tp.partition), offset=offset - 1)
                offsets[tp] = offset
        for tp, session in (await thread.seek_sources(offsets)).items():
            self.running[SourcePartition(tp.topic, tp.partition)].session = session

    async def _refuse_recreated(self, offsets: dict[TP, int], thread: BatchThread) -> None:
        """End the worker if a source ends before the state: it is another topic by now."""
        ends = await thread.highwaters(*offsets) if offsets else {}
        for tp, offset in offsets.items():
            if offset > ends[tp]:
                end_process(
                    "%s[%d] ends at offset %d, but the state has read up to %d: the topic was made "
                    "anew or lost records; start under another KPI_APP_ID",
                    tp.topic,
                    tp.partition,
                    ends[tp] - 1,
                    offset - 1,
                )

    def _drop_what_is_not_ours(self, tps: set[TP]) -> None:
        """Forget jobs of another generation: the table may have moved on without them."""
        for source, running in list(self.running.items()):
            if TP(*source) not in tps or running.generation != self._generation:
                running.revoked = True
                del self.running[source]

    def _open_saved(self, source: SourcePartition) -> Running | None:
        stage = self._stages[source.topic]
        store = self._tables[stage.name].data._db_for_partition(source.partition)
        data = store.get(states.head_key(source))
        if not data:
            return None
        head = states.decode_head(data, source=source)
        prefix = states.segment_prefix(source)
        saved, orphans = states.saved_from(
            head,
            _with_prefix(store, prefix),
            source=source,
            keep_newer=stage.segments_know_offsets,
        )
        job = stage.open_job(source, generation=self._generation, saved=saved)
        running = Running(stage, source, job, head.offset, head.sequence, self._generation)
        running.orphans = orphans
        self.running[source] = running
        outputs = head.as_outputs()
        if outputs:
            self._checkpoints.resend(running, outputs)
        log.info("%s[%d] resumes after offset %d", *source, head.offset)
        return running

    def _open_new(self, source: SourcePartition, *, offset: int) -> None:
        stage = self._stages[source.topic]
        job = stage.open_job(source, generation=self._generation, saved=None)
        running = Running(stage, source, job, offset, 0, self._generation)
        # Where it starts must not be asked again after the next takeover.
        running.without_head = True
        self.running[source] = running
        log.info("%s[%d] has no state and starts after offset %d", *source, offset)

    @property
    def _generation(self) -> int:
        return int(self.app.consumer_generation_id or 0)

    async def on_batch(self, source: SourcePartition, batch: Batch) -> None:
        """Apply a batch to its job, skipping what was applied before."""
        running = self.running.get(source)
        if running is None or batch.session != running.session:
            self.stats.stale_batches += 1
            return
        if running.job.pending > PENDING_LIMIT and running.writing is not None:
            await asyncio.wait({running.writing})
            if self.running.get(source) is not running:
                return
        records = batch.records
        if records[0].offset <= running.offset:
            records = [record for record in records if record.offset > running.offset]
            if not records:
                return
        if running.fresh and not running.sought_again and records[0].offset > running.offset + 1:
            # Removed by retention, most likely; but it costs little to ask again.
            running.sought_again = True
            await self._seek_again(running)
            return
        self._note_gap(running, first=records[0].offset)
        try:
            running.job.apply(records, now_ms=self._now_ms())
        except Exception:
            # The job may have taken a part of the batch: its state must not be used.
            log.exception("%s[%d] failed", *source)
            end_process(
                "%s[%d] failed in offsets %d to %d; this worker ends, the batch is not kept",
                *source,
                records[0].offset,
                records[-1].offset,
            )
        running.offset = records[-1].offset
        running.progressed_at = time.monotonic()
        self.stats.batches += 1
        counts = self.stats.records
        counts[source.topic] = counts.get(source.topic, 0) + len(records)
        if running.writing is None:
            self._maybe_checkpoint(running)

    async def _seek_again(self, running: Running) -> None:
        tp = TP(*running.source)
        thread: BatchThread = self.app.consumer._thread
        running.session = (await thread.seek_sources({tp: running.offset + 1}))[tp]
        self.app.consumer._read_offset[tp] = None

    def _note_gap(self, running: Running, *, first: int) -> None:
        missing = first - running.offset - 1
        if missing > 0:
            # Offsets of transaction markers and compacted records are no loss;
            # offsets missing right after a seek were removed by retention.
            self.stats.offset_gaps += 1
            if running.fresh:
                self.stats.lost_records += missing
                log.error(
                    "%s[%d]: offsets %d to %d are gone from the broker: its retention is shorter "
                    "than the monitor was away",
                    *running.source,
                    running.offset + 1,
                    first - 1,
                )
        running.fresh = False

    def positions(self) -> dict[SourcePartition, Position]:
        """Return how far each source has been read."""
        thread: BatchThread = self.app.consumer._thread
        return {
            source: thread.position_of(source, applied=running.offset)
            for source, running in self.running.items()
        }

    async def run(self, *, tick_s: float = 0.1, heartbeat_s: float = 0.5) -> None:
        """Tick for ever: let jobs see the time, write checkpoints, send heartbeats."""
        while True:
            await asyncio.sleep(tick_s)
            if self.app.rebalancing or self.app.in_recovery:
                continue
            positions = self.positions()
            now_ms = self._now_ms()
            for source, running in list(self.running.items()):
                running.job.tick(positions[source], now_ms=now_ms)
                if positions[source].caught_up_at_ms is not None:
                    running.progressed_at = time.monotonic()
                if running.writing is None:
                    self._maybe_checkpoint(running)
            if time.monotonic() >= self._heartbeat_due:
                self._heartbeat_due = time.monotonic() + heartbeat_s
                await self._heartbeat(positions, now_ms=now_ms)

    async def _heartbeat(self, positions: dict[SourcePartition, Position], *, now_ms: int) -> None:
        for stage in {id(stage): stage for stage in self._stages.values()}.values():
            quiet = [
                (source, running.job, positions[source])
                for source, running in self.running.items()
                if running.stage is stage
                and running.writing is None
                and not running.job.dirty
                and source in positions
            ]
            if quiet:
                for output in stage.heartbeat(quiet, now_ms=now_ms):
                    await self._checkpoints.send_soon(output)

    def _maybe_checkpoint(self, running: Running) -> None:
        elapsed = time.monotonic() - running.checkpointed_at
        due = running.job.dirty or running.without_head
        if due and elapsed >= running.stage.checkpoint_interval_s:
            self._checkpoints.start(running)

    async def on_revoked(self, tps: set[TP]) -> None:
        """Write the last checkpoint of what goes away, then forget it."""
        going = [
            self.running[source]
            for tp in tps
            if (source := SourcePartition(tp.topic, tp.partition)) in self.running
        ]
        await self.flush(going)
        for running in going:
            running.revoked = True
            self.running.pop(running.source, None)

    async def flush(self, running: Iterable[Running] | None = None) -> None:
        """Write what is not yet written, waiting at most a few seconds."""
        chosen = list(self.running.values()) if running is None else list(running)
        await self._checkpoints.flush(chosen)


def _with_prefix(store: Any, prefix: bytes) -> Iterable[tuple[bytes, bytes]]:
    for key, value in store.items(from_key=prefix):
        if not key.startswith(prefix):
            return
        yield key, value
