"""Runs the jobs: resumes them from their state, feeds them batches, and passes on the time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from faust.types import TP

from streams.engine import state_log as states
from streams.engine.broker_clock import BrokerClock
from streams.engine.contracts import Position, Saved, SourcePartition, Stage
from streams.engine.faust_adapter.table_store import discard, held_by_another
from streams.engine.faust_adapter.transport import Batch, BatchThread
from streams.engine.process_fence import PauseFence, end_process
from streams.engine.runtime.checkpoint_writer import HANDOVER_S, CheckpointWriter
from streams.engine.runtime.poison_records import Isolation
from streams.engine.runtime.running_job import EngineStats, RunningJob
from streams.engine.state_log import Found, StateLog
from streams.engine.steps import PAUSE_S, Slice
from streams.errors import StateError

log = logging.getLogger(__name__)


class JobRunner:
    """Owns the jobs of all stages on this worker.

    Args:
        app: the Faust app, whose consumer and producer are used.
        start_offsets: returns the offsets from which sources without state are read.
        clock: the broker's clock.
        fence: ends a worker that was paused for too long before it writes.
    """

    def __init__(
        self,
        app: Any,
        *,
        start_offsets: Callable[[set[TP], BatchThread], Any],
        clock: BrokerClock,
        fence: PauseFence,
    ) -> None:
        self.app = app
        self.stats = EngineStats()
        self.running: dict[SourcePartition, RunningJob] = {}
        self._stages: dict[str, Stage] = {}
        self._tables: dict[str, Any] = {}
        self._start_offsets = start_offsets
        self._clock = clock
        self._checkpoints = CheckpointWriter(app, self._tables, fence=fence, stats=self.stats)
        self._isolation = Isolation(take=self._take, reopen=self._reopen, stats=self.stats)
        self._resuming = asyncio.Lock()
        self._complete_generation: int | None = None
        self._ending = asyncio.Event()
        self._heartbeat_due = 0.0
        self._heartbeat_acks: list[asyncio.Future[Any]] = []

    def add(self, stage: Stage, table: Any) -> None:
        """Add a stage and the Faust table that holds its state."""
        self._tables[stage.name] = table
        for topic in stage.topics:
            self._stages[topic] = stage

    @property
    def topics(self) -> frozenset[str]:
        """The source topics of all stages."""
        return frozenset(self._stages)

    def state_is_complete(self) -> None:
        """Record that the tables of the current assignment are recovered: jobs may be opened."""
        self._complete_generation = self._generation

    async def resume(self, tps: set[TP], thread: BatchThread) -> None:
        """Open the jobs of the assigned partitions, and seek to the offsets after their state.

        Faust also calls this when a fetch ends during a rebalance, at any moment of it. Before
        the tables are recovered they are outdated or empty, so the call does nothing.
        """
        async with self._resuming:
            if self._complete_generation != self._generation:
                return
            await self._resume(tps, thread)

    async def _resume(self, tps: set[TP], thread: BatchThread) -> None:
        offsets: dict[TP, int] = {}
        without_state: dict[TP, StateLog] = {}
        self.refuse_grown(thread)
        self._drop_what_is_not_ours(tps)
        for tp in tps:
            source = SourcePartition(tp.topic, tp.partition)
            running = self.running.get(source)
            if running is None:
                found = await asyncio.to_thread(self._find, source)
                if self._complete_generation != self._generation:
                    return
                if found.saved is None:
                    without_state[tp] = found.log
                    continue
                running = self._open_saved(found, found.saved)
            offsets[tp] = running.offset + 1
        await self._refuse_recreated(offsets, thread)
        if without_state:
            await self._refuse_lost_state(without_state, thread)
            for tp, offset in (await self._start_offsets(set(without_state), thread)).items():
                self._open_new(without_state[tp], offset=offset - 1)
                offsets[tp] = offset
        for tp, session in (await thread.seek_sources(offsets)).items():
            sought = self.running.get(SourcePartition(tp.topic, tp.partition))
            if sought is not None:
                sought.session = session

    async def _refuse_recreated(self, offsets: dict[TP, int], thread: BatchThread) -> None:
        """End the worker if a source ends before the offset of its state: it is another topic."""
        ends = await thread.highwaters(*offsets) if offsets else {}
        for tp, offset in offsets.items():
            if offset > ends[tp]:
                end_process(
                    "%s[%d] ends at offset %d, but the state has read up to %d: the topic was made "
                    "anew or lost records; start over with `kpi-monitor reset`",
                    tp.topic,
                    tp.partition,
                    ends[tp] - 1,
                    offset - 1,
                )

    async def _refuse_lost_state(self, tps: Iterable[TP], thread: BatchThread) -> None:
        """End the worker if a source has no state although an offset is committed for it."""
        for tp, offset in (await thread.committed_offsets(tps)).items():
            end_process(
                "%s[%d] was read up to offset %d, but its state is gone from the changelog and "
                "the data folder: restore one of them, or start over with `kpi-monitor reset`",
                *(*tp, offset - 1),
            )

    def refuse_grown(self, thread: BatchThread) -> None:
        """End the worker if a source has more partitions than its state was made for."""
        for topic, stage in self._stages.items():
            count = thread.partition_count(topic)
            if count > stage.partitions:
                end_process(
                    "%s has %d partitions, not %d: a user's records are in two of them by now, "
                    "and the state can't be used; start under another KPI_APP_ID with "
                    "KPI_PARTITIONS=%d (all source topics alike)",
                    *(topic, count, stage.partitions, count),
                )

    def _drop_what_is_not_ours(self, tps: set[TP]) -> None:
        """Drop jobs of other partitions and generations: their tables may have changed since."""
        for source, running in list(self.running.items()):
            if TP(*source) not in tps or running.generation != self._generation:
                running.revoked = True
                del self.running[source]

    def _find(self, source: SourcePartition, *, above: int = 0) -> Found:
        stage = self._stages[source.topic]
        table = self._tables[stage.name]
        try:
            store = table.data._db_for_partition(source.partition)
            return states.read(
                _with_prefixes(store, states.prefixes(source)),
                source=source,
                generation=self._generation,
                above=above,
                keep_newer=stage.segments_know_offsets,
            )
        except StateError as error:
            end_process("%s", error)
        except Exception as error:
            if held_by_another(error):
                raise
            discard(table.data, source.partition)
            end_process(
                "the local store of %s[%d] is broken (%s) and was removed; it is rebuilt from the "
                "changelog at the next start",
                *(stage.name, source.partition, error),
            )

    def _open_saved(self, found: Found, saved: Saved) -> RunningJob:
        source = found.log.source
        running = self._open(found.log, offset=saved.offset, saved=saved)
        running.saved_offset = running.offset
        if found.outputs:
            self._checkpoints.resend(running, found.outputs)
        log.info("%s[%d] resumes after offset %d", *source, running.offset)
        return running

    def _open_new(self, state: StateLog, *, offset: int) -> None:
        running = self._open(state, offset=offset)
        # Write a head soon, so that a later takeover starts at the same offset.
        running.without_head = True
        log.info("%s[%d] has no state and starts after offset %d", *state.source, offset)

    def _open(self, state: StateLog, *, offset: int, saved: Saved | None = None) -> RunningJob:
        stage = self._stages[state.source.topic]
        try:
            job = stage.open_job(state.source, epoch=state.epoch, saved=saved)
        except StateError as error:
            end_process("%s", error)
        running = RunningJob(stage, job, state, offset, self._generation)
        self.running[state.source] = running
        return running

    @property
    def _generation(self) -> int:
        return int(self.app.consumer_generation_id or 0)

    async def on_batch(self, source: SourcePartition, batch: Batch) -> None:
        """Apply a batch to its job, without the records that were applied before."""
        running = self.running.get(source)
        if self._ending.is_set():
            return
        if running is None or batch.session != running.session:
            self.stats.stale_batches += 1
            return
        records = batch.records
        if records[0].offset <= running.offset:
            records = [record for record in records if record.offset > running.offset]
            if not records:
                return
        if batch.lost:
            self._record_lost(running, batch.lost, before=records[0].offset)
        elif running.fresh and not running.sought_again and records[0].offset > running.offset + 1:
            # The hole may be transaction markers, or compacted or aborted records: seek once more.
            running.sought_again = True
            await self._seek_again(running)
            return
        running.fresh = False
        at_once, turn = running.stage.records_at_once, Slice()
        for first in range(0, len(records), at_once):
            await turn.give_way()
            some = records[first : first + at_once]
            if (
                running.revoked
                or self._ending.is_set()
                or not await self._isolation.apply(running, some)
            ):
                return
            counts = self.stats.records
            counts[source.topic] = counts.get(source.topic, 0) + len(some)
            self._maybe_checkpoint(running)
        self.stats.batches += 1
        self._hold()

    async def _take(self, running: RunningJob, records: Sequence[Any]) -> None:
        """Give records to a job, and let it work on them in slices."""
        # Finish the work that the job was opened with: it can't be saved with records behind it.
        await self._work_off(running)
        if running.revoked or self._ending.is_set():
            return
        running.job.apply(records)
        running.left = not running.job.whole
        running.offset = records[-1].offset
        running.progressed_at = time.monotonic()
        await self._work_off(running)

    async def _work_off(self, running: RunningJob) -> None:
        """Let a job work in slices until its records are done."""
        if not self._work(running):
            return
        running.at_work = True
        self._hold()
        try:
            left = True
            while left:
                await asyncio.sleep(PAUSE_S)
                left = not (running.revoked or self._ending.is_set()) and self._work(running)
        finally:
            running.at_work = False

    def _work(self, running: RunningJob) -> bool:
        """Let a job work for one slice, and start its checkpoint if that is due.

        Returns:
            Whether work on its records is left.
        """
        if running.writing is None or not running.job.large:  # otherwise its checkpoint comes first
            running.left = running.job.work(Slice().used_up, until_whole=running.checkpoint_due)
            if running.left:
                running.progressed_at = time.monotonic()
        self._maybe_checkpoint(running)
        return running.left

    def _hold(self) -> None:
        """Stop fetching from sources that are full; others go on meanwhile."""
        thread: BatchThread = self.app.consumer._thread
        thread.held = frozenset(
            TP(*source) for source, running in self.running.items() if running.full
        )

    async def _seek_again(self, running: RunningJob) -> None:
        tp = TP(*running.source)
        thread: BatchThread = self.app.consumer._thread
        running.session = (await thread.seek_sources({tp: running.offset + 1}))[tp]
        self.app.consumer._read_offset[tp] = None

    async def _reopen(self, running: RunningJob) -> None:
        """Drop a job that failed, and open it again from its last checkpoint."""
        running.revoked = True
        if self.running.get(running.source) is running:
            del self.running[running.source]
        await self._checkpoints.settled(running)
        if self.app.rebalancing or running.generation != self._generation:
            # `resume` opens it, on this worker or another.
            return
        async with self._resuming:
            found = await asyncio.to_thread(self._find, running.source, above=running.log.epoch)
            moved = self.app.rebalancing or running.generation != self._generation
            if moved or running.source in self.running:
                return  # `resume` opens it, on this worker or another
            if found.saved is not None:
                self._open_saved(found, found.saved)
            else:
                # It never wrote a head: start where it started before.
                self._open_new(found.log, offset=running.started_after)
            await self._seek_again(self.running[running.source])

    def _record_lost(self, running: RunningJob, lost: int, *, before: int) -> None:
        self.stats.lost_records += lost
        running.job.lost(lost, before=before)
        running.offset = before - 1
        log.error(
            "%s[%d]: the %d records before offset %d are gone from the broker: its retention is "
            "shorter than the monitor was away",
            *(*running.source, lost, before),
        )

    def positions(self) -> dict[SourcePartition, Position]:
        """Return how far each source has been read."""
        thread: BatchThread = self.app.consumer._thread
        return {
            source: thread.position_of(source, applied=running.offset)
            for source, running in self.running.items()
        }

    async def run(self, *, tick_s: float = 0.1, heartbeat_s: float = 0.5) -> None:
        """Pass the time to the jobs, start checkpoints and send heartbeats, for ever.

        Args:
            tick_s: time between two ticks, in s.
            heartbeat_s: time between two heartbeats, in s.
        """
        while True:
            await asyncio.sleep(tick_s)
            if self.app.rebalancing or self.app.in_recovery:
                continue
            positions = self.positions()
            now_ms = self._clock.now_ms()
            for source, running in list(self.running.items()):
                if running.revoked or source not in positions:
                    continue
                # The broker's time is known once the first heartbeat is acknowledged.
                if self._clock.known:
                    running.job.tick(positions[source], now_ms=now_ms)
                self._tell_loss_at_the_end(running)
                if positions[source].caught_up_at_ms is not None:
                    running.progressed_at = time.monotonic()
                if not (running.at_work or self._ending.is_set()) and self._work(running):
                    await asyncio.sleep(PAUSE_S)
            self._hold()
            if time.monotonic() >= self._heartbeat_due:
                self._heartbeat_due = time.monotonic() + heartbeat_s
                await self._heartbeat(positions, now_ms=now_ms)

    def _tell_loss_at_the_end(self, running: RunningJob) -> None:
        """Report lost records to a job if there is nothing to read after them yet."""
        thread: BatchThread = self.app.consumer._thread
        loss = thread.take_loss_at_the_end(
            TP(*running.source), session=running.session, applied=running.offset
        )
        if loss is not None:
            self._record_lost(running, loss.records, before=loss.next_offset)

    async def commit(self) -> None:
        """Commit the offsets of the last heads, for lag tools only: jobs resume from state."""
        offsets = {
            TP(*source): running.saved_offset + 1
            for source, running in self.running.items()
            if running.saved_offset >= 0
        }
        if offsets:
            await self.app.consumer._commit(offsets)

    async def _heartbeat(self, positions: dict[SourcePartition, Position], *, now_ms: int) -> None:
        """Send the heartbeats of the stages, unless the last ones are not acknowledged yet.

        A stage without a quiet job is called too: heartbeats are also how the broker's time is
        learned.
        """
        if not all(ack.done() for ack in self._heartbeat_acks):
            return
        self._heartbeat_acks = []
        for stage in {id(stage): stage for stage in self._stages.values()}.values():
            quiet = [
                (source, running.job, positions[source])
                for source, running in self.running.items()
                if running.stage is stage
                and running.writing is None
                and not running.job.dirty
                and source in positions
            ]
            waiting = {
                source: running.waits_for
                for source, running in self.running.items()
                if running.stage is stage and running.waits_for
            }
            for output in stage.heartbeat(quiet, waiting, now_ms=now_ms):
                self._heartbeat_acks.append(await self._checkpoints.send_soon(output))

    def _maybe_checkpoint(self, running: RunningJob) -> None:
        if running.checkpoint_due and running.job.whole:
            self._checkpoints.start(running)

    async def on_revoked(self, tps: set[TP]) -> None:
        """Write the last checkpoints of revoked partitions, then drop their jobs."""
        going = [
            self.running[source]
            for tp in tps
            if (source := SourcePartition(tp.topic, tp.partition)) in self.running
        ]
        await self.flush(going)
        for running in going:
            running.revoked = True
            self.running.pop(running.source, None)

    async def end(self, *, within_s: float) -> None:
        """Stop the jobs' work, and write their last checkpoints.

        Further work would take time from the checkpoints, and would be repeated at the next
        start anyway.

        Args:
            within_s: the longest time to wait, in s.
        """
        self._ending.set()
        await self.flush(within_s=within_s)

    async def flush(
        self, running: Iterable[RunningJob] | None = None, *, within_s: float = HANDOVER_S
    ) -> None:
        """Write the last checkpoints of jobs.

        Args:
            running: the jobs; None means all.
            within_s: the longest time to wait, in s.
        """
        chosen = list(self.running.values()) if running is None else list(running)
        await self._checkpoints.flush(chosen, within_s=within_s)


def _with_prefixes(store: Any, prefixes: Iterable[bytes]) -> Iterable[tuple[bytes, bytes]]:
    for prefix in prefixes:
        for key, value in store.items(from_key=prefix):
            if not key.startswith(prefix):
                break
            yield key, value
