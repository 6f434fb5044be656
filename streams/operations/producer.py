"""Sends records to Kafka: as fast as possible, or paced by their event times."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import takewhile
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError

from models.campaigns.campaign import Campaign
from streams.broker import Broker
from streams.errors import BrokerUnreachableError
from streams.operations.synthetic import FeedRecord

FLUSH_EVERY = 5_000
LARGEST_REQUEST = 2 << 20
LAST_WAIT_S = 5.0
"""Seconds to wait for the broker's acknowledgements when the task is cancelled."""


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
    waiting: list[Any] = []
    sent = 0
    try:
        for record in records:
            waiting.append(await client.send(record.topic, record.value, record.key))
            if len(waiting) >= FLUSH_EVERY:
                await asyncio.gather(*waiting)
                sent += len(waiting)
                waiting = []
                if on_sent is not None:
                    on_sent(sent)
        await asyncio.gather(*waiting)
    except asyncio.CancelledError:
        if on_sent is not None:
            on_sent(sent + await _acknowledged(waiting))
        raise
    sent += len(waiting)
    if on_sent is not None:
        on_sent(sent)
    return sent


async def _acknowledged(waiting: Sequence[asyncio.Future[Any]]) -> int:
    """Return how many records, from the first on without a gap, the broker acknowledges soon."""
    if waiting:
        await asyncio.wait(waiting, timeout=LAST_WAIT_S)
    kept = takewhile(
        lambda one: one.done() and not one.cancelled() and one.exception() is None, waiting
    )
    return sum(1 for _ in kept)


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


async def define(client: AIOKafkaProducer, campaigns: Iterable[Campaign], *, topic: str) -> None:
    """Write campaigns to the registry topic, and wait until the broker has each."""
    for campaign in campaigns:
        value = campaign.model_dump_json(exclude_defaults=True).encode()
        await client.send_and_wait(topic, value, campaign.id.encode())
