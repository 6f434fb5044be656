"""Writes checkpoints: state and outputs, in the one order that loses nothing.

A checkpoint has five steps. The broker acknowledges each step before the next one begins. If
one fails, all of them are repeated.

Example: the last head says offset 41. The job applies records 42 to 51 and takes a snapshot::

    1. early outputs   a dead letter of record 45
    2. segments        the event ids of records 42 to 51
    3. head            offset 51, the state, and the report (41, 51] as an output
    4. outputs         the report (41, 51]
    5. removals        keys that are obsolete now

If the worker dies before step 3 is acknowledged, its successor finds 41 and reads 42 to 51
again. It sends the dead letter again, under the same key, and ignores the segments of step 2,
which are newer than the head (but see `Stage.segments_know_offsets`). If the worker dies
between steps 3 and 4, its successor finds 51 and sends the report in the head, byte for byte.
The receiver ignores it if it had arrived before.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any

from aiokafka.errors import (
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    MessageSizeTooLargeError,
    OutOfOrderSequenceNumber,
    ProducerFenced,
    RecordListTooLargeError,
    UnknownProducerId,
)
from faust.types import TP

from streams.engine.contracts import (
    NotYetError,
    Output,
    PendingSnapshot,
    ServiceAwayError,
    Snapshot,
)
from streams.engine.faust_adapter.table_store import writing_to
from streams.engine.process_fence import PauseFence, end_process
from streams.engine.runtime.running_job import EngineStats, RunningJob
from streams.engine.state_log import Write
from streams.engine.steps import PAUSE_S, Slice, in_groups

log = logging.getLogger(__name__)

RETRY_S = 1.0
NOT_YET_S = 0.05
_TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)
_OUT_OF_SEQUENCE = (
    OutOfOrderSequenceNumber,
    UnknownProducerId,
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    ProducerFenced,
)
"""After these errors an idempotent producer never succeeds again; a new process gets a new one."""
A_GROUP = 250
"""Records that are written at a time, about 10 ms of work."""
HANDOVER_S = 5.0
"""Longest wait of a revocation for the last checkpoint, in s."""


class AckedPrefix:
    """Tracks up to which offset the local store holds all of a changelog partition.

    The store may claim to hold the changelog up to an offset only if it holds everything
    before it too. Where another worker wrote in between, there is a hole in what this worker
    wrote. ``last`` stays before the hole, and the next start reads on from there.

    Example: the store was recovered up to offset 9, and 10, 12 and 13 are acknowledged. ``last``
    is 10. With the acknowledgement of 11 it is 13. If another worker wrote 11, it stays 10.
    """

    MOST_BEYOND = 10_000
    """With more offsets than this beyond a hole, it will never be filled: no more are recorded."""

    def __init__(self, last: int) -> None:
        self.last = last
        self._beyond: list[int] = []
        self._given_up = False

    def record(self, offset: int) -> int:
        """Record an acknowledged offset; return the last one without a hole before it."""
        if self._given_up:
            return self.last
        heapq.heappush(self._beyond, offset)
        while self._beyond and self._beyond[0] <= self.last + 1:
            self.last = max(self.last, heapq.heappop(self._beyond))
        if len(self._beyond) > self.MOST_BEYOND:
            self._given_up = True
            self._beyond.clear()
        return self.last


class CheckpointWriter:
    """Writes the checkpoints of all jobs, one at a time for each job.

    Args:
        app: the Faust app, whose producer is used.
        tables: the Faust table of each stage, by name.
        fence: ends a worker that was paused for too long before it writes.
        stats: counts what was written and what failed.
    """

    def __init__(
        self,
        app: Any,
        tables: Mapping[str, Any],
        *,
        fence: PauseFence,
        stats: EngineStats,
    ) -> None:
        self._app = app
        self._tables = tables
        self._fence = fence
        self._stats = stats
        self._acked: dict[TP, tuple[int, AckedPrefix]] = {}

    def start(self, running: RunningJob) -> None:
        """Take a snapshot now, and write it in the background."""
        running.checkpointed_at = time.monotonic()
        running.without_head = False
        work = self._settle_and_write(running, running.job.snapshot(), offset=running.offset)
        running.writing = asyncio.create_task(_until_over(running, work))

    async def _settle_and_write(
        self, running: RunningJob, snapshot: Snapshot | PendingSnapshot, *, offset: int
    ) -> None:
        settled = await self._settled(running, snapshot)
        if settled is not None:
            await self._write(running, settled, offset=offset)

    async def _settled(
        self, running: RunningJob, snapshot: Snapshot | PendingSnapshot
    ) -> Snapshot | None:
        """Return the snapshot once it can be written; None if the job was revoked before."""
        turn = Slice()
        while not running.revoked:
            await turn.give_way()
            if isinstance(snapshot, Snapshot):
                return snapshot
            running.progressed_at = time.monotonic()
            try:
                settled = await snapshot.settle()
            except NotYetError:
                await asyncio.sleep(NOT_YET_S)
            except ServiceAwayError as error:
                if running.waits_for != str(error):
                    running.waits_for = str(error)
                    log.warning("%s[%d] waits: %s", *running.source, error)
                await asyncio.sleep(RETRY_S)
            except Exception:
                log.exception("the checkpoint of %s[%d] failed", *running.source)
                end_process(
                    "a checkpoint of %s[%d] can't be made; the next start goes on from the "
                    "last one",
                    *running.source,
                )
            else:
                running.waits_for = ""
                snapshot = snapshot if settled is None else settled
        return None

    async def _write(self, running: RunningJob, snapshot: Snapshot, *, offset: int) -> None:
        """Write early outputs, segments, the head, outputs and removals, in this order."""
        if len(snapshot.segments) > A_GROUP:
            checkpoint = await asyncio.to_thread(running.log.checkpoint, snapshot, offset=offset)
        else:
            checkpoint = running.log.checkpoint(snapshot, offset=offset)

        async def write() -> None:
            await self._send(snapshot.early_outputs)
            await self._put(running, checkpoint.segments)
            await self._put(running, [checkpoint.head])
            if running.revoked:
                return
            running.saved_offset = offset
            await self._send(snapshot.outputs)
            await self._put(running, checkpoint.removals)

        await self._until_done(running, write)
        self._stats.checkpoints += 1

    def resend(self, running: RunningJob, outputs: Sequence[Output]) -> None:
        """Send the outputs of the last head again, before the next checkpoint begins."""
        work = self._until_done(running, lambda: self._send(outputs))
        running.writing = asyncio.create_task(_until_over(running, work))

    async def _until_done(self, running: RunningJob, action: Callable[[], Any]) -> None:
        while not running.revoked:
            try:
                await action()
                return
            except _TOO_LARGE as error:
                end_process(
                    "the broker refuses a record of the checkpoint of %s[%d] (%s): let "
                    "max.message.bytes and segment.bytes of this app's topics be what "
                    "`kpi-monitor topics --create` makes them",
                    *(*running.source, type(error).__name__),
                )
            except _OUT_OF_SEQUENCE as error:
                end_process(
                    "the broker and this worker's producer disagree about what was sent (%s): "
                    "nothing more can be written by it, so the worker ends; the next start "
                    "goes on from the last checkpoint",
                    type(error).__name__,
                )
            except Exception as error:  # noqa: BLE001 - any fault of the producer is retried
                self._stats.checkpoint_failures += 1
                log.warning("checkpoint of %s[%d] failed, retrying: %s", *running.source, error)
                await asyncio.sleep(RETRY_S)

    async def _put(self, running: RunningJob, items: Sequence[Write]) -> None:
        """Write keys to the changelog and, once they are acknowledged, to the local store."""
        for group in in_groups(items, of=A_GROUP):
            if running.revoked:
                return
            await self._put_group(running, group)

    async def _put_group(self, running: RunningJob, items: Sequence[Write]) -> None:
        self._fence.check()
        table = self._tables[running.stage.name]
        partition = running.source.partition
        topic = table.changelog_topic.get_topic_name()
        acks = [
            await self._app.producer.send(topic, key, value, partition, None, None)
            for key, value in items
        ]
        acked = await asyncio.gather(*acks)
        if running.revoked:
            return
        with writing_to(table.data, partition):
            store = table.data._db_for_partition(partition)
            for key, value in items:
                if value is None:
                    store.delete(key)
                else:
                    store.put(key, value)
            tp = acked[0].topic_partition
            prefix = self._prefix(table.data, tp, generation=running.generation)
            for ack in acked:
                prefix.record(ack.offset)
            table.data.set_persisted_offset(tp, prefix.last)

    def _prefix(self, store: Any, tp: TP, *, generation: int) -> AckedPrefix:
        """Return the prefix of a changelog partition; it starts over in each generation."""
        known = self._acked.get(tp)
        if known is None or known[0] != generation:
            recovered = store.persisted_offset(tp)
            known = generation, AckedPrefix(-1 if recovered is None else recovered)
            self._acked[tp] = known
        return known[1]

    async def _send(self, outputs: Iterable[Output]) -> None:
        for group in in_groups(outputs, of=A_GROUP):
            acks = [await self.send_soon(output) for output in group]
            await asyncio.gather(*acks)

    async def send_soon(self, output: Output) -> Any:
        """Hand a record to the producer, and return the future of its acknowledgement."""
        return await self._app.producer.send(
            output.topic, output.key, output.value, output.partition, None, None
        )

    async def settled(self, running: RunningJob) -> None:
        """Wait until no write of a revoked job is in progress any more."""
        if running.writing is not None:
            await asyncio.wait({running.writing})

    async def flush(self, chosen: Sequence[RunningJob], *, within_s: float) -> None:
        """Write the last checkpoints of some jobs, side by side.

        One may wait for another: the orders of a customer for the clicks before them. One after
        the other, the checkpoint of orders would wait for that of clicks, which is not begun.

        Args:
            chosen: the jobs.
            within_s: the longest time to wait, in s.
        """
        deadline = time.monotonic() + within_s
        # Jobs that are ready for a snapshot go first: the others may use up the time.
        ordered = sorted(chosen, key=lambda one: not one.job.whole)
        await asyncio.gather(*(self._flush_one(one, deadline) for one in ordered))

    async def _flush_one(self, running: RunningJob, deadline: float) -> None:
        await _wait_for(running.writing, deadline)
        await _until_whole(running, deadline)
        if running.writing is None and running.job.dirty and running.job.whole:
            self.start(running)
        await _wait_for(running.writing, deadline)


async def _until_over(running: RunningJob, work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    finally:
        running.writing = None


async def _until_whole(running: RunningJob, deadline: float) -> None:
    """Let a job work until a snapshot may be taken; one that fails keeps its last checkpoint."""
    try:
        while not running.job.whole and time.monotonic() < deadline:
            running.job.work(Slice().used_up, until_whole=True)
            if not running.job.whole:
                await asyncio.sleep(PAUSE_S)
    except Exception:
        log.exception("%s[%d] fails; it goes on from its last checkpoint", *running.source)


async def _wait_for(task: asyncio.Task[None] | None, deadline: float) -> None:
    if task is not None:
        await asyncio.wait({task}, timeout=max(0.0, deadline - time.monotonic()))
