"""Sends records to Kafka, as fast as it can or at the pace of a clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError

from models.campaigns.campaign import Campaign
from streams.broker import Broker
from streams.embedded.synthetic import FeedRecord
from streams.errors import BrokerUnreachableError

FLUSH_EVERY = 5_000
LARGEST_REQUEST = 2 << 20


@asynccontextmanager
async def producer(broker: Broker) -> AsyncIterator[AIOKafkaProducer]:
    """Connect a producer.

    Raises:
        BrokerUnreachableError: nothing answers.
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
    """Send records as fast as they go; return how many."""
    waiting: list[Any] = []
    sent = 0
    for record in records:
        waiting.append(await client.send(record.topic, record.value, record.key))
        if len(waiting) >= FLUSH_EVERY:
            await asyncio.gather(*waiting)
            sent += len(waiting)
            waiting = []
            if on_sent is not None:
                on_sent(sent)
    await asyncio.gather(*waiting)
    sent += len(waiting)
    if on_sent is not None:
        on_sent(sent)
    return sent


async def send_paced(
    client: AIOKafkaProducer,
    records: Iterable[FeedRecord],
    *,
    speed: float,
    never_ahead: bool = False,
    on_sent: Callable[[int], None] | None = None,
) -> int:
    """Send records when they are due, event time running ``speed`` times as fast.

    Args:
        client: sends them.
        records: in the order in which they are due.
        speed: times as fast as the clock.
        never_ahead: whether event time that has reached the clock goes on at its pace.
            What is ahead of the clock is refused by the monitor as from the future.
        on_sent: is told how many were sent.
    """
    started = time.monotonic()
    first_ms: int | None = None
    sent = 0
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
    await client.flush()
    if on_sent is not None:
        on_sent(sent)
    return sent


async def define(client: AIOKafkaProducer, campaigns: Iterable[Campaign], *, topic: str) -> None:
    """Put campaigns into the registry."""
    for campaign in campaigns:
        value = campaign.model_dump_json(exclude_defaults=True).encode()
        await client.send_and_wait(topic, value, campaign.id.encode())
