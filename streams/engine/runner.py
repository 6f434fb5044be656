"""Runs the jobs: feeds batches, writes checkpoints, resumes from state."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from faust.types import TP

from streams.engine import state as states
from streams.engine.fence import PauseFence, end_process
from streams.engine.stage import Job, Output, Position, Snapshot, SourcePartition, Stage
from streams.engine.transport import Batch, BatchThread

log = logging.getLogger(__name__)

PENDING_LIMIT = 200_000
"""With so many records since the last snapshot, a source waits for its checkpoint."""
RETRY_S = 1.0
HANDOVER_S = 5.0
"""How long a revocation waits for the last checkpoint."""


@dataclass
class Running:
    """A job and where it stands between snapshots."""

    stage: Stage
    source: SourcePartition
    job: Job
    offset: int
    sequence: int
    generation: int
    session: int = -1
    checkpointed_at: float = 0.0
    writing: asyncio.Task[None] | None = None
    revoked: bool = False
    fresh: bool = True
    without_head: bool = False
    orphans: list[bytes] = field(default_factory=list)
    progressed_at: float = field(default_factory=time.monotonic)


@dataclass
class EngineStats:
    """What the engine counted since the worker started."""

    records: dict[str, int] = field(default_factory=dict)
    batches: int = 0
    checkpoints: int = 0
    checkpoint_failures: int = 0
    stale_batches: int = 0
    offset_gaps: int = 0
    lost_records: int = 0


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
        self._fence = fence
        self._resuming = asyncio.Lock()
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

    async def resume(self, tps: set[TP], thread: BatchThread) -> None:
        """Open the jobs of the assigned partitions and seek to where they stand."""
        # Faust may ask twice at a time: after recovery, and when it fetched
        # while it should not have. The second finds what the first has opened.
        async with self._resuming:
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
            running.writing = asyncio.create_task(self._resend(running, outputs))
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
                    await self._send_soon(output)

    def _maybe_checkpoint(self, running: Running) -> None:
        elapsed = time.monotonic() - running.checkpointed_at
        due = running.job.dirty or running.without_head
        if due and elapsed >= running.stage.checkpoint_interval_s:
            self._start_checkpoint(running)

    def _start_checkpoint(self, running: Running) -> None:
        running.checkpointed_at = time.monotonic()
        running.sequence += 1
        running.without_head = False
        snapshot = running.job.snapshot(now_ms=self._now_ms())
        segments, head = states.encode_snapshot(
            snapshot, source=running.source, sequence=running.sequence, offset=running.offset
        )
        running.writing = asyncio.create_task(self._write(running, segments, head, snapshot))

    async def _write(
        self,
        running: Running,
        segments: list[tuple[bytes, bytes | None]],
        head: bytes,
        snapshot: Snapshot,
    ) -> None:
        """Write in the one right order.

        Early outputs, segments newer than the last head removed, segments, the
        head, outputs, expired segments removed.
        """
        added = [(name, value) for name, value in segments if value is not None]
        expired: list[tuple[bytes, bytes | None]] = [
            (name, None) for name, value in segments if value is None
        ]

        async def write() -> None:
            await self._send(snapshot.early_outputs)
            await self._put(running, [(name, None) for name in running.orphans])
            running.orphans = []
            await self._put(running, added)
            await self._put(running, [(states.head_key(running.source), head)])
            await self._send(snapshot.outputs)
            await self._put(running, expired)

        await self._until_done(running, write)
        self.stats.checkpoints += 1

    async def _resend(self, running: Running, outputs: list[Output]) -> None:
        await self._until_done(running, lambda: self._send(outputs))

    async def _until_done(self, running: Running, action: Callable[[], Any]) -> None:
        try:
            while not running.revoked:
                try:
                    await action()
                    return
                except Exception as error:  # noqa: BLE001 - any fault of the producer is retried
                    self.stats.checkpoint_failures += 1
                    log.warning("checkpoint of %s[%d] failed, retrying: %s", *running.source, error)
                    await asyncio.sleep(RETRY_S)
        finally:
            running.writing = None

    async def _put(self, running: Running, items: Sequence[tuple[bytes, bytes | None]]) -> None:
        """Write keys to the changelog and, once that is safe, to the local store."""
        if not items or running.revoked:
            return
        self._fence.check()
        table = self._tables[running.stage.name]
        partition = running.source.partition
        topic = table.changelog_topic.get_topic_name()
        acks = [
            await self.app.producer.send(topic, key, value, partition, None, None)
            for key, value in items
        ]
        last = (await asyncio.gather(*acks))[-1]
        if running.revoked:
            return
        store = table.data._db_for_partition(partition)
        for key, value in items:
            if value is None:
                store.delete(key)
            else:
                store.put(key, value)
        table.data.set_persisted_offset(last.topic_partition, last.offset)

    async def _send(self, outputs: Iterable[Output]) -> None:
        acks = [await self._send_soon(output) for output in outputs]
        await asyncio.gather(*acks)

    async def _send_soon(self, output: Output) -> Any:
        return await self.app.producer.send(
            output.topic, output.key, output.value, output.partition, None, None
        )

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
        """Write what is not yet written, waiting at most `HANDOVER_S`."""
        chosen = list(self.running.values()) if running is None else list(running)
        deadline = time.monotonic() + HANDOVER_S
        for one in chosen:
            await _wait_for(one.writing, deadline)
            if one.writing is None and one.job.dirty:
                self._start_checkpoint(one)
        for one in chosen:
            await _wait_for(one.writing, deadline)


async def _wait_for(task: asyncio.Task[None] | None, deadline: float) -> None:
    if task is not None:
        await asyncio.wait({task}, timeout=max(0.0, deadline - time.monotonic()))


def _with_prefix(store: Any, prefix: bytes) -> Iterable[tuple[bytes, bytes]]:
    for key, value in store.items(from_key=prefix):
        if not key.startswith(prefix):
            return
        yield key, value
