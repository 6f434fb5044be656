"""Watches the workers as somebody on call would: freshness, alerts and memory."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EVERY_S = 0.25
FRESH_S = 15.0
"""Largest distance of the frontier from the clock in normal work, seconds."""
RECOVERED_LAG_S = 3.0
"""Lag below which work is normal, seconds."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The owner's live view at ``at_s`` of the monotonic clock.

    ``behind_clock_s`` is the distance of the frontier from the clock, ``lag_s`` None before the
    lag is known, ``events`` the number of records read.
    """

    at_s: float
    behind_clock_s: float
    frontier_ms: int
    lag_s: float | None
    events: int


@dataclass
class Observer:
    """Polls the owner's live view and the workers' memory every `EVERY_S`.

    ``picture`` returns the live view, empty without an owner; ``pids`` returns the process ids of
    the workers. ``peak_rss_mb`` is the largest resident memory of one worker, MiB.
    """

    picture: Callable[[], dict[str, Any]]
    pids: Callable[[], list[int]]
    samples: list[Sample] = field(default_factory=list)
    latest: dict[str, Any] = field(default_factory=dict)
    health_alerts: set[str] = field(default_factory=set)
    peak_rss_mb: float = 0.0

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="observer", daemon=True)

    def start(self) -> None:
        """Start watching."""
        self._thread.start()

    def stop(self) -> None:
        """Stop watching."""
        self._stop.set()
        self._thread.join(30)

    @property
    def watching(self) -> bool:
        """Whether it still watches: without it, the newest view is an old one."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while not self._stop.wait(EVERY_S):
            for pid in self.pids():
                self.peak_rss_mb = max(self.peak_rss_mb, rss_mb(pid))
            live = self.picture()
            if live and live.get("frontier") and live["phase"] == "running":
                self._record(live)

    def _record(self, live: dict[str, Any]) -> None:
        self.latest = live
        self.samples.append(
            Sample(
                time.monotonic(),
                time.time() - live["frontier"] / 1000,
                live["frontier"],
                live["health"].get("lag_seconds"),
                live["health"].get("events", 0),
            )
        )
        for alert in live["alerts"]:
            if alert["category"] == "data_health" and alert["state"] == "firing":
                self.health_alerts.add(alert["rule"])

    def longest_blind_s(self, *, since_s: float) -> float:
        """Return the longest time, in seconds, in which no newer frontier was shown.

        Args:
            since_s: look at what follows this moment of the monotonic clock.
        """
        longest, moved_at_s, frontier_ms = 0.0, since_s, 0
        for sample in self.samples:
            if sample.at_s < since_s:
                frontier_ms = max(frontier_ms, sample.frontier_ms)
            elif sample.frontier_ms > frontier_ms:
                longest = max(longest, sample.at_s - moved_at_s)
                moved_at_s, frontier_ms = sample.at_s, sample.frontier_ms
        return longest

    def recovered_after_s(self, *, since_s: float) -> float | None:
        """Return how many seconds after a moment work was normal again; None if never.

        Args:
            since_s: the moment, of the monotonic clock.
        """
        for sample in self.samples:
            normal = (
                sample.lag_s is not None
                and sample.lag_s < RECOVERED_LAG_S
                and sample.behind_clock_s < FRESH_S
            )
            if sample.at_s > since_s and normal:
                return sample.at_s - since_s
        return None


def rss_mb(pid: int) -> float:
    """Return a process's resident memory in MiB; 0 once it is gone."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * 4096 / (1 << 20)
    return 0.0
