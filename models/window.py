"""Rolling windows: how long, how often they close, and when one starts.

All times are event time in milliseconds since the epoch, UTC; every interval
is half-open, ``[start, end)``. A window closes at every multiple of its step.
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
"""The finest stretch of time that is kept apart."""

QUARTER_MS: Final = 15 * MINUTE_MS
"""Offsets from UTC are whole quarters of an hour, so days are sums of them."""

BEGINNING_MS: Final = 0
"""Where the window starts that holds everything so far."""

WindowName = Literal["1m", "5m", "1h", "24h", "day", "week", "month", "so_far"]

SO_FAR: Final = "so_far"
"""The window of everything so far."""

STAGE: Final = "stage"
"""The window of a campaign's stage so far: every campaign's begins where its stage does."""

ShownWindow = WindowName | Literal["stage"]
"""What is shown and exported; rules and scorecards rest on windows that all scopes share."""


@dataclass(frozen=True, slots=True)
class Window:
    """A window of ``length_ms``, or so many business days, the last of them so far.

    Without either it holds everything so far; of a campaign, that is since it began.
    """

    name: WindowName
    step_ms: int
    length_ms: int | None = None
    days: int = 0


WINDOWS: Final = (
    Window("1m", PANE_MS, MINUTE_MS),
    Window("5m", PANE_MS, 5 * MINUTE_MS),
    Window("1h", MINUTE_MS, HOUR_MS),
    Window("day", MINUTE_MS, days=1),
    Window("24h", QUARTER_MS, DAY_MS),
    Window("week", QUARTER_MS, days=7),
    Window("month", QUARTER_MS, days=30),
    Window(SO_FAR, QUARTER_MS),
)

SHOWN_WINDOWS: Final[tuple[ShownWindow, ...]] = (*(window.name for window in WINDOWS), STAGE)
"""The names of all windows that are shown and exported."""


def align_down(time_ms: int, *, step_ms: int) -> int:
    """Return the largest multiple of the step that is not after the time."""
    return time_ms - time_ms % step_ms


def first_end_after(time_ms: int, *, step_ms: int) -> int:
    """Return the first end of a step whose interval holds the time."""
    return time_ms - time_ms % step_ms + step_ms


def whole_quarter(moment_ms: int) -> int:
    """Return a moment, rounded up to a whole quarter of an hour."""
    return moment_ms + -moment_ms % QUARTER_MS


_KNOWN_QUARTERS = 10_000
"""Over three months of them, about 2 MB."""


class BusinessDay:
    """Finds where business days start and end, daylight saving time included.

    Args:
        zone: whose calendar it is.
        starts_at: the local time at which a day starts, a whole quarter of an hour.
    """

    def __init__(self, zone: ZoneInfo, *, starts_at: time = time()) -> None:
        self.zone = zone
        self.starts_at = starts_at
        self._known: dict[int, tuple[int, int, date]] = {}
        """The day of each quarter of an hour that was asked for: days are whole quarters."""

    def start_of(self, time_ms: int) -> int:
        """Return the start of the business day that holds the time."""
        return self._holding(time_ms)[0]

    def end_of(self, time_ms: int) -> int:
        """Return the start of the business day after the one that holds the time."""
        return self._holding(time_ms)[1]

    def date_of(self, time_ms: int) -> date:
        """Return the date of the business day that holds the time."""
        return self._holding(time_ms)[2]

    def start_before(self, time_ms: int, *, days: int) -> int:
        """Return the start of the business day so many days before the one that holds the time."""
        return self._start(self.date_of(time_ms) - timedelta(days=days))

    def same_time(self, end_ms: int, *, days: int) -> int:
        """Return when, so many business days later, the clock shows what it shows at an end.

        The day of an end is that of the last moment before it. Where the clock was put
        back on that day, what counts is the latest that it had shown. What the other
        day's clock shows twice is meant the first time; what it leaves out is the
        moment at which it is put forward.
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
        """Return how long, by the clock, a business day has lasted at a time."""
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
    """Return where the window that ends at ``end_ms`` starts.

    A business day that ends at ``end_ms`` is shown whole, not as an empty new
    one: the last day is that of the last moment inside the window.
    """
    if window.length_ms is not None:
        return end_ms - window.length_ms
    if not window.days:
        return BEGINNING_MS
    if window.days == 1:
        return day.start_of(end_ms - 1)
    return day.start_before(end_ms - 1, days=window.days - 1)


def previous_period(window: Window, end_ms: int, *, day: BusinessDay) -> tuple[int, int] | None:
    """Return the equal period before a window, [start, end); everything so far has none.

    Of business days, the last of them so far, it is as many days before, the last up to
    the same local time.
    """
    if window.length_ms is not None:
        return end_ms - 2 * window.length_ms, end_ms - window.length_ms
    if not window.days:
        return None
    start_ms = day.start_before(end_ms - 1, days=2 * window.days - 1)
    return start_ms, day.same_time(end_ms, days=-window.days)


Reference = Literal["previous", "last_week"]
"""What a window is compared with: the equal period before, or the same one a week before."""

COMPARED: Final[dict[Reference, tuple[WindowName, ...]]] = {
    "previous": ("1h", "day", "24h", "week", "month"),
    "last_week": ("1h", "day", "24h"),
}
"""The windows that are compared; of everything so far there is nothing else."""


def reference_period(
    reference: Reference, window: Window, end_ms: int, *, day: BusinessDay
) -> tuple[int, int] | None:
    """Return what a window that ends at ``end_ms`` is compared with, [start, end); None if nothing.

    Last week's period ends seven business days before by the local clock, and is as long, or
    as many business days. It is always a window of that name; where the clock is put forward
    at midnight, nothing of its last day may be left, and there is none.
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


def _last_week(window: Window, end_ms: int, *, day: BusinessDay) -> tuple[int, int]:
    then_ms = day.same_time(end_ms, days=-7)
    if window.length_ms is not None:
        return then_ms - window.length_ms, then_ms
    return day.start_before(end_ms - 1, days=6 + window.days), then_ms
