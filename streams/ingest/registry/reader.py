"""Reads the registry topic: campaigns, their ends and changes, and exchange rates.

Every worker reads the whole topic, without a consumer group.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from pydantic import ValidationError

from models.campaigns.campaign import Campaign, Ending
from models.campaigns.campaign_change import Change, Changes
from models.money.exchange_rates import Rate, Rates
from streams.broker import Broker
from streams.ingest.registry.campaign_index import CampaignIndex

_KINDS: dict[bytes, type[Ending | Change | Rate]] = {
    b"end/": Ending,
    b"change/": Change,
    b"rate/": Rate,
}
"""The kind of definition by the prefix of its key. The key of a campaign is its id."""

log = logging.getLogger(__name__)


class RegistryReader:
    """Keeps campaigns, changes and exchange rates up to date with the registry topic."""

    def __init__(
        self,
        campaigns: CampaignIndex,
        changes: Changes,
        rates: Rates,
        *,
        broker: Broker,
        topic: str,
    ) -> None:
        self._campaigns = campaigns
        self._changes = changes
        self._rates = rates
        self._broker = broker
        self._partition = TopicPartition(topic, 0)
        self._consumer: AIOKafkaConsumer | None = None

    async def read_all(self) -> None:
        """Read the topic to its present end. Campaigns are resolved only after that."""
        consumer = AIOKafkaConsumer(**self._broker.client_options(), enable_auto_commit=False)
        self._consumer = consumer
        await consumer.start()
        consumer.assign([self._partition])
        await consumer.seek_to_beginning(self._partition)
        end = (await consumer.end_offsets([self._partition]))[self._partition]
        while await consumer.position(self._partition) < end:
            await self.take(await consumer.getmany(timeout_ms=500))
        log.info("%d campaigns, %d rates are defined", len(self._campaigns), len(self._rates))

    async def read_once(self) -> None:
        """Read the topic to its present end, then stop the consumer."""
        try:
            await self.read_all()
        finally:
            if self._consumer is not None:
                await self._consumer.stop()

    async def follow(self) -> None:
        """Read new definitions until cancelled; `read_all` comes first."""
        assert self._consumer is not None, "read_all comes first"
        try:
            while True:
                await self.take(await self._consumer.getmany(timeout_ms=500))
        finally:
            await self._consumer.stop()

    async def take(self, fetched: dict[Any, list[Any]]) -> None:
        """Apply the definitions in fetched records, by partition; leave out what is none."""
        for records in fetched.values():
            for record in records:
                if record.value is None:
                    continue
                definition = _definition(record.key or b"", record.value)
                if isinstance(definition, Rate):
                    self._rates.define(definition)
                elif isinstance(definition, Change):
                    self._changes.record(definition)
                elif isinstance(definition, Ending):
                    self._campaigns.end(definition)
                elif isinstance(definition, Campaign):
                    self._campaigns.define(definition)
                else:
                    log.warning("registry offset %d is no definition; left out", record.offset)


def _definition(key: bytes, value: bytes) -> Campaign | Ending | Change | Rate | None:
    """Decode a record, ignoring fields of later versions; None if it is no definition."""
    kind = _KINDS.get(b"".join(key.partition(b"/")[:2]), Campaign)
    try:
        definition = kind.model_validate_json(value, extra="ignore")
    except ValidationError:
        return None
    if isinstance(definition, Campaign) and definition.id.encode() != key:
        return None
    return definition


async def publish(rates: Iterable[Rate], *, broker: Broker, topic: str) -> None:
    """Send exchange rates to the registry topic, which every worker reads."""
    producer = AIOKafkaProducer(**broker.client_options(), acks="all")
    await producer.start()
    try:
        for rate in rates:
            key = f"rate/{rate.currency}/{rate.date}".encode()
            value = rate.model_dump_json().encode()
            await producer.send_and_wait(topic, key=key, value=value, partition=0)
    finally:
        await producer.stop()
