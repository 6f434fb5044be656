"""The local clock, by which the time of the day and the week is told."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from typing import NamedTuple


class ClockTime(NamedTuple):
    """A time of the local clock.

    Args:
        clock_s: what the clock shows, in s since a Thursday 0:00, as Unix time is of UTC.
        special: the name of the special day in English; empty on an ordinary day.
    """

    clock_s: float
    special: str = ""


class LocalClock:
    """Tells the local time of a moment.

    Example: in Europe/Berlin, 2024-10-27T01:00Z is 2:00, an hour after 0:00Z, which is 2:00, too:
    clocks go back. Points of both hours are of the same time of the day.

    Args:
        zone: the time zone.
    """

    def __init__(self, zone: tzinfo = UTC) -> None:
        self._zone = zone

    def at(self, time_ms: int) -> ClockTime:
        """Return the local time of a moment, event time in ms."""
        shown = datetime.fromtimestamp(time_ms / 1000, self._zone)
        offset = shown.utcoffset()
        assert offset is not None
        return ClockTime(time_ms / 1000 + offset.total_seconds())
