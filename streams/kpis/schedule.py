"""Which ends of which windows are due.

A window's value changes where events enter it and where they leave it, and where
they enter and leave the period before it that it is compared with. Only those ends
are evaluated, so that empty time costs nothing when years of sparse history are read
in seconds.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable

from models.windows import (
    WINDOWS,
    BusinessDay,
    Window,
    WindowName,
    first_end_after,
    previous_period,
)

_PLACES = {window.name: place for place, window in enumerate(WINDOWS)}


class Schedule:
    """The ends that wait for the frontier, or have passed it and wait to be closed.

    Args:
        day: the business day.
        due: what `items` returned.
    """

    def __init__(self, day: BusinessDay, due: Iterable[tuple[WindowName, int]] = ()) -> None:
        self._day = day
        # An end and the place of its window among `WINDOWS`: the order in which they close.
        self._heap = [(end, _PLACES[name]) for name, end in due]
        self._due = set(self._heap)
        heapq.heapify(self._heap)

    def pane_changed(self, pane_start: int, *, frontier_ms: int) -> list[tuple[Window, int]]:
        """Schedule the ends that a pane's events change.

        Returns:
            The ends that were passed already: closed windows to correct.
        """
        passed: list[tuple[Window, int]] = []
        for place, window in enumerate(WINDOWS):
            for end in self._changed(window, pane_start):
                if end > frontier_ms:
                    self._add((end, place))
                else:
                    passed.append((window, end))
        return passed

    def _changed(self, window: Window, pane_start: int) -> list[int]:
        """Return the ends at which a pane enters a window, leaves it, and leaves what was before.

        It leaves a window of business days for the period before at midnight, with all others.
        """
        entering = first_end_after(pane_start, step_ms=window.step_ms)
        if window.length_ms is not None:
            return [entering, entering + window.length_ms, entering + 2 * window.length_ms]
        if not window.days:
            return [entering]
        compared = self._day.same_time(entering, days=window.days)
        period = previous_period(window, compared, day=self._day)
        if period is not None and period[1] <= pane_start:
            # The clock was put forward to here, or back before: at the next end it is past.
            compared += window.step_ms
        return [entering, compared]

    def next_end(self, *, frontier_ms: int) -> int | None:
        """Return the earliest end that the frontier has passed; None if there is none."""
        return self._heap[0][0] if self._heap and self._heap[0][0] <= frontier_ms else None

    def take(self, *, frontier_ms: int) -> tuple[Window, int] | None:
        """Return the next end that the frontier has passed, in order of time."""
        if not self._heap or self._heap[0][0] > frontier_ms:
            return None
        due = heapq.heappop(self._heap)
        self._due.discard(due)
        end, place = due
        return WINDOWS[place], end

    def waiting(self, *, frontier_ms: int, windows: Collection[WindowName]) -> int:
        """Return how many ends of these windows the frontier has passed."""
        places = {_PLACES[name] for name in windows}
        return sum(end <= frontier_ms and place in places for end, place in self._heap)

    def items(self) -> list[tuple[WindowName, int]]:
        """Return what is to be saved."""
        return [(WINDOWS[place].name, end) for end, place in self._heap]

    def _add(self, due: tuple[int, int]) -> None:
        if due not in self._due:
            self._due.add(due)
            heapq.heappush(self._heap, due)
