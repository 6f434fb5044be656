"""Models: money, distinct users, windows, cells, rules."""

from __future__ import annotations

import random
from datetime import datetime, time
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from models.aggregates import hyperloglog
from models.aggregates.distinct_users import EXACT_LIMIT, Distinct, hash_user
from models.money.amounts import MoneyError, to_units
from models.patterns import matches
from models.scope import Scope
from models.window import BusinessDay, Window, first_end_after, start_of_window
from streams.alerting.rules.keys import Match
from streams.alerting.rules.registry import RuleBook

DAY = Window("day", 60_000, days=1)


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=4))
def test_money_of_four_decimals_is_exact(amount: Decimal) -> None:
    assert Decimal(to_units(amount)) / 10_000 == amount


@pytest.mark.parametrize(
    ("text", "units"),
    [("182.45000000000002", 1_824_500), ("0.00005", 0), ("0.00015", 2), ("-0.00015", -2)],
)
def test_money_is_rounded_half_to_even(text: str, units: int) -> None:
    """More than four decimals are rounded."""
    assert to_units(Decimal(text)) == units


@pytest.mark.parametrize("text", ["NaN", "Infinity", "1e30", "1e400", "-1e400"])
def test_money_that_is_not_exact_is_refused(text: str) -> None:
    with pytest.raises(MoneyError):
        to_units(Decimal(text))


users = st.sets(
    st.integers(0, 5_000).map(lambda number: hash_user(b"u%d" % number)), max_size=2_000
)


@given(users, users, users)
def test_distinct_users_merge_in_any_order(a: set[int], b: set[int], c: set[int]) -> None:
    """Sets of distinct users merge in any order, and repeated merges change nothing."""
    one, two, three = Distinct(a), Distinct(b), Distinct(c)
    left = Distinct.union_of([Distinct.union_of([one, two]), three])
    right = Distinct.union_of([Distinct.union_of([three, two]), two, one])
    assert left.estimate == right.estimate
    if left.is_exact:
        assert left.estimate == len(a | b | c)


@pytest.mark.parametrize("count", [EXACT_LIMIT, 3_000, 50_000, 200_000])
def test_distinct_users_error(
    count: int,
) -> None:
    """Distinct users are exact up to the limit, and have a standard error below 2% above it."""
    distinct = Distinct()
    for first in range(0, count, 10_000):
        chunk = (hash_user(b"user-%d" % n) for n in range(first, min(count, first + 10_000)))
        distinct = Distinct.union_of([distinct, Distinct(chunk)])
    error = abs(distinct.estimate - count) / count
    assert error == 0 if count <= EXACT_LIMIT else error < 0.04  # 2.5 standard errors


@pytest.mark.parametrize("count", [1_025, 3_000, 12_000, 40_000, 150_000])
def test_hyperloglog_error(count: int) -> None:
    """The root mean square error of a HyperLogLog is below 2%, without a bias."""
    rnd = np.random.default_rng(count)
    drawn = [rnd.integers(0, 2**64 - 1, count, np.uint64) for _ in range(60)]
    registers = np.stack([hyperloglog.registers_of(hashes) for hashes in drawn])
    errors = hyperloglog.estimates(registers) / count - 1
    assert np.sqrt((errors**2).mean()) < 0.02
    assert abs(errors.mean()) < 0.006  # three standard errors of a mean of 60


@given(st.integers(1_025, 6_000), st.integers())
@settings(max_examples=25)
def test_a_sketch_does_not_depend_on_the_order_of_its_users(count: int, seed: int) -> None:
    hashes = [hash_user(b"%d/%d" % (seed, number)) for number in range(count)]
    shuffled = list(hashes)
    random.Random(seed).shuffle(shuffled)
    parts = [Distinct(shuffled[place::3]) for place in range(3)]
    assert Distinct.union_of(parts).estimate == Distinct(hashes).estimate


@given(users)
def test_distinct_users_survive_the_wire(hashes: set[int]) -> None:
    distinct = Distinct(hashes)
    again = Distinct.from_bytes(distinct.to_bytes())
    assert (again.estimate, again.is_exact) == (distinct.estimate, distinct.is_exact)


def test_an_event_at_the_end_of_a_step_belongs_to_the_next() -> None:
    assert first_end_after(9_999, step_ms=10_000) == 10_000
    assert first_end_after(10_000, step_ms=10_000) == 20_000


@pytest.mark.parametrize(
    ("zone", "end", "start"),
    [
        ("Asia/Shanghai", "2026-06-18T12:00:00+08:00", "2026-06-18T00:00:00+08:00"),
        ("Asia/Shanghai", "2026-06-18T00:00:00+08:00", "2026-06-17T00:00:00+08:00"),
        ("Asia/Kolkata", "2026-06-18T00:30:00+05:30", "2026-06-18T00:00:00+05:30"),
        ("America/New_York", "2026-03-08T12:00:00-04:00", "2026-03-08T00:00:00-05:00"),
        ("America/New_York", "2026-11-01T12:00:00-05:00", "2026-11-01T00:00:00-04:00"),
        ("America/Sao_Paulo", "2018-11-04T12:00:00-02:00", "2018-11-04T01:00:00-02:00"),
    ],
)
def test_business_day_starts_at_local_midnight(zone: str, end: str, start: str) -> None:
    """A business day starts at local midnight, also on days on which the clock changes."""

    def ms(text: str) -> int:
        return int(datetime.fromisoformat(text).timestamp() * 1000)

    day = BusinessDay(ZoneInfo(zone))
    assert start_of_window(DAY, ms(end), day=day) == ms(start)


def test_weeks_and_months_are_business_days_and_not_hours() -> None:
    def ms(text: str) -> int:
        return int(datetime.fromisoformat(text).timestamp() * 1000)

    day = BusinessDay(ZoneInfo("America/New_York"))
    week, month = (Window("week", 900_000, days=7), Window("month", 900_000, days=30))
    # Clocks went back on November 5th: the week is an hour longer.
    end = ms("2023-11-07T12:00:00-05:00")
    assert start_of_window(week, end, day=day) == ms("2023-11-01T00:00:00-04:00")
    assert start_of_window(month, end, day=day) == ms("2023-10-09T00:00:00-04:00")
    midnight = ms("2023-11-06T00:00:00-05:00")
    assert midnight - day.start_of(midnight - 1) == 25 * 3_600_000


def test_a_business_day_may_start_in_the_morning() -> None:
    def ms(text: str) -> int:
        return int(datetime.fromisoformat(text).timestamp() * 1000)

    day = BusinessDay(ZoneInfo("Asia/Shanghai"), starts_at=time(4))
    assert day.start_of(ms("2026-06-18T03:59:59+08:00")) == ms("2026-06-17T04:00:00+08:00")
    assert day.start_of(ms("2026-06-18T04:00:00+08:00")) == ms("2026-06-18T04:00:00+08:00")
    assert day.date_of(ms("2026-06-18T03:00:00+08:00")).isoformat() == "2026-06-17"
    assert day.end_of(ms("2026-06-18T03:00:00+08:00")) == ms("2026-06-18T04:00:00+08:00")


ABOVE = {"kind": "threshold", "kpi": "clicks", "above": 1}
ABSENT = {"kind": "absence", "kpi": "clicks", "scope": "campaign"}


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ({"kind": "threshold", "kpi": "clicks"}, "exactly one of below and above"),
        ({"kind": "threshold", "kpi": "clicks", "above": 1, "below": 2}, "exactly one"),
        ({"kind": "threshold", "kpi": "magic", "above": 1}, "no KPI named"),
        ({"kind": "absence", "kpi": "clicks", "scope": "campaign"}, "outright"),
        (
            {
                "kind": "absence",
                "kpi": "clicks",
                "scope": "campaign",
                "match": {"campaign": ["618-*"]},
            },
            "outright",
        ),
        ({"kind": "threshold", "kpi": "clicks", "above": 1, "typo": 3}, "typo"),
        ({**ABSENT, "match": {"campaign": ["c1"]}, "no_data": "keep"}, "no_data: an absence rule"),
        ({**ABSENT, "match": {"campaign": ["c1"]}, "window": "day"}, "loses a day at midnight"),
        ({**ABOVE, "name": "data-lagging"}, "begins with data-"),
        ({**ABSENT, "match": {"campaign": ["c1", "618-*"]}}, "outright"),
        ({**ABOVE, "scope": "campaign", "match": {"channel": ["search"]}}, "match.channel: a rule"),
        ({**ABOVE, "match": {"campaign": ["c1"]}}, "match.campaign: a rule of the scope all"),
        ({**ABOVE, "scope": "campaign", "match": {"campaign": []}}, "give at least one name"),
        ({**ABOVE, "above": float("nan")}, "finite number"),
        ({**ABOVE, "above": float("inf")}, "finite number"),
        *(
            ({"kind": "threshold", "kpi": kpi, "below": 100, "window": window}, why)
            for kpi in ("orders", "revenue_gross", "unique_visitors")
            for window, why in (
                *((days, "every night") for days in ("day", "week", "month")),
                ("so_far", "only grows"),
            )
        ),
    ],
)
def test_a_rule_that_can_not_work_is_refused(rule: dict[str, object], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        RuleBook.model_validate({"rules": [{"name": "r", **rule}]})


@pytest.mark.parametrize(
    "rule",
    [
        {"kpi": "conversion_rate", "below": 0.02, "window": "day"},
        {"kpi": "orders", "below": 100, "window": "24h"},
        {"kpi": "orders", "above": 100, "window": "day"},
    ],
)
def test_rules_on_growing_windows(rule: dict[str, object]) -> None:
    """Only lower limits of what grows with its window are refused."""
    RuleBook.model_validate({"rules": [{"name": "r", "kind": "threshold", **rule}]})


@pytest.mark.parametrize(
    ("pattern", "name", "matched"),
    [
        ("[Search] Brand", "[Search] Brand", True),
        ("[Search] Brand", "S Brand", False),
        ("[Search]*", "[Search] Brand", True),
        ("[Search]*", "Search", False),
        ("618-?", "618-a", True),
        ("618-?", "618-", False),
        ("a.c", "abc", False),
        ("*", "two\nlines", True),
        ("*a*a*a*a*a*b", "a" * 5_000, False),
    ],
)
def test_patterns(pattern: str, name: str, matched: bool) -> None:
    """A star is any text, a question mark any character, and the rest is itself."""
    assert matches(name, [pattern]) is matched
    match = Match(campaign=(pattern,))
    assert match.matches(Scope("campaign", name)) is matched
    assert (match.named("campaign") != ()) is ("*" not in pattern and "?" not in pattern)


def test_a_scope_names_itself() -> None:
    assert str(Scope("campaign_channel", "c1", "feed")) == "campaign=c1, channel=feed"
    assert str(Scope("all")) == "all"
