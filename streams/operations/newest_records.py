"""Reads the newest records of a topic."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from kafka import KafkaConsumer, TopicPartition

from streams.broker import Broker
from streams.errors import TopicError

READ_MS = 1_000
MOST_EMPTY_READS = 15
"""Reads without a record, each of up to `READ_MS`, after which a partition is given up."""


def newest_records(
    broker: Broker, topic: str, *, partitions: int, most: int
) -> Iterable[tuple[int, int, bytes | None, bytes | None]]:
    """Yield partition, offset, key and value of the newest records of a topic.

    Args:
        broker: the connection to Kafka.
        topic: the topic.
        partitions: the number of its partitions.
        most: how many records are read of each.

    Raises:
        TopicError: a partition can't be read.
    """
    consumer = KafkaConsumer(
        **broker.client_options(),
        enable_auto_commit=False,
        client_id=f"newest-{uuid.uuid4().hex[:8]}",
    )
    try:
        places = [TopicPartition(topic, number) for number in range(partitions)]
        begin, end = consumer.beginning_offsets(places), consumer.end_offsets(places)
        for place in places:
            first = max(begin[place], end[place] - most)
            consumer.assign([place])
            consumer.seek(place, first)
            empty = 0
            while consumer.position(place) < end[place]:
                records = consumer.poll(timeout_ms=READ_MS).get(place, ())
                empty = 0 if records else empty + 1
                if empty > MOST_EMPTY_READS:
                    raise TopicError(
                        topic,
                        why=f"partition {place.partition} gives no records",
                        remedy="look whether its leader answers, and run this again",
                    )
                for record in records:
                    if record.offset < end[place]:
                        yield place.partition, record.offset, record.key, record.value
    finally:
        consumer.close()
