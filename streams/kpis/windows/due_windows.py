"""Schedules the window ends at which a value changes, and hands them out once they are due.

A window's value changes at the end at which an event enters it or leaves it, and at the end at
which the event leaves the period before, which growth refers to. Only such ends are scheduled,
so that empty time costs nothing when years of sparse history are read in seconds. Windows of
rules that learn or count windows are scheduled regularly, too, from the first end on: that nothing
came is a value. In a longer stretch without any change they are for two days.

Example:
    A click at 12:03:04 on Monday is in the pane [12:03:00, 12:03:10). It schedules:

    1m, 5m      12:03:10 it enters; 12:04:10 (5m: 12:08:10) it leaves for the period before;
                12:05:10 (5m: 12:13:10) it leaves that, too
    1h          12:04, 13:04, 14:04
    24h         12:15 on Monday, Tuesday and Wednesday
    day         12:04 on Monday, it enters; 12:04 on Tuesday, it enters the period before
    week        12:15 on Monday, and 12:15 seven business days later
    month       12:15 on Monday, and 12:15 thirty business days later
    so_far      12:15 on Monday
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from models.window import (
    DAY_MS,
    WINDOWS,
    BusinessDay,
    Window,
    WindowName,
    first_end_after,
    previous_period,
)

Ends = npt.NDArray[np.int64]
"""Ends of one window: event times in ms, ascending; shape (ends,)."""

REGULAR_MS = 2 * DAY_MS
"""Regular ends are scheduled for so long after the last change of any window."""
_PLACES = {window.name: place for place, window in enumerate(WINDOWS)}
_PLACE_BITS = 4
_PLACES_MASK = (1 << _PLACE_BITS) - 1
assert len(WINDOWS) <= 1 << _PLACE_BITS


class DueWindows:
    """Queue of window ends, ordered by time and then as in `WINDOWS`; holds each end once.

    It holds ends that the frontier has not reached, and ends that it has passed but that are
    not closed yet. A year of history that is read at once has hundreds of thousands of them.

    Args:
        day: the business day.
        ends: the ends to start with, as `ends` returned them; None for no ends.
        regular: the intervals of the ends that are scheduled whatever comes, in ms, by window.
    """

    def __init__(
        self,
        day: BusinessDay,
        ends: Mapping[WindowName, Ends] | None = None,
        *,
        regular: Mapping[WindowName, int] = MappingProxyType({}),
    ) -> None:
        self._day = day
        self._regular = {_PLACES[name]: every_ms for name, every_ms in regular.items()}
        self._is_regular = False
        """Whether the next regular end of each window is in the heap."""
        self._only_regular: set[int] = set()
        """The entries at which nothing changes: one of each window at most."""
        self._changed_ms = 0
        """The last end that was taken at which something changed."""
        # Each entry packs an end and the index of its window in `WINDOWS` into one integer,
        # `end << 4 | index`. Entries sort by end, then by index. A hundred thousand tuples would
        # be slow to compare, to keep and to write.
        self._heap: list[int] = []
        for name, of_window in (ends or {}).items():
            self._heap += (of_window << _PLACE_BITS | _PLACES[name]).tolist()
        heapq.heapify(self._heap)
        self._due = set(self._heap)

    def pane_changed(self, pane_start: int, *, frontier_ms: int) -> list[tuple[Window, int]]:
        """Schedule the ends at which a pane's events change a window.

        Args:
            pane_start: start of the pane, event time in ms.
            frontier_ms: event time up to which everything is complete.

        Returns:
            The ends that the frontier has passed already: closed windows to correct.
        """
        passed: list[tuple[Window, int]] = []
        for place, window in enumerate(WINDOWS):
            for end in self._changed(window, pane_start):
                if end > frontier_ms:
                    self._add(end << _PLACE_BITS | place)
                else:
                    passed.append((window, end))
        return passed

    def _changed(self, window: Window, pane_start: int) -> list[int]:
        """Return the ends at which a pane's events change a window or the period before it.

        For windows of a fixed length: where the pane enters the window, leaves it for the period
        before, and leaves that. For windows of business days: where it enters the window, and
        where it enters the period before, at the same local time so many business days later.
        Such windows lose whole days at midnight; no end is scheduled for that.
        """
        entering = first_end_after(pane_start, step_ms=window.step_ms)
        if window.length_ms is not None:
            return [entering, entering + window.length_ms, entering + 2 * window.length_ms]
        if not window.days:
            return [entering]
        compared = self._day.same_time(entering, days=window.days)
        period = previous_period(window, compared, day=self._day)
        if period is not None and period[1] <= pane_start:
            # Because of a change of the clock, the period before ends at or before the pane
            # at this end. The pane enters it at the next one.
            compared += window.step_ms
        return [entering, compared]

    def next_end(self, *, frontier_ms: int) -> int | None:
        """Return the earliest end that the frontier has passed; None if there is none."""
        if not self._heap:
            return None
        end = self._heap[0] >> _PLACE_BITS
        return end if end <= frontier_ms else None

    def take(self, *, frontier_ms: int) -> tuple[Window, int] | None:
        """Remove and return the earliest end that the frontier has passed; None without one."""
        if self.next_end(frontier_ms=frontier_ms) is None:
            return None
        due = heapq.heappop(self._heap)
        self._due.discard(due)
        if due in self._only_regular and self._changed_ms:
            self._only_regular.discard(due)
        else:
            self._changed_ms = due >> _PLACE_BITS  # Also the first one that is taken.
        place, end = due & _PLACES_MASK, due >> _PLACE_BITS
        self._schedule_regular(place, end)
        return WINDOWS[place], end

    def _schedule_regular(self, taken: int, end: int) -> None:
        """Schedule the regular ends that follow one that was taken.

        The heap has one of each window, so a restored one goes on where it was saved. Where nothing
        changes for `REGULAR_MS`, they go on at the next end at which something does.
        """
        for place, every_ms in self._regular.items():
            if self._is_regular and not (place == taken and end % every_ms == 0):
                continue
            following = first_end_after(end, step_ms=every_ms)
            if following - self._changed_ms > REGULAR_MS and (change := self._next_change()):
                following = max(following, first_end_after(change - 1, step_ms=every_ms))
            self._add(following << _PLACE_BITS | place, regular=True)
        self._is_regular = True

    def _next_change(self) -> int | None:
        """Return the earliest end in the heap at which something changes; None if there is none."""
        regular = []
        while self._heap and self._heap[0] in self._only_regular:
            regular.append(heapq.heappop(self._heap))
        found = self._heap[0] >> _PLACE_BITS if self._heap else None
        for due in regular:
            heapq.heappush(self._heap, due)
        return found

    def waiting(self, *, frontier_ms: int, windows: Collection[WindowName]) -> int:
        """Return how many ends of these windows the frontier has passed."""
        if self.next_end(frontier_ms=frontier_ms) is None:
            return 0
        ends = self.ends()
        return sum(int(np.searchsorted(ends[name], frontier_ms, "right")) for name in windows)

    def ends(self) -> dict[WindowName, Ends]:
        """Return all ends by window, ascending: the state to save."""
        due = np.sort(np.array(self._heap, dtype=np.int64))
        ends, places = due >> _PLACE_BITS, (due & _PLACES_MASK).astype(np.int8)
        return {window.name: ends[places == place] for place, window in enumerate(WINDOWS)}

    def _add(self, due: int, *, regular: bool = False) -> None:
        if due not in self._due:
            self._due.add(due)
            heapq.heappush(self._heap, due)
            if regular:
                self._only_regular.add(due)
        elif not regular:
            self._only_regular.discard(due)
