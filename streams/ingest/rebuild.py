"""Makes the logs of customers anew from Kafka, up to where the workers' state stands.

The workers wait meanwhile. A record is read by the same job as theirs, so that
the same entries come out; what they did not save yet they add themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.broker import Broker
from streams.engine.stage import SourcePartition
from streams.engine.topics import admin
from streams.errors import CustomersError
from streams.ingest.customers import CustomerStore
from streams.ingest.cut import UnsettledCut
from streams.ingest.job import IngestJob

SETTLE_S = 3.0
"""So long workers need at most to commit what they had saved: they do it every second."""
A_READ = 20_000
"""Records read between two calls of Redis."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """How many records were read and entries made."""

    records: int
    entries: int


async def rebuild(
    store: CustomerStore,
    *,
    broker: Broker,
    group: str,
    partitions: Sequence[SourcePartition],
    open_job: Callable[[SourcePartition], IngestJob],
    progress: Callable[[int, int], None],
) -> Rebuilt:
    """Make all logs anew.

    Args:
        store: where the logs are.
        broker: how Kafka is reached.
        group: the workers' consumer group; at least one of them must run.
        partitions: of clicks and orders.
        open_job: makes a job as the workers have it, without state.
        progress: is told how many of how many records are read.

    Raises:
        CustomersError: no worker runs, or records of the past are gone.
        CustomersAwayError: Redis does not answer.
    """
    with admin(broker) as client:
        members = client.describe_groups([group])[group]["members"]
    if not members:
        raise CustomersError(
            f"no worker of {group} runs; start them first: they wait, and say how far they are"
        )
    await store.begin_anew()
    consumer = AIOKafkaConsumer(
        **broker.client_options(),
        group_id=group,
        enable_auto_commit=False,
        isolation_level="read_committed",
    )
    await consumer.start()
    try:
        tps = {TopicPartition(*source): source for source in partitions}
        consumer.assign(list(tps))
        await asyncio.sleep(SETTLE_S)
        ends = {tp: await consumer.committed(tp) or 0 for tp in tps}
        await store.forget_all()
        begins = await consumer.beginning_offsets(list(tps))
        await consumer.seek_to_beginning(*tps)
        rebuilt = await _read(
            consumer, store, begins=begins, ends=ends, open_job=open_job, progress=progress
        )
    finally:
        await consumer.stop()
    await store.end_anew()
    return rebuilt


async def _read(
    consumer: Any,
    store: CustomerStore,
    *,
    begins: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
    open_job: Callable[[SourcePartition], IngestJob],
    progress: Callable[[int, int], None],
) -> Rebuilt:
    jobs = {tp: open_job(SourcePartition(tp.topic, tp.partition)) for tp in ends}
    whole = sum(max(0, ends[tp] - begins[tp]) for tp in ends)
    read = entries = 0
    left = {tp: end for tp, end in ends.items() if end > begins[tp]}
    while left:
        fetched = await consumer.getmany(timeout_ms=500, max_records=A_READ)
        for tp, records in fetched.items():
            wanted = [record for record in records if record.offset < ends[tp]]
            if not wanted:
                continue
            read += len(wanted)
            jobs[tp].apply(wanted)
            cut = jobs[tp].snapshot()
            if isinstance(cut, UnsettledCut):
                entries += len(cut.entries)
                await store.restore(cut.entries)
        left = {tp: end for tp, end in left.items() if await consumer.position(tp) < end}
        progress(whole if not left else min(read, whole), whole)
    return Rebuilt(read, entries)
