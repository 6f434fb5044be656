"""Makes the dead letter of a record that a job could not count."""

from __future__ import annotations

from models import dead_letters
from models.dead_letters import DeadLetter, Reason
from streams.engine.contracts import Output, Record, SourcePartition


def dead_letter(
    record: Record, *, source: SourcePartition, reason: Reason, detail: str, topic: str
) -> Output:
    """Return the dead letter of a record, keyed by the record's topic, partition and offset.

    Args:
        record: the record.
        source: the source partition that it comes from.
        reason: why it is not counted.
        detail: more about the reason, for people.
        topic: the topic of dead letters.
    """
    letter = DeadLetter(
        topic=source.topic,
        partition=source.partition,
        offset=record.offset,
        appended_ms=record.timestamp,
        reason=reason,
        detail=detail,
        key=record.key,
        value=record.value,
    )
    return Output(topic=topic, key=letter.id.encode(), value=dead_letters.encode(letter))
