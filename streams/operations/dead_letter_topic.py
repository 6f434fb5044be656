"""Lists dead letters and sends them again, for the command line."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError
from msgspec import DecodeError

from models import dead_letters
from models.dead_letters import SENT_AGAIN, DeadLetter, Reason
from streams.broker import Broker
from streams.engine.topics import admin
from streams.errors import TopicError


def read(broker: Broker, *, topic: str, reason: Reason | None = None) -> list[DeadLetter]:
    """Return all dead letters, each once, in the order in which they were first written.

    Args:
        broker: holds the topic.
        topic: of dead letters; it has one partition.
        reason: return only those with this reason; None for all.

    Raises:
        BrokerUnreachableError: no broker answers.
        TopicError: there is no such topic.
    """
    with admin(broker) as client:
        if topic not in client.list_topics():
            raise TopicError(topic, why="does not exist", remedy="check --app-id")
    consumer = KafkaConsumer(
        **broker.client_options(),
        enable_auto_commit=False,
        client_id=f"dead-letters-{uuid.uuid4().hex[:8]}",
    )
    found: dict[bytes, DeadLetter] = {}
    try:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        consumer.seek_to_beginning(partition)
        end = consumer.end_offsets([partition])[partition]
        while consumer.position(partition) < end:
            for records in consumer.poll(timeout_ms=1000).values():
                for record in records:
                    try:
                        found[record.key] = dead_letters.decode(record.value)
                    except DecodeError:
                        continue
    finally:
        consumer.close()
    return [letter for letter in found.values() if reason in {None, letter.reason}]


def that_can_count(letters: Iterable[DeadLetter]) -> tuple[list[DeadLetter], Counter[Reason]]:
    """Return the dead letters that can count if they are sent again, and the others by reason."""
    sendable: list[DeadLetter] = []
    left: Counter[Reason] = Counter()
    for letter in letters:
        if letter.reason in SENT_AGAIN:
            sendable.append(letter)
        else:
            left[letter.reason] += 1
    return sendable, left


def redrive(broker: Broker, letters: list[DeadLetter]) -> int:
    """Send the original records to their topics again and return their number.

    Raises:
        TopicError: the broker refused a record.
    """
    client = KafkaProducer(**broker.client_options(), max_request_size=64 << 20)
    try:
        pending = [client.send(one.topic, value=one.value, key=one.key) for one in letters]
        for letter, future in zip(letters, pending, strict=True):
            try:
                future.get(timeout=30)
            except KafkaError as error:
                raise TopicError(
                    letter.topic,
                    why=f"offset {letter.offset} could not be sent again ({error})",
                    remedy="raise the topic's max.message.bytes, or leave it out",
                ) from None
    finally:
        client.close()
    return len(letters)
