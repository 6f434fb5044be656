"""A source partition and its customers: what waits, what is asked again, what is counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.aggregates import ingest_report
from models.kpi.measures import SUMS
from models.money.exchange_rates import Rate, Rates
from models.window import DAY_MS
from streams.engine.contracts import NotYetError, PendingSnapshot, Position, Snapshot
from streams.ingest.customers.pending_checkpoint import (
    CustomerContext,
    CustomersAwayError,
    Entries,
    Recorded,
)
from streams.ingest.job import IngestJob
from tests.support.at_once import settled
from tests.support.customers import MemoryCustomers, context
from tests.support.offline import NOON, RULES, Record, event, ingest_job, record, saved_from

LATER = Position(caught_up_at_ms=NOON + 9_999, behind=0)
Counted = Counter[tuple[int, str, str, str]]


def counted(snapshot: Snapshot) -> Counted:
    """Return what a snapshot reports, by pane, campaign, channel and measure."""
    found: Counted = Counter()
    (report,) = ingest_report.decode(snapshot.outputs[0].value).reports
    for start, cells in report.panes.items():
        for row in cells:
            for measure, units in zip(SUMS, row.cell.sums, strict=True):
                found[start, row.campaign, row.channel, measure.name] += units
    return Counter({key: units for key, units in found.items() if units})


def unsettled(job: IngestJob) -> PendingSnapshot:
    snapshot = job.snapshot()
    assert not isinstance(snapshot, Snapshot)
    return snapshot


def without_clicks(customers: MemoryCustomers | None = None) -> CustomerContext:
    """Return the context of a worker that has settled all clicks: orders do not wait for any."""
    made = context(customers)
    made.progress.opened("clicks", 0, event_ms=NOON + 9 * DAY_MS)
    return made


def click(offset: int, *, at: int = NOON, campaign: str = "c1") -> Record:
    body = event(at=at, event_id=f"click-{offset}", campaign_id=campaign)
    return record(body, offset=offset, at=NOON)


def order(offset: int, *, at: int = NOON + 1_000) -> Record:
    body = event("order_placed", at=at, event_id=f"order-{offset}", order_id=f"o{offset}")
    del body["campaign_id"], body["channel"]
    return record(body, offset=offset, at=NOON + 10)


def test_orders_wait_for_the_clicks_before_them() -> None:
    shared = context()
    clicks = ingest_job("clicks", customers=shared)
    orders = ingest_job("orders", customers=shared)
    orders.apply([order(0)])
    cut = unsettled(orders)
    with pytest.raises(NotYetError):
        cut.settle().send(None)
    clicks.apply([click(0)])
    settled(clicks.snapshot())
    with pytest.raises(NotYetError):
        cut.settle().send(None)
    clicks.tick(Position(caught_up_at_ms=NOON + 1_000, behind=0), now_ms=NOON + 1_000)
    assert counted(settled(cut))[NOON, "c1", "search", "orders"] == 1


def test_orders_wait_until_their_clicks_are_opened() -> None:
    """After a start the job of orders may be opened first; the clicks may be hours of history."""
    shared = context()
    orders = ingest_job("orders", customers=shared)
    orders.apply([order(0)])
    cut = unsettled(orders)
    with pytest.raises(NotYetError):
        cut.settle().send(None)
    clicks = ingest_job("clicks", customers=shared)
    clicks.apply([click(0)])
    clicks.tick(Position(caught_up_at_ms=NOON + 1_000, behind=0), now_ms=NOON + 1_000)
    settled(clicks.snapshot())
    assert counted(settled(cut))[NOON, "c1", "search", "orders"] == 1


def test_pending_checkpoint_is_settled_later() -> None:
    """A pending checkpoint that got no answer is settled later, with the same result."""
    customers = MemoryCustomers()
    orders = ingest_job("orders", customers=without_clicks(customers))
    orders.apply([order(0)])
    cut = unsettled(orders)
    customers.away = "Redis does not answer"
    for _ in range(2):
        with pytest.raises(CustomersAwayError, match="does not answer"):
            cut.settle().send(None)
    orders.apply([order(1)])
    customers.away = ""
    first, second = settled(cut), settled(orders.snapshot())
    assert counted(first)[NOON, "(none)", "(direct)", "first_orders"] == 1
    assert counted(second)[NOON, "(none)", "(direct)", "first_orders"] == 0
    assert counted(second)[NOON, "(none)", "(direct)", "orders"] == 1


def test_unreadable_log() -> None:
    """A log that can't be read makes the whole call repeat: what was read of it counts once."""

    class Damaged(MemoryCustomers):
        damaged = True

        async def record(self, entries: Entries, **more: Any) -> Recorded:
            recorded = await super().record(entries, **more)
            if self.damaged:
                recorded.changed[-1] = recorded.changed[-1]._replace(log=[b"damaged"])
            return recorded

    customers = Damaged()
    orders = ingest_job("orders", customers=without_clicks(customers))
    orders.apply([order(0), order(1)])
    pending = unsettled(orders)
    for _ in range(3):
        with pytest.raises(CustomersAwayError, match="rebuild"):
            pending.settle().send(None)
    customers.damaged = False
    assert counted(settled(pending))[NOON, "(none)", "(direct)", "orders"] == 2


def test_customers_that_were_known_must_still_be_there() -> None:
    orders = ingest_job("orders", customers=without_clicks())
    orders.apply([order(0)])
    saved = saved_from([settled(orders.snapshot())], offset=0)
    again = ingest_job("orders", customers=without_clicks(), saved=saved, epoch=2)
    again.apply([order(1)])
    with pytest.raises(CustomersAwayError, match="lost"):
        unsettled(again).settle().send(None)


RATES = Rates(
    "CNY",
    [
        Rate(currency="USD", date=date(2023, 11, day), rate=Decimal(rate))
        for day, rate in ((1, "7.28455"), (15, "7.4"), (16, "7.5"))
    ],
)


def dollars(kind: str, day: int, amount: str, *, currency: str = "USD") -> dict[str, Any]:
    """Return an order or a refund of order o1, so many days after noon."""
    fields = {"order_id": "o1", "amount": amount, "currency": currency, "event_id": f"e{day}"}
    return event(kind, at=NOON + day * DAY_MS, **fields)


CHANGED = [
    dollars("order_placed", 0, "100"),
    dollars("order_placed", 1, "80", currency=" usd"),
    dollars("order_refunded", 2, "80"),
]


def told_of(events: list[dict[str, Any]], **options: Any) -> Counter[tuple[int, str]]:
    """Return what a job of orders reports of events, by days after noon and measure."""
    job, told = ingest_job("orders", rates=RATES, **options), Counter[tuple[int, str]]()
    for offset, body in enumerate(events):
        job.apply([record(body, offset=offset, at=NOON + 3 * DAY_MS)])
        for (start, *_, measure), units in counted(settled(job.snapshot())).items():
            told[(start - NOON) // DAY_MS, measure] += units
    return Counter({key: units for key, units in told.items() if units})


def test_an_order_that_changes_counts_once() -> None:
    """An order of 100 USD that is edited to 80 and paid back counts once, and leaves nothing."""
    told = told_of(CHANGED, customers=without_clicks())
    assert {day for day, _ in told} == {0, 2}
    for measure, units in (
        *(("orders", 1), ("first_orders", 1), ("orders_attributed", 1), ("order_changes", 1)),
        *(("revenue_gross", 5_827_640), ("revenue_refunded", 5_827_640), ("lifetime_value", 0)),
    ):
        assert told[0, measure] == units
    # Each amount of money has the rate of its own date in what is paid back at a time.
    assert told[2, "refund_outflow"] == 6_000_000
    again = told_of([*CHANGED[:1], CHANGED[0] | {"event_id": "again"}], customers=without_clicks())
    again.subtract({(0, "order_changes"): 1})
    assert +again == told_of(CHANGED[:1], customers=without_clicks())


def test_an_order_that_changes_without_customers() -> None:
    """Without customers each event is an order, and refunds have the rate of their own date."""
    told = told_of(CHANGED)
    assert [told[day, "orders"] for day in range(3)] == [1, 1, 0]
    assert told[1, "revenue_gross"] == 5_920_000
    assert told[2, "revenue_refunded"] == told[2, "refund_outflow"] == 6_000_000


def test_orders_without_customers() -> None:
    """Without customers, orders and refunds count at the campaign that they name."""
    orders = ingest_job("orders")
    refund = event("order_refunded", at=NOON + 5, order_id="o0", amount="30", currency="CNY")
    orders.apply([order(0), record(refund, offset=1, at=NOON + 10)])
    found = counted(settled(orders.snapshot()))
    assert found[NOON, "(none)", "(none)", "orders"] == 1
    assert found[NOON, "c1", "search", "revenue_refunded"] == 300_000
    assert found[NOON, "c1", "search", "refund_outflow"] == 300_000
    assert not any(measure.startswith(("first", "orders_", "life")) for *_, measure in found)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["click", "order"])), max_size=10),
    st.data(),
)
def test_crashes_change_no_report(history: list[tuple[int, str]], data: st.DataObject) -> None:
    """Crashes at any moment change nothing in what is reported.

    Clicks and orders are of one user; each job crashes now and then after Redis recorded its
    entries.
    """

    def play(*, crashes: bool) -> Counted:
        shared, told = context(), Counted()
        for kind in ("click", "order"):
            topic, make = ("clicks", click) if kind == "click" else ("orders", order)
            records = [
                make(offset, at=NOON + days * DAY_MS // 4 - 10 * DAY_MS)._replace(timestamp=NOON)
                for offset, (days, what) in enumerate(sorted(history))
                if what == kind
            ]
            job, at = ingest_job(topic, customers=shared), 0
            snapshots: list[Any] = []
            job.tick(LATER, now_ms=NOON + 9_999)
            while at < len(records):
                upto = at + (data.draw(st.integers(1, 3)) if crashes else 1)
                job.apply(records[at:upto])
                job.tick(LATER, now_ms=NOON + 9_999)
                made = settled(job.snapshot())
                if crashes and data.draw(st.booleans()):
                    saved = saved_from(snapshots, offset=records[at - 1].offset) if at else None
                    job = ingest_job(topic, customers=shared, saved=saved, epoch=at + 2)
                    if data.draw(st.booleans()):
                        continue
                    job.apply(records[at:upto])
                    made = settled(job.snapshot())
                snapshots.append(made)
                told.update(counted(made))
                at = upto
        return Counter({key: units for key, units in told.items() if units})

    assert play(crashes=True) == play(crashes=False)


COOKIE = "cookie-1"


def identity(offset: int, **changed: Any) -> Record:
    body = {"user_id": "u1", "same_as": COOKIE, **changed}
    key = body.pop("key", "u1")
    body |= {"type": "identity", "event_id": f"link-{offset}"}
    body.setdefault("event_time", NOON)
    return record(body, offset=offset, at=NOON + 10)._replace(key=key.encode())


def test_clicks_of_a_cookie_lead_to_the_order_of_its_user() -> None:
    """A click of a linked id, in another partition and read before or after the order, counts."""
    shared = context()
    clicks = ingest_job("clicks", 1, customers=shared)
    without = ingest_job("clicks", 0, customers=shared)
    without.tick(Position(caught_up_at_ms=NOON + 9_999, behind=0), now_ms=NOON + 9_999)
    without.snapshot()
    orders = ingest_job("orders", 0, customers=shared)
    orders.apply([identity(0), order(1), order(2, at=NOON - 1_000)])
    counts = counted(settled(orders.snapshot()))
    assert counts[NOON, "(none)", "(direct)", "orders"] == 1
    body = event(at=NOON - 500, event_id="c", campaign_id="c1", user_id=COOKIE)
    clicks.apply([record(body, offset=0, at=NOON)])
    moved = counted(settled(clicks.snapshot()))
    assert moved[NOON, "(none)", "(direct)", "orders"] == -1
    for measure in ("orders", "orders_touched"):
        assert moved[NOON, "c1", "search", measure] == 1
    assert (NOON - 10_000, "c1", "search", "orders") not in moved, "an order before the link moved"


def test_a_link_may_be_of_any_time_and_moves_no_watermark() -> None:
    """A table of ids has links of years ago, and those of an hour ahead: clicks are not late."""
    orders = ingest_job("orders", customers=without_clicks())
    ahead = identity(1, event_time=NOON + 60_000)
    orders.apply([order(0), ahead, identity(2, event_time=NOON - 365 * DAY_MS), order(3)])
    assert orders.watermark.newest_event_time == NOON + 1_000
    (report,) = ingest_report.decode(settled(orders.snapshot()).outputs[0].value).reports
    assert (report.stats.counted, report.stats.late, report.stats.dead_letters) == (4, 0, {})


@pytest.mark.parametrize(
    ("changed", "stats"),
    [
        ({"same_as": "u1"}, {"dead_letters": {"invalid_shape": 1}}),
        ({"same_as": ""}, {"dead_letters": {"invalid_shape": 1}}),
        ({"user_id": ""}, {"dead_letters": {"invalid_shape": 1}}),
        ({"same_as": "guest"}, {"guests": 1, "counted": 1}),
        ({"key": "u2"}, {"mis_keyed": 1, "counted": 1}),
    ],
)
def test_links_that_say_nothing(changed: dict[str, str], stats: dict[str, Any]) -> None:
    """A link of an id to itself is a dead letter, one of a guest is counted as such."""
    orders = ingest_job(
        "orders", customers=without_clicks(), rules=replace(RULES, guests=frozenset({"guest"}))
    )
    orders.apply([identity(0, **changed)])
    (report,) = ingest_report.decode(settled(orders.snapshot()).outputs[0].value).reports
    assert {name: getattr(report.stats, name) for name in stats} == stats
