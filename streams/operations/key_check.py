"""Measures how many records of the source topics are in another partition than their user's.

All records of a user must be in one partition of each topic, and in the same one of all topics. The
partition that is expected is the one of Java's default partitioner, murmur2, which
docs/how-to/produce.md names the setting for in other clients.
"""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from kafka.partitioner import murmur2

from models.events import SOURCE_KINDS, CampaignEvent, Identity, UserEvent
from streams.ingest.events.decoding import EventDecoder, Rejected
from streams.operations.newest_records import newest_records
from streams.settings import Settings

SAMPLED: Final = 1_000
"""Number of newest records of each partition that are looked at."""


class Sampled(NamedTuple):
    """A record of a source topic.

    Attributes:
        partition: where it is.
        offset: where it is.
        key: its key.
        owner: the user, in the topic of campaigns the campaign; None for guests, and for records
            that can't be read.
    """

    partition: int
    offset: int
    key: bytes | None
    owner: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyReport:
    """The keys and partitions in the sample of a topic.

    Attributes:
        records: number of records in the sample.
        owned: number of those with a user or campaign.
        other_key: number of those whose key is not their user or campaign.
        misplaced: number of those in another partition than murmur2 gives for the owner.
        first: the first misplaced record, as partition and offset; None without.
        fits: the other partitioner that gives the partition of most misplaced records with the
            right key; None if none does.
    """

    records: int
    owned: int
    other_key: int
    misplaced: int
    first: tuple[int, int] | None
    fits: str | None


class Disagreement(NamedTuple):
    """Owners that are in several topics, and how many of them are in several partitions there."""

    owners: int
    apart: int


def expected_partition(key: bytes, partitions: int) -> int:
    """Return the partition that Java's default partitioner, murmur2, gives for a key."""
    return int((murmur2(key) & 0x7FFFFFFF) % partitions)


def _crc32(key: bytes, partitions: int) -> int:
    return zlib.crc32(key) % partitions


def _fnv1a(key: bytes, partitions: int) -> int:
    """Return the partition as Sarama does, which takes the absolute remainder of a signed hash."""
    value = 0x811C9DC5
    for byte in key:
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    signed = value - (1 << 32) if value >> 31 else value
    return abs(signed) % partitions


OTHERS: Final[Mapping[str, Callable[[bytes, int], int]]] = {
    "crc32, the default of librdkafka": _crc32,
    "FNV-1a, the default of Sarama": _fnv1a,
}
"""Partitioners that other clients use unless they are configured otherwise."""


def measure(sample: Iterable[Sampled], *, partitions: int) -> KeyReport:
    """Compare each record's key and partition with those of its owner.

    Args:
        sample: records of one topic.
        partitions: the number of partitions of the topic.
    """
    records = owned = other_key = misplaced = 0
    first: tuple[int, int] | None = None
    right_key = 0
    fitting: Counter[str] = Counter()
    for record in sample:
        records += 1
        if record.owner is None:
            continue
        owned += 1
        other_key += record.key != record.owner
        if expected_partition(record.owner, partitions) == record.partition:
            continue
        misplaced += 1
        first = first or (record.partition, record.offset)
        if record.key == record.owner:
            right_key += 1
            fitting.update(
                name
                for name, place in OTHERS.items()
                if place(record.owner, partitions) == record.partition
            )
    best = fitting.most_common(1)
    return KeyReport(
        records=records,
        owned=owned,
        other_key=other_key,
        misplaced=misplaced,
        first=first,
        fits=best[0][0] if best and best[0][1] > right_key / 2 else None,
    )


def disagreement(samples: Iterable[Iterable[Sampled]]) -> Disagreement:
    """Count the users that are in several topics, and those that are in several partitions there.

    Args:
        samples: records of each topic that is keyed by user.
    """
    topics: defaultdict[bytes, set[int]] = defaultdict(set)
    places: defaultdict[bytes, set[int]] = defaultdict(set)
    for number, sample in enumerate(samples):
        for record in sample:
            if record.owner is not None:
                topics[record.owner].add(number)
                places[record.owner].add(record.partition)
    shared = [owner for owner, found in topics.items() if len(found) > 1]
    return Disagreement(len(shared), sum(len(places[owner]) > 1 for owner in shared))


def sample(settings: Settings) -> dict[str, list[Sampled]]:
    """Read the newest records of each partition of the source topics, by topic.

    Raises:
        BrokerUnreachableError: no broker answers.
        TopicError: a topic can't be read.
        ConfigError: a certificate or password file can't be read.
    """
    found: dict[str, list[Sampled]] = {}
    for kind, topic in zip(SOURCE_KINDS, settings.source_topics, strict=True):
        decoder = EventDecoder(kind, largest_bytes=settings.largest_record_bytes)
        guests = settings.guests
        found[topic] = [
            Sampled(partition, offset, key, _owner(decoder, value, guests))
            for partition, offset, key, value in newest_records(
                settings.broker, topic, partitions=settings.partitions, most=SAMPLED
            )
        ]
    return found


def _owner(
    decoder: EventDecoder, value: bytes | None, guests: frozenset[str | None]
) -> bytes | None:
    event = decoder.decode(value)
    if isinstance(event, Rejected):
        return None
    if isinstance(event, UserEvent | Identity):
        return None if event.user_id in guests else str(event.user_id).encode()
    return event.campaign_id.encode() if isinstance(event, CampaignEvent) else None
