"""What a customer's history counts for, and what one more entry changes.

`account` is a function of the set of entries: their order of arrival does not
matter. What an entry adds is the account with it less the one without it, so
that the sum over all entries is the account of all of them, however late each
came, and a replay of an entry adds the same as the first time.

First, last and linear touch as in S1; a touch is a click not longer before the
order than the lookback.
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
    """Where something counts."""

    campaign: str
    channel: str
    region: str
    segment: str


class Booking(NamedTuple):
    """A sum of a place in the pane of a moment."""

    at_ms: int
    place: Place
    measure: str


class Stay(NamedTuple):
    """A buyer in a place in the pane of a moment; ``name`` is the set of users."""

    at_ms: int
    place: Place
    name: str


class Amount(NamedTuple):
    """An order of so much money in a place in the pane of a moment."""

    at_ms: int
    place: Place
    units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributionRules:
    """How far back touches count, in ms, and which model places orders that name no campaign."""

    lookback_ms: int
    model: DefaultModel


@dataclass(slots=True)
class Account:
    """Sums, amounts of orders and sets of users."""

    sums: Counter[Booking] = field(default_factory=Counter)
    amounts: Counter[Amount] = field(default_factory=Counter)
    stays: set[Stay] = field(default_factory=set)

    def less(self, other: Account) -> Account:
        """Return what this one has more, or less; users can only be more."""
        sums, amounts = Counter(self.sums), Counter(self.amounts)
        sums.subtract(other.sums)
        amounts.subtract(other.amounts)
        return Account(
            Counter({booking: units for booking, units in sums.items() if units}),
            Counter({amount: times for amount, times in amounts.items() if times}),
            self.stays - other.stays,
        )


def changed_by_last(log: Sequence[Entry], rules: AttributionRules) -> Account:
    """Return what the last entry of a log, in order of arrival, changes."""
    before, last = log[:-1], log[-1]
    concerns = _concerned_by(last, before, rules)
    return account(log, rules, concerns).less(account(before, rules, concerns))


class Concerns(NamedTuple):
    """What is of interest in a log.

    Args:
        counts: says of an order whether what it counts for is.
        refunds: says of the hash of an order's id whether its refunds are.
    """

    counts: Callable[[Entry], bool] = lambda _: True
    refunds: Callable[[int], bool] = lambda _: True


ALL_CONCERNS = Concerns()


def _concerned_by(last: Entry, before: Sequence[Entry], rules: AttributionRules) -> Concerns:
    """Return what the last entry may change."""
    if last.kind == TOUCH:

        def looks_back_to_it(entry: Entry) -> bool:
            at_ms = entry.at_ms
            return entry.kind == ORDER and 0 <= at_ms - last.at_ms <= rules.lookback_ms

        ids = {cast(Order, entry.what).order for entry in before if looks_back_to_it(entry)}
        return Concerns(looks_back_to_it, ids.__contains__)
    refunded = cast(Placed, last.what).order
    if last.kind == REFUND:
        return Concerns(lambda _: False, refunded.__eq__)
    # The first order may not be the first any more; other orders count for what they did.
    orders = [entry for entry in before if entry.kind == ORDER]
    concerned = [last, *([min(orders, key=_place_in_time)] if orders else [])]
    return Concerns(lambda entry: any(entry is one for one in concerned), refunded.__eq__)


def account(
    log: Iterable[Entry],
    rules: AttributionRules,
    concerns: Concerns = ALL_CONCERNS,
) -> Account:
    """Return what a customer's entries count for.

    Of orders and refunds that are of no concern, only the lifetime value is booked. The first
    order is always booked.
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
    """Return what an order or a refund counts for by what it says itself, without its customer."""
    book, placed = Account(), cast(Placed, entry.what)
    place = declared_place(placed)
    if entry.kind == REFUND:
        _book_refund(book, entry.at_ms, cast(Refund, placed), None)
    else:
        _book_sales(book, entry.at_ms, cast(Order, placed), place)
    return book


def declared_place(placed: Placed) -> Place:
    """Return where an order or a refund says that it belongs."""
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
    """Split a whole into equal parts of whole numbers that sum to it."""
    return [(part + 1) * whole // count - part * whole // count for part in range(count)]


def _book_refund(
    book: Account, at_ms: int, refund: Refund, known: tuple[int, Place] | None
) -> None:
    """Book a refund where and when its order was placed, and what was paid when it was."""
    ordered_ms, place = known or (at_ms, declared_place(refund))
    book.sums[Booking(ordered_ms, place, "refunds")] += 1
    book.sums[Booking(ordered_ms, place, "revenue_refunded")] += refund.units
    book.sums[Booking(at_ms, place, "refunds_made")] += 1
    book.sums[Booking(at_ms, place, "refund_outflow")] += refund.units
