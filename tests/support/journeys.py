"""Generates journeys of many customers over three weeks, and calculates in SQL what must count.

Shares no code with the monitor: `tests.support.attribution_sql` derives the expected values from
the events.
"""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import duckdb
import polars as pl

from tests.support import attribution_sql, oracle
from tests.support.attribution_sql import DAY_MS, MODELS, RATE_UNITS, Customers

Event = dict[str, Any]
Key = tuple[str, str, int, str]
"""Campaign, channel, start of the pane in ms, measure."""

START_MS: Final = 1_696_118_400_000
"""2023-10-01T00:00Z."""
SPAN_MS: Final = 21 * DAY_MS
PANE_MS: Final = 10_000
CAMPAIGNS: Final = ("c1", "c2", "shop")
"""Defined campaigns; events name a further one that is not defined."""
CHANNELS: Final = ("search", "feed", "email", "social")
CURRENCY: Final = "CNY"
"""The reporting currency."""
RATES: Final = {
    (currency, date(2023, 10, 1) + timedelta(days=day)): Decimal(lowest) + Decimal(day % 7) / 31_250
    for currency, lowest in (("USD", "7.28455"), ("EUR", "7.70001"))
    for day in range(25)
}
"""The value of 1 of a currency in the reporting currency on each date, with six decimals."""
LATEST_MS: Final = 500_000
"""Upper limit of lateness."""

_MEASURES: Final = {
    "orders": ("order", "1"),
    "items": ("order", "count"),
    "revenue_gross": ("order", "amount"),
    "orders_attributed": ("order", "1"),
    "first_orders": ("order", "(nth = 1)::BIGINT"),
    "order_changes": ("order_change", "1"),
    "lifetime_value": ("lifetime", "amount"),
    "orders_touched": ("touched", "1"),
    "refunds": ("refund", "1"),
    "revenue_refunded": ("refund", "amount"),
    "refunds_made": ("refund_made", "1"),
    "refund_outflow": ("refund_made", "amount"),
} | {
    f"{what}_{model}": (f"credit' AND metric = '{model}", adds)
    for model in MODELS
    for what, adds in (("orders", "count"), ("revenue", "amount"))
}
"""By measure: the kind of entry, and SQL of what each adds."""
MEASURES: Final = frozenset(_MEASURES)


class Journeys(NamedTuple):
    """Events in the order of arrival, as the topics carry them and as a frame for the oracle."""

    events: list[Event]
    table: pl.DataFrame


def journeys(count: int = 10_000, *, seed: int = 1, late: float = 0.0) -> Journeys:
    """Return the clicks, orders and refunds of customers; no two events have the same time.

    Some orders are repeated or edited, and some amounts are in other currencies.

    Args:
        count: number of customers; a third of them order nothing.
        seed: the same seed gives the same journeys.
        late: share of events that are late, 0 to 1, by less than `LATEST_MS`.
    """
    rnd = random.Random(seed)
    taken: set[int] = set()
    events: list[Event] = []
    for number in range(count):
        events += _journey(rnd, f"user-{number}", taken)
    arrivals = {
        event["event_id"]: event["event_time"]
        + (rnd.randrange(LATEST_MS) if rnd.random() < late else 0)
        for event in events
    }
    events.sort(key=lambda event: arrivals[event["event_id"]])
    rows = [_row(event) for event in events]
    return Journeys(events, oracle.typed(pl.DataFrame(rows, schema=_ROW)))


def expected(made: Journeys, customers: Customers) -> dict[Key, int]:
    """Return the measures of every campaign and channel in every pane, except those that are 0."""
    parts = " UNION ALL ".join(
        f"SELECT campaign, channel, event_time_ms, '{measure}' AS measure, {adds} AS x"
        f" FROM entries WHERE kind = '{kind}'"
        for measure, (kind, adds) in _MEASURES.items()
    )
    with TemporaryDirectory() as folder, duckdb.connect() as con:
        made.table.with_row_index("place").write_parquet(f"{folder}/events")
        con.execute(f"CREATE TABLE events AS FROM read_parquet('{folder}/events')")
        con.execute(attribution_sql.entries(customers))
        rows = con.execute(
            f"SELECT campaign, channel, event_time_ms // {PANE_MS} * {PANE_MS}, measure, sum(x)"
            f" FROM ({parts}) GROUP BY ALL HAVING sum(x) <> 0"
        ).fetchall()
    return {
        (campaign, channel, pane, measure): int(x) for campaign, channel, pane, measure, x in rows
    }


def _journey(rnd: random.Random, user: str, taken: set[int]) -> list[Event]:
    """Return up to seven clicks of a user, and up to three orders with versions and refunds.

    One user in three has one or two other ids in clicks. Most of these are linked to the user once
    or twice, before or after clicks and orders, and some to another user, too.
    """
    neighbour = f"user-{int(user.removeprefix('user-')) // 10 * 10}"
    ids = [user, *(f"cookie-{part}-of-{user}" for part in range(rnd.choice((0, 0, 0, 0, 1, 2))))]
    clicks = [
        _event(rnd, "click", rnd.choice(ids), taken, _named(rnd)) for _ in range(rnd.randrange(8))
    ]
    links = [
        _event(rnd, "identity", owner, taken, {"same_as": other})
        for other in ids[1:]
        for owner in rnd.choice(([user], [user], [user, user], [user, neighbour], []))
    ]
    orders = [
        _event(rnd, "order_placed", user, taken, _order(rnd, number))
        for number in range(rnd.choice((0, 0, 1, 1, 2, 3)))
    ]
    more: list[Event] = []
    for order in orders:
        versions = _versions(rnd, order)
        bodies = [("order_placed", body) for body in versions]
        bodies += [("order_refunded", body) for body in _refunds(rnd, [order, *versions][-1])]
        more += [
            _event(rnd, kind, user, taken, body, after=order["event_time"]) for kind, body in bodies
        ]
    return [*clicks, *links, *orders, *more]


def _named(rnd: random.Random) -> Event:
    """Return the fields of a campaign and a channel, of one of them, or of neither."""
    campaign = rnd.choice((*CAMPAIGNS, *CAMPAIGNS, "nobody-knows-it", ""))
    channel = rnd.choice((*CHANNELS, ""))
    named = {"campaign_id": campaign, "channel": channel}
    return {name: value for name, value in named.items() if value}


def _order(rnd: random.Random, number: int) -> Event:
    """Return the fields of an order; its id is unique for its customer only."""
    named = _named(rnd) if rnd.random() < 0.5 else {}
    about = {"order_id": f"order-{number}", "items": rnd.randrange(4)}
    return {**named, **about, **_price(rnd)}


def _versions(rnd: random.Random, order: Event) -> list[Event]:
    """Return the fields of further versions of an order, for one order in three.

    It is repeated once or several times, or edited. An edited order has another amount, sometimes
    in another currency, and names another campaign, which does not count.
    """
    draw = rnd.random()
    same = {name: order[name] for name in ("order_id", "items", "amount", "currency")}
    if draw < 0.15:
        return [same] * rnd.choice((1, 1, 1, 2, 3))
    if draw < 0.33:
        price = _price(rnd)
        if rnd.random() < 0.8:
            price["currency"] = order["currency"]
        return [{**same, **_named(rnd), **price, "items": rnd.randrange(4)}]
    return []


def _refunds(rnd: random.Random, order: Event) -> list[Event]:
    """Return the fields of the refunds of an order, for one order in five.

    They pay back all of it at once or in three parts, half of it, or some money in any currency.
    One in ten has an unknown order id.
    """
    if rnd.random() > 0.2:
        return []
    units = int(Decimal(order["amount"]) * 10_000)
    third = units // 3
    parts = rnd.choice(([units], [third, third, units - 2 * third], [units // 2]))
    paid = [{"amount": _money(part), "currency": order["currency"]} for part in parts]
    if rnd.random() < 0.2:
        paid = [_price(rnd)]
    about: Event = {name: order[name] for name in ("campaign_id", "channel") if name in order}
    order_id = "nobody-knows-it" if rnd.random() < 0.1 else order["order_id"]
    return [{**about, "order_id": order_id, **price} for price in paid]


def _price(rnd: random.Random) -> Event:
    currency = rnd.choice((CURRENCY, CURRENCY, "USD", "EUR"))
    return {"amount": _money(rnd.randrange(1, 9_999_999)), "currency": currency}


def _money(units: int) -> str:
    return str(Decimal(units) / 10_000)


def _event(
    rnd: random.Random,
    kind: str,
    user: str,
    taken: set[int],
    body: Event,
    *,
    after: int = START_MS,
) -> Event:
    at = rnd.randrange(after + 1, START_MS + SPAN_MS + DAY_MS)
    while at in taken:
        at += 1
    taken.add(at)
    return {"type": kind, "event_id": f"{user}-{at}", "event_time": at, "user_id": user, **body}


_KINDS: Final = {
    "click": "click",
    "order_placed": "order",
    "order_refunded": "refund",
    "identity": "identity",
}
_ROW: Final = {
    name: oracle.SCHEMA[name]
    for name in (
        *("event_time_ms", "kind", "user_id", "campaign", "channel", "amount", "count"),
        *("order_id", "same_as", "currency", "own", "rate"),
    )
}


def _row(event: Event) -> dict[str, Any]:
    named = event.get("campaign_id", "(none)")
    own, currency = int(Decimal(event.get("amount", 0)) * 10_000), event.get("currency", CURRENCY)
    day = datetime.fromtimestamp(event["event_time"] // 1_000, UTC).date()
    rate = Decimal(1) if currency == CURRENCY else RATES[currency, day]
    foreign = {"currency": currency, "own": own, "rate": int(rate * RATE_UNITS)}
    return {
        "event_time_ms": event["event_time"],
        "kind": _KINDS[event["type"]],
        "user_id": event["user_id"],
        "campaign": named if named in {*CAMPAIGNS, "(none)"} else "(unknown)",
        "channel": event.get("channel", "(none)"),
        "amount": int((own * rate).quantize(Decimal(1), ROUND_HALF_EVEN)),
        "count": event.get("items", 0),
        "order_id": event.get("order_id"),
        "same_as": event.get("same_as"),
        **(foreign if currency != CURRENCY else {}),
    }
