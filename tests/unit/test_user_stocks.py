"""Customers and open leads over the last business days."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.kpi.catalogue import CATALOGUE
from models.window import DAY_MS, HOUR_MS, MINUTE_MS
from streams.alerting.rules.registry import RuleBook
from tests.support.offline import NOON, ClosedKey, Path, event

DAYS = 3
TODAY = NOON - 12 * HOUR_MS
"""The business day of `NOON`, in UTC."""


def order(user: str, *, day: int, minute: int = 0, **more: Any) -> dict[str, Any]:
    """Return an order ``day`` days after `TODAY`, at 8:00 and some minutes."""
    at = TODAY + day * DAY_MS + 8 * HOUR_MS + minute * MINUTE_MS
    number = f"{user}-{day}-{minute}"
    return event("order_placed", at=at, event_id=number, order_id=number, user_id=user, **more)


def lead(user: str, stage: str, *, day: int, minute: int = 0) -> dict[str, Any]:
    at = TODAY + day * DAY_MS + 9 * HOUR_MS + minute * MINUTE_MS
    return event("lead", at=at, event_id=f"{user}{stage}{day}", user_id=user, stage=stage)


def closed(events: Iterable[dict[str, Any]], *, days: int = DAYS) -> Path:
    """Return a path that read events and is complete up to the afternoon of `TODAY`."""
    path = Path(now_ms=NOON + 10 * DAY_MS, customer_days=days)
    in_order = sorted(events, key=lambda one: one["event_time"])
    begin = event("visit", at=TODAY - 20 * DAY_MS, event_id="begin", user_id="nobody")
    end = event("visit", at=NOON, event_id="end", user_id="nobody")
    path.feed([begin, *in_order, end], batch=1)
    path.finish()
    return path


def of_day(path: Path, *, day: int = 0, hour: int = 12, **scope: Any) -> dict[str, list[Any]]:
    """Return the KPIs of the day to date, at one minute after that hour."""
    end = TODAY + day * DAY_MS + hour * HOUR_MS + MINUTE_MS
    return path.closed[ClosedKey("day", end, **scope)]


def test_retention_of_a_day() -> None:
    """Of a, b, c and d, who ordered in the three days before, a and b are customers today.

    a ordered yesterday, and b again today. c and d ordered three days ago only: they are out of the
    last three days, of which today is one. e is new.
    """
    path = closed(
        [
            *(order(user, day=-3) for user in ("b", "c", "d")),
            order("a", day=-1),
            order("b", day=0),
            order("e", day=0, minute=1),
        ]
    )
    kpis = of_day(path)
    assert kpis["customers"][0] == 3
    retention = kpis["retention_rate"]
    assert (retention[0], retention[3]) == (0.5, 4)
    assert kpis["customer_growth"][0] == -0.25
    assert retention[1:3] == pytest.approx([0.15, 0.85], abs=0.01)  # Wilson of 2 of 4


def test_a_week_counts_its_own_days() -> None:
    """A window longer than the days from which customers are counted has none."""
    end = TODAY + 8 * HOUR_MS + 15 * MINUTE_MS
    path = closed([order("a", day=0)])
    assert "customers" not in path.closed[ClosedKey("week", end)]
    longer = closed([order("a", day=-8), order("b", day=0)], days=7)
    kpis = longer.closed[ClosedKey("week", end)]
    # a was a customer before the week, and is none now; b is new.
    assert (kpis["customers"][0], kpis["retention_rate"][0]) == (1, 0.0)
    for window in ("1m", "5m", "1h", "24h", "so_far"):
        shown = [kpis for key, kpis in longer.closed.items() if key.window == window]
        assert shown
        assert not any("customers" in kpis or "leads_open" in kpis for kpis in shown)


def test_unobserved_days_are_no_customers() -> None:
    """Until all the days were observed the figures are absent, not too low."""
    path = closed([order("a", day=-18), order("a", day=-16), order("a", day=-15)])
    known = {day: "customers" in of_day(path, day=day, hour=8) for day in (-18, -16, -15)}
    # Observation begins 20 days ago at 0:00: of that day on three days are whole 17 days ago.
    assert known == {-18: False, -16: True, -15: True}


def test_open_leads() -> None:
    """b was won and c lost; a was last heard of two days ago, d moved today."""
    path = closed(
        [
            *(lead(user, "lead", day=-2) for user in ("a", "b", "c", "d")),
            lead("x", "lead", day=-3),
            lead("b", "won", day=-1),
            lead("c", "lost", day=0),
            lead("d", "sql", day=0, minute=1),
        ]
    )
    kpis = of_day(path)
    assert kpis["leads_open"][0] == 2
    assert (kpis["lead_activity"][0], kpis["lead_activity"][3]) == (0.5, 2)


def test_late_order_corrects_the_customers_before() -> None:
    """An order of yesterday 23:59 that comes after midnight changes today's retention."""
    path = Path(now_ms=NOON + 10 * DAY_MS, customer_days=1)
    begin = event("visit", at=TODAY - 3 * DAY_MS, event_id="begin", user_id="nobody")
    today = event("visit", at=TODAY + 61_000, event_id="now", user_id="nobody")
    onward = event("visit", at=TODAY + 150_000, event_id="on", user_id="nobody")
    late = event("order_placed", at=TODAY - 61_000, event_id="late", user_id="a")
    path.feed([begin, order("b", day=-1), today, onward], batch=1)
    key = ClosedKey("day", TODAY + 2 * MINUTE_MS)
    assert path.closed[key]["retention_rate"][3] == 1
    path.feed([late], batch=1)
    path.finish()
    assert path.closed[key]["retention_rate"][3] == 2


def test_scopes_have_their_own_customers() -> None:
    path = closed(
        [
            order("a", day=-1, campaign_id="c1"),
            order("a", day=0, campaign_id="c2"),
            order("b", day=0, minute=1, campaign_id="c1"),
        ]
    )
    found = {
        name: of_day(path, scope="campaign", campaign=name)["customers"][0] for name in ("c1", "c2")
    }
    assert (found, of_day(path)["customers"][0]) == ({"c1": 2, "c2": 1}, 2)


def test_a_stock_does_not_grow_with_its_window() -> None:
    """A rule may say that customers are too few, also in a window that grows during the day."""
    assert not CATALOGUE["customers"].volume
    assert CATALOGUE["orders"].volume
    rule = {"kind": "threshold", "name": "few", "kpi": "customers", "window": "week", "below": 100}
    rules = RuleBook.model_validate({"rules": [rule]}, context={"catalogue": CATALOGUE})
    assert rules.rules[0].below == 100


ORDERS = st.lists(
    st.tuples(st.integers(0, 6), st.integers(-8, 0), st.integers(0, 3)), max_size=25, unique=True
)


@settings(max_examples=25, deadline=None)
@given(ORDERS, st.integers(1, 5))
def test_customers_are_who_ordered(orders: list[tuple[int, int, int]], days: int) -> None:
    """Retention and growth are those of sets of users, for any orders and number of days."""
    path = closed([order(f"u{user}", day=day, minute=at) for user, day, at in orders], days=days)
    for day in range(-8, 1):
        minutes = [at for _, on, at in orders if on == day]
        if not minutes:
            continue
        end = TODAY + day * DAY_MS + 8 * HOUR_MS + (max(minutes) + 1) * MINUTE_MS
        kpis = path.closed[ClosedKey("day", end)]
        before = {user for user, on, _ in orders if day - days <= on < day}
        now = {user for user, on, _ in orders if day - days < on <= day}
        assert kpis["customers"][0] == len(now)
        if before:
            assert kpis["retention_rate"][0] == len(now & before) / len(before)
            assert kpis["customer_growth"][0] == (len(now) - len(before)) / len(before)
        else:
            assert "retention_rate" not in kpis
