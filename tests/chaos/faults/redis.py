"""Redis that dies, is empty, or is slow: only the shared picture may suffer."""

from __future__ import annotations

import os
import signal
import time

from tests.chaos.arena import Arena
from tests.chaos.scenario import scenario


@scenario(in_ci=True)
def redis_killed_and_slow(arena: Arena) -> None:
    """Redis is killed, comes back empty, and then answers late for 10 s."""
    with arena.fault():
        assert arena.valkey.child is not None
        arena.valkey.child.kill()
        time.sleep(6)
        arena.valkey.start()
        time.sleep(4)
        pid = arena.valkey.child.pid
        for _ in range(5):
            os.kill(pid, signal.SIGSTOP)
            time.sleep(1.8)
            os.kill(pid, signal.SIGCONT)
            time.sleep(0.2)
    others = [name for name in ("a", "b") if name != arena.observer.latest["worker"]]
    arena.wait(
        lambda: arena.worker(others[0]).live().get("totals"),
        timeout_s=20,
        why="the other worker shows the owner's picture again",
    )
