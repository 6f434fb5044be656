"""Generates a month of marketing in New York, in which daylight saving time ends.

The expected rows of the oracle are worked out here, without code of the monitor.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

import polars as pl

from tests.support import oracle
from tests.support.attribution_sql import RATE_UNITS

Event = dict[str, Any]
Rates = Mapping[str, Sequence[tuple[str, str]]]
"""By currency: pairs of the first date and the value of one unit in the reporting currency."""

ZONE: Final = "America/New_York"
CURRENCY: Final = "CNY"
"""The reporting currency; its rate is 1."""
FIRST_DAY: Final = date(2023, 10, 15)
DAYS: Final = 31
LONG_DAY: Final = date(2023, 11, 5)
"""The day on which daylight saving time ends; it has 25 hours."""
RATES: Final[Rates] = {
    "USD": [
        *(("2023-01-01", "7.3012"), ("2023-10-20", "7.3158"), ("2023-10-26", "7.3201")),
        *(("2023-10-30", "7.30977"), ("2023-11-05", "7.28455"), ("2023-11-09", "7.2911")),
    ],
    "EUR": [
        *(("2023-10-01", "7.7213"), ("2023-10-24", "7.7301"), ("2023-10-31", "7.73999")),
        *(("2023-11-06", "7.77021"), ("2023-11-10", "7.80105")),
    ],
}
CAMPAIGNS: Final[list[dict[str, Any]]] = [
    {
        "id": "autumn",
        "name": "Autumn sale",
        "aliases": [],
        "budget": {
            "amount": "5000",
            "currency": "CNY",
            "channels": {"search": "1500", "feed": "900.5"},
            "daily": "250",
        },
        "starts": "2023-10-16T00:00:00-04:00",
        "ends": "2023-11-08T12:00:00-05:00",
        "stages": [
            {"name": "warm-up", "starts": "2023-10-16T00:00:00-04:00"},
            {"name": "peak", "starts": "2023-10-25T00:00:00-04:00"},
            {"name": "encore", "starts": "2023-11-05T01:30:00-05:00"},
        ],
    },
    {
        "id": "members",
        "name": "New members",
        "aliases": [],
        "budget": {"amount": "700", "currency": "USD", "daily": "30", "channels": {"email": "50"}},
        "starts": "2023-10-20T09:30:00Z",
        "ends": "2023-12-01T00:00:00Z",
        "stages": [
            {"name": "first", "starts": "2023-10-21T10:07:00Z"},
            {"name": "second", "starts": "2023-11-03T10:07:00Z"},
        ],
    },
    {"id": "brand", "name": "Brand", "aliases": [], "budget": {"amount": "9", "currency": "CNY"}},
    {"id": "halloween", "name": "Halloween", "aliases": ["Trick or treat"]},
    {"id": "double-11", "name": "双十一", "aliases": ["11.11", "Singles Day"]},
]
_AUTUMN: Final = (1_697_428_800_000, 1_699_462_800_000)
_MEMBERS: Final = (1_697_794_200_000, 1_701_388_800_000)
PLANS: Final = [
    oracle.Plan("autumn", 50_000_000, *_AUTUMN, daily=2_500_000),
    oracle.Plan("autumn", 15_000_000, *_AUTUMN, channel="search"),
    oracle.Plan("autumn", 9_005_000, *_AUTUMN, channel="feed"),
    oracle.Plan("members", 51_210_600, *_MEMBERS, daily=2_194_740),
    oracle.Plan("members", 3_657_900, *_MEMBERS, channel="email"),
    oracle.Plan("brand", 90_000),
]
"""Budgets in 1/10,000 of the reporting currency; USD at the rate of 20 October, 7.3158."""
# How an event names its campaign -> the campaign in which it counts.
CALLED: Final[list[tuple[dict[str, str], str]]] = [
    ({"campaign_id": "autumn"}, "autumn"),
    ({"campaign": "New members"}, "members"),
    ({"campaign": "Trick or treat"}, "halloween"),
    ({"campaign_id": "double-11"}, "double-11"),
    ({"campaign_id": "brand"}, "brand"),
    ({"campaign_id": "nobody-knows-it"}, "(unknown)"),
    ({}, "(none)"),
]
CHANNELS: Final = ("search", "feed", "social", "email", "")
REGIONS: Final = ("north", "south", "west", "")
GUESTS: Final = ("0", "guest", "", None)
"""What stands for no user."""
SEGMENTS: Final = ("students", "parents", None)
CURRENCIES: Final = (CURRENCY, "USD", "EUR")
STAGES: Final = ("lead", "mql", "sql", "opportunity", "won", "lost")
COSTS: Final = ("ads", "channel", "labour")

TOPICS: Final = {
    "impression": "clicks",
    "click": "clicks",
    "visit": "clicks",
    "order_placed": "orders",
    "order_refunded": "orders",
    "registration": "orders",
    "lead": "orders",
    "survey": "orders",
    "spend_reported": "campaigns",
    "measurement": "campaigns",
}
"""Kind of source topic, by type of event."""
KINDS: Final = {
    "order_placed": "order",
    "order_refunded": "refund",
    "spend_reported": "spend",
}
"""The oracle's name for a type of event, where they differ."""

MIX: Final = {
    "impression": 22,
    "click": 20,
    "visit": 18,
    "order_placed": 12,
    "order_refunded": 3,
    "registration": 4,
    "lead": 7,
    "survey": 5,
    "spend_reported": 4,
    "measurement": 8,
}
SESSIONS_A_DAY: Final = 4
LATEST_MS: Final = 500_000
"""Upper limit of lateness."""
CHANGED_WITHIN_MS: Final = 600_000
"""Longest time after which an order is repeated or edited, so that windows are corrected for it."""
SECOND_MS: Final = 1_000
MINUTE_MS: Final = 60 * SECOND_MS
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def local_day(time_ms: int, zone: str) -> date:
    """Return the local date of a moment, given in ms since the epoch."""
    return (EPOCH + timedelta(milliseconds=time_ms)).astimezone(ZoneInfo(zone)).date()


def moment(day: date, zone: str, *, hour: int = 0, minute: int = 0, fold: int = 0) -> int:
    """Return a local time in ms since the epoch; ``fold`` 1 is the second of two equal times."""
    local = datetime(day.year, day.month, day.day, hour, minute, tzinfo=ZoneInfo(zone), fold=fold)
    return (local.astimezone(UTC) - EPOCH) // timedelta(milliseconds=1)


def rate_of(
    currency: str,
    time_ms: int,
    *,
    rates: Rates = RATES,
    zone: str = ZONE,
    reporting: str = CURRENCY,
) -> Decimal:
    """Return the rate of the newest date not after the local date of ``time_ms``.

    Raises:
        LookupError: there is no rate for the currency on that date.
    """
    if currency == reporting:
        return Decimal(1)
    day = local_day(time_ms, zone)
    known = [row for row in rates.get(currency, ()) if date.fromisoformat(row[0]) <= day]
    if not known:
        raise LookupError(f"no rate for {currency} on {day}")
    return Decimal(max(known)[1])


def units(
    amount: str | Decimal,
    currency: str,
    time_ms: int,
    *,
    rates: Rates = RATES,
    zone: str = ZONE,
    reporting: str = CURRENCY,
) -> int:
    """Return money in units of 1/10,000 of the reporting currency, rounded half to even.

    Example: 0.50 USD at 7.28455 is 3.642275 CNY, or 36,422.75 units: 36,423.

    Raises:
        LookupError: there is no rate for the currency on that date.
    """
    rate = rate_of(currency, time_ms, rates=rates, zone=zone, reporting=reporting)
    return int((Decimal(amount) * rate * 10_000).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


def _may_be_late(made: Sequence[Event], place: int) -> bool:
    """Return whether an event may be up to 500 s late without effects that can't be retracted.

    A late click moves the orders after it, but sets of users keep their buyers where they were. A
    late refund, or a late order that is not a customer's first, books money into panes that may be
    too old to correct windows.

    Args:
        made: all events, in the order of their times.
        place: index of the event.
    """
    event = made[place]
    if event["type"] == "order_refunded":
        return False
    if event["type"] == "order_placed":
        mine = [one for one in made[:place] if _same_customer(one, event)]
        if any(one["type"] == "order_placed" for one in mine):
            return False
    if event["type"] in {"click", "order_placed"}:
        return not any(
            _same_customer(one, event) and one["type"] in {"order_placed", "order_refunded"}
            for one in made[place + 1 :]
            if one["event_time"] <= event["event_time"] + LATEST_MS
        )
    return True


def _same_customer(one: Event, other: Event) -> bool:
    return other["user_id"] not in GUESTS and bool(one.get("user_id") == other["user_id"])


def topic_of(event: Event) -> str:
    """Return the kind of the source topic that carries an event."""
    return TOPICS[event["type"]]


def key_of(event: Event) -> str:
    """Return the key of an event's record."""
    return str(event.get("user_id") or event.get("campaign_id") or "guest")


class Month:
    """About 6,000 events of 31 local days, in bursts of some minutes.

    - 3 % are sent again within 100 s with the same id; up to 3 % are 10 to 500 s late; all others
      are in order. No two events have the same time.
    - Most orders are of users who clicked in the days before; a fifth of them names no campaign.
    - Some orders of different users have the same id.
    - 4 % of the events of users are of guests, who are no users.
    - A fifth of the names is spelt otherwise than it is shown.
    - Some orders are repeated or edited under another event id, within `CHANGED_WITHIN_MS`.
    - Refunds come minutes to weeks after their order, often at another rate; a few name an unknown
      order.

    Attributes:
        events: in the order in which they are sent; see `topic_of` and `key_of`.
        counted: the oracle's row of each event.
        duplicates: number of events that are sent twice.
        late: number of events sent after one that happened later, without duplicates.
        campaigns: definitions; events name them by id, name or alias.
        rates: as `units` takes them.
    """

    def __init__(self, seed: int = 1, *, events: int = 6_000) -> None:
        self.zone = ZONE
        self.currency = CURRENCY
        self.rates = RATES
        self.campaigns = CAMPAIGNS
        self._rnd = random.Random(seed)
        self._beside = random.Random(seed + 1)
        self._orders: list[list[Event]] = []
        self._clicked: list[str] = []
        self._metrics: list[str] = []
        self._rows: list[dict[str, Any]] = []
        self.events: list[Event] = []
        self.duplicates = 0
        made: list[Event] = []
        for number, at in enumerate(self._times(events)):
            event, row = self._event(number, at)
            made.append(event)
            self._rows.append(row)
        sent: list[tuple[int, int, Event]] = []
        for place in range(len(made)):
            self._send(sent, made, place)
        sent.sort(key=lambda sending: sending[:2])
        self.events = [event for _, _, event in sent]
        self.late = self._count_late()
        self.counted = pl.DataFrame(self._rows, schema=oracle.SCHEMA, orient="row")

    def _times(self, count: int) -> list[int]:
        """Return distinct sorted times in bursts, some of them at midnight and in the long day."""
        rnd = self._rnd
        first, last = (
            moment(day, self.zone) for day in (FIRST_DAY, FIRST_DAY + timedelta(days=DAYS))
        )
        starts: list[int] = []
        for number in range(DAYS):
            day = FIRST_DAY + timedelta(days=number)
            midnight = moment(day, self.zone)
            starts += [
                midnight + rnd.randrange(6 * 60, 23 * 60) * MINUTE_MS
                for _ in range(SESSIONS_A_DAY - 1)
            ]
            # Every other day a burst that spans midnight.
            starts.append(midnight - 90 * SECOND_MS if number % 2 else midnight + 45 * MINUTE_MS)
        # Bursts in the hour that the long day has twice.
        starts += [moment(LONG_DAY, self.zone, hour=1, minute=30, fold=fold) for fold in (0, 1)]
        times: set[int] = set()
        while len(times) < count:
            start = rnd.choice(starts)
            at = start + int(rnd.triangular(0, 4 * MINUTE_MS, MINUTE_MS))
            if first <= at < last:
                times.add(at)
        return sorted(times)

    def _send(self, sent: list[tuple[int, int, Event]], made: Sequence[Event], place: int) -> None:
        """Add the sendings of an event: in time, late, or in time and then again."""
        event, draw = made[place], self._rnd.random()
        at = event["event_time"]
        if draw < 0.03 and _may_be_late(made, place):
            sent.append((at + self._rnd.randrange(10_000, LATEST_MS), len(sent), event))
            return
        sent.append((at, len(sent), event))
        if draw > 0.97:
            sent.append((at + self._rnd.randrange(1, 100_000), len(sent), dict(event)))
            self.duplicates += 1

    def _count_late(self) -> int:
        """Return how many events are sent after one that happened later, without duplicates."""
        newest = late = 0
        seen: set[str] = set()
        for event in self.events:
            late += event["event_id"] not in seen and event["event_time"] < newest
            seen.add(event["event_id"])
            newest = max(newest, event["event_time"])
        return late

    def _event(self, number: int, at: int) -> tuple[Event, dict[str, Any]]:
        """Return an event and the oracle's row for it."""
        rnd = self._rnd
        kind = rnd.choices(list(MIX), list(MIX.values()))[0]
        if kind == "order_refunded" and not self._orders:
            kind = "order_placed"
        event: Event = {"type": kind, "event_id": f"e{number}", "event_time": at}
        row: dict[str, Any] = {
            "event_time_ms": at,
            "kind": KINDS.get(kind, kind),
            "user_id": None,
            "campaign": "(none)",
            "channel": "(none)",
            "region": "",
            "segment": "",
            "paid": False,
            "amount": 0,
            "count": 0,
            "dwell_ms": None,
            "metric": "",
            "order_id": None,
            "currency": None,
            "own": None,
            "rate": None,
        }
        make: Callable[[Event, dict[str, Any]], None] = getattr(self, f"_{kind}")
        if TOPICS[kind] != "campaigns":
            self._by_user(event, row)
        make(event, row)
        return event, row

    def _by_user(self, event: Event, row: dict[str, Any]) -> None:
        rnd = self._rnd
        event["user_id"] = row["user_id"] = f"user-{int(rnd.betavariate(1, 2) * 400)}"
        called, row["campaign"] = rnd.choices(CALLED, [24, 20, 20, 16, 12, 2, 6])[0]
        event.update({name: self._spelt(value) for name, value in called.items()})
        if self._beside.random() < 0.04:
            event["user_id"], row["user_id"] = self._beside.choice(GUESTS), None
        channel = rnd.choice(CHANNELS)
        if channel:
            event["channel"] = self._spelt(channel)
        row["channel"] = channel or "(none)"
        region = rnd.choice(REGIONS)
        if region or rnd.random() < 0.5:
            event["region"], row["region"] = self._spelt(region), region
        segment = rnd.choices(SEGMENTS, [20, 15, 65])[0]
        if segment or rnd.random() < 0.5:
            event["segment"] = segment and self._spelt(segment)
        row["segment"] = segment or ""

    def _spelt(self, name: str) -> str:
        """Return a name, sometimes in another spelling that means the same."""
        if self._beside.random() < 0.8:
            return name
        wide = "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in name)
        encoded = "".join(f"%{byte:02X}" for byte in name.encode())
        return self._beside.choice(
            [name.upper(), f" {name} ", name.replace(" ", "+"), wide, encoded]
        )

    def _impression(self, event: Event, row: dict[str, Any]) -> None:
        row["count"] = 1
        if self._rnd.random() < 0.8:
            event["count"] = row["count"] = self._rnd.randrange(1, 40)

    def _traffic(self, event: Event, row: dict[str, Any], *, usual: str) -> None:
        traffic = usual
        if self._rnd.random() < 0.6:
            traffic = event["traffic"] = self._rnd.choice(["paid", "natural"])
        row["paid"] = traffic == "paid"

    def _click(self, event: Event, row: dict[str, Any]) -> None:
        if row["user_id"] is not None:
            self._clicked.append(event["user_id"])
        self._traffic(event, row, usual="paid")

    def _visit(self, event: Event, row: dict[str, Any]) -> None:
        self._traffic(event, row, usual="natural")
        row["count"] = 1
        if self._rnd.random() < 0.7:
            event["pages"] = row["count"] = self._rnd.randrange(1, 12)
        if self._rnd.random() < 0.8:
            event["dwell_ms"] = row["dwell_ms"] = int(self._rnd.lognormvariate(10, 1))

    def _money(self, event: Event, row: dict[str, Any], amount: Decimal, currency: str) -> None:
        event.update(amount=str(amount), currency=currency)
        row["amount"] = units(amount, currency, event["event_time"], rates=self.rates)
        row.update(currency=None, own=None, rate=None)
        if currency != CURRENCY:
            rate = rate_of(currency, event["event_time"], rates=self.rates)
            own, scaled = int(amount * 10_000), int(rate * RATE_UNITS)
            row.update(currency=currency, own=own, rate=scaled)

    def _order_placed(self, event: Event, row: dict[str, Any]) -> None:
        amount = Decimal(f"{self._rnd.lognormvariate(4, 0.8):.{self._rnd.choice([0, 2, 4])}f}")
        if self._clicked and self._rnd.random() < 0.7:
            event["user_id"] = row["user_id"] = self._rnd.choice(self._clicked[-100:])
        if self._rnd.random() < 0.2:
            for name in ("campaign_id", "campaign"):
                event.pop(name, None)
            row["campaign"] = "(none)"
        event["order_id"] = row["order_id"] = self._order_id(event)
        if self._rnd.random() < 0.7:
            event["items"] = row["count"] = self._rnd.randrange(1, 9)
        self._money(event, row, amount, self._rnd.choice(CURRENCIES))
        lately = [
            versions
            for versions in self._orders[-20:]
            if versions[0]["event_time"] > event["event_time"] - CHANGED_WITHIN_MS
        ]
        if lately and self._rnd.random() < 0.25:
            self._change(event, row, self._rnd.choice(lately))
        else:
            self._orders.append([event])

    def _change(self, event: Event, row: dict[str, Any], versions: list[Event]) -> None:
        """Make an event repeat or edit an order; edited, it keeps the fields that it has.

        An edited order is mostly in the currency of the first version.
        """
        first, rnd = versions[0], self._rnd
        if rnd.random() < 0.5:
            self._copy(event, row, versions[-1])
            event.pop("items", None)
            event.update({name: versions[-1][name] for name in ("items",) if name in versions[-1]})
            row["count"] = event.get("items", 0)
            self._money(event, row, Decimal(versions[-1]["amount"]), versions[-1]["currency"])
        elif rnd.random() < 0.8:
            self._money(event, row, Decimal(event["amount"]), first["currency"])
        for name in ("user_id", "order_id"):
            event[name] = row[name] = first[name]
        versions.append(event)

    def _copy(self, event: Event, row: dict[str, Any], order: Event) -> None:
        """Make an event name the user, campaign, channel, region and segment of an order."""
        about = ("user_id", "campaign_id", "campaign", "channel", "region", "segment")
        for name in about:
            event.pop(name, None)
        event.update({name: order[name] for name in about if name in order})
        placed = next(
            known for known in self._rows if known["event_time_ms"] == order["event_time"]
        )
        row.update(
            {name: placed[name] for name in ("user_id", "campaign", "channel", "region", "segment")}
        )

    def _order_id(self, event: Event) -> str:
        """Return a new order id, or sometimes that of the last order if another user placed it."""
        if self._orders and self._rnd.random() < 0.1:
            before, *_ = self._orders[-1]
            if all(
                order["user_id"] != event["user_id"]
                for order, *_ in self._orders
                if order["order_id"] == before["order_id"]
            ):
                return str(before["order_id"])
        return f"order-{event['event_id']}"

    def _order_refunded(self, event: Event, row: dict[str, Any]) -> None:
        """Make a refund of all or a part of an earlier order, or of an unknown one."""
        rnd = self._rnd
        if rnd.random() < 0.1:
            event["order_id"] = row["order_id"] = f"lost-{event['event_id']}"
            self._money(event, row, Decimal(rnd.randrange(1, 90)), rnd.choice(CURRENCIES))
            return
        lately = 20 if rnd.random() < 0.7 else len(self._orders)
        versions = rnd.choice(self._orders[-lately:])
        order, latest = versions[0], versions[-1]
        self._copy(event, row, order)
        event["order_id"] = row["order_id"] = order["order_id"]
        back, share = Decimal(latest["amount"]), rnd.choice([1, 1, 2, 4])
        if share > 1:
            back = (back / share).quantize(Decimal("0.01"), rounding="ROUND_DOWN")
        self._money(event, row, back, latest["currency"])

    def _registration(self, event: Event, row: dict[str, Any]) -> None:
        """Add nothing: registrations have no fields of their own."""

    def _lead(self, event: Event, row: dict[str, Any]) -> None:
        event["stage"] = row["metric"] = self._rnd.choices(STAGES, [8, 6, 5, 4, 3, 2])[0]

    def _survey(self, event: Event, row: dict[str, Any]) -> None:
        row["metric"], choices = self._rnd.choice([("nps", range(11)), ("csat", range(1, 6))])
        event[row["metric"]] = row["count"] = self._rnd.choice(choices)

    def _by_campaign(self, event: Event, row: dict[str, Any]) -> None:
        known = [(campaign["id"], campaign["id"]) for campaign in self.campaigns]
        event["campaign_id"], row["campaign"] = self._rnd.choices(
            [*known, ("Trick or treat", "halloween"), ("nobody-knows-it", "(unknown)")],
            [6, 6, 6, 6, 6, 2, 1],
        )[0]

    def _spend_reported(self, event: Event, row: dict[str, Any]) -> None:
        self._by_campaign(event, row)
        channel = self._rnd.choice(CHANNELS)
        if channel:
            event["channel"] = channel
        row["channel"] = channel or "(none)"
        row["metric"] = self._rnd.choices(COSTS, [4, 1, 1])[0]
        if row["metric"] != "ads" or self._rnd.random() < 0.5:
            event["cost"] = row["metric"]
        amount = Decimal(self._rnd.randrange(100, 60_000)) / 100
        self._money(event, row, amount, self._rnd.choice(CURRENCIES))

    def _measurement(self, event: Event, row: dict[str, Any]) -> None:
        rnd = self._rnd
        self._by_campaign(event, row)
        if not self._metrics:  # each once, before any comes again: all are in a short month, too
            self._metrics = [*oracle.FLOWS, *oracle.LEVELS, "complaint_response_s"]
            self._beside.shuffle(self._metrics)
        metric = self._metrics.pop()
        event["metric"] = row["metric"] = metric
        if metric in oracle.FLOWS:
            row["count"] = rnd.randrange(0, 200)
            event["value"] = str(row["count"])
            return
        if metric in {"market_share", "awareness", "penetration"}:
            value = Decimal(rnd.randrange(10_001)) / 10_000
        elif metric == "complaint_response_s":
            value = Decimal(rnd.randrange(1, 900_000)) / rnd.choice([1, 10, 100, 1_000])
        else:
            value = Decimal(rnd.randrange(100_000))
        event["value"] = str(value)
        row["amount"] = int(value * 10_000)
