"""Faults of disks: full, read-only, emptied or corrupted."""

from __future__ import annotations

import resource
import time

from tests.chaos.arena import Arena
from tests.chaos.scenario import scenario


@scenario(in_ci=True)
def disk_full(arena: Arena) -> None:
    """The owner's disk is full: the owner ends with a message, and the other worker takes over."""
    owner = arena.observer.latest["worker"]
    pid = arena.worker(owner).child.pid
    arena.leave(owner)
    with arena.fault():
        # Limit the size of files: writes of this process fail as on a full disk.
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1024, 1024))
        ended = time.monotonic()
        arena.wait(
            lambda: not arena.alive(owner), timeout_s=60, why="the worker with a full disk ends"
        )
        arena.outcome.notes.append(f"ended after {time.monotonic() - ended:.1f} s")
    arena.until_current()
    arena.again(owner)


@scenario(workers=("a",))
def disk_read_only(arena: Arena) -> None:
    """A worker whose data folder is read-only refuses to start."""
    with arena.fault():
        done = arena.cluster.command(
            "worker", "--data-dir", "/proc/kpi-monitor", "--id", "z", check=False
        )
    if done.returncode != 2 or "data_dir" not in done.stderr:
        arena.fail(f"a read-only folder is not refused: {done.returncode} {done.stderr[-300:]}")


@scenario(workers=("a",))
def store_deleted(arena: Arena) -> None:
    """The local table store is deleted while the worker is down."""
    with arena.fault():
        arena.kill("a")
        arena.forget_disk("a")
        arena.again("a")


@scenario(workers=("a",))
def store_corrupted(arena: Arena) -> None:
    """The files of the local table store are overwritten; it is rebuilt from the changelog."""
    with arena.fault():
        arena.kill("a")
        stores = sorted(arena.data_dir("a").rglob("*.db"))
        assert stores
        for store in stores:
            for file in [*store.glob("MANIFEST*"), *store.glob("*.sst"), *store.glob("*.log")]:
                file.write_bytes(b"rubbish" * 50)
        arena.again("a")
    time.sleep(8)
    arena.said("a", "rebuilt from the changelog")
