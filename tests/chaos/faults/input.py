"""Faults of the input: repeated, late, broken, transactional, silent or poison records."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator
from zlib import crc32

from aiokafka import AIOKafkaProducer

from streams.operations.synthetic import FeedRecord, Oddities
from tests.chaos.arena import Arena
from tests.chaos.scenario import scenario

RHYTHM_S = 35
"""Seconds until the usual pauses of the sources are known."""


@scenario(oddities=Oddities(duplicates=0.4, late=0.1, broken=0.05), in_ci=True)
def duplicates_and_disorder(arena: Arena) -> None:
    """40 % of the records come twice, a tenth of the clicks late; some are broken or too late."""

    def shuffle(record: FeedRecord) -> Iterator[FeedRecord]:
        # The draw depends on the value: a repeated record gets the same lateness as the first.
        lot = crc32(record.value[:60]) % 100
        if lot < 2 and b'"type": "click"' in record.value:
            event = json.loads(record.value)
            # Half of them are beyond the correction horizon and become dead letters.
            event["event_time"] -= 900_000 if lot else 240_000
            yield record._replace(value=json.dumps(event).encode())
        else:
            yield record

    with arena.fault():
        arena.feeder.change = shuffle
        time.sleep(20)
    arena.expect_health_alert("data-duplicates")


@scenario()
def transactional_producer(arena: Arena) -> None:
    """A transactional producer commits, aborts, and leaves one transaction open for 5 s."""

    async def transactions() -> None:
        client = AIOKafkaProducer(
            bootstrap_servers=arena.kafka.address, transactional_id=f"{arena.cluster.app_id}-t"
        )
        await client.start()
        for number in range(60):
            await client.begin_transaction()
            for part in range(5):
                user = f"t{part}"
                event = {
                    "type": "click",
                    "event_id": f"transaction-{number}-{part}",
                    "event_time": int(time.time() * 1000),
                    "user_id": user,
                    "campaign_id": "618-main",
                    "channel": "search",
                }
                await client.send_and_wait(
                    arena.topics[0], json.dumps(event).encode(), user.encode()
                )
            if number == 40:
                await asyncio.sleep(5)
            if number % 3 == 0:
                await client.abort_transaction()
            else:
                await client.commit_transaction()
        await client.stop()

    with arena.fault():
        asyncio.run(transactions())


@scenario(feed_on_s=15.0)
def source_silent(arena: Arena) -> None:
    """No orders arrive for 40 s: reported as a silent source, without a KPI alert."""
    orders = arena.topics[1]
    time.sleep(RHYTHM_S)
    with arena.fault():
        arena.feeder.change = lambda record: () if record.topic == orders else (record,)
        time.sleep(40)
        arena.feeder.change = lambda record: (record,)
    arena.expect_health_alert("data-silent")


@scenario(feed_on_s=15.0)
def partition_silent(arena: Arena) -> None:
    """One partition of clicks is silent for 40 s: reported as such, without a KPI alert."""
    clicks = arena.topics[0]
    silent = arena.users_of(1)
    time.sleep(RHYTHM_S)
    with arena.fault():
        arena.feeder.change = lambda record: (
            () if record.topic == clicks and silent(record.key) else (record,)
        )
        time.sleep(40)
        arena.feeder.change = lambda record: (record,)
    arena.expect_health_alert("data-silent")


@scenario(module="tests.support.faulty_worker")
def poison_records(arena: Arena) -> None:
    """A stage fails on single records: they become dead letters, and all others are counted."""
    number = 0

    def poison(record: FeedRecord) -> Iterator[FeedRecord]:
        nonlocal number
        number += 1
        yield record
        if number % 400 == 0 and record.topic == arena.topics[0]:
            event = {
                "type": "poison",
                "event_id": f"poison-{number}",
                "event_time": record.due_ms,
            }
            yield record._replace(value=json.dumps(event).encode())

    with arena.fault():
        arena.feeder.change = poison
        time.sleep(20)
        arena.feeder.change = lambda record: (record,)
    time.sleep(3)
    isolated = sum(_isolated(arena, name) for name in ("a", "b"))
    arena.outcome.notes.append(f"{isolated} records set aside")
    if not isolated:
        arena.fail("no record was set aside")


def _isolated(arena: Arena, name: str) -> int:
    text = arena.worker(name).get("metrics")
    found = re.search(r"^kpi_monitor_isolated_records_total (\d+)", text, re.MULTILINE)
    assert found is not None
    return int(found[1])
