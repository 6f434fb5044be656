"""Faults of workers: killed, stopped, paused, cut off, joining and leaving."""

from __future__ import annotations

import os
import signal
import time

from tests.chaos.arena import Arena
from tests.chaos.scenario import OWN_MEASUREMENTS, scenario
from tests.support.starved import Starved

TAKEOVER_LIMIT_S = 15.0
"""Time to take over, without the time in which the processes waited for a core."""


@scenario()
def worker_killed(arena: Arena) -> None:
    """kill -9 of the worker that owns the KPIs; the other one takes over within 15 s."""
    owner = arena.observer.latest["worker"]
    other = "b" if owner == "a" else "a"
    assert arena.kafka.child is not None
    starved = Starved(arena.worker(other).child.pid, arena.kafka.child.pid)
    with arena.fault():
        arena.kill(owner)
        killed_s = time.monotonic()
    arena.wait(
        lambda: (
            arena.observer.latest["worker"] == other
            and arena.observer.recovered_after_s(since_s=killed_s)
        ),
        timeout_s=60,
        why="the other worker took over",
    )
    took_s, waited_s = time.monotonic() - killed_s, starved.seconds()
    took = f"{took_s:.1f} s, {waited_s:.1f} s of it without a core"
    arena.outcome.notes.append(f"takeover {took}")
    if took_s - waited_s > TAKEOVER_LIMIT_S:
        arena.fail(f"takeover took {took}, over {TAKEOVER_LIMIT_S:.0f} s")


@scenario(in_ci=True, settings=OWN_MEASUREMENTS)
def workers_killed_again_and_again(arena: Arena) -> None:
    """kill -9 of two workers by turns, every 4 s."""
    with arena.fault():
        for turn in range(8):
            name = "ab"[turn % 2]
            arena.kill(name)
            time.sleep(1.0)
            arena.again(name)
            time.sleep(3.0)


@scenario()
def all_workers_killed(arena: Arena) -> None:
    """kill -9 of all workers at once; they are started again after 10 s."""
    with arena.fault():
        arena.kill("a", "b")
        time.sleep(10)
        arena.again("a", "b")


@scenario()
def workers_stopped(arena: Arena) -> None:
    """SIGTERM of all workers; they are started again after 5 s."""
    with arena.fault():
        arena.stop("a", "b")
        time.sleep(5)
        arena.again("a", "b")


@scenario()
def workers_join_and_leave(arena: Arena) -> None:
    """Workers join and leave, one of them with an empty disk."""
    with arena.fault():
        arena.start("c")
        time.sleep(8)
        arena.stop("a")
        time.sleep(8)
        arena.forget_disk("a")
        arena.again("a")
        arena.stop("b")
        time.sleep(8)
        arena.again("b")


@scenario(workers=("a", "b", "c"))
def rolling_restart(arena: Arena) -> None:
    """Each of three workers is stopped and started again, one after the other."""
    with arena.fault():
        for name in ("a", "b", "c"):
            arena.stop(name)
            arena.again(name)
            time.sleep(10)


@scenario()
def worker_paused(arena: Arena) -> None:
    """SIGSTOP of the owner for longer than its session; it ends when it wakes up."""
    owner = arena.observer.latest["worker"]
    with arena.fault():
        pid = arena.worker(owner).child.pid
        os.kill(pid, signal.SIGSTOP)
        time.sleep(16)
        os.kill(pid, signal.SIGCONT)
    time.sleep(5)
    arena.said(owner, "was paused for")


@scenario(workers=("a",))
def two_workers_with_one_name(arena: Arena) -> None:
    """A second worker joins with the instance id of the first, which ends with a message."""
    first = arena.worker("a")
    with arena.fault():
        second = arena.cluster.start("a", KPI_DATA_DIR=str(arena.data_dir("other")))
        assert first.child.process.wait(40) == 70
        arena.adopt("a", second)
    arena.said("a", "another worker joined with the instance id a")


@scenario(workers=("b",), feed_on_s=15.0, settings=OWN_MEASUREMENTS)
def worker_cut_off(arena: Arena) -> None:
    """A worker's network is cut for longer than its session; its buffered records arrive late."""
    arena.start("a", KPI_KAFKA=arena.network.address)
    arena.wait(
        lambda: arena.worker("a").live()["phase"] == "running",
        timeout_s=60,
        why="the worker behind the network has partitions",
    )
    arena.until_current()
    with arena.fault():
        arena.network.cut()
        time.sleep(25)
        arena.network.mend()
    arena.until_current()
    # When its partitions come back, its local store must not be taken for newer than it is.
    arena.stop("b")
    time.sleep(12)
    arena.again("b")
