"""The records of source topics are played in the order in which the broker appended them."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from streams.backtest import topics_input
from streams.backtest.topics_input import RecordedTopics
from streams.broker import Broker
from streams.errors import TopicError

TIMES = {("clicks", 0): [10, 20, 20, 50], ("clicks", 1): [5, 60], ("orders", 0): [20, 55]}
"""The broker times of the records of each partition; the others have none."""


class Stamped(NamedTuple):
    """A record of a topic."""

    offset: int
    timestamp: int
    key: bytes
    value: bytes


class Found(NamedTuple):
    """The first offset at a time."""

    offset: int


class Consumer:
    """A consumer of `TIMES`, which fetches one record of each partition at a time."""

    def __init__(self, **options: Any) -> None:
        assert options["isolation_level"] == "read_committed"
        self.positions: dict[Any, int] = {}
        self.paused: set[Any] = set()
        self.mute = False

    def assign(self, places: list[Any]) -> None:
        """Read these partitions."""

    def end_offsets(self, places: list[Any]) -> dict[Any, int]:
        """Return the ends of partitions."""
        return {place: len(_times(place)) for place in places}

    def beginning_offsets(self, places: list[Any]) -> dict[Any, int]:
        """Return the beginnings of partitions."""
        return dict.fromkeys(places, 0)

    def offsets_for_times(self, times: dict[Any, int]) -> dict[Any, Found | None]:
        """Return the first offsets at times; None if there are none."""
        return {
            place: next((Found(n) for n, at in enumerate(_times(place)) if at >= time), None)
            for place, time in times.items()
        }

    def seek(self, place: Any, offset: int) -> None:
        """Go to an offset."""
        self.positions[place] = offset

    def position(self, place: Any) -> int:
        """Return the offset that is read next."""
        return self.positions[place]

    def pause(self, *places: Any) -> None:
        """Fetch nothing of these partitions."""
        self.paused |= set(places)

    def resume(self, *places: Any) -> None:
        """Fetch of these partitions again."""
        self.paused -= set(places)

    def poll(self, timeout_ms: int) -> dict[Any, list[Stamped]]:
        """Return the next record of each partition."""
        found = {}
        for place, offset in self.positions.items():
            times = _times(place)
            if offset < len(times) and place not in self.paused and not self.mute:
                found[place] = [Stamped(offset, times[offset], b"u", b"{}")]
                self.positions[place] += 1
        return found

    def close(self) -> None:
        """Close the connection."""


def _times(place: Any) -> list[int]:
    return TIMES.get((place.topic, place.partition), [])


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that opens the topics between two times."""
    monkeypatch.setattr(topics_input, "KafkaConsumer", Consumer)

    def recorded(from_ms: int | None = None, to_ms: int | None = None) -> RecordedTopics:
        broker = Broker(servers="127.0.0.1:1")
        topics = "clicks", "orders", "campaigns"
        return RecordedTopics(broker, topics, partitions=2, from_ms=from_ms, to_ms=to_ms)

    return recorded


@pytest.mark.parametrize("enough", [1, 5_000])
def test_order(opened: Any, monkeypatch: pytest.MonkeyPatch, enough: int) -> None:
    """Records of all partitions come in the order of their times, topic by topic at one time."""
    monkeypatch.setattr(topics_input, "ENOUGH", enough)
    with opened() as recorded:
        found = [(one.timestamp, *one.source, one.offset) for one in recorded.records()]
    assert found == [
        (5, "clicks", 1, 0),
        (10, "clicks", 0, 0),
        (20, "clicks", 0, 1),
        (20, "clicks", 0, 2),
        (20, "orders", 0, 0),
        (50, "clicks", 0, 3),
        (55, "orders", 0, 1),
        (60, "clicks", 1, 1),
    ]
    assert len(recorded) == len(found)


def test_between(opened: Any) -> None:
    """Records from the start on are read, those at the end are not."""
    with opened(20, 55) as recorded:
        assert [one.timestamp for one in recorded.records()] == [20, 20, 20, 50]
        assert len(recorded) == 4


def test_after_the_end(opened: Any) -> None:
    """After the last record there are none."""
    with opened(100) as recorded:
        assert not list(recorded.records())


def test_mute_partition(opened: Any) -> None:
    """A partition that gives no records ends the backtest with its name."""
    with opened() as recorded:
        recorded._consumer.mute = True
        with pytest.raises(TopicError, match="partition 0 gives no records"):
            list(recorded.records())
