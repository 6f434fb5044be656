"""Attributes a customer's orders to clicks, and computes the difference that an entry makes.

`account` computes what a set of entries counts for; their order of arrival does not matter. An
entry that arrives adds the account with it less the account without it. These differences sum to
the account of all entries, however late each came, and a replay of an entry gives the same
difference as the first time.

Orders are credited by first touch, last touch and linearly, as in S1, and as they declare
themselves. A touch is a click of the customer before the order, or at its time, and within the
lookback. An order is split into `ORDER_CREDIT` = 10,000 parts.

Example: a customer clicks A at 9:00, B at 10:00 and C at 11:00, and at 12:00 orders for 100.00,
which is 1,000,000 units, without naming a campaign. Parts of the order and units of its revenue
are all booked at 12:00:

    model       A                    B                  C                    none
    first       10,000 / 1,000,000
    last                                                10,000 / 1,000,000
    linear      3,333 / 333,333      3,333 / 333,333    3,334 / 333,334
    declared                                                                 10,000 / 1,000,000

The order itself (``orders``, ``revenue_gross``, ``buyers``) counts in one place: C, if the rule
for orders that name no campaign is ``last`` or ``linear``.

If the click on A arrives last, the three others gave 10,000 parts to B by first touch and 5,000
each to B and C linearly. The click then adds A +10,000 and B -10,000 by first touch, and
A +3,333, B -1,667, C -1,666 linearly.

A link makes the clicks of another id touches of the customer, too: those before the link and those
after it. They lead to orders from the time of the link on; orders before it stay as they are.

Example: cookie c7 clicks A at 9:00. The customer orders at 10:00, logs in with c7 at 11:00, and
orders again at 12:00. The first order is direct. The second is credited to A, whether the click
arrives before the link or after it.

Entries with the same order id are versions of one order: its last page was loaded again, or it was
edited. The order counts once, where and when the first version says, with the amount and the items
of the last. First and last are by event time, not by arrival.

Amounts of an order and of its refunds are converted at the rate of the order's first version if
they are in its currency, else at that of the last version if they are in its currency, else at the
rate of their own date. Refunds in one currency are summed before they are converted, so that parts
that pay back the whole order sum to its units. What is paid back at a time (``refund_outflow``)
is at the rate of its own date.

Example: 1 USD is 7.3012 on Monday, 7.4 on Tuesday and 7.5 on Wednesday.

    Monday       order o1, 100.00 USD    1 order, revenue_gross +7,301,200 on Monday
    Tuesday      order o1, 80.00 USD     revenue_gross -1,460,240 on Monday, which leaves 5,840,960
    Wednesday    refund of 80.00 USD     revenue_refunded +5,840,960 on Monday: 80.00 at 7.3012
                                         refund_outflow +6,000,000 on Wednesday: 80.00 at 7.5
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from operator import itemgetter
from typing import NamedTuple, cast

from msgspec.structs import replace

from models.customers.journal_entry import (
    LINK,
    LINKED_TOUCH,
    ORDER,
    REFUND,
    TOUCH,
    DefaultModel,
    Entry,
    Foreign,
    Link,
    Order,
    Placed,
    Refund,
    Touch,
)
from models.kpi.measures import ORDER_CREDIT
from models.money.amounts import LARGEST_AMOUNT
from models.money.exchange_rates import converted
from models.scope import DIRECT, NO_CAMPAIGN, NO_CHANNEL, Place

_place_in_time = itemgetter(0, 1, 2, 3)


class Booking(NamedTuple):
    """A sum of a place, in the pane of an event time in ms."""

    at_ms: int
    place: Place
    measure: str


class Stay(NamedTuple):
    """A customer in a set of users of a place, in the pane of an event time in ms."""

    at_ms: int
    place: Place
    name: str


class Amount(NamedTuple):
    """An order amount in 1/10,000 of the currency, in a place and the pane of an event time."""

    at_ms: int
    place: Place
    units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributionRules:
    """The rules of attribution.

    Args:
        lookback_ms: how long before an order a click counts as a touch, in ms.
        model: the model that places an order which names no campaign. An order counts in one
            place, so ``linear`` places it at its last touch, as ``last`` does.
    """

    lookback_ms: int
    model: DefaultModel


@dataclass(slots=True)
class Account:
    """Sums, order amounts with how often each occurs, and members of sets of users."""

    sums: Counter[Booking] = field(default_factory=Counter)
    amounts: Counter[Amount] = field(default_factory=Counter)
    stays: set[Stay] = field(default_factory=set)

    def less(self, other: Account) -> Account:
        """Return the difference to another account. Users are only added, never retracted."""
        sums, amounts = Counter(self.sums), Counter(self.amounts)
        sums.subtract(other.sums)
        amounts.subtract(other.amounts)
        return Account(
            Counter({booking: units for booking, units in sums.items() if units}),
            Counter({amount: times for amount, times in amounts.items() if times}),
            self.stays - other.stays,
        )


def changed_by_last(log: Sequence[Entry], rules: AttributionRules) -> Account:
    """Return the difference that the last entry makes to a log in order of arrival."""
    before, last = log[:-1], log[-1]
    concerns = _concerned_by(last, before, rules)
    return account(log, rules, concerns).less(account(before, rules, concerns))


class _Everything(Container[int]):
    """Contains the id of every order."""

    def __contains__(self, _: object) -> bool:
        return True


class Concerns(NamedTuple):
    """Selects the part of an account that is computed; the rest can't have changed.

    Args:
        orders: the hashes of ids of orders whose sales and credits are computed.
        refunds: the hashes of ids of orders whose refunds are computed.
    """

    orders: Container[int] = _Everything()
    refunds: Container[int] = _Everything()


ALL_CONCERNS = Concerns()
_PLACES_ORDERS = frozenset({TOUCH, LINKED_TOUCH, LINK})
"""The kinds of entry that only change where orders belong."""


def _concerned_by(last: Entry, before: Sequence[Entry], rules: AttributionRules) -> Concerns:
    """Return the part of the account that the last entry may change.

    A click concerns the orders that look back to it, and their refunds. A link concerns the orders
    from its time on, and their refunds. A refund concerns the refunds of its order. An order
    concerns itself, its refunds, and the order that was the first before, since that may have
    become a returning one. That holds for any version of an order: an earlier one moves it in
    time, but no order except these two changes between first and returning.
    """
    if last.kind in _PLACES_ORDERS:
        ids = {
            cast(Order, entry.what).order
            for entry in before
            # Later versions count here, too: they may only add orders that do not change.
            if entry.kind == ORDER
            and entry.at_ms >= last.at_ms
            and (last.kind == LINK or entry.at_ms - last.at_ms <= rules.lookback_ms)
        }
        return Concerns(ids, ids)
    own = {cast(Placed, last.what).order}
    if last.kind == REFUND:
        return Concerns((), own)
    orders = [entry for entry in before if entry.kind == ORDER]
    first = {cast(Order, min(orders, key=_place_in_time).what).order} if orders else set[int]()
    return Concerns(own | first, own)


def account(
    log: Iterable[Entry],
    rules: AttributionRules,
    concerns: Concerns = ALL_CONCERNS,
) -> Account:
    """Return what a customer's entries count for.

    Args:
        log: entries of one customer, in any order.
        rules: the lookback and the model.
        concerns: selects the part to compute. The first order, and the lifetime value that is
            booked in its place, are always computed.
    """
    touches = _Touches()
    versions_of: dict[int, list[tuple[int, Order]]] = {}
    refunds_of: dict[int, list[tuple[int, Refund]]] = {}
    for entry in sorted(log, key=_place_in_time):
        if entry.kind in _PLACES_ORDERS:
            touches.add(entry)
        elif entry.kind == ORDER:
            order = cast(Order, entry.what)
            versions_of.setdefault(order.order, []).append((entry.at_ms, order))
        elif entry.kind == REFUND:
            refund = cast(Refund, entry.what)
            refunds_of.setdefault(refund.order, []).append((entry.at_ms, refund))
    book = Account()
    value = 0
    first: tuple[int, Place] | None = None
    for number, versions in versions_of.items():
        at_ms, order = versions[0]
        refunds = refunds_of.pop(number, None)
        refunded = 0
        if refunds is not None or len(versions) > 1:
            last = versions[-1][1]
            rates = _rates_of(order, last)
            refunded = _refunded(refunds or (), rates)
            order = _changed(order, last, rates)
        value += order.units - refunded
        counts = first is None or number in concerns.orders
        booked = refunds if number in concerns.refunds else None
        if not counts and booked is None:
            continue
        within = touches.before(at_ms, lookback_ms=rules.lookback_ms)
        place = _place_of(order, within, model=rules.model)
        if counts:
            _book_order(book, at_ms, order, place, is_first=first is None, has_touch=bool(within))
            _book_credits(book, at_ms, order, within)
            if len(versions) > 1:
                book.sums[Booking(at_ms, place, "order_changes")] += len(versions) - 1
            first = first or (at_ms, place)
        if booked is not None:
            book.sums[Booking(at_ms, place, "refunds")] += len(booked)
            book.sums[Booking(at_ms, place, "revenue_refunded")] += refunded
            for paid_ms, refund in booked:
                _book_outflow(book, paid_ms, refund, place)
    for number, refunds in refunds_of.items():
        if number in concerns.refunds:
            for paid_ms, refund in refunds:
                _book_unknown(book, paid_ms, refund)
    if first is not None:
        book.sums[Booking(*first, "lifetime_value")] += value
    return book


class _Touches:
    """The touches of a customer; entries are added in the order of their times."""

    def __init__(self) -> None:
        self._times: list[int] = []
        self._made: list[tuple[Touch, bytes]] = []
        """Each touch, and the other id that made it; empty for the customer's own."""
        self._linked_ms: dict[bytes, int] = {}
        """The time of the earliest link by other id."""

    def add(self, entry: Entry) -> None:
        """Add a touch or a link."""
        if entry.kind == LINK:
            self._linked_ms.setdefault(cast(Link, entry.what).other, entry.at_ms)
        else:
            self._times.append(entry.at_ms)
            self._made.append((cast(Touch, entry.what), entry.other))

    def before(self, at_ms: int, *, lookback_ms: int) -> list[Touch]:
        """Return the touches of an order at a time in ms."""
        since = bisect_left(self._times, at_ms - lookback_ms)
        within = self._made[since : bisect_right(self._times, at_ms)]
        return [
            touch
            for touch, other in within
            if not other or self._linked_ms.get(other, at_ms + 1) <= at_ms
        ]


def _rates_of(first: Order, last: Order) -> dict[str, Decimal]:
    """Return an order's rates by currency: the first version's if both are in one currency."""
    return {
        order.foreign.currency: order.foreign.rate
        for order in (last, first)
        if order.foreign is not None
    }


def _changed(first: Order, last: Order, rates: dict[str, Decimal]) -> Order:
    """Return the first version of an order with the amount and the items of the last."""
    if last is first:
        return first
    foreign = last.foreign
    units = last.units
    if foreign is not None:
        units = _at_rate(foreign.units, rates[foreign.currency])
    return replace(first, units=units, items=last.items)


def _refunded(refunds: Iterable[tuple[int, Refund]], rates: dict[str, Decimal]) -> int:
    """Return the refunds of an order in units, at the order's rates where it has one.

    Example: an order of 1.00 USD at 7.28455 has 72,846 units. Refunds of 0.33, 0.33 and 0.34 would
    have 24,039, 24,039 and 24,767 units, 1 less than the order. Their sum, 1.00 USD, has 72,846.
    """
    units = 0
    foreign = Counter[str]()
    for _, refund in refunds:
        paid: Foreign | None = refund.foreign
        if paid is None or paid.currency not in rates:
            units += refund.units
        else:
            foreign[paid.currency] += paid.units
    return units + sum(_at_rate(total, rates[currency]) for currency, total in foreign.items())


def _at_rate(units: int, rate: Decimal) -> int:
    """Convert an amount, up to the largest: it was checked at the rate of its own date only."""
    return min(converted(units, rate), LARGEST_AMOUNT)


def as_declared(entry: Entry) -> Account:
    """Return what an order or a refund counts for where it says it belongs, without a log."""
    book, placed = Account(), cast(Placed, entry.what)
    place = declared_place(placed)
    if entry.kind == REFUND:
        _book_unknown(book, entry.at_ms, cast(Refund, placed))
    else:
        _book_sales(book, entry.at_ms, cast(Order, placed), place)
    return book


def declared_place(placed: Placed) -> Place:
    """Return the place that an order or a refund names itself."""
    return Place(placed.campaign, placed.channel or NO_CHANNEL, placed.region, placed.segment)


def _place_of(order: Order, touches: Sequence[Touch], *, model: DefaultModel) -> Place:
    if order.campaign != NO_CAMPAIGN or model == "declared":
        return declared_place(order)
    if not touches:
        return Place(NO_CAMPAIGN, order.channel or DIRECT, order.region, order.segment)
    touch = touches[0 if model == "first" else -1]
    return _at(touch, order, channel=order.channel)


def _at(touch: Touch, order: Order, *, channel: str = "") -> Place:
    return Place(
        touch.campaign, channel or touch.channel or NO_CHANNEL, order.region, order.segment
    )


def _book_sales(book: Account, at_ms: int, order: Order, place: Place) -> None:
    for measure, units in (("orders", 1), ("revenue_gross", order.units), ("items", order.items)):
        if units:
            book.sums[Booking(at_ms, place, measure)] += units
    book.amounts[Amount(at_ms, place, order.units)] += 1
    book.stays.add(Stay(at_ms, place, "buyers"))


def _book_order(
    book: Account, at_ms: int, order: Order, place: Place, *, is_first: bool, has_touch: bool
) -> None:
    _book_sales(book, at_ms, order, place)
    book.sums[Booking(at_ms, place, "orders_attributed")] += 1
    if has_touch:
        book.sums[Booking(at_ms, place, "orders_touched")] += 1
    if is_first:
        book.sums[Booking(at_ms, place, "first_orders")] += 1
    else:
        book.stays.add(Stay(at_ms, place, "returning"))
    book.sums[Booking(at_ms, place, "revenue_new" if is_first else "revenue_returning")] += (
        order.units
    )


def _book_credits(book: Account, at_ms: int, order: Order, touches: Sequence[Touch]) -> None:
    direct = Place(NO_CAMPAIGN, DIRECT, order.region, order.segment)
    place_of = {touch: _at(touch, order) for touch in set(touches)}
    linear = [place_of[touch] for touch in touches] or [direct]
    for model, places in (
        ("declared", [declared_place(order)]),
        ("first", linear[:1]),
        ("last", linear[-1:]),
        ("linear", linear),
    ):
        for whole, measure in (
            (ORDER_CREDIT, f"orders_{model}"),
            (order.units, f"revenue_{model}"),
        ):
            shares = Counter[Place]()
            for place, part in zip(places, _parts(whole, len(places)), strict=True):
                shares[place] += part
            for place, share in shares.items():
                book.sums[Booking(at_ms, place, measure)] += share


def _parts(whole: int, count: int) -> list[int]:
    """Split a whole into integers that differ by at most 1 and sum to it: 10 by 3 is 3, 3, 4."""
    return [(part + 1) * whole // count - part * whole // count for part in range(count)]


def _book_unknown(book: Account, at_ms: int, refund: Refund) -> None:
    """Book a refund whose order is not known, at its own time in the place that it names."""
    place = declared_place(refund)
    book.sums[Booking(at_ms, place, "refunds")] += 1
    book.sums[Booking(at_ms, place, "revenue_refunded")] += refund.units
    _book_outflow(book, at_ms, refund, place)


def _book_outflow(book: Account, at_ms: int, refund: Refund, place: Place) -> None:
    """Book a refund as money paid back, when it was paid and at the rate of that date."""
    book.sums[Booking(at_ms, place, "refunds_made")] += 1
    book.sums[Booking(at_ms, place, "refund_outflow")] += refund.units
