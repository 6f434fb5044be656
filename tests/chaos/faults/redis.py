"""Faults of Redis: killed, slow, or emptied. Sources wait meanwhile, and no value is wrong."""

from __future__ import annotations

import os
import signal
import time

import redis

from tests.chaos.arena import Arena
from tests.chaos.scenario import scenario

AWAY = "data-customers-away"


@scenario(in_ci=True)
def redis_killed_and_slow(arena: Arena) -> None:
    """Redis is killed, comes back with its data, and then answers slowly for 10 s."""
    with arena.fault():
        assert arena.valkey.child is not None
        arena.valkey.child.kill()
        time.sleep(8)
        arena.valkey.start()
        time.sleep(4)
        pid = arena.valkey.child.pid
        for _ in range(5):
            os.kill(pid, signal.SIGSTOP)
            time.sleep(1.8)
            os.kill(pid, signal.SIGCONT)
            time.sleep(0.2)
    arena.expect_health_alert(AWAY)
    others = [name for name in ("a", "b") if name != arena.observer.latest["worker"]]
    arena.wait(
        lambda: arena.worker(others[0]).live().get("totals"),
        timeout_s=20,
        why="the other worker shows the owner's picture again",
    )


@scenario(in_ci=True)
def redis_emptied(arena: Arena) -> None:
    """Redis loses all data; the workers wait until the customers are rebuilt from Kafka."""
    with arena.fault():
        with redis.Redis.from_url(arena.valkey.url) as client:
            client.flushall()
        arena.wait(
            lambda: AWAY in arena.observer.health_alerts,
            timeout_s=30,
            why="an alert says that the customers are lost",
        )
        done = arena.cluster.command("customers", "--rebuild")
        arena.outcome.notes.append(done.stdout.splitlines()[0])
    arena.expect_health_alert(AWAY)
