"""Measures how long processes were ready to run and had no core.

A limit on a time that passes is about the monitor. On a busy machine a part of that time is the
machine's: the kernel counts it for each thread (`/proc/PID/task/TID/schedstat`, the second field,
in ns).
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path


class Starved:
    """Measures from now on, for processes that depend on each other.

    Args:
        pids: the processes.
    """

    def __init__(self, *pids: int) -> None:
        self._began = {pid: _waited_ns(pid) for pid in pids}

    def seconds(self) -> float:
        """Return the sum over the processes of what the thread waited that waited longest, in s."""
        total = 0
        for pid, began in self._began.items():
            waited = _waited_ns(pid)
            total += max((ns - began.get(thread, 0) for thread, ns in waited.items()), default=0)
        return total / 1e9


def _waited_ns(pid: int) -> dict[str, int]:
    """Return how long each thread of a process has waited for a core since it began."""
    waited = {}
    for task in _tasks(pid):
        with contextlib.suppress(OSError, IndexError, ValueError):  # a thread that ended
            waited[task.name] = int((task / "schedstat").read_text().split()[1])
    return waited


def _tasks(pid: int) -> Sequence[Path]:
    with contextlib.suppress(OSError):
        return list(Path(f"/proc/{pid}/task").iterdir())
    return []
