"""Rolling windows: how long, how often they close, and when one starts.

All times are event time in milliseconds since the epoch, UTC; every interval
is half-open, ``[start, end)``. A window closes at every multiple of its step.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

SECOND_MS: Final = 1_000
MINUTE_MS: Final = 60 * SECOND_MS
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS

PANE_MS: Final = 10 * SECOND_MS
"""The finest stretch of time that is kept apart."""

WindowName = Literal["1m", "5m", "1h", "day"]


@dataclass(frozen=True, slots=True)
class Window:
    """A rolling window of ``length_ms``, or the business day so far (None)."""

    name: WindowName
    length_ms: int | None
    step_ms: int


WINDOWS: Final = (
    Window("1m", MINUTE_MS, PANE_MS),
    Window("5m", 5 * MINUTE_MS, PANE_MS),
    Window("1h", HOUR_MS, MINUTE_MS),
    Window("day", None, MINUTE_MS),
)


def align_down(time_ms: int, *, step_ms: int) -> int:
    """Return the largest multiple of the step that is not after the time."""
    return time_ms - time_ms % step_ms


def first_end_after(time_ms: int, *, step_ms: int) -> int:
    """Return the first end of a step whose interval holds the time."""
    return time_ms - time_ms % step_ms + step_ms


class BusinessDay:
    """Finds the start of the business day, daylight saving time included."""

    def __init__(self, zone: ZoneInfo) -> None:
        self.zone = zone
        self._known: tuple[int, int] = (0, 0)

    def start_of(self, time_ms: int) -> int:
        """Return the start of the business day that holds the time."""
        start_ms, next_ms = self._known
        if not start_ms <= time_ms < next_ms:
            self._known = start_ms, next_ms = self._bounds(time_ms)
        return start_ms

    def _bounds(self, time_ms: int) -> tuple[int, int]:
        local = datetime.fromtimestamp(time_ms / 1000, self.zone)
        start = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
        following = (start + timedelta(days=1)).replace(fold=0)
        return int(start.timestamp() * 1000), int(following.timestamp() * 1000)


def start_of_window(window: Window, end_ms: int, *, day: BusinessDay) -> int:
    """Return where the window that ends at ``end_ms`` starts.

    A business day that ends at ``end_ms`` is shown whole, not as an empty new
    one: the day is that of the last moment inside the window.
    """
    if window.length_ms is None:
        return day.start_of(end_ms - 1)
    return end_ms - window.length_ms
