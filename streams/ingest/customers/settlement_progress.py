"""How far the jobs of this worker have settled customers, by partition.

Clicks and orders of a user are in partitions of the same number, which are
always on the same worker. History is read in no order between topics: orders
wait until the clicks before them are settled, or there is none to come.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class _Settled:
    """Event time up to which entries are settled; broker time before which all are. 0 is never."""

    event_ms: int = 0
    read_ms: int = 0


class SettlementProgress:
    """The progress of clicks and orders.

    Args:
        horizon_ms: an event is at most so much older than the newest before it.
    """

    def __init__(self, *, horizon_ms: int) -> None:
        self._horizon_ms = horizon_ms
        self._by_source: dict[tuple[str, int], _Settled] = {}

    def opened(self, kind: str, partition: int, *, event_ms: int) -> None:
        """A job was opened; what it had read before is settled."""
        self._by_source[kind, partition] = _Settled(event_ms)

    def settled(self, kind: str, partition: int, *, event_ms: int, read_ms: int) -> None:
        """What was read is settled: up to that event time, and all appended before that time."""
        mark = self._by_source[kind, partition]
        mark.event_ms = max(mark.event_ms, event_ms)
        mark.read_ms = max(mark.read_ms, read_ms)

    def clicks_settled(self, partition: int, *, event_ms: int, appended_ms: int) -> bool:
        """Whether the clicks are settled up to that event time, or all that were there then."""
        mark = self._by_source.get(("clicks", partition))
        return mark is None or mark.event_ms >= event_ms or mark.read_ms >= appended_ms

    def orders_settled_ms(self, partition: int) -> int:
        """Return the event time before which no order comes any more; 0 if unknown."""
        mark = self._by_source.get(("orders", partition))
        return 0 if mark is None else max(0, mark.event_ms - self._horizon_ms)
