"""Generates the events of synthetic campaigns, from a seed and with known totals.

- Clicks follow the hour of the day. Some lead to an order 0.5 to 4 s later, others to
  registrations, leads and answers to surveys.
- Every 10 s of event time, spend and measurements are reported.
- Every minute of event time, each campaign reports costs of the minute before, and restates those
  of the minute that ended `RESTATED_AFTER_MS` before, as advertising platforms do.
- A fifth of the orders name neither campaign nor channel, so that they need attribution.
- 2 % of the orders are sent again under another event id, as if their last page was loaded again,
  and 2 % are edited to another amount, 5 to 20 s after the click that led to them.
- 3 % of the orders are refunded by half, 30 s after the click that led to them.
- Every 20 minutes of event time the first campaign is changed (``campaign_changed``). Changes
  have no influence on the users.
- Some records are sent twice, some are late, some are broken (`Oddities`).
- A `Scenario` breaks something between two event times.
"""

from __future__ import annotations

import heapq
import json
import math
import random
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from models.campaigns.campaign import Budget, Campaign, Stage
from models.events import KIND_OF_TYPE
from models.window import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, whole_quarter

SPEND_EVERY_MS = 10 * SECOND_MS
CHANGE_EVERY_MS = 20 * MINUTE_MS
RESTATED_AFTER_MS = 3 * MINUTE_MS
STEP_MS = 100
SCENARIOS = ("checkout-outage", "traffic-spike", "tracking-lost", "budget-burn")

CAMPAIGNS = (
    Campaign(
        id="618-main",
        name="618 主会场",
        aliases=("618 Main",),
        channels=("search", "feed", "live"),
        owner="growth",
    ),
    Campaign(
        id="618-beauty",
        name="618 美妆",
        aliases=("618 Beauty",),
        channels=("feed", "live", "social"),
        owner="beauty",
    ),
    Campaign(
        id="new-members",
        name="新会员",
        aliases=("New members",),
        channels=("search", "email"),
        owner="crm",
    ),
)

STAGES = ("预热 warm-up", "爆发 peak", "返场 encore")
BUDGET = Budget(amount=Decimal(1_000_000), currency="CNY")
"""Advertising budget of the first campaign for one day."""
_CHANGES = (
    ("budget", ("100000", "120000", "150000")),
    ("creative", ("countdown", "gift card", "live clip")),
    ("landing page", ("/618", "/618-deals", "/618-live")),
)
"""Changes of the first campaign, round-robin: what is changed, and its values in rotation."""


def staged(start_ms: int, *, days: int = 1) -> tuple[Campaign, ...]:
    """Return the campaigns; the first has a budget, a start, an end and phases of an hour.

    Args:
        start_ms: when the feed begins; the first phase begins at the next whole quarter of an
            hour.
        days: length of the first campaign; its budget is `BUDGET` for each day.
    """
    first_ms = whole_quarter(start_ms)
    plan = {
        "budget": BUDGET.model_copy(update={"amount": BUDGET.amount * days}),
        "starts": _moment(start_ms),
        "ends": _moment(start_ms + days * DAY_MS),
        "stages": tuple(
            Stage(name=name, starts=_moment(first_ms + hour * HOUR_MS))
            for hour, name in enumerate(STAGES)
        ),
    }
    return (CAMPAIGNS[0].model_copy(update=plan), *CAMPAIGNS[1:])


def _moment(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)


_SHARE = {"618-main": 0.6, "618-beauty": 0.3, "new-members": 0.1}
_CONVERSION = {"618-main": 0.08, "618-beauty": 0.06, "new-members": 0.04}
_COST_PER_CLICK = {"search": 1.2, "feed": 0.8, "live": 0.5, "social": 0.6, "email": 0.05}
_REGIONS = ("east", "south", "north", "west")
_SEGMENTS = ("members", "guests")
_NEXT_STAGE = {"lead": "mql", "mql": "sql", "sql": "opportunity", "opportunity": "won"}
_UNNAMED_ORDERS = 0.2
"""Share of orders that name neither campaign nor channel."""
USERS = 500_000
_REPEATED_ORDERS = 0.02
"""Share of orders that are sent again under another event id."""
_EDITED_ORDERS = 0.02
"""Share of orders whose amount is edited."""
_ON_EACH_STAGE = 0.6
"""Share of the leads at one stage that reach the next."""
_COUNTED = {
    **{"likes": 40, "comments": 12, "shares": 6, "brand_searches": 30, "mentions": 15},
    **{"store_visits": 5, "sentiment_positive": 9, "sentiment_neutral": 4},
    "sentiment_negative": 2,
}
"""Metrics that are measured every 10 s, with their usual size: from half to twice as much."""
_BROKEN = (
    b"not json",
    b'{"type":"click"}',
    b'{"type":"teleport","event_id":"x","event_time":0}',
    b'{"type":"click","event_id":"\xff","event_time":0,"user_id":"u"}',
)


OUTAGE_LETS_THROUGH = 0.05
"""Share of buyers who still get through a broken checkout. With none, the topic of orders would
be a silent source, and its KPIs would not be judged."""


class FeedRecord(NamedTuple):
    """A record to send once the clock of the feed shows ``due_ms``."""

    due_ms: int
    topic: str
    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Scenario:
    """An incident between two event times, [start, end) in ms; `SCENARIOS` are the names."""

    name: str
    start_ms: int
    end_ms: int

    def active(self, time_ms: int) -> bool:
        """Return whether the incident is on at that event time."""
        return self.start_ms <= time_ms < self.end_ms


@dataclass(frozen=True, slots=True)
class Recurring(Scenario):
    """An incident that begins again every ``every_ms`` of event time."""

    every_ms: int

    def active(self, time_ms: int) -> bool:
        """Return whether the incident is on at that event time."""
        length_ms = self.end_ms - self.start_ms
        return time_ms >= self.start_ms and (time_ms - self.start_ms) % self.every_ms < length_ms


@dataclass(slots=True)
class Truth:
    """Totals of the records sent, to compare the monitor's counts with.

    ``unique`` counts the valid events by type, each once; ``duplicates`` and ``broken`` are
    records that must not be counted; ``late`` is a part of ``unique``. ``revenue_units`` is
    gross revenue in 1/10,000 of the currency, with each order once, as it was edited last.
    """

    unique: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0
    broken: int = 0
    late: int = 0
    revenue_units: int = 0

    @property
    def counted(self) -> int:
        """Number of events that must be counted."""
        return self.unique.total()

    @property
    def records(self) -> int:
        """Number of records sent."""
        return self.counted + self.duplicates + self.broken


@dataclass(slots=True, kw_only=True)
class Oddities:
    """Shares of odd records, 0 to 1.

    Attributes:
        duplicates: of the records that are sent again, due up to 2 s later.
        late: of the records of the topic of clicks whose event time is 8 to 20 s older.
        broken: of the records that are followed by one that can't be decoded.
    """

    duplicates: float = 0.01
    late: float = 0.005
    broken: float = 0.002


class Synthetic:
    """Generates the records of the campaigns.

    Args:
        seed: the same seed gives the same records.
        clicks_per_second: on average, of event time.
        topics: names of the topics of clicks, orders and campaigns.
        currency: ISO 4217 code of all amounts.
        oddities: shares of repeated, late and broken records; None for the defaults.
    """

    def __init__(
        self,
        *,
        seed: int,
        clicks_per_second: float,
        topics: tuple[str, str, str] = ("clicks", "orders", "campaigns"),
        currency: str = "CNY",
        oddities: Oddities | None = None,
    ) -> None:
        self._random = random.Random(seed)  # noqa: S311 - repeatable, not secret
        # Generators of their own for everything else, so that it does not change clicks and orders.
        self._beside = random.Random(seed + 1)  # noqa: S311 - repeatable, not secret
        self._costs = random.Random(seed + 2)  # noqa: S311 - repeatable, not secret
        self._followers: Counter[str] = Counter({one.id: 20_000 for one in CAMPAIGNS})
        self._rate = clicks_per_second
        self._clicks, self._orders, self._campaigns = topics
        self._currency = currency
        self._odd = oddities or Oddities()
        self._scenarios: list[Scenario] = []
        self._waiting: list[tuple[int, int, str, str, dict[str, Any], int]] = []
        self._spend: Counter[tuple[str, str]] = Counter()
        self._number = 0
        self._first_ms = sys.maxsize
        self._prefix = f"s{seed}"
        self.truth = Truth()

    def add(self, scenario: Scenario) -> None:
        """Add an incident.

        Raises:
            ValueError: its name is not known.
        """
        if scenario.name not in SCENARIOS:
            raise ValueError(f"no scenario {scenario.name!r}; known: {', '.join(SCENARIOS)}")
        self._scenarios.append(scenario)

    def records(self, start_ms: int, end_ms: int) -> Iterator[FeedRecord]:
        """Yield the records of [start, end) in the order in which they are due."""
        self._first_ms = min(self._first_ms, start_ms)
        for step in range(start_ms, end_ms, STEP_MS):
            made: list[FeedRecord] = []
            for _ in range(self._poisson(self._clicks_in(step))):
                made.extend(self._click(step + self._random.randrange(STEP_MS)))
            made.extend(self._due_orders(step + STEP_MS))
            if step % SPEND_EVERY_MS < STEP_MS:
                made.extend(self._spend_reports(step))
                made.extend(self._measurements(step))
            if step % MINUTE_MS < STEP_MS:
                made.extend(self._costs_of_minutes(step))
            if step % CHANGE_EVERY_MS < STEP_MS:
                yield self._change(step)
            yield from sorted(self._oddly(made))

    def _clicks_in(self, time_ms: int) -> float:
        rate = self._rate * _hour_factor(time_ms) * STEP_MS / SECOND_MS
        return rate * 8 if self._is("traffic-spike", time_ms) else rate

    def _is(self, scenario: str, time_ms: int) -> bool:
        return any(one.name == scenario and one.active(time_ms) for one in self._scenarios)

    def _click(self, time_ms: int) -> Iterator[FeedRecord]:
        rnd = self._random
        campaign = rnd.choices(CAMPAIGNS, [_SHARE[one.id] for one in CAMPAIGNS])[0]
        channel = rnd.choice(campaign.channels)
        # Skewed: some users come often, but none so often that a customer's log drops clicks.
        user = f"u{int(USERS * rnd.random() ** 2):06d}"
        burn = 10 if self._is("budget-burn", time_ms) else 1
        self._spend[campaign.id, channel] += round(
            _COST_PER_CLICK[channel] * rnd.uniform(0.7, 1.3) * burn * 10_000
        )
        who = {"user_id": user, "channel": channel, "region": rnd.choice(_REGIONS)}
        named = {"campaign_id": campaign.id} if rnd.random() < 0.9 else {"campaign": campaign.name}
        if not (campaign is CAMPAIGNS[0] and self._is("tracking-lost", time_ms)):
            yield self._record(
                "impression", time_ms, key=user, count=rnd.randrange(10, 40), **who, **named
            )
            yield self._record("click", time_ms, key=user, **who, **named)
            if rnd.random() < 0.5:
                yield self._record(
                    "visit",
                    time_ms + 50,
                    key=user,
                    dwell_ms=rnd.randrange(500, 90_000),
                    **who,
                    **named,
                )
            yield from self._interest(time_ms, user, who | named)
        buys = rnd.random() < _CONVERSION[campaign.id]
        if buys and self._is("checkout-outage", time_ms):
            buys = rnd.random() < OUTAGE_LETS_THROUGH
        if buys:
            amount = round(rnd.lognormvariate(5.0, 0.7), 2)
            order = {
                "order_id": f"{self._prefix}-o{self._number}",
                "amount": amount,
                "currency": self._currency,
                "items": self._beside.randrange(1, 4),
            }
            about = who | named
            if self._beside.random() < _UNNAMED_ORDERS:
                about = {name: who[name] for name in ("user_id", "region")}
            units = round(amount * 10_000)
            placed_ms = time_ms + rnd.randrange(500, 4_000)
            self._later(placed_ms, "order_placed", user, about | order, revenue=units)
            self._perhaps_changed(time_ms, user, about | order)
            if rnd.random() < 0.03:
                back = {**order, "amount": round(amount / 2, 2)}
                self._later(time_ms + 30_000, "order_refunded", user, about | back)

    def _perhaps_changed(self, time_ms: int, user: str, order: dict[str, Any]) -> None:
        """Send a few orders again, and edit the amount of a few."""
        rnd = self._beside
        draw = rnd.random()
        if draw > _REPEATED_ORDERS + _EDITED_ORDERS:
            return
        again_ms, added = time_ms + rnd.randrange(5_000, 20_000), 0
        if draw < _EDITED_ORDERS:
            amount = round(order["amount"] * rnd.uniform(0.5, 1.2), 2)
            added = round(amount * 10_000) - round(order["amount"] * 10_000)
            order = order | {"amount": amount, "items": rnd.randrange(1, 4)}
        self._later(again_ms, "order_placed", user, order, revenue=added)

    def _interest(self, time_ms: int, user: str, body: dict[str, Any]) -> Iterator[FeedRecord]:
        """Yield for a few clicks a registration, a lead through its stages, or a survey answer."""
        rnd = self._beside
        body = body | {"segment": rnd.choice(_SEGMENTS)}
        if rnd.random() < 0.03:
            yield self._record("registration", time_ms + 60, key=user, **body)
        if rnd.random() < 0.02:
            stage: str | None = "lead"
            while stage is not None:
                yield self._record("lead", time_ms + 70, key=user, stage=stage, **body)
                stage = _NEXT_STAGE.get(stage) if rnd.random() < _ON_EACH_STAGE else None
        if rnd.random() < 0.02:
            answer = (
                {"nps": min(10, rnd.randrange(4, 13))}
                if rnd.random() < 0.5
                else {"csat": min(5, rnd.randrange(2, 7))}
            )
            yield self._record("survey", time_ms + 80, key=user, **answer, **body)

    def _measurements(self, time_ms: int) -> Iterator[FeedRecord]:
        rnd = self._beside
        for campaign in CAMPAIGNS:
            self._followers[campaign.id] += rnd.randrange(0, 5)
            measured: dict[str, int | str] = {
                name: rnd.randrange(usual // 2, 2 * usual) for name, usual in _COUNTED.items()
            }
            measured |= {
                "followers": self._followers[campaign.id],
                "market_share": f"{0.1 + rnd.random() / 100:.4f}",
                "awareness": f"{0.3 + rnd.random() / 100:.4f}",
                "stock": 5_000 + rnd.randrange(0, 100),
                "complaint_response_s": f"{rnd.uniform(60, 3_600):.3f}",
            }
            for metric, value in measured.items():
                yield self._of_campaign(
                    "measurement",
                    time_ms,
                    campaign.id,
                    metric=metric,
                    value=value,
                )
            yield self._of_campaign(
                "spend_reported",
                time_ms,
                campaign.id,
                amount=f"{rnd.uniform(0.5, 2):.2f}",
                currency=self._currency,
                cost=rnd.choice(("channel", "labour")),
            )

    def _change(self, time_ms: int) -> FeedRecord:
        turn, number = divmod(time_ms // CHANGE_EVERY_MS, len(_CHANGES))
        what, values = _CHANGES[number]
        campaign = CAMPAIGNS[0]
        return self._of_campaign(
            "campaign_changed",
            time_ms,
            campaign.id,
            what=what,
            to=values[turn % len(values)],
            who=campaign.owner,
            **{"from": values[(turn - 1) % len(values)]},
        )

    def _later(
        self, due_ms: int, kind: str, user: str, body: dict[str, Any], *, revenue: int = 0
    ) -> None:
        """Put an event off until it is due; ``revenue`` is what it adds to gross revenue then."""
        self._number += 1
        heapq.heappush(self._waiting, (due_ms, self._number, kind, user, body, revenue))

    def _due_orders(self, until_ms: int) -> Iterator[FeedRecord]:
        while self._waiting and self._waiting[0][0] < until_ms:
            due_ms, _, kind, user, body, revenue = heapq.heappop(self._waiting)
            self.truth.revenue_units += revenue
            yield self._record(kind, due_ms, key=user, **body)

    def _spend_reports(self, time_ms: int) -> Iterator[FeedRecord]:
        spent, self._spend = self._spend, Counter()
        for (campaign_id, channel), units in sorted(spent.items()):
            yield self._of_campaign(
                "spend_reported",
                time_ms,
                campaign_id,
                channel=channel,
                amount=f"{units // 10_000}.{units % 10_000:04d}",
                currency=self._currency,
            )

    def _costs_of_minutes(self, time_ms: int) -> Iterator[FeedRecord]:
        minute = time_ms - time_ms % MINUTE_MS
        for campaign in CAMPAIGNS:
            for until_ms in (minute, minute - RESTATED_AFTER_MS):
                if until_ms - MINUTE_MS < self._first_ms:
                    continue
                start, end = _moment(until_ms - MINUTE_MS), _moment(until_ms)
                yield self._of_campaign(
                    "spend_reported",
                    time_ms,
                    campaign.id,
                    channel=campaign.channels[0],
                    cost=("ads", "channel")[until_ms // MINUTE_MS % 2],
                    period=f"{start.isoformat()}/{end.isoformat()}",
                    amount=f"{self._costs.uniform(1, 3):.2f}",
                    currency=self._currency,
                )

    def _of_campaign(self, kind: str, time_ms: int, campaign_id: str, **body: Any) -> FeedRecord:
        return self._record(kind, time_ms, key=campaign_id, campaign_id=campaign_id, **body)

    def _record(self, kind: str, time_ms: int, *, key: str, **body: Any) -> FeedRecord:
        self._number += 1
        event = {
            "type": kind,
            "event_id": f"{self._prefix}-{self._number}",
            "event_time": time_ms,
            **body,
        }
        self.truth.unique[kind] += 1
        return FeedRecord(
            time_ms,
            self._topic_of(kind),
            key.encode(),
            json.dumps(event, ensure_ascii=False).encode(),
        )

    def _topic_of(self, kind: str) -> str:
        topics = {"clicks": self._clicks, "orders": self._orders, "campaigns": self._campaigns}
        return topics[KIND_OF_TYPE[kind]]

    def _oddly(self, made: list[FeedRecord]) -> Iterator[FeedRecord]:
        rnd, odd, truth = self._random, self._odd, self.truth
        for record in made:
            sent = record
            if record.topic == self._clicks and rnd.random() < odd.late:
                truth.late += 1
                sent = record._replace(value=_older(record.value, rnd.randrange(8_000, 20_000)))
            yield sent
            if rnd.random() < odd.duplicates:
                truth.duplicates += 1
                yield sent._replace(due_ms=sent.due_ms + rnd.randrange(0, 2_000))
            if rnd.random() < odd.broken:
                truth.broken += 1
                yield record._replace(topic=self._clicks, value=rnd.choice(_BROKEN))

    def _poisson(self, mean: float) -> int:
        limit, count, product = math.exp(-mean), 0, self._random.random()
        while product > limit:
            count += 1
            product *= self._random.random()
        return count


def _older(value: bytes, by_ms: int) -> bytes:
    event = json.loads(value)
    event["event_time"] -= by_ms
    return json.dumps(event, ensure_ascii=False).encode()


def _hour_factor(time_ms: int) -> float:
    """Return the activity of the hour in UTC+8: 0.7 at 8:00, 1.0 on average, 1.3 at 20:00."""
    hour = datetime.fromtimestamp((time_ms + 8 * HOUR_MS) / 1000, UTC).hour
    return 1.0 + 0.3 * math.sin((hour - 14) / 24 * 2 * math.pi)
