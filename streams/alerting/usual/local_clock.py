"""The local clock, by which the time of the day and the week is told."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from models.calendar.special_day import SpecialDay
from models.window import BusinessDay

_DAY_S: Final = 86_400


class ClockTime(NamedTuple):
    """A time of the local clock.

    Args:
        clock_s: what the clock shows, in s since a Thursday 0:00, as Unix time is of UTC. A
            special day that is like another weekday has the time of that one.
        special: the special day that needs a wider band; None on an ordinary day.
    """

    clock_s: float
    special: SpecialDay | None = None


class LocalClock:
    """Tells the local time of a moment.

    Example: in Europe/Berlin, 2024-10-27T01:00Z is 2:00, an hour after 0:00Z, which is 2:00, too:
    clocks go back. Points of both hours are of the same time of the day.

    A public holiday has the time of a Sunday, and a wider band; a weekend day that is worked has
    the time of a Wednesday, and the usual band. A shopping festival is like no weekday.

    Args:
        day: the business day, with its time zone; UTC days if left out.
        special_day: returns the special day of a date, None for an ordinary one.
    """

    def __init__(
        self,
        day: BusinessDay | None = None,
        special_day: Callable[[date], SpecialDay | None] = lambda _: None,
    ) -> None:
        self.day = day or BusinessDay(ZoneInfo("UTC"))
        self._special_day = special_day

    def at(self, time_ms: int) -> ClockTime:
        """Return the local time of a moment, event time in ms."""
        shown = datetime.fromtimestamp(time_ms / 1000, self.day.zone)
        offset = shown.utcoffset()
        assert offset is not None
        clock_s = time_ms / 1000 + offset.total_seconds()
        special = self._special_day(shown.date())
        if special is None:
            return ClockTime(clock_s)
        if special.like is not None:
            clock_s += (special.like - shown.weekday()) * _DAY_S
        return ClockTime(clock_s, None if special.kind == "workday" else special)
