"""Sends a seeded synthetic campaign at the pace of the clock, from a thread of its own."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from aiokafka.errors import KafkaError

from streams.broker import Broker
from streams.operations import producer
from streams.operations.synthetic import CAMPAIGNS, FeedRecord, Oddities, Synthetic

HISTORY_MS = 100_000
"""Event time that is sent at once at the start, in ms, so that windows start full."""

Change = Callable[[FeedRecord], Iterable[FeedRecord]]


OWN_METRICS = {b"mentions": b"media_exposures", b"awareness": b"penetration"}
"""Metrics of measurements.yaml by the built-in metric whose values they get."""


def with_own_metrics(record: FeedRecord) -> Iterable[FeedRecord]:
    """Yield a record, and after a measurement the same one of a metric of measurements.yaml."""
    yield record
    for metric, own in OWN_METRICS.items():
        if b'"metric":"%s"' % metric in record.value.replace(b" ", b""):
            event = json.loads(record.value)
            event |= {"metric": own.decode(), "event_id": f"{event['event_id']}-own"}
            yield record._replace(value=json.dumps(event).encode())


def as_they_are(record: FeedRecord) -> Iterable[FeedRecord]:
    """Change nothing."""
    return (record,)


class Feeder:
    """A producer that retries until its broker is back.

    ``change`` may be replaced at any time: it gets every record that is due, and returns the
    records that are sent in its place.

    Args:
        broker: receives the records.
        topics: names of the topics of clicks, orders and campaigns.
        registry: the topic of definitions.
        seed: the same seed gives the same events.
        rate: clicks a second; each leads to 2.6 records on average.
        oddities: shares of late, repeated and broken records; None for the defaults.
        own_metrics: whether the metrics of measurements.yaml are sent, too.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        topics: tuple[str, str, str],
        registry: str,
        seed: int,
        rate: float,
        oddities: Oddities | None,
        own_metrics: bool,
    ) -> None:
        self._also = with_own_metrics if own_metrics else as_they_are
        self.change: Change = as_they_are
        self.sent = 0
        self._broker = broker
        self._registry = registry
        self._made = Synthetic(seed=seed, clicks_per_second=rate, topics=topics, oddities=oddities)
        self._stop = threading.Event()
        self._failure: Exception | None = None
        self._history_sent = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feeder", daemon=True)

    def start(self) -> None:
        """Start to send; return once the broker has the history."""
        self._thread.start()
        while not self._history_sent.wait(0.1):
            self._raise_failure()
        self._raise_failure()

    def stop(self) -> None:
        """Stop sending; return once the broker has every record."""
        self._stop.set()
        self._thread.join(200)
        assert not self._thread.is_alive(), "the feeder waits for its broker in vain"
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            asyncio.run(self._feed())
        except Exception as error:  # noqa: BLE001 - raised again in the scenario
            self._failure = error
        finally:
            self._history_sent.set()

    async def _feed(self) -> None:
        now_ms = int(time.time() * 1000) // 1000 * 1000
        async with producer.producer(self._broker) as client:
            await producer.define(client, CAMPAIGNS, topic=self._registry)
            await asyncio.sleep(1.0)
            for record in self._made.records(now_ms - HISTORY_MS, now_ms):
                await self._send(client, record)
            await client.flush()
            self._history_sent.set()
            for record in self._made.records(now_ms, now_ms + 24 * 3_600_000):
                wait_s = record.due_ms / 1000 - time.time()
                while wait_s > 0 and not self._stop.is_set():
                    await asyncio.sleep(min(wait_s, 0.1))
                    wait_s = record.due_ms / 1000 - time.time()
                if self._stop.is_set():
                    break
                await self._send(client, record)
            await client.flush()

    async def _send(self, client: Any, record: FeedRecord) -> None:
        for one in (sent for also in self._also(record) for sent in self.change(also)):
            while True:
                try:
                    await client.send(one.topic, one.value, one.key)
                    break
                except KafkaError:
                    # The producer's buffer is full while the broker is away.
                    await asyncio.sleep(0.2)
            self.sent += 1
