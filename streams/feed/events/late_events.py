"""Finds events that the monitor would refuse as too late, before they are sent.

The monitor refuses an event that is older than the newest one of its source partition by more than
the allowed disorder and the correction horizon. Files that are merged by time have no such events.
They come where the topic already has newer ones: a corrected file is fed again, or refunds are fed
after the orders of the same days. A feed that ended also said up to when the topic is complete:
that counts as its newest event.

Example: partition 2 of the topic of orders ends at 14:36. With 5 s of disorder and 10 minutes of
horizon, an order of 14:26:00 would be refused there, one of 14:26:30 would count.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import takewhile
from typing import NamedTuple

from models.events import SOURCE_KINDS, CompleteThrough, Event, Identity
from streams.errors import FeedError
from streams.ingest.events.decoding import EventDecoder, event_time_ms
from streams.operations.key_check import expected_partition
from streams.operations.newest_records import newest_records
from streams.operations.synthetic import FeedRecord
from streams.settings import Settings

LOOKED_AT = 200
"""Number of newest records of each partition, of which the newest event time is taken."""
_OF_ANY_TIME = (b'"period"', b'"type":"identity"')
"""Are in costs of a period and in links of ids, which are never too late."""

_TO_DO = (
    "nothing is sent. To feed a corrected file, or one of a time that was fed before: stop the "
    "workers, remove all events and counts with `kpi-monitor reset --sources`, and feed all files "
    "together with `kpi-monitor feed --all PROJECT`."
)
_TO_DO_AFTER_END = (
    " To feed several files of one time one after the other, give --through none with all of them "
    "but the last."
)


class Newest(NamedTuple):
    """The time up to which a partition accepts no older events.

    Args:
        at_ms: the newest event time, or the end of history, in ms.
        ended: whether it is the end of history that an earlier feed said, after the last event.
    """

    at_ms: int
    ended: bool = False


NewestTimes = Mapping[tuple[str, int], Newest]
"""The newest time of each partition that has events, by topic and partition."""


@dataclass(slots=True)
class LateEvents:
    """Events that would be refused, by topic.

    Args:
        events: their number.
        newest: the newest time that the topic has.
    """

    events: Counter[str] = field(default_factory=Counter)
    newest: dict[str, Newest] = field(default_factory=dict)

    def error(self, total: int, *, accepted_s: float) -> FeedError:
        """Return the error that says what is too late, and what to do.

        Args:
            total: the number of all events to send.
            accepted_s: by how many seconds an event may be older than the newest.
        """
        lines = [
            f"{count:,} of {total:,} events are too late for the topic {topic}, which "
            f"{_said(self.newest[topic])}: the monitor refuses what is over {accepted_s:g} s older"
            for topic, count in self.events.items()
        ]
        ended = any(one.ended for one in self.newest.values())
        to_do = f"{_TO_DO}{_TO_DO_AFTER_END if ended else ''}"
        return FeedError("\n".join([*lines, f"{to_do} --late sends these events all the same"]))


def _said(newest: Newest) -> str:
    if newest.ended:
        return f"is complete through {_clock(newest.at_ms)}, as an earlier feed said at its end"
    return f"has events up to {_clock(newest.at_ms)}"


def newest_times(settings: Settings) -> NewestTimes:
    """Read the newest time of each partition of the source topics that has events.

    Raises:
        BrokerUnreachableError: no broker answers.
        TopicError: a topic can't be read.
    """
    latest_ms = time.time() * 1000 + settings.future_tolerance_s * 1000
    events: dict[tuple[str, int], Newest] = {}
    ends: dict[tuple[str, int], Newest] = {}
    for kind, topic in zip(SOURCE_KINDS, settings.source_topics, strict=True):
        decode = EventDecoder(kind, largest_bytes=settings.largest_record_bytes).decode
        for partition, _, _, value in newest_records(
            settings.broker, topic, partitions=settings.partitions, most=LOOKED_AT
        ):
            event = decode(value)
            if not isinstance(event, Event) or isinstance(event, Identity):
                continue
            at_ms = event_time_ms(event.event_time)
            if isinstance(at_ms, int) and at_ms <= latest_ms:  # others were refused
                ended = isinstance(event, CompleteThrough)
                found, newest = ends if ended else events, Newest(at_ms, ended)
                found[topic, partition] = max(newest, found.get((topic, partition), newest))
    return {source: max(newest, ends.get(source, newest)) for source, newest in events.items()}


def late_events(
    records: Iterable[FeedRecord], newest: NewestTimes, *, partitions: int, accepted_ms: int
) -> LateEvents:
    """Return the records whose events would be refused as too late.

    Args:
        records: in the order of their times; those after the newest time are not read.
        newest: the newest time of each partition.
        partitions: the number of partitions of each topic.
        accepted_ms: by how much an event may be older than the newest.
    """
    found = LateEvents()
    if not newest:
        return found
    last_ms = max(newest.values()).at_ms - accepted_ms
    for record in takewhile(lambda one: one.due_ms < last_ms, records):
        last = newest.get((record.topic, expected_partition(record.key, partitions)))
        if last is None or record.due_ms >= last.at_ms - accepted_ms:
            continue
        if any(mark in record.value for mark in _OF_ANY_TIME):
            continue
        found.events[record.topic] += 1
        found.newest[record.topic] = max(last, found.newest.get(record.topic, last))
    return found


def _clock(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%d %b %Y %H:%M:%S UTC")
