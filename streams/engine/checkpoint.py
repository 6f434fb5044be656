"""Writes checkpoints: state and outputs, in the one order that loses nothing."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from streams.engine import state as states
from streams.engine.fence import PauseFence
from streams.engine.running import EngineStats, Running
from streams.engine.stage import Output, Snapshot

log = logging.getLogger(__name__)

RETRY_S = 1.0
HANDOVER_S = 5.0
"""How long a revocation waits for the last checkpoint."""


class Checkpoints:
    """Writes the checkpoints of all jobs, one at a time for each.

    Args:
        app: the Faust app, whose producer is used.
        tables: the Faust table of each stage, by name.
        fence: keeps a worker that was paused from writing.
        stats: counts what was written and what failed.
        now_ms: the clock.
    """

    def __init__(
        self,
        app: Any,
        tables: Mapping[str, Any],
        *,
        fence: PauseFence,
        stats: EngineStats,
        now_ms: Callable[[], int],
    ) -> None:
        self._app = app
        self._tables = tables
        self._fence = fence
        self._stats = stats
        self._now_ms = now_ms

    def start(self, running: Running) -> None:
        """Take a snapshot now, and write it in the background."""
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
            if running.revoked:
                return
            await self._send(snapshot.outputs)
            await self._put(running, expired)

        await self._until_done(running, write)
        self._stats.checkpoints += 1

    def resend(self, running: Running, outputs: Sequence[Output]) -> None:
        """Send the outputs of the last head again; the next checkpoint waits for it."""
        running.writing = asyncio.create_task(
            self._until_done(running, lambda: self._send(outputs))
        )

    async def _until_done(self, running: Running, action: Callable[[], Any]) -> None:
        try:
            while not running.revoked:
                try:
                    await action()
                    return
                except Exception as error:  # noqa: BLE001 - any fault of the producer is retried
                    self._stats.checkpoint_failures += 1
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
            await self._app.producer.send(topic, key, value, partition, None, None)
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
        acks = [await self.send_soon(output) for output in outputs]
        await asyncio.gather(*acks)

    async def send_soon(self, output: Output) -> Any:
        """Hand a record to the producer and return its acknowledgement to come."""
        return await self._app.producer.send(
            output.topic, output.key, output.value, output.partition, None, None
        )

    async def flush(self, chosen: Sequence[Running]) -> None:
        """Write what is not yet written, waiting at most `HANDOVER_S`."""
        deadline = time.monotonic() + HANDOVER_S
        for one in chosen:
            await _wait_for(one.writing, deadline)
            if one.writing is None and one.job.dirty:
                self.start(one)
        for one in chosen:
            await _wait_for(one.writing, deadline)


async def _wait_for(task: asyncio.Task[None] | None, deadline: float) -> None:
    if task is not None:
        await asyncio.wait({task}, timeout=max(0.0, deadline - time.monotonic()))
