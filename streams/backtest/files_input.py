"""The events of files as they would arrive: each at its own time, in one partition of its topic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from streams.backtest.player import Arrival
from streams.engine.contracts import SourcePartition
from streams.operations.synthetic import FeedRecord


def of_files(
    records: Iterable[FeedRecord], *, from_ms: int | None = None, to_ms: int | None = None
) -> Iterator[Arrival]:
    """Yield the events of files as records that arrive at their event times.

    Args:
        records: in the order of their times.
        from_ms: events before it are left out; None takes all.
        to_ms: likewise events from it on.
    """
    offsets: Counter[str] = Counter()
    for at_ms, topic, key, value in records:
        if from_ms is not None and at_ms < from_ms:
            continue
        if to_ms is not None and at_ms >= to_ms:
            return
        yield Arrival(SourcePartition(topic, 0), offsets[topic], at_ms, key, value)
        offsets[topic] += 1
