"""Finds orders that are refunded for more than they cost, while events are tried.

Example: an export has the row of a refunded order of 30.53 twice. The order counts once, as its
number comes again; its two refunds sum up to 61.06.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

import msgspec

from models.events import OrderPlaced, OrderRefunded, type_of
from streams.feed.rows.row_mapper import MappedEvent

MOST_ORDERS = 1_000_000
"""Orders that are kept, some 300 MB. With more of them nothing is said of their refunds."""
_PLACED, _REFUNDED = type_of(OrderPlaced), type_of(OrderRefunded)
_decode = msgspec.json.Decoder(OrderPlaced | OrderRefunded).decode


@dataclass(slots=True)
class _Order:
    """The cost of an order and its refunds, by currency, with the ids of the refunds."""

    cost: dict[str | None, Decimal] = field(default_factory=dict)
    refunded: dict[str | None, Decimal] = field(default_factory=dict)
    ids: set[str] = field(default_factory=set)
    line: int = 0


class OrderRefunds:
    """Sums up the refunds of each order; events come in any order."""

    def __init__(self) -> None:
        self._orders: dict[tuple[str, str], _Order] = {}

    def add(self, event: MappedEvent) -> None:
        """Add an event; one with the id of a refund before it is left out."""
        if event.type not in {_PLACED, _REFUNDED} or len(self._orders) > MOST_ORDERS:
            return
        read = _decode(event.value)
        order = self._orders.setdefault((read.user_id, read.order_id), _Order())
        if isinstance(read, OrderPlaced):
            order.cost = {read.currency: read.amount}
        elif read.event_id not in order.ids:
            order.ids.add(read.event_id)
            order.line = event.line
            before = order.refunded.get(read.currency, Decimal())
            order.refunded[read.currency] = before + read.amount

    def line(self) -> str | None:
        """Return what to say of orders that are refunded for more than they cost; None if none."""
        if len(self._orders) > MOST_ORDERS:
            return None
        found = [
            (name, order, currency)
            for (_, name), order in self._orders.items()
            for currency, back in order.refunded.items()
            if back > order.cost.get(currency, back)
        ]
        if not found:
            return None
        name, order, currency = found[0]
        return (
            f"{len(found):,} {'order is' if len(found) == 1 else 'orders are'} refunded for more "
            f"than the cost, such as {name}: {order.refunded[currency]:,} of "
            f"{order.cost[currency]:,}, the last in line {order.line}; if the export repeats rows, "
            "set equal_events: once in the mapping"
        )
