"""Sends a backlog of known truth, and compares the monitor's counts with it."""

from __future__ import annotations

import asyncio
import time

from streams.operations import producer
from streams.operations.synthetic import CAMPAIGNS, Synthetic, Truth
from tests.support.cluster import Cluster


def fill(cluster: Cluster, *, seconds: int = 240, rate: float = 60.0, seed: int = 3) -> Truth:
    """Send a synthetic campaign at full speed and return its true totals.

    Args:
        cluster: the deployment.
        seconds: of event time, which ends now.
        rate: clicks a second of event time.
        seed: the same seed gives the same events.
    """
    names = (cluster.topic("clicks"), cluster.topic("orders"), cluster.topic("campaigns"))
    made = Synthetic(seed=seed, clicks_per_second=rate, topics=names)
    start_ms = int(time.time() * 1000) // 1000 * 1000 - seconds * 1000

    async def send() -> None:
        async with producer.producer(cluster.broker) as client:
            await producer.define(client, CAMPAIGNS, topic=cluster.topic("registry"))
            await producer.send_all(client, made.records(start_ms, start_ms + seconds * 1000))

    asyncio.run(send())
    return made.truth


def assert_exact(cluster: Cluster, truth: Truth) -> None:
    """Wait until all records are read, and compare the counts with what was sent."""
    live = cluster.until(
        lambda live: live["health"].get("events", 0) >= truth.records,
        timeout_s=120,
        why=f"{truth.records} records are read",
    )
    health = live["health"]
    assert {
        "records": health["events"],
        "counted": health["counted"],
        "duplicates": health["duplicates"],
        "dead letters": health["dead_letters"],
    } == {
        "records": truth.records,
        "counted": truth.counted,
        "duplicates": truth.duplicates,
        "dead letters": truth.broken,
    }
