"""What a customer's history counts for, and that lateness and replays do not change it."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.customers.journal_entry import (
    HEAD,
    LINK,
    LINKED_TOUCH,
    ORDER,
    REFUND,
    TOUCH,
    Entry,
    Foreign,
    Link,
    Order,
    Refund,
    Touch,
    from_bytes,
    to_bytes,
)
from models.money.amounts import LARGEST_AMOUNT
from models.money.exchange_rates import converted
from models.scope import Place
from models.window import DAY_MS, HOUR_MS
from streams.ingest.customers.attribution import (
    Account,
    Amount,
    AttributionRules,
    Booking,
    account,
    changed_by_last,
)

RULES = AttributionRules(lookback_ms=7 * DAY_MS, model="last")
NOW = 1_700_000_000_000
COOKIE = b"cookie-1"
HERE = Place("(none)", "(none)", "north", "students")


def touch(at: int, campaign: str = "c1", channel: str = "search", *, offset: int = 0) -> Entry:
    return Entry(at, 0, offset, TOUCH, Touch(campaign, channel))


def order(
    at: int, units: int = 100, *, number: int = 1, campaign: str = "(none)", channel: str = ""
) -> Entry:
    what = Order(number, units, campaign, channel, "north", "students", 2)
    return Entry(at, 0, number, ORDER, what)


def link(at: int, *, other: bytes = COOKIE) -> Entry:
    return Entry(at, 0, 2_000, LINK, Link(other))


def linked_touch(at: int, campaign: str = "c1", channel: str = "search") -> Entry:
    return Entry(at, 1, 0, LINKED_TOUCH, Touch(campaign, channel), COOKIE)


def refund(at: int, units: int, *, number: int = 1) -> Entry:
    return Entry(at, 0, 1_000 + number, REFUND, Refund(number, units, "c9", "tv", "", ""))


def version(of: Entry, later_ms: int, units: int, *, items: int = 2) -> Entry:
    """Return an order again, with another amount, that names another place than before."""
    what = cast(Order, of.what)
    what = Order(what.order, units, "c7", "tv", "south", "", items, what.foreign)
    return Entry(of.at_ms + later_ms, 0, of.offset + 500, ORDER, what)


def in_usd(entry: Entry, own: int, rate: str, *, currency: str = "USD") -> Entry:
    """Return an order or a refund of an amount in another currency, at the rate of its date."""
    at = Decimal(rate)
    what = msgspec.structs.replace(
        entry.what, units=converted(own, at), foreign=Foreign(currency, own, at)
    )
    return entry._replace(what=what)


def total_of(book: Account, measure: str) -> int:
    return sum(units for booking, units in book.sums.items() if booking.measure == measure)


def summed(log: Iterable[Entry], measure: str) -> int:
    return total_of(account(log, RULES), measure)


def credited(log: Iterable[Entry], model: str) -> dict[tuple[str, str], tuple[int, int]]:
    """Return parts of orders and money by campaign and channel."""
    sums = account(log, RULES).sums
    found: dict[tuple[str, str], tuple[int, int]] = {}
    for at_ms, place, measure in sums:
        if measure == f"orders_{model}":
            money = sums[Booking(at_ms, place, f"revenue_{model}")]
            found[place.campaign, place.channel] = (sums[Booking(at_ms, place, measure)], money)
    return found


JOURNEY = [
    touch(NOW - 8 * DAY_MS, "c0", "tv", offset=1),
    touch(NOW - 7 * DAY_MS, "c1", "search", offset=2),
    touch(NOW - DAY_MS, "c2", "feed", offset=3),
    touch(NOW - HOUR_MS, "c1", "search", offset=4),
    touch(NOW + 1, "c3", "mail", offset=5),
    order(NOW),
]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("first", {("c1", "search"): (10_000, 100)}),
        ("last", {("c1", "search"): (10_000, 100)}),
        ("linear", {("c1", "search"): (6_667, 67), ("c2", "feed"): (3_333, 33)}),
        ("declared", {("(none)", "(none)"): (10_000, 100)}),
    ],
)
def test_touches_within_the_lookback_share_an_order(
    model: str, expected: dict[tuple[str, str], tuple[int, int]]
) -> None:
    assert credited(JOURNEY, model) == expected


def test_order_counts_at_its_touch() -> None:
    """An order counts at the campaign of its touch, unless it names a campaign itself."""
    by_touch = account(JOURNEY, RULES).sums
    assert by_touch[Booking(NOW, Place("c1", "search", "north", "students"), "orders")] == 1
    declared = account([*JOURNEY[:-1], order(NOW, campaign="c7", channel="tv")], RULES).sums
    assert declared[Booking(NOW, Place("c7", "tv", "north", "students"), "orders")] == 1
    assert declared[Booking(NOW, Place("c1", "search", "north", "students"), "orders_last")] == (
        10_000
    )


def test_an_order_without_touches_is_direct() -> None:
    sums = account([order(NOW)], RULES).sums
    place = HERE._replace(channel="(direct)")
    for measure in ("orders", "first_orders", "orders_attributed"):
        assert sums[Booking(NOW, place, measure)] == 1
    for model in ("first", "last", "linear"):
        assert sums[Booking(NOW, place, f"orders_{model}")] == 10_000
    assert sums[Booking(NOW, HERE, "orders_declared")] == 10_000


CLICKED, LINKED = NOW - HOUR_MS, NOW - HOUR_MS // 2


@pytest.mark.parametrize(
    ("entries", "touched"),
    [
        ([linked_touch(CLICKED), link(LINKED)], True),
        ([linked_touch(CLICKED), link(NOW)], True),
        ([linked_touch(LINKED), link(CLICKED)], True),
        ([linked_touch(CLICKED), link(NOW + 1)], False),
        ([linked_touch(CLICKED)], False),
        ([linked_touch(CLICKED), link(LINKED, other=b"cookie-2")], False),
        ([linked_touch(CLICKED), link(NOW + 1), link(LINKED)], True),
        ([linked_touch(NOW - 7 * DAY_MS - 1), link(LINKED)], False),
    ],
)
def test_clicks_of_a_linked_id_lead_to_later_orders(entries: list[Entry], *, touched: bool) -> None:
    """A click of a linked id is a touch of the orders from the time of the link on."""
    log = [*entries, order(NOW)]
    assert summed(log, "orders_touched") == int(touched)
    direct = {("(none)", "(direct)"): (10_000, 100)}
    expected = {("c1", "search"): (10_000, 100)} if touched else direct
    for model in ("first", "last", "linear"):
        assert credited(log, model) == expected


def test_a_late_link_moves_the_orders_after_it_only() -> None:
    """A link that arrives last moves later orders to the clicks; what was before it stays."""
    before, after = order(LINKED - 1, number=1), order(LINKED, number=2)
    log = [linked_touch(CLICKED), before, after, link(LINKED)]
    moved = changed_by_last(log, RULES).sums
    assert {booking.at_ms for booking in moved} == {LINKED}
    assert sum(units for (_, _, measure), units in moved.items() if measure == "orders") == 0
    assert moved[Booking(LINKED, Place("c1", "search", "north", "students"), "orders")] == 1


def test_orders_with_a_touch_are_counted() -> None:
    """Of two orders, one follows a click: orders_touched is 1, at the place of that order."""
    log = [touch(NOW), order(NOW - 1, number=1), order(NOW, number=2)]
    assert (summed(log, "orders_touched"), summed(log, "orders_attributed")) == (1, 2)
    at_touch = Place("c1", "search", "north", "students")
    assert account(log, RULES).sums[Booking(NOW, at_touch, "orders_touched")] == 1


def test_a_refund_weeks_later_counts_against_its_order() -> None:
    later = NOW + 30 * DAY_MS
    changed = changed_by_last([*JOURNEY, refund(later, 40)], RULES)
    place = Place("c1", "search", "north", "students")
    assert changed.sums == {
        Booking(NOW, place, "refunds"): 1,
        Booking(NOW, place, "revenue_refunded"): 40,
        Booking(later, place, "refunds_made"): 1,
        Booking(later, place, "refund_outflow"): 40,
        Booking(NOW, place, "lifetime_value"): -40,
    }


def test_a_refund_of_an_unknown_order_counts_where_it_says() -> None:
    changed = changed_by_last([*JOURNEY, refund(NOW + 5, 40, number=9)], RULES)
    place = Place("c9", "tv", "", "")
    assert changed.sums == {
        Booking(NOW + 5, place, name): units
        for name, units in {
            "refunds": 1,
            "revenue_refunded": 40,
            "refunds_made": 1,
            "refund_outflow": 40,
        }.items()
    }


def test_lifetime_value_counts_at_the_first_order() -> None:
    """The net revenue of later orders counts in the lifetime value, at the first order."""
    first, second = order(NOW - 30 * DAY_MS, 70), order(NOW, 100, number=2)
    log = [second, first, refund(NOW + 1, 30, number=2)]
    book = account(log, RULES)
    place = HERE._replace(channel="(direct)")
    assert book.sums[Booking(first.at_ms, place, "lifetime_value")] == 140
    assert book.sums[Booking(first.at_ms, place, "first_orders")] == 1
    assert Booking(NOW, place, "first_orders") not in book.sums
    assert [stay.at_ms for stay in book.stays if stay.name == "returning"] == [NOW]


def test_a_late_touch_moves_what_it_led_to() -> None:
    late = touch(NOW - 1, "c5", "feed", offset=9)
    changed = changed_by_last([*JOURNEY, late], RULES).sums
    away, to = Place("c1", "search", "north", "students"), Place("c5", "feed", "north", "students")
    for measure, units in (("orders", 1), ("revenue_gross", 100), ("items", 2)):
        assert changed[Booking(NOW, away, measure)] == -units
        assert changed[Booking(NOW, to, measure)] == units


def test_repeated_order_is_one_order() -> None:
    """A page that is loaded again and again places no further order, and nobody returns."""
    again = [version(order(NOW), minutes * 60_000, 100) for minutes in (1, 2, 30)]
    book, once = account([*JOURNEY, *again], RULES), account(JOURNEY, RULES)
    assert once.less(book).sums == {
        Booking(NOW, Place("c1", "search", "north", "students"), "order_changes"): -3
    }
    assert (book.amounts, book.stays) == (once.amounts, once.stays)


def test_edited_order_counts_where_it_was_placed() -> None:
    """An order of 100 that is edited to 80 is one of 80, where and when it was placed."""
    edited = version(order(NOW), 3 * DAY_MS, 80, items=5)
    book = account([*JOURNEY, edited], RULES)
    place = Place("c1", "search", "north", "students")
    for measure, units in (
        *(("orders", 1), ("orders_attributed", 1), ("first_orders", 1), ("items", 5)),
        ("order_changes", 1),
        *(("revenue_gross", 80), ("revenue_last", 80), ("lifetime_value", 80)),
    ):
        assert book.sums[Booking(NOW, place, measure)] == units
    assert book.amounts == {Amount(NOW, place, 80): 1}
    assert {stay.name for stay in book.stays} == {"buyers"}
    assert {booking.at_ms for booking in book.sums} == {NOW}
    changed = changed_by_last([*JOURNEY, edited], RULES)
    assert changed.sums[Booking(NOW, place, "revenue_gross")] == -20
    assert Booking(NOW, place, "orders") not in changed.sums
    assert changed.amounts == {Amount(NOW, place, 100): -1, Amount(NOW, place, 80): 1}
    assert not changed.stays


def test_versions_are_in_the_order_of_their_times() -> None:
    """The last version is that with the latest time, then partition and offset."""
    placed = order(NOW, 100)
    edits = [
        version(placed, 5, 70),
        version(placed, 9, 60)._replace(partition=1, offset=2),
        version(placed, 9, 80)._replace(partition=1, offset=7),
        version(placed, 9, 90)._replace(partition=0, offset=9),
    ]
    for log in ([placed, *edits], [*edits, placed], [edits[2], placed, edits[0], edits[3]]):
        assert summed(log, "revenue_gross") == 80


def test_earlier_version_that_comes_late_becomes_the_first() -> None:
    """It moves the order to its own time and place, and makes another order a returning one."""
    edited = version(order(NOW), DAY_MS, 80)
    other = order(NOW + 5, number=2)
    first = order(NOW, 100)
    assert summed([edited, other, first], "first_orders") == 1
    changed = changed_by_last([edited, other, first], RULES).sums
    here, there = HERE._replace(channel="(direct)"), Place("c7", "tv", "south", "")
    assert changed[Booking(edited.at_ms, there, "orders")] == -1
    assert changed[Booking(NOW, here, "orders")] == 1
    assert changed[Booking(NOW, here, "revenue_gross")] == 80
    assert changed[Booking(NOW, here, "first_orders")] == 1
    assert changed[Booking(other.at_ms, here, "first_orders")] == -1
    assert changed[Booking(NOW, here, "lifetime_value")] == 180


def test_refund_is_converted_at_the_rate_of_its_order() -> None:
    """100 USD that are paid back a day later at another rate leave nothing of the order."""
    placed = in_usd(order(NOW), 1_000_000, "7.3012")
    back = in_usd(refund(NOW + DAY_MS, 0), 1_000_000, "7.8012")
    for log in ([placed, back], [back, placed]):
        assert summed(log, "revenue_gross") == summed(log, "revenue_refunded") == 7_301_200
        assert summed(log, "lifetime_value") == 0
        assert summed(log, "refund_outflow") == 7_801_200


def test_parts_that_pay_back_an_order_leave_nothing() -> None:
    placed = in_usd(order(NOW), 10_000, "7.28455")
    parts = [
        in_usd(refund(NOW + day * DAY_MS, 0), units, "7.5")._replace(offset=2_000 + day)
        for day, units in enumerate((3_300, 3_300, 3_400))
    ]
    assert summed([placed, *parts], "revenue_gross") == 72_846
    assert summed([placed, *parts], "revenue_refunded") == 72_846
    assert summed([placed, *parts], "refunds") == 3
    assert summed([placed, *parts], "lifetime_value") == 0


@pytest.mark.parametrize("first", [0, 1, 1_000_000])
def test_edited_order_keeps_the_rate_of_the_first(first: int) -> None:
    """Also if the first version was free or tiny: the rate is kept, not the quotient of amounts."""
    placed = in_usd(order(NOW), first, "7.28455")
    edited = in_usd(version(placed, DAY_MS, 0), 800_000, "7.9")
    back = in_usd(refund(NOW + 2 * DAY_MS, 0), 800_000, "8.1")
    assert summed([placed, edited], "revenue_gross") == 5_827_640
    assert summed([placed, edited, back], "revenue_refunded") == 5_827_640
    assert summed([placed, edited, back], "lifetime_value") == 0


def test_other_currencies_keep_their_own_rate() -> None:
    """A refund in another currency than its order, or of an unknown order, has its own rate."""
    placed = in_usd(order(NOW), 1_000_000, "7.3")
    euro = in_usd(refund(NOW + 1, 0), 500_000, "8.0", currency="EUR")
    assert summed([placed, euro], "revenue_refunded") == 4_000_000
    unknown = in_usd(refund(NOW + 1, 0, number=9), 500_000, "7.7")
    assert summed([placed, unknown], "revenue_refunded") == 3_850_000
    edited = in_usd(version(placed, 5, 0), 500_000, "8.2", currency="EUR")
    assert summed([placed, edited], "revenue_gross") == 4_100_000
    assert summed([placed, edited, euro], "lifetime_value") == 0
    home = version(placed, 5, 600)
    home = home._replace(what=msgspec.structs.replace(home.what, foreign=None))
    assert summed([placed, home, refund(NOW + 9, 600)], "lifetime_value") == 0


def test_amount_at_another_rate_is_not_beyond_the_largest() -> None:
    """Money that is valid at its own rate only: a report has 64 bits for it."""
    placed = in_usd(order(NOW), 1, "1000000000")
    back = in_usd(refund(NOW + 1, 0), LARGEST_AMOUNT, "1")
    edited = in_usd(version(placed, 1, 0), LARGEST_AMOUNT, "1")
    assert summed([placed, back], "revenue_refunded") == LARGEST_AMOUNT
    assert summed([placed, edited], "revenue_gross") == LARGEST_AMOUNT


_places = st.sampled_from(["c1", "c2", "(none)", "(unknown)"])
_channels = st.sampled_from(["search", "feed", ""])
_times = st.integers(0, 20).map(lambda half_days: NOW + half_days * DAY_MS // 2)
_touches = st.builds(Touch, _places, _channels)
_placed = (st.integers(1, 4), st.integers(0, 10**6), _places, _channels)
_foreign = st.none() | st.builds(
    Foreign,
    st.sampled_from(["USD", "EUR"]),
    st.integers(0, 10**6),
    st.sampled_from([Decimal("7.28455"), Decimal("0.33335"), Decimal("8.1")]),
)
_regions = st.sampled_from(["north", ""])
_orders = st.builds(Order, *_placed, _regions, st.just(""), st.integers(0, 3), _foreign)
_ids = st.sampled_from([COOKIE, b"cookie-2"])
_links = st.builds(Link, _ids)
_refunds = st.builds(Refund, *_placed, _regions, st.just(""), _foreign)


@st.composite
def logs(draw: st.DrawFn) -> list[Entry]:
    """Return entries in any order of arrival; up to four orders, some of them in versions.

    There are links to two other ids, and touches of these, linked or not.
    """
    kinds = {
        TOUCH: _touches,
        ORDER: _orders,
        REFUND: _refunds,
        LINK: _links,
        LINKED_TOUCH: _touches,
    }
    log = [
        Entry(
            draw(_times),
            0,
            offset,
            kind,
            draw(kinds[kind]),
            draw(_ids) if kind == LINKED_TOUCH else b"",
        )
        for offset, kind in enumerate(draw(st.lists(st.sampled_from(list(kinds)), max_size=12)))
    ]
    return draw(st.permutations(log))


_rules = st.builds(
    AttributionRules,
    lookback_ms=st.sampled_from([HOUR_MS, 2 * DAY_MS, 7 * DAY_MS]),
    model=st.sampled_from(["declared", "first", "last", "linear"]),
)


def total(changes: Sequence[Account]) -> tuple[Counter[Booking], Counter[object]]:
    sums: Counter[Booking] = Counter()
    amounts: Counter[object] = Counter()
    for change in changes:
        sums.update(change.sums)
        amounts.update(change.amounts)
    return (
        Counter({key: value for key, value in sums.items() if value}),
        Counter({key: value for key, value in amounts.items() if value}),
    )


@given(logs(), _rules)
def test_changes_add_up_in_any_order(log: list[Entry], rules: AttributionRules) -> None:
    """The changes that entries cause add up to the whole account in any order of arrival."""
    changes = [changed_by_last(log[: upto + 1], rules) for upto in range(len(log))]
    whole = account(sorted(log), rules)
    assert total(changes) == total([whole])


@given(logs(), _rules, st.data())
def test_replays_add_the_same(
    log: list[Entry], rules: AttributionRules, data: st.DataObject
) -> None:
    """An entry that is sent again adds what it added: its log is that up to itself.

    So what is counted is a function of the set of entries, in whatever order and however often
    they arrive. An entry of a replay is told with the log up to its first arrival.
    """
    arrived: list[Entry] = []
    counted: dict[Entry, Account] = {}
    for entry in data.draw(st.permutations(log * 2)):
        if entry not in arrived:
            arrived.append(entry)
        again = changed_by_last(arrived[: arrived.index(entry) + 1], rules)
        assert counted.setdefault(entry, again) == again
    assert total(list(counted.values())) == total([account(log, rules)])


@given(logs(), _rules)
def test_only_what_may_change_is_computed(log: list[Entry], rules: AttributionRules) -> None:
    """The part of an account that the last entry may change makes the difference of the whole."""
    for upto in range(1, len(log) + 1):
        whole = account(log[:upto], rules).less(account(log[: upto - 1], rules))
        changed = changed_by_last(log[:upto], rules)
        assert (changed.sums, changed.amounts) == (whole.sums, whole.amounts)
        assert changed.stays >= whole.stays


@given(logs(), _rules)
def test_orders_are_counted_by_id(log: list[Entry], rules: AttributionRules) -> None:
    """There are as many orders as order ids, and the amounts of the last versions sum to them."""
    book = account(log, rules)
    orders = [cast(Order, entry.what).order for entry in log if entry.kind == ORDER]
    assert sum(book.amounts.values()) == len(set(orders))
    for measure in ("orders", "orders_attributed"):
        assert total_of(book, measure) == len(set(orders))
    assert total_of(book, "order_changes") == len(orders) - len(set(orders))
    gross = sum(amount.units * times for amount, times in book.amounts.items())
    assert gross == total_of(book, "revenue_gross")
    known = {cast(Refund, one.what).order for one in log if one.kind == REFUND} <= set(orders)
    if known and orders:
        net = total_of(book, "revenue_gross") - total_of(book, "revenue_refunded")
        assert total_of(book, "lifetime_value") == net


@given(logs(), _rules)
def test_credits_sum_to_orders(log: list[Entry], rules: AttributionRules) -> None:
    """The credits of every attribution model sum to the orders and their revenue."""
    sums: Counter[str] = Counter()
    for (_, _, measure), units in account(log, rules).sums.items():
        sums[measure] += units
    for model in ("declared", "first", "last", "linear"):
        assert sums[f"orders_{model}"] == 10_000 * sums["orders"]
        assert sums[f"revenue_{model}"] == sums["revenue_gross"]
    assert sums["first_orders"] == (1 if sums["orders"] else 0)
    assert sums["orders_attributed"] == sums["orders"]


@given(logs())
def test_entries_are_read_as_they_were_written(log: list[Entry]) -> None:
    for entry in log:
        at_ms, partition, offset, kind, what, other = entry
        data = to_bytes(kind, partition, offset, at_ms, what)
        assert from_bytes(data[: HEAD.size] + other + data[HEAD.size :]) == entry


@given(st.binary(max_size=40))
def test_what_is_no_entry_is_refused(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        from_bytes(data)
