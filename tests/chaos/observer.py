"""Watches the workers as on-call would: what is shown, how fresh, which alerts."""

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
"""A frontier so close to the clock, and a lag under `RECOVERED_LAG_S`, is normal work."""
RECOVERED_LAG_S = 3.0


@dataclass(frozen=True, slots=True)
class Sample:
    """What was shown at a moment of the monotonic clock."""

    at_s: float
    behind_clock_s: float
    frontier_ms: int
    lag_s: float | None
    events: int


@dataclass
class Observer:
    """Polls the owner's live picture and the workers' memory.

    ``picture`` returns it, empty while nobody has one; ``pids`` the workers'.
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
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()
        self._thread.join(30)

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
        """Return the longest time in which no newer frontier was shown."""
        longest, moved_at_s, frontier_ms = 0.0, since_s, 0
        for sample in self.samples:
            if sample.at_s < since_s:
                frontier_ms = max(frontier_ms, sample.frontier_ms)
            elif sample.frontier_ms > frontier_ms:
                longest = max(longest, sample.at_s - moved_at_s)
                moved_at_s, frontier_ms = sample.at_s, sample.frontier_ms
        return longest

    def recovered_after_s(self, *, since_s: float) -> float | None:
        """Return how long after a moment work was normal again; None if never."""
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
