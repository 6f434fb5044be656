"""Customers on a real Valkey: nothing is counted twice, forgotten or made up."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import cast

import pytest
import redis

from models.aggregates.distinct_users import hash_user
from models.customers.journal_entry import (
    LINK,
    LINKED_TOUCH,
    ORDER,
    REFUND,
    TOUCH,
    Entry,
    Link,
    Order,
    Refund,
    Touch,
    from_bytes,
    to_bytes,
)
from models.window import DAY_MS, HOUR_MS
from streams.embedded.valkey import EmbeddedValkey
from streams.errors import RedisUnreachableError
from streams.ingest.customers.attribution import Account, account, as_declared, changed_by_last
from streams.ingest.customers.pending_checkpoint import (
    ChangedEntry,
    CustomersAwayError,
    Entries,
    Recorded,
)
from streams.ingest.customers.redis_store import (
    MOST_ENTRIES,
    MOST_LINKS,
    MOST_ORDERS,
    OUTAGE_S,
    CustomerStore,
    mark_key,
)
from streams.redis_server import RedisServer, probe
from tests.support.customers import LAST_TOUCH, MemoryCustomers

pytestmark = [pytest.mark.integration, pytest.mark.slow]

NOW = 1_700_000_000_000
APP = "customers-test"


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def client(valkey: EmbeddedValkey) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(valkey.url) as client:
        client.flushall()
        yield client


def store(valkey: EmbeddedValkey) -> CustomerStore:
    return CustomerStore(
        RedisServer(url=valkey.url),
        app_id=APP,
        lookback_ms=LAST_TOUCH.lookback_ms,
        kept_s=1_000,
        partitions=1,
    )


def history(seed: int, *, customers: int = 8, count: int = 600) -> list[tuple[bytes, bytes]]:
    """Return entries of a few customers over two months, nearly in order.

    Some clicks are of two other ids, to which customers are linked again and again.
    """
    rnd = random.Random(seed)
    made: list[tuple[bytes, bytes]] = []
    cookies = [number.to_bytes(8) for number in (101, 102)]
    for offset in range(count):
        at = NOW + offset * 60 * DAY_MS // count - rnd.randrange(HOUR_MS // 6)
        about = (rnd.randrange(count // 4), rnd.randrange(10**6), rnd.choice(["c1", "(none)"]))
        draw = rnd.random()
        kind, what = (
            (TOUCH, Touch(rnd.choice(["c1", "c2"]), rnd.choice(["search", "feed"])))
            if draw < 0.8
            else (ORDER, Order(*about, "feed", "north", "", 1))
            if draw < 0.93
            else (REFUND, Refund(*about, "feed", "north", ""))
            if draw < 0.98
            else (LINK, Link(rnd.choice(cookies)))
        )
        customer = rnd.randrange(customers).to_bytes(8)
        if kind == TOUCH and rnd.random() < 0.3:
            customer = rnd.choice(cookies)
        made.append((customer, to_bytes(kind, 0, offset, at, what)))
    return made


def changes(told: Iterable[ChangedEntry]) -> list[tuple[bytes, Account]]:
    """Return what the entries change that change anything."""
    found = [
        (one.customer, changed_by_last([from_bytes(entry) for entry in one.log], LAST_TOUCH))
        for one in told
        if one.log is not None
    ]
    return [(customer, change) for customer, change in found if change.sums]


def truth(entries: Entries) -> Counter[object]:
    """Return what all entries count for, customer by customer."""
    sums: Counter[object] = Counter()
    by_customer: dict[bytes, list[Entry]] = {}
    for customer, entry in entries:
        by_customer.setdefault(customer, []).append(from_bytes(entry))
    for customer, log in by_customer.items():
        linked = {cast(Link, entry.what).other for entry in log if entry.kind == LINK}
        touches = [
            entry._replace(kind=LINKED_TOUCH, other=other)
            for other in linked
            for entry in by_customer.get(other, [])
            if entry.kind == TOUCH
        ]
        book = account([*log, *touches], LAST_TOUCH)
        sums.update({(customer, booking): units for booking, units in book.sums.items() if units})
    return Counter({key: units for key, units in sums.items() if units})


@pytest.mark.parametrize("seed", range(6))
def test_crashes_and_replays_count_every_entry_once(
    seed: int, valkey: EmbeddedValkey, client: redis.Redis
) -> None:
    """Batches are sent, some of them again after a crash; what was saved adds up to the truth."""
    entries, rnd = history(seed), random.Random(seed)

    async def play() -> Counter[object]:
        customers, saved, at, settled_ms = store(valkey), Counter[object](), 0, 0
        while at < len(entries):
            batch = entries[at : at + rnd.randrange(1, 60)]
            told, _ = await customers.record(
                batch, source="clicks/0", known=at > 0, settled_ms=settled_ms
            )
            settled_ms = max(from_bytes(entry).at_ms for _, entry in batch) - HOUR_MS
            if rnd.random() < 0.4:
                # A crash before the checkpoint: the batch may be cut elsewhere next time.
                continue
            for customer, change in changes(told):
                saved.update({(customer, key): units for key, units in change.sums.items()})
            at += len(batch)
        await customers.close()
        return Counter({key: units for key, units in saved.items() if units})

    assert asyncio.run(play()) == truth(entries)
    touches = sum(from_bytes(entry).kind == TOUCH for _, entry in entries)
    held = sum(client.hlen(key) for key in client.scan_iter("*:customer:*", _type="hash"))
    assert held < touches, "touches of no use were not trimmed"


def test_script_equals_the_model_in_memory(valkey: EmbeddedValkey, client: redis.Redis) -> None:
    """The Lua script returns the same logs as the model in memory."""
    entries = history(7)

    async def both() -> None:
        customers, memory = store(valkey), MemoryCustomers()
        for first in range(0, len(entries), 50):
            batch = entries[first : first + 50] * 2
            told = await customers.record(batch, source="s", known=False, settled_ms=0)
            expected = await memory.record(batch, source="s", known=False, settled_ms=0)
            assert changes(told.changed) == changes(expected.changed)
        await customers.close()

    asyncio.run(both())


def test_lost_customers_are_noticed(valkey: EmbeddedValkey, client: redis.Redis) -> None:
    async def play() -> None:
        customers = store(valkey)
        await customers.record(history(1)[:5], source="s", known=False, settled_ms=0)
        client.flushall()
        with pytest.raises(CustomersAwayError, match="--rebuild"):
            await customers.record(history(1)[5:9], source="s", known=True, settled_ms=0)
        await customers.close()

    asyncio.run(play())
    assert not client.exists(mark_key(APP))
    assert client.dbsize() == 0, "entries were added beside what was lost"


def test_a_redis_that_evicts_is_refused(tmp_path: Path) -> None:
    class Evicting(EmbeddedValkey):
        options = ("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")

    async def play(server: EmbeddedValkey) -> None:
        customers = store(server)
        with pytest.raises(CustomersAwayError, match="noeviction"):
            await customers.record(history(1)[:5], source="s", known=False, settled_ms=0)
        await customers.close()

    with Evicting(tmp_path / "evicting") as server:
        asyncio.run(play(server))
        with pytest.raises(RedisUnreachableError, match=r"removes keys .*set it to noeviction"):
            probe(RedisServer(url=server.url), key="any", memory=True)
        probe(RedisServer(url=server.url), key="any", memory=False)


def test_full_redis_makes_the_worker_wait(tmp_path: Path) -> None:
    """A full Redis makes the worker wait, and the error shows no values of customers."""

    class Full(EmbeddedValkey):
        options = ("--maxmemory", "1mb", "--maxmemory-policy", "noeviction")

    async def play(server: EmbeddedValkey) -> None:
        customers = store(server)
        with pytest.raises(CustomersAwayError, match="Redis is full") as caught:
            await customers.record(history(1), source="s", known=False, settled_ms=0)
        assert "search" not in str(caught.value)
        await customers.close()

    with Full(tmp_path / "full") as server:
        asyncio.run(play(server))


def test_no_redis_makes_it_wait(tmp_path: Path) -> None:
    gone = EmbeddedValkey(tmp_path / "gone")

    async def play() -> None:
        customers = store(gone)
        with pytest.raises(CustomersAwayError, match="does not answer"):
            await customers.record(history(1)[:5], source="s", known=False, settled_ms=0)
        await customers.close()

    asyncio.run(play())


def test_new_source_does_not_hide_lost_customers(
    valkey: EmbeddedValkey, client: redis.Redis
) -> None:
    """After Redis lost its data, a new source does not hide the loss from known sources."""

    async def play() -> None:
        customers = store(valkey)
        await customers.record(history(1)[:5], source="clicks/0", known=False, settled_ms=0)
        client.flushall()
        await customers.record(history(1)[5:6], source="clicks/1", known=False, settled_ms=0)
        with pytest.raises(CustomersAwayError, match="lost the customers"):
            await customers.record(history(1)[6:9], source="clicks/0", known=True, settled_ms=0)
        await customers.close()

    asyncio.run(play())


def test_click_logs_expire_before_order_logs(valkey: EmbeddedValkey, client: redis.Redis) -> None:
    """The log of a customer who only clicks expires earlier than that of one who orders."""
    one, two, three = (number.to_bytes(8) for number in (1, 2, 3))
    click = to_bytes(TOUCH, 0, 1, NOW, Touch("c1", "search"))
    order = to_bytes(ORDER, 0, 1, NOW, Order(1, 100, "(none)", "", "", "", 1))

    async def play() -> None:
        server = RedisServer(url=valkey.url)
        customers = CustomerStore(
            server, app_id=APP, lookback_ms=LAST_TOUCH.lookback_ms, kept_s=10**8, partitions=1
        )
        entries = [(one, click), (two, click), (two, order), (three, order)]
        await customers.record(entries, source="s", known=False, settled_ms=0)
        assert await customers.count() == 3
        await customers.close()

    asyncio.run(play())
    lookback_s = LAST_TOUCH.lookback_ms // 1_000
    key = f"{APP}:customer:".encode()
    assert 0 <= lookback_s + OUTAGE_S - client.ttl(key + one) < 60
    assert 0 <= 10**8 - client.ttl(key + two) < 60
    assert 0 <= 10**8 - client.ttl(key + two + b":orders") < 60


def link(customer: bytes, other: bytes, offset: int, at_ms: int = NOW) -> tuple[bytes, bytes]:
    return customer, to_bytes(LINK, 1, offset, at_ms, Link(other))


def test_touches_of_linked_ids_are_kept_with_orders(
    valkey: EmbeddedValkey, client: redis.Redis
) -> None:
    """Touches of a linked id are kept as long as the orders that they led to, and not trimmed."""
    customer, cookie = (number.to_bytes(8) for number in (1, 101))
    clicks = [
        (cookie, to_bytes(TOUCH, 0, number, NOW + number, Touch("c1", "search")))
        for number in range(40)
    ]
    order = to_bytes(ORDER, 1, 99, NOW + 50, Order(1, 100, "(none)", "", "", "", 1))
    later = NOW + LAST_TOUCH.lookback_ms + 60

    async def play() -> None:
        customers = CustomerStore(
            RedisServer(url=valkey.url),
            app_id=APP,
            lookback_ms=LAST_TOUCH.lookback_ms,
            kept_s=10**8,
            partitions=2,
        )
        other = [link((2).to_bytes(8), (102).to_bytes(8), 97)]
        await customers.record(other, source="orders/0", known=False, settled_ms=later)
        # The orders of the cookie's own partition are settled, those of the customer's are not.
        await customers.record(clicks[:20], source="clicks/0", known=False, settled_ms=later)
        entries = [link(customer, cookie, 98), (customer, order)]
        told, _ = await customers.record(entries, source="orders/1", known=False, settled_ms=0)
        assert [len(one.log or []) for one in told] == [22]
        await customers.record([], source="orders/1", known=False, settled_ms=later)
        told, _ = await customers.record(
            clicks[20:], source="clicks/0", known=True, settled_ms=later
        )
        assert [one.customer for one in told] == [customer] * 20
        assert len(told[-1].log or []) == 42, "touches of an order were trimmed"
        await customers.close()

    asyncio.run(play())
    key = f"{APP}:customer:".encode()
    for name in (cookie, cookie + b":linked", customer + b":orders", customer + b":links"):
        assert 0 <= 10**8 - client.ttl(key + name) < 60, name


def test_links_have_a_limit(valkey: EmbeddedValkey, client: redis.Redis) -> None:
    """A cookie that too many customers share is a till: further links are dropped and counted."""
    cookie = (101).to_bytes(8)
    customers = [number.to_bytes(8) for number in range(1, MOST_LINKS + 3)]
    others = [number.to_bytes(8) for number in range(201, 201 + MOST_LINKS)]
    links = [link(customer, cookie, number) for number, customer in enumerate(customers)]
    links += [link(customers[0], other, 500 + number) for number, other in enumerate(others)]
    again = [link(customers[0], cookie, 900, NOW + 1), link(customers[0], cookie, 901, NOW - 1)]

    async def play() -> list[int]:
        logs = store(valkey)
        refused = [
            (await logs.record(call, source="orders/0", known=False, settled_ms=0)).refused
            for call in (links, links, again[:1], again[1:])
        ]
        await logs.close()
        return refused

    assert asyncio.run(play()) == [3, 3, 0, 1]


def test_full_log_counts_as_declared(valkey: EmbeddedValkey, client: redis.Redis) -> None:
    """Once a customer's log is full, orders count at the campaign that they name."""
    till = (1).to_bytes(8)
    entries = [
        (till, to_bytes(ORDER, 0, number, NOW, Order(number, 100, "c1", "shop", "", "", 1)))
        for number in range(MOST_ORDERS + 2)
    ]

    async def play() -> Recorded:
        customers = store(valkey)
        recorded = Recorded([], 0)
        for first in range(0, len(entries), 100):
            call = entries[first : first + 100]
            recorded = await customers.record(call, source="s", known=False, settled_ms=0)
        await customers.close()
        return recorded

    told, refused = asyncio.run(play())
    assert refused == 2
    assert [one.log for one in told] == [None, None]
    book = as_declared(from_bytes(told[0].entry))
    counted = {(place.campaign, name): units for (_, place, name), units in book.sums.items()}
    assert counted == {
        ("c1", "orders"): 1,
        ("c1", "revenue_gross"): 100,
        ("c1", "items"): 1,
    }


def test_versions_of_orders_do_not_fill_a_log(valkey: EmbeddedValkey, client: redis.Redis) -> None:
    """Versions count once towards the limit of orders, and are kept up to a limit of their own.

    Further versions of an order in the log then change nothing, and a new order counts as declared.
    """
    customer = (1).to_bytes(8)

    def version(order: int, offset: int) -> tuple[bytes, bytes]:
        what = Order(hash_user(b"o%d" % order), 100 + offset, "c1", "shop", "", "", 1)
        return customer, to_bytes(ORDER, 0, offset, NOW + offset, what)

    kept = MOST_ORDERS - 1
    fits = [version(number % kept, number) for number in range(MOST_ENTRIES - 3)]
    told: list[Recorded] = []

    async def play() -> None:
        customers = store(valkey)
        for first in range(0, len(fits), 100):
            call = fits[first : first + 100]
            found, _ = await customers.record(call, source="s", known=False, settled_ms=0)
            assert [one.entry for one in found] == [entry for _, entry in call]
            assert all(one.log is not None for one in found)
        at = len(fits)
        more = [
            version(kept, at),  # the last order that fits
            version(kept + 1, at + 1),  # one too many
            version(kept, at + 2),
            version(0, at + 3),  # the last version that fits
            version(0, at + 4),
            version(kept + 1, at + 5),
        ]
        told.extend(
            [await customers.record(more, source="s", known=False, settled_ms=0) for _ in range(2)]
        )
        await customers.close()

    asyncio.run(play())
    offsets = [
        [(from_bytes(one.entry).offset - len(fits), one.log is not None) for one in some.changed]
        for some in told
    ]
    assert offsets[0] == [(0, True), (1, False), (2, True), (3, True), (5, False)]
    assert told[1] == told[0], "a replay of what was not kept gives another answer"
    assert told[0].refused == 3, "entries that are not kept are not counted"
    log = told[0].changed[3].log or []
    assert len(log) == MOST_ENTRIES
    sums = account([from_bytes(entry) for entry in log], LAST_TOUCH).sums
    assert sum(units for (_, _, name), units in sums.items() if name == "orders") == MOST_ORDERS


def test_later_of_two_rebuilds_wins(valkey: EmbeddedValkey, client: redis.Redis) -> None:
    """If customers are rebuilt twice at the same time, only the later rebuild may write."""

    async def play() -> None:
        customers, entries = store(valkey), history(1)[:5]
        await customers.begin_rebuild("anew-first")
        await customers.restore(entries, source="s", token="anew-first", settled_ms=0)
        await customers.begin_rebuild("anew-second")
        for refused in (
            customers.restore(entries, source="s", token="anew-first", settled_ms=0),
            customers.end_rebuild("anew-first", sources=["s"]),
            customers.record(entries, source="s", known=True, settled_ms=0),
        ):
            with pytest.raises(CustomersAwayError, match="being rebuilt"):
                await refused
        await customers.forget_all()
        assert await customers.count() == 0
        await customers.restore(entries, source="s", token="anew-second", settled_ms=0)
        await customers.end_rebuild("anew-second", sources=["s", "t"])
        for source in ("s", "t"):
            await customers.record(entries, source=source, known=True, settled_ms=0)
        await customers.close()

    asyncio.run(play())
