"""Which ends of which windows are due.

A window's value changes where events enter it and where they leave it, and where
they enter and leave the period before it that it is compared with. Only those ends
are evaluated, so that empty time costs nothing when years of sparse history are read
in seconds.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping

import numpy as np
import numpy.typing as npt

from models.window import (
    WINDOWS,
    BusinessDay,
    Window,
    WindowName,
    first_end_after,
    previous_period,
)

Ends = npt.NDArray[np.int64]
"""Ends of one window, ascending."""

_PLACES = {window.name: place for place, window in enumerate(WINDOWS)}
_PLACE_BITS = 4
_PLACES_MASK = (1 << _PLACE_BITS) - 1
assert len(WINDOWS) <= 1 << _PLACE_BITS


class DueWindows:
    """The ends that wait for the frontier, or have passed it and wait to be closed.

    A year of history that is read at once has hundreds of thousands.

    Args:
        day: the business day.
        ends: what `ends` returned.
    """

    def __init__(self, day: BusinessDay, ends: Mapping[WindowName, Ends] | None = None) -> None:
        self._day = day
        # An end and the place of its window among `WINDOWS`, the order in which they close, as
        # one number: a hundred thousand tuples are slow to compare, to keep and to write.
        self._heap: list[int] = []
        for name, of_window in (ends or {}).items():
            self._heap += (of_window << _PLACE_BITS | _PLACES[name]).tolist()
        heapq.heapify(self._heap)
        self._due = set(self._heap)

    def pane_changed(self, pane_start: int, *, frontier_ms: int) -> list[tuple[Window, int]]:
        """Schedule the ends that a pane's events change.

        Returns:
            The ends that were passed already: closed windows to correct.
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
        if not self._heap:
            return None
        end = self._heap[0] >> _PLACE_BITS
        return end if end <= frontier_ms else None

    def take(self, *, frontier_ms: int) -> tuple[Window, int] | None:
        """Return the next end that the frontier has passed, in order of time."""
        if self.next_end(frontier_ms=frontier_ms) is None:
            return None
        due = heapq.heappop(self._heap)
        self._due.discard(due)
        return WINDOWS[due & _PLACES_MASK], due >> _PLACE_BITS

    def waiting(self, *, frontier_ms: int, windows: Collection[WindowName]) -> int:
        """Return how many ends of these windows the frontier has passed."""
        if self.next_end(frontier_ms=frontier_ms) is None:
            return 0
        ends = self.ends()
        return sum(int(np.searchsorted(ends[name], frontier_ms, "right")) for name in windows)

    def ends(self) -> dict[WindowName, Ends]:
        """Return what is to be saved: the ends of each window."""
        due = np.sort(np.array(self._heap, dtype=np.int64))
        ends, places = due >> _PLACE_BITS, (due & _PLACES_MASK).astype(np.int8)
        return {window.name: ends[places == place] for place, window in enumerate(WINDOWS)}

    def _add(self, due: int) -> None:
        if due not in self._due:
            self._due.add(due)
            heapq.heappush(self._heap, due)
