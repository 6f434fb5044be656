"""Defines the rolling windows, their starts and ends, and the business day.

All times are event time in ms since the epoch, UTC. Every interval is half-open,
``[start, end)``. A window closes at every multiple of its step.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

SECOND_MS: Final = 1_000
MINUTE_MS: Final = 60 * SECOND_MS
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS

PANE_MS: Final = 10 * SECOND_MS
"""The length of a pane, the finest stretch of event time that is kept."""

QUARTER_MS: Final = 15 * MINUTE_MS
"""A quarter of an hour. Offsets from UTC are multiples of it, so that days are sums of quarters."""

BEGINNING_MS: Final = 0
"""The start of the all-time window."""

WindowName = Literal["1m", "5m", "1h", "24h", "day", "week", "month", "so_far"]

SO_FAR: Final = "so_far"
"""The name of the all-time window."""

STAGE: Final = "stage"
"""The window of a campaign's current phase, from the phase's start until now."""

ShownWindow = WindowName | Literal["stage"]
"""All windows that are shown and exported. Rules and scorecards do not use `STAGE`."""


@dataclass(frozen=True, slots=True)
class Window:
    """A rolling window of a fixed length, of business days, or of all time.

    Args:
        name: the name of the window.
        step_ms: it closes at every multiple of this, in ms.
        length_ms: its length in ms, or None.
        days: without a length, its number of business days. The last of them is the current
            day, from its start to date. If 0, the window covers all time.
    """

    name: WindowName
    step_ms: int
    length_ms: int | None = None
    days: int = 0


DAY: Final = Window("day", MINUTE_MS, days=1)
WINDOWS: Final = (
    Window("1m", PANE_MS, MINUTE_MS),
    Window("5m", PANE_MS, 5 * MINUTE_MS),
    Window("1h", MINUTE_MS, HOUR_MS),
    DAY,
    Window("24h", QUARTER_MS, DAY_MS),
    Window("week", QUARTER_MS, days=7),
    Window("month", QUARTER_MS, days=30),
    Window(SO_FAR, QUARTER_MS),
)

GROWING: Final = frozenset(window.name for window in WINDOWS if window.length_ms is None)
"""The windows that grow during a business day, and lose a whole day, or nothing, at its end."""
SHOWN_WINDOWS: Final[tuple[ShownWindow, ...]] = (*(window.name for window in WINDOWS), STAGE)
"""The names of all windows that are shown and exported, the stage last."""


def align_down(time_ms: int, *, step_ms: int) -> int:
    """Return the largest multiple of the step that is at or before a time."""
    return time_ms - time_ms % step_ms


def first_end_after(time_ms: int, *, step_ms: int) -> int:
    """Return the smallest multiple of the step that is after a time."""
    return time_ms - time_ms % step_ms + step_ms


def whole_quarter(moment_ms: int) -> int:
    """Return a time in ms, rounded up to a quarter of an hour."""
    return moment_ms + -moment_ms % QUARTER_MS


_KNOWN_QUARTERS = 10_000
"""The size of the cache of quarters: over three months, about 2 MB."""


class BusinessDay:
    """Finds the start and end of business days in a time zone with daylight saving time.

    Example, in Europe/Berlin with days that start at 0:00. Clocks go forward from 2:00 to 3:00 on
    2024-03-31 and back from 3:00 to 2:00 on 2024-10-27:

        day 2024-03-31    from 2024-03-30T23:00Z to 2024-03-31T22:00Z, 23 hours
        day 2024-10-27    from 2024-10-26T22:00Z to 2024-10-27T23:00Z, 25 hours

        same_time(2024-04-01 12:00, days=-1)    2024-03-31 12:00, 11 hours after its start
        same_time(2024-04-01 02:30, days=-1)    2024-03-31 03:00: there is no 2:30
        same_time(2024-10-28 02:30, days=-1)    2024-10-27 02:30, the first of two
        same_time(2024-10-27 02:10, days=-1)    2024-10-26 03:00, for the second 2:10: the clock
                                                had shown almost 3:00 already

    Args:
        zone: the time zone of the calendar.
        starts_at: the local time at which a day starts, a multiple of a quarter of an hour.
    """

    def __init__(self, zone: ZoneInfo, *, starts_at: time = time()) -> None:
        self.zone = zone
        self.starts_at = starts_at
        self._known: dict[int, tuple[int, int, date]] = {}
        """Cache: start, end and date of the business day, by quarter of an hour."""

    def start_of(self, time_ms: int) -> int:
        """Return the start of the business day that contains a time."""
        return self._holding(time_ms)[0]

    def end_of(self, time_ms: int) -> int:
        """Return the end of the business day that contains a time."""
        return self._holding(time_ms)[1]

    def date_of(self, time_ms: int) -> date:
        """Return the date of the business day that contains a time."""
        return self._holding(time_ms)[2]

    def bounds(self, day: date) -> tuple[int, int]:
        """Return the start and the end of the business day of a date."""
        return self._start(day), self._start(day + timedelta(days=1))

    def start_before(self, time_ms: int, *, days: int) -> int:
        """Return the start of the business day ``days`` before the one that contains a time."""
        return self._start(self.date_of(time_ms) - timedelta(days=days))

    def same_time(self, end_ms: int, *, days: int) -> int:
        """Return the end with the same local time, a number of business days later.

        An end belongs to the day of the last moment before it, so that the end of a day maps to
        the end of the other day. The class has examples of the rules below:

        - If clocks went back earlier on the day, the latest local time shown to date counts.
        - A local time that the other day shows twice is its first.
        - A local time that the other day skips is the moment at which clocks go forward.

        Args:
            end_ms: the end of a window, in ms.
            days: the number of business days; negative for earlier days.
        """
        start_ms, after_ms, day = self._holding(end_ms - 1)
        other = day + timedelta(days=days)
        other_ms, other_after_ms = self._start(other), self._start(other + timedelta(days=1))
        if after_ms - start_ms == other_after_ms - other_ms == DAY_MS:
            return other_ms + end_ms - start_ms
        shown_ms = max(
            self._clock(day, quarter_ms) + min(QUARTER_MS, end_ms - quarter_ms)
            for quarter_ms in range(start_ms, end_ms, QUARTER_MS)
        )
        for quarter_ms in range(other_ms, other_after_ms, QUARTER_MS):
            clock_ms = self._clock(other, quarter_ms)
            if clock_ms + QUARTER_MS >= shown_ms:
                return quarter_ms + max(0, shown_ms - clock_ms)
        return other_after_ms

    def _clock(self, day: date, time_ms: int) -> int:
        """Return the local time at ``time_ms``, in ms after the local time of the day's start."""
        shown = datetime.fromtimestamp(time_ms / 1000, self.zone).replace(tzinfo=None)
        return (shown - datetime.combine(day, self.starts_at)) // timedelta(milliseconds=1)

    def _holding(self, time_ms: int) -> tuple[int, int, date]:
        quarter = time_ms // QUARTER_MS
        known = self._known.get(quarter)
        if known is None:
            if len(self._known) >= _KNOWN_QUARTERS:
                self._known.clear()
            day = datetime.fromtimestamp(time_ms / 1000, self.zone).date()
            if self._start(day) > time_ms:
                day -= timedelta(days=1)
            known = (self._start(day), self._start(day + timedelta(days=1)), day)
            self._known[quarter] = known
        return known

    def _start(self, day: date) -> int:
        return int(datetime.combine(day, self.starts_at, self.zone).timestamp() * 1000)


def start_of_window(window: Window, end_ms: int, *, day: BusinessDay) -> int:
    """Return the start of the window that ends at ``end_ms``.

    The last day of a window is that of the last moment before its end. A window that ends when
    a business day does covers that whole day, and is not an empty window of the next day.
    """
    if window.length_ms is not None:
        return end_ms - window.length_ms
    if not window.days:
        return BEGINNING_MS
    if window.days == 1:
        return day.start_of(end_ms - 1)
    return day.start_before(end_ms - 1, days=window.days - 1)


def days_before(start_ms: int, end_ms: int, *, day: BusinessDay) -> tuple[int, int]:
    """Return as many business days before a stretch of them, [start, end) in ms.

    The last of them ends at the same local time as the stretch.

    Example: Monday 0:00 to Thursday 12:00 has four days. Before it are Thursday 0:00 of last week
    to Sunday 12:00.

    Args:
        start_ms: the start of a business day.
        end_ms: the end of the stretch.
        day: the business day.
    """
    days = (day.date_of(end_ms - 1) - day.date_of(start_ms)).days + 1
    return day.start_before(start_ms, days=days), day.same_time(end_ms, days=-days)


def previous_period(window: Window, end_ms: int, *, day: BusinessDay) -> tuple[int, int] | None:
    """Return the equal period before a window, [start, end); None for all time.

    For a window of business days it is the same number of days before. Its last day ends at the
    same local time as the window.

    Example: ``week`` that ends on Thursday 12:00 starts on Friday 0:00, six days before. The
    period before it is from the Friday before that, 0:00, to Thursday of last week, 12:00.
    """
    if window.length_ms is not None:
        return end_ms - 2 * window.length_ms, end_ms - window.length_ms
    if not window.days:
        return None
    return days_before(start_of_window(window, end_ms, day=day), end_ms, day=day)


Reference = Literal["previous", "last_week"]
"""The period a window is compared with: the equal one before, or the same one a week before."""

COMPARED: Final[dict[Reference, tuple[WindowName, ...]]] = {
    "previous": ("1h", "day", "24h", "week", "month"),
    "last_week": ("1h", "day", "24h"),
}
"""The windows that are compared. For all time there is no other period."""


def reference_period(
    reference: Reference, window: Window, end_ms: int, *, day: BusinessDay
) -> tuple[int, int] | None:
    """Return the period that a window is compared with, [start, end), or None.

    The period of last week ends at the same local time seven business days before. It has the
    same length, or the same number of business days.

    Returns:
        None if this window is not compared, or if the period is not itself a window of that
        name. That happens where clocks go forward at midnight, and its last day would be empty.
    """
    if window.name not in COMPARED[reference]:
        return None
    if reference == "previous":
        period = previous_period(window, end_ms, day=day)
    else:
        period = _last_week(window, end_ms, day=day)
    if period is None or period[0] != start_of_window(window, period[1], day=day):
        return None
    return period


def whole_window_before(
    window: Window, end_ms: int, count: int, *, day: BusinessDay
) -> tuple[int, int] | None:
    """Return the window of whole hours or days that is ``count`` before one, [start, end) in ms.

    Example: five before the hour that ends at 14:00 is the one that ends at 9:00; three before the
    business day of Thursday is that of Monday.

    Returns:
        None if the window has neither a fixed length nor one business day.
    """
    if window.length_ms is not None:
        end_ms -= count * window.length_ms
        return end_ms - window.length_ms, end_ms
    if window.days != 1:
        return None
    start_ms = day.start_before(end_ms - 1, days=count)
    return start_ms, day.end_of(start_ms)


def _last_week(window: Window, end_ms: int, *, day: BusinessDay) -> tuple[int, int]:
    then_ms = day.same_time(end_ms, days=-7)
    if window.length_ms is not None:
        return then_ms - window.length_ms, then_ms
    return day.start_before(end_ms - 1, days=6 + window.days), then_ms
