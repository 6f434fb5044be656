"""The events of the source topics in Kafka, in the order in which the broker appended them."""

from __future__ import annotations

import heapq
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from operator import attrgetter
from types import TracebackType
from typing import Any, Self

from kafka import KafkaConsumer, TopicPartition

from streams.backtest.player import Arrival
from streams.broker import Broker
from streams.engine.contracts import SourcePartition
from streams.errors import TopicError
from streams.operations.newest_records import MOST_EMPTY_READS, READ_MS

ENOUGH = 5_000
"""With so many records of a partition in memory, no more of it are fetched for now."""


class RecordedTopics:
    """The records of source topics between two broker times, merged by these times.

    Aborted transactions are left out, as a worker does.

    Args:
        broker: the connection to Kafka.
        topics: the source topics.
        partitions: the number of partitions of each.
        from_ms: broker time from which records are read; None reads from the beginning.
        to_ms: broker time before which they are read; None reads to the present end.
    """

    def __init__(
        self,
        broker: Broker,
        topics: Sequence[str],
        *,
        partitions: int,
        from_ms: int | None,
        to_ms: int | None,
    ) -> None:
        self._places = [
            TopicPartition(topic, number) for topic in topics for number in range(partitions)
        ]
        self._consumer = KafkaConsumer(
            **broker.client_options(),
            enable_auto_commit=False,
            isolation_level="read_committed",
            client_id=f"backtest-{uuid.uuid4().hex[:8]}",
        )
        self._consumer.assign(self._places)
        ends = self._consumer.end_offsets(self._places)
        begins = self._consumer.beginning_offsets(self._places)
        self._ends: dict[Any, int] = self._at(to_ms, ends) if to_ms is not None else ends
        self._begins: dict[Any, int] = self._at(from_ms, ends) if from_ms is not None else begins
        for place in self._places:
            self._consumer.seek(place, self._begins[place])
        self._fetched: dict[Any, deque[Arrival]] = {place: deque() for place in self._places}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._consumer.close()

    def __len__(self) -> int:
        """Return the number of offsets between the two times."""
        return sum(max(0, self._ends[one] - self._begins[one]) for one in self._places)

    def records(self) -> Iterator[Arrival]:
        """Yield the records of all partitions in the order of their broker times.

        Raises:
            TopicError: a partition gives no records.
        """
        return heapq.merge(*map(self._records_of, self._places), key=attrgetter("timestamp"))

    def _at(self, time_ms: int, ends: dict[Any, int]) -> dict[Any, int]:
        """Return the first offsets that were appended at a time or later."""
        found = self._consumer.offsets_for_times(dict.fromkeys(self._places, time_ms))
        return {
            place: ends[place] if found[place] is None else found[place].offset
            for place in self._places
        }

    def _records_of(self, place: Any) -> Iterator[Arrival]:
        fetched, end = self._fetched[place], self._ends[place]
        empty = 0
        while True:
            while fetched:
                record = fetched.popleft()
                if record.offset >= end:
                    return
                empty = 0
                yield record
            if self._consumer.position(place) >= end:
                return
            self._fetch()
            empty += 1
            if empty > MOST_EMPTY_READS:
                raise TopicError(
                    place.topic,
                    why=f"partition {place.partition} gives no records",
                    remedy="look whether its leader answers, and run this again",
                )

    def _fetch(self) -> None:
        """Fetch records of the partitions of which few are in memory."""
        full = [place for place, records in self._fetched.items() if len(records) >= ENOUGH]
        self._consumer.pause(*full)
        self._consumer.resume(*(set(self._places) - set(full)))
        for place, records in self._consumer.poll(timeout_ms=READ_MS).items():
            source = SourcePartition(place.topic, place.partition)
            self._fetched[place].extend(
                Arrival(source, one.offset, one.timestamp, one.key, one.value) for one in records
            )
