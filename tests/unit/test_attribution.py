"""What a customer's history counts for, and that lateness and replays do not change it."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.customers.journal_entry import (
    ORDER,
    REFUND,
    TOUCH,
    Entry,
    Order,
    Refund,
    Touch,
    from_bytes,
    to_bytes,
)
from models.window import DAY_MS, HOUR_MS
from streams.ingest.customers.attribution import (
    Account,
    AttributionRules,
    Booking,
    Place,
    account,
    changed_by_last,
)

RULES = AttributionRules(lookback_ms=7 * DAY_MS, model="last")
NOW = 1_700_000_000_000
HERE = Place("(none)", "(none)", "north", "students")


def touch(at: int, campaign: str = "c1", channel: str = "search", *, offset: int = 0) -> Entry:
    return Entry(at, 0, offset, TOUCH, Touch(campaign, channel))


def order(
    at: int, units: int = 100, *, number: int = 1, campaign: str = "(none)", channel: str = ""
) -> Entry:
    what = Order(number, units, campaign, channel, "north", "students", 2)
    return Entry(at, 0, number, ORDER, what)


def refund(at: int, units: int, *, number: int = 1) -> Entry:
    return Entry(at, 0, 1_000 + number, REFUND, Refund(number, units, "c9", "tv", "", ""))


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


_places = st.sampled_from(["c1", "c2", "(none)", "(unknown)"])
_channels = st.sampled_from(["search", "feed", ""])
_times = st.integers(0, 20).map(lambda half_days: NOW + half_days * DAY_MS // 2)
_touches = st.builds(Touch, _places, _channels)
_placed = (st.integers(1, 4), st.integers(0, 10**6), _places, _channels)
_orders = st.builds(Order, *_placed, st.just("north"), st.just(""), st.integers(0, 3))
_refunds = st.builds(Refund, *_placed, st.just("north"), st.just(""))


@st.composite
def logs(draw: st.DrawFn) -> list[Entry]:
    kinds = {TOUCH: _touches, ORDER: _orders, REFUND: _refunds}
    return [
        Entry(draw(_times), 0, offset, kind, draw(kinds[kind]))
        for offset, kind in enumerate(draw(st.lists(st.sampled_from(list(kinds)), max_size=12)))
    ]


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
    for at_ms, partition, offset, kind, what in log:
        data = to_bytes(kind, partition, offset, at_ms, what)
        assert from_bytes(data) == (at_ms, partition, offset, kind, what)


@given(st.binary(max_size=40))
def test_what_is_no_entry_is_refused(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        from_bytes(data)
