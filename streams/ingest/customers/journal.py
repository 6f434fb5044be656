"""Journal: collects the entries of one source partition for the logs of customers.

A click, an order, a refund or a link of two ids becomes an entry of its customer. At each snapshot
the journal hands its entries to a `PendingCheckpoint`, which sends them to Redis, and starts empty.

Example: a partition of orders holds an order at offset 41, a registration at 42 and a refund at
43. The registration is no entry.

    41 to 43 are applied        the journal holds 2 entries
    cut                         a pending checkpoint takes them, the journal is empty
    44 is applied, an order     the journal holds 1 entry
    Redis has answered          the checkpoint up to offset 43 is written, with its report
    cut                         the next pending checkpoint takes the entry of offset 44
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from models.aggregates.distinct_users import hash_user
from models.aggregates.ingest_report import SourceStats
from models.customers.journal_entry import (
    ID_BYTES,
    LINK,
    ORDER,
    REFUND,
    TOUCH,
    Foreign,
    Link,
    Order,
    Refund,
    Touch,
    to_bytes,
)
from models.events import Click, Event, Identity, OrderPlaced, OrderRefunded, SourceKind
from models.money.amounts import to_units
from models.money.exchange_rates import Rates
from models.window import BusinessDay
from streams.engine.contracts import Snapshot, SourcePartition
from streams.ingest.customers.pending_checkpoint import CustomerContext, PendingCheckpoint
from streams.ingest.events.pane_aggregation import Panes
from streams.ingest.events.validation import currency_code
from streams.ingest.watermark import Watermark

CUSTOMER_KINDS = frozenset({"clicks", "orders"})
"""The kinds of source whose events enter the logs of customers."""
REMEMBERED: frozenset[type[Event]] = frozenset({Click, OrderPlaced, OrderRefunded})
"""The types of event that the log of a customer holds, beside links."""


class Journal:
    """The entries since the last snapshot.

    Args:
        context: the logs of customers, and what the jobs of a worker share.
        source: the topic and partition.
        kind: ``clicks`` or ``orders``.
        watermark: the watermark of the source partition.
        rates: the exchange rates.
        day: finds the business day of an event, whose rate holds.
        known: whether entries of this source were ever sent to Redis. If so, Redis must know
            the source; otherwise it has lost the logs.
    """

    def __init__(
        self,
        context: CustomerContext,
        source: SourcePartition,
        *,
        kind: SourceKind,
        watermark: Watermark,
        rates: Rates,
        day: BusinessDay,
        known: bool,
    ) -> None:
        self._known = known
        self._rates = rates
        self._day = day
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
            event: the event.
            user: the 64-bit hash of the customer.
            offset: the offset of the record.
            event_time: event time in ms.
            units: money in 1/10,000 of the reporting currency, at the rate of the event's day.
            place: campaign, channel, region and segment that the event names.
        """
        kind = type(event)
        what: Touch | Order | Refund
        if kind is Click:
            number, what = TOUCH, Touch(place[0], place[1])
        else:
            order = hash_user(event.order_id.encode())
            foreign = self._foreign(event, event_time)
            if kind is OrderPlaced:
                number, what = ORDER, Order(order, units, *place, event.items, foreign)
            else:
                number, what = REFUND, Refund(order, units, *place, foreign)
        entry = to_bytes(number, self._partition, offset, event_time, what)
        self._entries.append((user.to_bytes(ID_BYTES), entry))

    def add_link(self, event: Identity, user: int, *, offset: int, event_time: int) -> None:
        """Add a link of the customer to another id; arguments as those of `add`."""
        link = Link(hash_user(event.same_as.encode()).to_bytes(ID_BYTES))
        entry = to_bytes(LINK, self._partition, offset, event_time, link)
        self._entries.append((user.to_bytes(ID_BYTES), entry))

    def _foreign(self, event: OrderPlaced | OrderRefunded, event_time: int) -> Foreign | None:
        """Return an amount in its own currency; None if that is the reporting currency."""
        currency = currency_code(event.currency)
        if currency == self._rates.currency:
            return None
        rate = self._rates.rate_of(currency, on=self._day.date_of(event_time))
        return Foreign(currency, to_units(event.amount), rate)

    def nothing_new(self) -> None:
        """Record that all that was read is settled; do nothing while a checkpoint is pending."""
        if not self._settling:
            self._context.progress.settled(
                self._kind,
                self._partition,
                event_ms=self._event_ms,
                read_ms=self._watermark.read_up_to_ms,
            )

    @property
    def known_by_now(self) -> bool:
        """Whether Redis knows this source once the entries of the journal are settled."""
        return self._known or bool(self._entries)

    @property
    def any(self) -> bool:
        """Whether there are entries since the last snapshot."""
        return bool(self._entries)

    def cut(
        self, panes: Panes, stats: SourceStats, *, finish: Callable[[], Snapshot]
    ) -> PendingCheckpoint:
        """Take all entries into a pending checkpoint.

        Args:
            panes: the panes of this snapshot; settling adds to them.
            stats: the counts of this snapshot; settling adds to them.
            finish: makes the snapshot once the entries are settled.
        """
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
            stats=stats,
            event_ms=self._event_ms,
            appended_ms=self._watermark.last_append_ms,
            read_ms=self._watermark.read_up_to_ms,
            known=known,
            finish=settled,
        )
