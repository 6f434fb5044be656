"""What ingest counts of ten thousand journeys equals an independent calculation, to the last part.

In memory and in a real Valkey, with events that come late and move what was counted, orders that
are repeated and edited, and refunds at another rate than their order. The calculation is
tests/support/journeys.py, in SQL; it shares no code with the monitor.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from zlib import crc32

import pytest

from models.aggregates import ingest_report
from models.aggregates.ingest_report import PanesWire
from models.customers.journal_entry import DefaultModel
from models.kpi.measures import SUMS
from models.money.exchange_rates import Rate, Rates
from models.window import DAY_MS
from streams.embedded.valkey import EmbeddedValkey
from streams.engine.contracts import Position, Snapshot
from streams.ingest.customers.attribution import AttributionRules
from streams.ingest.customers.pending_checkpoint import Customers
from streams.ingest.customers.redis_store import CustomerStore
from streams.ingest.job import IngestJob
from streams.redis_server import RedisServer
from tests.support import attribution_sql
from tests.support.customers import MemoryCustomers, context
from tests.support.journeys import (
    CURRENCY,
    MEASURES,
    RATES,
    SPAN_MS,
    START_MS,
    Journeys,
    Key,
    expected,
    journeys,
)
from tests.support.offline import Record, ingest_job, kind_of, record

pytestmark = pytest.mark.slow

BATCH = 4_000
PARTITIONS = 2


@pytest.fixture(scope="module")
def made() -> Journeys:
    return journeys()


def test_journeys_have_orders_that_change(made: Journeys) -> None:
    """Over a thousand orders are repeated or edited, and hundreds are refunded at another rate."""
    orders: dict[tuple[str, str], list[dict[str, object]]] = {}
    refunds = []
    for row in sorted(made.table.to_dicts(), key=lambda row: row["event_time_ms"]):
        name = row["user_id"], row["order_id"]
        if row["kind"] == "order":
            orders.setdefault(name, []).append(row)
        elif row["kind"] == "refund" and name in orders:
            refunds.append((row, orders[name][0]))
    several = [versions for versions in orders.values() if len(versions) > 1]
    assert len(several) > 1_000
    assert sum(len(versions) > 2 for versions in several) > 100
    for field in ("amount", "currency", "campaign", "count"):
        assert sum(len({one[field] for one in versions}) > 1 for versions in several) > 100
    assert sum(refund["currency"] == order["currency"] for refund, order in refunds) > 500
    assert sum(refund["rate"] != order["rate"] for refund, order in refunds) > 500


def sums_in(panes: PanesWire) -> Iterator[tuple[Key, int]]:
    """Yield what the cells of campaigns and channels add."""
    for start, cells in panes.items():
        for cell in cells:
            if not (cell.region or cell.segment):
                for measure, units in zip(SUMS, cell.cell.sums, strict=True):
                    if measure.name in MEASURES:
                        yield (cell.campaign, cell.channel, start, measure.name), units


async def told(job: IngestJob, *, now_ms: int) -> Counter[Key]:
    """Return what a job's next report adds."""
    sums: Counter[Key] = Counter()
    job.tick(Position(caught_up_at_ms=now_ms, behind=0), now_ms=now_ms)
    snapshot = job.snapshot()
    while not isinstance(snapshot, Snapshot):
        snapshot = await snapshot.settle() or snapshot
    for output in snapshot.outputs:
        for report in ingest_report.decode(output.value).reports:
            for key, units in sums_in(report.panes):
                sums[key] += units
    return sums


async def counted(made: Journeys, customers: Customers, rules: AttributionRules) -> Counter[Key]:
    """Feed clicks and orders by customer to their partitions, and add up all that is told."""
    known = context(customers, rules=rules)
    rates = Rates(
        CURRENCY, [Rate(currency=one, date=on, rate=at) for (one, on), at in RATES.items()]
    )
    jobs = {
        (kind, number): ingest_job(kind, number, customers=known, rates=rates)
        for kind in ("clicks", "orders")
        for number in range(PARTITIONS)
    }
    offsets, sums = Counter[tuple[str, int]](), Counter[Key]()
    now_ms = START_MS + 2 * SPAN_MS
    for first in range(0, len(made.events), BATCH):
        records: dict[tuple[str, int], list[Record]] = {source: [] for source in jobs}
        for body in made.events[first : first + BATCH]:
            source = kind_of(body), crc32(body["user_id"].encode()) % PARTITIONS
            records[source].append(record(body, offset=offsets[source], at=now_ms))
            offsets[source] += 1
        now_ms += 1_000
        for source, job in jobs.items():
            if records[source]:
                job.apply(records[source])
            sums.update(await told(job, now_ms=now_ms))
    return Counter({key: units for key, units in sums.items() if units})


def differing(mine: Counter[Key], theirs: dict[Key, int]) -> list[tuple[Key, int, int]]:
    return [
        (key, mine[key], theirs.get(key, 0))
        for key in mine.keys() | theirs.keys()
        if mine[key] != theirs.get(key, 0)
    ]


@pytest.mark.parametrize(
    ("lookback_days", "model"),
    [
        (2, "linear"),
        *(
            pytest.param(days, model, marks=pytest.mark.full)
            for days in (2, 7)
            for model in ("first", "last", "linear", "declared")
            if (days, model) != (2, "linear")
        ),
    ],
)
def test_every_part_of_every_order_is_where_it_belongs(
    made: Journeys, lookback_days: int, model: DefaultModel
) -> None:
    rules = AttributionRules(lookback_ms=lookback_days * DAY_MS, model=model)
    truth = expected(made, attribution_sql.Customers(rules.lookback_ms, model))
    assert {measure for _, _, _, measure in truth} == MEASURES
    mine = asyncio.run(counted(made, MemoryCustomers(), rules))
    assert not differing(mine, truth)
    print(f"\n{len(truth)} sums of {len(made.events)} events are equal")


def test_late_events_leave_the_same_in_valkey(valkey: EmbeddedValkey) -> None:
    late = journeys(seed=2, late=0.3)
    assert late.events != sorted(late.events, key=lambda event: event["event_time"])
    rules = AttributionRules(lookback_ms=7 * DAY_MS, model="last")

    async def play() -> Counter[Key]:
        customers = CustomerStore(
            RedisServer(url=valkey.url),
            app_id="journeys",
            lookback_ms=rules.lookback_ms,
            kept_s=1_000,
            partitions=PARTITIONS,
        )
        try:
            return await counted(late, customers, rules)
        finally:
            await customers.close()

    truth = expected(late, attribution_sql.Customers(rules.lookback_ms, "last"))
    assert not differing(asyncio.run(play()), truth)
