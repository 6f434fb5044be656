"""Faults of the broker: killed, paused, away, records removed, partitions added."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

from kafka import KafkaConsumer, TopicPartition

from streams.operations.synthetic import FeedRecord
from tests.chaos.arena import PARTITIONS, Arena
from tests.chaos.scenario import scenario

NO_CUSTOMERS = {"KPI_CUSTOMERS": "false"}
"""Without customers: a lost click would also change where orders count, in complete windows."""


@scenario(in_ci=True)
def broker_killed(arena: Arena) -> None:
    """kill -9 of the broker, which is started again at once."""
    with arena.fault():
        arena.kill_broker()
        arena.start_broker()


@scenario()
def broker_paused(arena: Arena) -> None:
    """SIGSTOP of the broker for 30 s."""
    assert arena.kafka.child is not None
    with arena.fault():
        os.kill(arena.kafka.child.pid, signal.SIGSTOP)
        time.sleep(30)
        os.kill(arena.kafka.child.pid, signal.SIGCONT)


@scenario()
def broker_gone(arena: Arena) -> None:
    """The broker is away for two minutes."""
    with arena.fault():
        arena.kill_broker()
        time.sleep(120)
        arena.start_broker()


@scenario(workers=("a",), feed_on_s=25.0, settings=NO_CUSTOMERS)
def retention_passed(arena: Arena) -> None:
    """Retention removes records that were not read yet: a gap is reported and not hidden."""
    arena.stop("a")
    with arena.fault():
        time.sleep(12)  # so that the lost records are not in the pane of the last records read
        arena.collect()
        consumer = KafkaConsumer(
            **arena.cluster.broker.client_options(), group_id=arena.cluster.app_id
        )
        before: dict[TopicPartition, int] = {}
        for number in range(PARTITIONS):
            place = TopicPartition(arena.topics[0], number)
            committed = consumer.committed(place)
            end = consumer.end_offsets([place])[place]
            before[place] = committed + (end - committed) // 2
        consumer.close()
        with arena.admin() as client:
            client.delete_records(before)
        arena.again("a")
    arena.until_current()
    # The saved state may be ahead of the committed offsets: take the offsets that it resumed after.
    read = arena.resumed_after("a", arena.topics[0])
    lost = sum(
        arena.lose(place.topic, place.partition, first=read[place.partition] + 1, end=end)
        for place, end in before.items()
    )
    arena.outcome.notes.append(f"{lost} records removed")
    arena.expect_health_alert("data-gap")
    arena.said("a", "are gone from the broker")
    text = arena.worker("a").get("metrics")
    if f"kpi_monitor_lost_records_total {lost}.0" not in text:
        arena.fail(f"kpi_monitor_lost_records_total does not say {lost}")


@scenario(workers=("a",), feed_on_s=3.0)
def partitions_grown(arena: Arena) -> None:
    """A source topic gets more partitions: the worker ends, and new starts are refused."""
    worker = arena.worker("a")
    arena.feeder.stop()
    time.sleep(6)
    arena.collect()
    with arena.fault():
        arena.leave("a")
        with arena.admin() as client:
            client.create_partitions({arena.topics[0]: PARTITIONS * 2})
        code = worker.child.process.wait(60)
    if code != 70:
        arena.fail(f"the worker ended with {code}, not 70")
    arena.said("a", "has 8 partitions, not 4")
    done = arena.cluster.command("worker", check=False)
    if done.returncode != 2 or "has 8 partitions, not 4" not in done.stderr:
        arena.fail(f"a start is not refused: {done.returncode} {done.stderr[-300:]}")
    arena.refused = True
    arena.outcome.notes.append("refused, exit 2")


@scenario()
def producer_without_idempotence(arena: Arena) -> None:
    """A producer sends all records of 10 s twice, as one without idempotence may."""
    again: list[FeedRecord] = []

    def remember(record: FeedRecord) -> Iterator[FeedRecord]:
        again.append(record)
        yield record

    def repeat(record: FeedRecord) -> Iterator[FeedRecord]:
        yield from again
        again.clear()
        yield record

    arena.feeder.change = remember
    time.sleep(10)
    with arena.fault():
        arena.feeder.change = repeat
        time.sleep(3)
