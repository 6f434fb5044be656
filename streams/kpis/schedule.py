"""Which ends of which windows are due.

A window's value changes where events enter it and where they leave it, and where
they enter and leave the period before it that it is compared with. Only those ends
are evaluated, so that empty time costs nothing when years of sparse history are read
in seconds.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from models.windows import (
    WINDOWS,
    BusinessDay,
    Window,
    WindowName,
    first_end_after,
    previous_period,
)


class Schedule:
    """The ends that wait for the frontier, by window.

    Args:
        day: the business day.
        due: what `items` returned.
    """

    def __init__(self, day: BusinessDay, due: Iterable[tuple[WindowName, int]] = ()) -> None:
        self._day = day
        self._due: dict[WindowName, set[int]] = {window.name: set() for window in WINDOWS}
        self._heaps: dict[WindowName, list[int]] = {window.name: [] for window in WINDOWS}
        for name, end in due:
            self._add(name, end)

    def pane_changed(self, pane_start: int, *, frontier_ms: int) -> list[tuple[Window, int]]:
        """Schedule the ends that a pane's events change.

        Returns:
            The ends that were passed already: closed windows to correct.
        """
        passed: list[tuple[Window, int]] = []
        for window in WINDOWS:
            for end in self._changed(window, pane_start):
                if end > frontier_ms:
                    self._add(window.name, end)
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

    def take(self, window: Window, *, frontier_ms: int) -> list[int]:
        """Return the due ends that the frontier has passed, in order."""
        heap = self._heaps[window.name]
        due = self._due[window.name]
        taken: list[int] = []
        while heap and heap[0] <= frontier_ms:
            end = heapq.heappop(heap)
            due.discard(end)
            taken.append(end)
        return taken

    def items(self) -> list[tuple[WindowName, int]]:
        """Return what is to be saved."""
        return [(name, end) for name, ends in self._due.items() for end in ends]

    def _add(self, name: WindowName, end: int) -> None:
        if end not in self._due[name]:
            self._due[name].add(end)
            heapq.heappush(self._heaps[name], end)
