"""Rebuilds the logs of customers in Redis from the source topics.

Each source partition is read from its beginning up to the offset that the workers' state
has reached. Later records are added by the workers themselves. Workers that run meanwhile
wait until the rebuild has ended.

Records go through the same `IngestJob` as in a worker, but with the campaigns and exchange
rates of today. If the name that an order gives resolves to another campaign than it did when
the order was counted, the order stays where it was counted; later corrections of it are booked
under the campaign of today.

Orders are read before clicks. The times up to which orders are complete are then known when
clicks arrive, so that clicks which no order can look back to are trimmed at once.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from models.events import SourceKind
from streams.broker import Broker
from streams.engine import state_log
from streams.engine.contracts import SourcePartition
from streams.ingest.customers.pending_checkpoint import PendingCheckpoint, calls, source_name
from streams.ingest.customers.redis_store import CustomerStore
from streams.ingest.job import IngestJob

SETTLE_S = 3.0
"""Wait after closing Redis to the workers, so that they write what it has already answered, s."""


@dataclass(slots=True)
class Rebuilt:
    """The number of records read and of entries written to the logs."""

    records: int = 0
    entries: int = 0


Progress = Callable[[int, int], None]
"""Callback, called with the number of records read and the number of records in all."""


async def rebuild(
    store: CustomerStore,
    *,
    broker: Broker,
    changelog: str,
    kinds: Mapping[str, SourceKind],
    partitions: int,
    horizon_ms: int,
    open_job: Callable[[SourcePartition], IngestJob],
    progress: Progress,
) -> Rebuilt:
    """Rebuild all logs of customers.

    Args:
        store: the logs in Redis.
        broker: the connection settings of Kafka.
        changelog: the changelog topic of ingest, which holds the workers' state.
        kinds: ``clicks`` and ``orders`` by topic name.
        partitions: the number of partitions of each of these topics.
        horizon_ms: the largest time by which an event may be older than the newest before it.
        open_job: opens a job as the workers do, without state.
        progress: called with the number of records read and the number in all.

    Raises:
        StateError: the workers' state can't be read.
        CustomersAwayError: Redis does not answer, or another rebuild was started.
    """
    token = f"anew-{uuid.uuid4()}"
    await store.begin_rebuild(token)
    await asyncio.sleep(SETTLE_S)
    sources = [SourcePartition(topic, number) for topic in kinds for number in range(partitions)]
    ends = await _ends(broker, changelog, sources)
    await store.forget_all()
    reading = _Reading(store, token, open_job, progress, whole=sum(ends.values()))
    orders = [source for source in sources if kinds[source.topic] == "orders"]
    clicks = [source for source in sources if kinds[source.topic] == "clicks"]
    settled_ms: dict[int, int] = {}
    for chosen in (orders, clicks):
        async with _consumer(broker, [TopicPartition(*source) for source in chosen]) as consumer:
            newest = await reading.read(consumer, ends, kinds=kinds, settled_ms=settled_ms)
        settled_ms = {number: max(0, at_ms - horizon_ms) for number, at_ms in newest.items()}
    await store.end_rebuild(
        token, sources=[source_name(kinds[topic], number) for topic, number in sources]
    )
    progress(reading.whole, reading.whole)
    return reading.rebuilt


@asynccontextmanager
async def _consumer(broker: Broker, chosen: Sequence[TopicPartition]) -> AsyncIterator[Any]:
    """Yield a consumer that is assigned some partitions, at their beginning."""
    consumer = AIOKafkaConsumer(
        **broker.client_options(),
        enable_auto_commit=False,
        isolation_level="read_committed",
        max_partition_fetch_bytes=4 << 20,
    )
    await consumer.start()
    try:
        consumer.assign(list(chosen))
        await consumer.seek_to_beginning(*chosen)
        yield consumer
    finally:
        await consumer.stop()


async def _ends(
    broker: Broker, changelog: str, sources: Iterable[SourcePartition]
) -> dict[SourcePartition, int]:
    """Return for each source the offset after the last that the workers' state has applied."""
    by_partition: dict[int, list[SourcePartition]] = {}
    for source in sources:
        by_partition.setdefault(source.partition, []).append(source)
    chosen = [TopicPartition(changelog, number) for number in by_partition]
    found: dict[SourcePartition, int] = {}
    async with _consumer(broker, chosen) as consumer:
        left = await consumer.end_offsets(chosen)
        tables: dict[int, dict[bytes, bytes]] = {number: {} for number in by_partition}
        while left := {tp: end for tp, end in left.items() if await consumer.position(tp) < end}:
            for tp, records in (await consumer.getmany(*left, timeout_ms=500)).items():
                for record in records:
                    if record.value is None:
                        tables[tp.partition].pop(record.key, None)
                    elif record.key.startswith(state_log.HEADS):
                        tables[tp.partition][record.key] = record.value
    for number, of_partition in by_partition.items():
        for source in of_partition:
            found[source] = 1 + state_log.last_offset(tables[number].items(), source=source)
    return found


class _Reading:
    """Reads source partitions, writes their entries to the logs, and reports progress."""

    def __init__(
        self,
        store: CustomerStore,
        token: str,
        open_job: Callable[[SourcePartition], IngestJob],
        progress: Progress,
        *,
        whole: int,
    ) -> None:
        self.whole = whole
        self.rebuilt = Rebuilt()
        self._store = store
        self._token = token
        self._open_job = open_job
        self._progress = progress

    async def read(
        self,
        consumer: Any,
        ends: Mapping[SourcePartition, int],
        *,
        kinds: Mapping[str, SourceKind],
        settled_ms: Mapping[int, int],
    ) -> dict[int, int]:
        """Read the assigned partitions to ``ends``; return the newest event time of each, in ms."""
        left = {tp: ends[SourcePartition(*tp)] for tp in consumer.assignment()}
        jobs = {tp: self._open_job(SourcePartition(*tp)) for tp in left}
        while left := {tp: end for tp, end in left.items() if await consumer.position(tp) < end}:
            fetched = await consumer.getmany(*left, timeout_ms=500, max_records=20_000)
            for tp, records in fetched.items():
                job = jobs[tp]
                wanted = [record for record in records if record.offset < left[tp]]
                for record in wanted:
                    _apply(job, record)
                self.rebuilt.records += len(wanted)
                cut = job.snapshot() if wanted else None
                if isinstance(cut, PendingCheckpoint):
                    source = source_name(kinds[tp.topic], tp.partition)
                    await self._restore(cut, source, settled_ms=settled_ms.get(tp.partition, 0))
            self._progress(min(self.rebuilt.records, self.whole), self.whole)
        return {tp.partition: job.watermark.newest_event_time or 0 for tp, job in jobs.items()}

    async def _restore(self, cut: PendingCheckpoint, source: str, *, settled_ms: int) -> None:
        first = 0
        while call := calls(cut.entries, first=first):
            await self._store.restore(call, source=source, token=self._token, settled_ms=settled_ms)
            first += len(call)
        self.rebuilt.entries += first


def _apply(job: IngestJob, record: Any) -> None:
    """Apply a record, or skip it if the job fails: the workers made it a dead letter, too."""
    try:
        job.apply([record])
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the record's
        job.skip(record, why=type(error).__name__)
