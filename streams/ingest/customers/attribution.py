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
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple, cast

from models.customers.journal_entry import (
    ORDER,
    REFUND,
    TOUCH,
    DefaultModel,
    Entry,
    Order,
    Placed,
    Refund,
    Touch,
)
from models.kpi.measures import ORDER_CREDIT
from models.scope import DIRECT, NO_CAMPAIGN, NO_CHANNEL

_place_in_time = itemgetter(0, 1, 2, 3)


class Place(NamedTuple):
    """The campaign, channel, region and segment that something counts for; empty if none."""

    campaign: str
    channel: str
    region: str
    segment: str


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


class Concerns(NamedTuple):
    """Selects the part of an account that is computed; the rest can't have changed.

    Args:
        counts: returns for an order entry whether its sales and credits are computed.
        refunds: returns for the hash of an order's id whether its refunds are computed.
    """

    counts: Callable[[Entry], bool] = lambda _: True
    refunds: Callable[[int], bool] = lambda _: True


ALL_CONCERNS = Concerns()


def _concerned_by(last: Entry, before: Sequence[Entry], rules: AttributionRules) -> Concerns:
    """Return the part of the account that the last entry may change.

    A click concerns the orders that look back to it, and their refunds. A refund concerns the
    refunds of its order. An order concerns itself, its refunds, and the order that was the first
    before, since that may have become a returning one.
    """
    if last.kind == TOUCH:

        def looks_back_to_it(entry: Entry) -> bool:
            at_ms = entry.at_ms
            return entry.kind == ORDER and 0 <= at_ms - last.at_ms <= rules.lookback_ms

        ids = {cast(Order, entry.what).order for entry in before if looks_back_to_it(entry)}
        return Concerns(looks_back_to_it, ids.__contains__)
    refunded = cast(Placed, last.what).order
    if last.kind == REFUND:
        return Concerns(lambda _: False, refunded.__eq__)
    # The order that was the first may not be any more; all others count as before.
    orders = [entry for entry in before if entry.kind == ORDER]
    concerned = [last, *([min(orders, key=_place_in_time)] if orders else [])]
    return Concerns(lambda entry: any(entry is one for one in concerned), refunded.__eq__)


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
    touches: list[tuple[int, Touch]] = []
    orders: list[Entry] = []
    refunds: list[tuple[int, Refund]] = []
    for entry in sorted(log, key=_place_in_time):
        if entry.kind == TOUCH:
            touches.append((entry.at_ms, cast(Touch, entry.what)))
        elif entry.kind == ORDER:
            orders.append(entry)
        elif entry.kind == REFUND:
            refunds.append((entry.at_ms, cast(Refund, entry.what)))
    book = Account()
    times = [at_ms for at_ms, _ in touches]
    places: dict[int, tuple[int, Place] | None] = {}
    value = 0
    first: tuple[int, Place] | None = None
    for entry in orders:
        at_ms, order = entry.at_ms, cast(Order, entry.what)
        value += order.units
        counts = first is None or concerns.counts(entry)
        refundable = order.order not in places and concerns.refunds(order.order)
        if not (counts or refundable):
            places.setdefault(order.order, None)
            continue
        since = bisect_left(times, at_ms - rules.lookback_ms)
        within = [touch for _, touch in touches[since : bisect_right(times, at_ms)]]
        place = _place_of(order, within, model=rules.model)
        places.setdefault(order.order, (at_ms, place) if refundable else None)
        if counts:
            _book_order(book, at_ms, order, place, is_first=first is None)
            _book_credits(book, at_ms, order, within)
            first = first or (at_ms, place)
    for at_ms, refund in refunds:
        known = refund.order in places
        value -= refund.units if known else 0
        place_of_order = places.get(refund.order)
        if place_of_order is not None or not known:
            _book_refund(book, at_ms, refund, place_of_order)
    if first is not None:
        book.sums[Booking(*first, "lifetime_value")] += value
    return book


def as_declared(entry: Entry) -> Account:
    """Return what an order or a refund counts for where it says it belongs, without a log."""
    book, placed = Account(), cast(Placed, entry.what)
    place = declared_place(placed)
    if entry.kind == REFUND:
        _book_refund(book, entry.at_ms, cast(Refund, placed), None)
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


def _book_order(book: Account, at_ms: int, order: Order, place: Place, *, is_first: bool) -> None:
    _book_sales(book, at_ms, order, place)
    book.sums[Booking(at_ms, place, "orders_attributed")] += 1
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


def _book_refund(
    book: Account, at_ms: int, refund: Refund, known: tuple[int, Place] | None
) -> None:
    """Book a refund twice: against its order, and as money paid back when it was paid.

    Args:
        book: the account to add to.
        at_ms: event time of the refund.
        refund: the refund.
        known: event time and place of its order; None if the order is not known. The refund
            then counts at its own time in the place that it names.
    """
    ordered_ms, place = known or (at_ms, declared_place(refund))
    book.sums[Booking(ordered_ms, place, "refunds")] += 1
    book.sums[Booking(ordered_ms, place, "revenue_refunded")] += refund.units
    book.sums[Booking(at_ms, place, "refunds_made")] += 1
    book.sums[Booking(at_ms, place, "refund_outflow")] += refund.units
