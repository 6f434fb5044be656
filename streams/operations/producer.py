"""Sends records to Kafka: as fast as possible, or paced by their event times."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaError
from aiokafka.partitioner import DefaultPartitioner

from models.campaigns.campaign import Campaign
from models.events import CompleteThrough
from streams.broker import Broker
from streams.errors import BrokerUnreachableError
from streams.operations.synthetic import FeedRecord

FLUSH_EVERY = 20_000
"""Records after which the acknowledgements of all of them are waited for."""
KEPT_KEYS = 100_000
"""Keys whose partitions are kept."""
LARGEST_REQUEST = 2 << 20
LAST_WAIT_S = 5.0
"""Seconds to wait for the broker's acknowledgements when the task is cancelled."""
_partition_of = DefaultPartitioner()


@asynccontextmanager
async def producer(broker: Broker) -> AsyncIterator[AIOKafkaProducer]:
    """Connect an idempotent producer; stop it when the block is left.

    Raises:
        BrokerUnreachableError: no broker answers.
    """
    client = AIOKafkaProducer(
        **broker.client_options(),
        linger_ms=5,
        max_batch_size=256 << 10,
        max_request_size=LARGEST_REQUEST,
        compression_type="lz4",
        enable_idempotence=True,
    )
    try:
        await client.start()
    except (KafkaConnectionError, OSError) as error:
        raise BrokerUnreachableError(
            broker.servers, security=broker.security, why=type(error).__name__
        ) from None
    try:
        yield client
    finally:
        await client.stop()


class _Batches:
    """Collects records into a batch for each partition, which is many times as fast as `send`.

    Records of one key go to one partition in their order, by the same hash as Java's producer.
    """

    def __init__(self, client: AIOKafkaProducer) -> None:
        self._client = client
        self._partitions: dict[str, list[int]] = {}
        self._places: dict[tuple[str, bytes], tuple[str, int]] = {}
        self._open: dict[tuple[str, int], Any] = {}
        self._waiting: list[asyncio.Future[Any]] = []

    def add(self, record: FeedRecord) -> bool:
        """Add a record to the open batch of its partition; return False if there is no room."""
        place = self._places.get((record.topic, record.key))
        batch = self._open.get(place) if place is not None else None
        if batch is None:
            return False
        added = batch.append(timestamp=None, key=record.key, value=record.value)
        return added is not None

    async def make_room(self, topic: str, key: bytes) -> None:
        """Do what is missing to add a record: find its partition, send a full batch, open one."""
        place = self._places.get((topic, key))
        if place is None:
            if topic not in self._partitions:
                self._partitions[topic] = sorted(await self._client.partitions_for(topic))
            partitions = self._partitions[topic]
            place = topic, _partition_of(key, partitions, partitions)
            if len(self._places) >= KEPT_KEYS:
                self._places.clear()
            self._places[topic, key] = place
        elif place in self._open:
            await self._send(place)
        if place not in self._open:
            self._open[place] = self._client.create_batch()

    async def _send(self, place: tuple[str, int]) -> None:
        topic, partition = place
        batch = self._open[place]
        self._waiting.append(await self._client.send_batch(batch, topic, partition=partition))
        del self._open[place]

    async def flush(self) -> None:
        """Send all batches, and wait until the broker has acknowledged them.

        Raises:
            KafkaError: it did not.
        """
        for place in list(self._open):
            await self._send(place)
        await asyncio.gather(*self._waiting)
        self._waiting.clear()


async def send_all(
    client: AIOKafkaProducer,
    records: Iterable[FeedRecord],
    *,
    on_sent: Callable[[int], None] | None = None,
) -> int:
    """Send records as fast as possible and return their number.

    Args:
        client: sends them.
        records: in the order to send them.
        on_sent: called with the number of records that the broker has acknowledged, after each
            `FLUSH_EVERY` and at the end, also if the task is cancelled.
    """
    batches = _Batches(client)
    added = 0
    note_sent = on_sent or _ignore
    try:
        for record in records:
            while not batches.add(record):
                await batches.make_room(record.topic, record.key)
            added += 1
            if added % FLUSH_EVERY == 0:
                await batches.flush()
                note_sent(added)
    except asyncio.CancelledError:
        with contextlib.suppress(KafkaError, TimeoutError):
            await asyncio.wait_for(batches.flush(), LAST_WAIT_S)
            note_sent(added)
        raise
    await batches.flush()
    note_sent(added)
    return added


def _ignore(_: int) -> None:
    """Note nothing."""


async def send_paced(
    client: AIOKafkaProducer,
    records: Iterable[FeedRecord],
    *,
    speed: float,
    never_ahead: bool = False,
    on_sent: Callable[[int], None] | None = None,
) -> int:
    """Send each record when it is due and return their number.

    Example: at speed 4, a record that is due 60 s of event time after the first is sent 15 s
    of the clock after the first.

    Args:
        client: sends them.
        records: in the order in which they are due.
        speed: seconds of event time per second of the clock.
        never_ahead: whether to wait until the clock has reached a record's event time, however
            large the speed; the monitor rejects events too far ahead of the broker's clock.
        on_sent: called with the number of records sent before each wait, and at the end.
    """
    started = time.monotonic()
    first_ms: int | None = None
    sent = 0
    try:
        for record in records:
            if first_ms is None:
                first_ms = record.due_ms
            wait_s = (record.due_ms - first_ms) / 1000 / speed - (time.monotonic() - started)
            if never_ahead:
                wait_s = max(wait_s, record.due_ms / 1000 - time.time())
            if wait_s > 0.005:
                if on_sent is not None:
                    on_sent(sent)
                await asyncio.sleep(wait_s)
            await client.send(record.topic, record.value, record.key)
            sent += 1
    except asyncio.CancelledError:
        await asyncio.wait_for(client.flush(), LAST_WAIT_S)
        if on_sent is not None:
            on_sent(sent)
        raise
    await client.flush()
    if on_sent is not None:
        on_sent(sent)
    return sent


async def complete(client: AIOKafkaProducer, topic: str, *, through_ms: int) -> None:
    """Write to each partition of a topic that no events before a time follow, in ms.

    The id is that of the time, so that a repetition changes nothing.
    """
    event = CompleteThrough(event_id=f"complete-through-{through_ms}", event_time=through_ms)
    value = msgspec.json.encode(event)
    for partition in sorted(await client.partitions_for(topic)):
        await client.send_and_wait(topic, value, partition=partition)


async def define(client: AIOKafkaProducer, campaigns: Iterable[Campaign], *, topic: str) -> None:
    """Write campaigns to the registry topic, and wait until the broker has each."""
    for campaign in campaigns:
        value = campaign.model_dump_json(exclude_defaults=True).encode()
        await client.send_and_wait(topic, value, campaign.id.encode())
