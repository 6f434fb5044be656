"""Runs the jobs: resumes them from state, feeds them batches, lets them see the time."""

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
        start_offsets: where sources without state are read from.
        clock: the broker's clock.
        fence: keeps a worker that was paused from writing.
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

    async def _refuse_lost_state(self, tps: Iterable[TP], thread: BatchThread) -> None:
        """End the worker if a source has no state although offsets of a head are committed."""
        for tp, offset in (await thread.committed_offsets(tps)).items():
            end_process(
                "%s[%d] was read up to offset %d, but its state is gone from the changelog and "
                "the data folder: restore one of them, or start under another KPI_APP_ID",
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
        """Forget jobs of another generation: the table may have moved on without them."""
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
        # Where it starts must not be asked again after the next takeover.
        running.without_head = True
        log.info("%s[%d] has no state and starts after offset %d", *state.source, offset)

    def _open(self, state: StateLog, *, offset: int, saved: Saved | None = None) -> RunningJob:
        stage = self._stages[state.source.topic]
        job = stage.open_job(state.source, epoch=state.epoch, saved=saved)
        running = RunningJob(stage, job, state, offset, self._generation)
        self.running[state.source] = running
        return running

    @property
    def _generation(self) -> int:
        return int(self.app.consumer_generation_id or 0)

    async def on_batch(self, source: SourcePartition, batch: Batch) -> None:
        """Apply a batch to its job, skipping what was applied before."""
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
            # Transaction markers, compaction or aborted records; but it costs little to ask again.
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
        """Give records to a job, and have it do what follows while others get their turn."""
        # A job that was opened with work left can't be saved while new records wait for that.
        await self._work_off(running)
        if running.revoked or self._ending.is_set():
            return
        running.job.apply(records)
        running.left = not running.job.whole
        running.offset = records[-1].offset
        running.progressed_at = time.monotonic()
        await self._work_off(running)

    async def _work_off(self, running: RunningJob) -> None:
        """Have a job work until nothing is left of what was given to it."""
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
        """Have a job work for a slice of time, and write its checkpoint when that is due.

        Returns:
            Whether something is left of what was given to it.
        """
        if running.writing is None or not running.job.large:  # else that is to be written first
            running.left = running.job.work(Slice().used_up, until_whole=running.checkpoint_due)
            if running.left:
                running.progressed_at = time.monotonic()
        self._maybe_checkpoint(running)
        return running.left

    def _hold(self) -> None:
        """Let no more be fetched of sources that are full; others go on meanwhile."""
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
        """Drop a job that failed, and open it from its last checkpoint."""
        running.revoked = True
        if self.running.get(running.source) is running:
            del self.running[running.source]
        await self._checkpoints.settled(running)
        if self.app.rebalancing or running.generation != self._generation:
            # Resuming opens it, here or elsewhere.
            return
        async with self._resuming:
            found = await asyncio.to_thread(self._find, running.source, above=running.log.epoch)
            moved = self.app.rebalancing or running.generation != self._generation
            if moved or running.source in self.running:
                return  # resuming opens it, here or elsewhere
            if found.saved is not None:
                self._open_saved(found, found.saved)
            else:
                # It never wrote a head; what it started from is all there is.
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
        """Tick for ever: let jobs see the time, write checkpoints, send heartbeats."""
        while True:
            await asyncio.sleep(tick_s)
            if self.app.rebalancing or self.app.in_recovery:
                continue
            positions = self.positions()
            now_ms = self._clock.now_ms()
            for source, running in list(self.running.items()):
                if running.revoked or source not in positions:
                    continue
                # The broker tells its time with the first heartbeat.
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
        """Tell a job of lost records after which there is nothing to read yet."""
        thread: BatchThread = self.app.consumer._thread
        loss = thread.take_loss_at_the_end(
            TP(*running.source), session=running.session, applied=running.offset
        )
        if loss is not None:
            self._record_lost(running, loss.records, before=loss.next_offset)

    async def commit(self) -> None:
        """Commit the offsets of the last heads, for lag tools: what counts is in the state."""
        offsets = {
            TP(*source): running.saved_offset + 1
            for source, running in self.running.items()
            if running.saved_offset >= 0
        }
        if offsets:
            await self.app.consumer._commit(offsets)

    async def _heartbeat(self, positions: dict[SourcePartition, Position], *, now_ms: int) -> None:
        """Send what stages have to tell, unless the broker still owes an answer to the last.

        A stage is asked even if it has no quiet job: its heartbeat is also how the
        broker's time is learned.
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

    async def end(self, *, within_s: float) -> None:
        """Have no job begin new work, and write what is not yet written in at most that time.

        Work that goes on would take the time from the checkpoints, and what it does after
        the last of them is done again at the next start.
        """
        self._ending.set()
        await self.flush(within_s=within_s)

    async def flush(
        self, running: Iterable[RunningJob] | None = None, *, within_s: float = HANDOVER_S
    ) -> None:
        """Write what is not yet written, waiting at most that long."""
        chosen = list(self.running.values()) if running is None else list(running)
        await self._checkpoints.flush(chosen, within_s=within_s)


def _with_prefixes(store: Any, prefixes: Iterable[bytes]) -> Iterable[tuple[bytes, bytes]]:
    for prefix in prefixes:
        for key, value in store.items(from_key=prefix):
            if not key.startswith(prefix):
                break
            yield key, value
