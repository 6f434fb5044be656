"""What the records of one source partition add to the logs of customers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from models.aggregates.distinct_users import hash_user
from models.customers.journal_entry import ORDER, REFUND, TOUCH, Order, Refund, Touch, to_bytes
from models.events import Click, Event, OrderPlaced, OrderRefunded
from streams.engine.contracts import Snapshot, SourcePartition
from streams.ingest.customers.pending_checkpoint import CustomerContext, PendingCheckpoint
from streams.ingest.events.pane_aggregation import Panes
from streams.ingest.watermark import Watermark

CUSTOMER_KINDS = frozenset({"clicks", "orders"})
"""The kinds of source that tell of customers."""
REMEMBERED: frozenset[type[Event]] = frozenset({Click, OrderPlaced, OrderRefunded})
"""What the log of a customer holds."""


class Journal:
    """The entries since the last snapshot.

    Args:
        context: how customers are asked.
        source: the topic and partition.
        kind: ``clicks`` or ``orders``.
        watermark: how far the source partition is.
        known: whether its entries were ever settled.
    """

    def __init__(
        self,
        context: CustomerContext,
        source: SourcePartition,
        *,
        kind: str,
        watermark: Watermark,
        known: bool,
    ) -> None:
        self._known = known
        self._context = context
        self._partition = source.partition
        self._kind = kind
        self._watermark = watermark
        self._entries: list[tuple[bytes, bytes]] = []
        self._settling = False
        context.progress.opened(kind, source.partition, event_ms=self._event_ms)

    @property
    def _event_ms(self) -> int:
        return self._watermark.newest_event_time or 0

    def add(
        self,
        event: Any,
        user: int,
        *,
        offset: int,
        event_time: int,
        units: int,
        place: tuple[str, str, str, str],
    ) -> None:
        """Add a click, an order or a refund.

        Args:
            event: it.
            user: the hash of the customer.
            offset: of the record.
            event_time: in ms.
            units: money in 1/10,000 of the reporting currency.
            place: campaign, channel, region and segment as it says itself.
        """
        kind = type(event)
        what: Touch | Order | Refund
        if kind is Click:
            number, what = TOUCH, Touch(place[0], place[1])
        else:
            order = hash_user(event.order_id.encode())
            if kind is OrderPlaced:
                number, what = ORDER, Order(order, units, *place, event.items)
            else:
                number, what = REFUND, Refund(order, units, *place)
        entry = to_bytes(number, self._partition, offset, event_time, what)
        self._entries.append((user.to_bytes(8), entry))

    def nothing_new(self) -> None:
        """Take note that everything read so far is in snapshots."""
        if not self._settling:
            self._context.progress.settled(
                self._kind,
                self._partition,
                event_ms=self._event_ms,
                read_ms=self._watermark.read_up_to_ms,
            )

    @property
    def known_by_now(self) -> bool:
        """Whether its entries were ever settled, once those it has are."""
        return self._known or bool(self._entries)

    @property
    def any(self) -> bool:
        """Whether there are entries since the last snapshot."""
        return bool(self._entries)

    def cut(self, panes: Panes, *, finish: Callable[[], Snapshot]) -> PendingCheckpoint:
        """Return what is to be settled before ``finish`` makes the snapshot."""
        entries, self._entries = self._entries, []
        self._settling = True

        def settled() -> Snapshot:
            self._settling = False
            return finish()

        known, self._known = self._known, True
        return PendingCheckpoint(
            context=self._context,
            kind=self._kind,
            partition=self._partition,
            entries=entries,
            panes=panes,
            event_ms=self._event_ms,
            appended_ms=self._watermark.last_append_ms,
            read_ms=self._watermark.read_up_to_ms,
            known=known,
            finish=settled,
        )
