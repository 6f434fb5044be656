"""Tracks up to where clicks and orders are settled, so that orders wait for clicks.

Entries are settled once Redis has answered for them. The clicks and orders of a user are in
partitions of the same number, which the same worker always owns. Topics are read at different
speeds, above all in history: orders wait until the clicks before them are settled, or until no
such click can come.

Example: the orders of partition 2 up to event time 12:00 were appended by 12:01. The clicks of
partition 2 are settled up to 11:40, so the orders wait. They are settled as soon as the clicks
are settled up to event time 12:00, or all clicks that were appended before 12:01 are settled.
"""

from __future__ import annotations

from dataclasses import dataclass

from models.events import SourceKind


@dataclass(slots=True)
class _Settled:
    """Settled entries of one source partition, in ms; 0 if none.

    ``event_ms`` is the newest event time that is settled. All records appended before the broker
    time ``read_ms`` are settled.
    """

    event_ms: int = 0
    read_ms: int = 0


class SettlementProgress:
    """The progress of all partitions of clicks and orders on this worker.

    Args:
        horizon_ms: the largest time by which an event may be older than the newest before it.
    """

    def __init__(self, *, horizon_ms: int) -> None:
        self._horizon_ms = horizon_ms
        self._by_source: dict[tuple[str, int], _Settled] = {}

    def opened(self, kind: SourceKind, partition: int, *, event_ms: int) -> None:
        """Record that a job was opened; all that its saved state covers is settled."""
        self._by_source[kind, partition] = _Settled(event_ms)

    def settled(self, kind: SourceKind, partition: int, *, event_ms: int, read_ms: int) -> None:
        """Record that all is settled up to ``event_ms``, and all appended before ``read_ms``."""
        mark = self._by_source[kind, partition]
        mark.event_ms = max(mark.event_ms, event_ms)
        mark.read_ms = max(mark.read_ms, read_ms)

    def clicks_settled(self, partition: int, *, event_ms: int, appended_ms: int) -> bool:
        """Return whether orders of a partition need not wait for its clicks.

        They do wait until the job of these clicks was opened. The same worker owns both, but after
        a start or a takeover it opens the one or the other first, and with a backlog the clicks
        that are missing may be hours of history.

        Args:
            partition: the number of the partition.
            event_ms: the newest event time of the orders.
            appended_ms: the broker time of the last of the orders.
        """
        mark = self._by_source.get(("clicks", partition))
        return mark is not None and (mark.event_ms >= event_ms or mark.read_ms >= appended_ms)

    def orders_settled_ms(self, partition: int) -> int:
        """Return the event time in ms before which no more orders come; 0 if unknown."""
        mark = self._by_source.get(("orders", partition))
        return 0 if mark is None else max(0, mark.event_ms - self._horizon_ms)
