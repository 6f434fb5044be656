"""Keeps the window ends that are due, those that were evaluated, and those to correct.

A late event changes windows that are closed already. The schedule finds them among the last
evaluated ends and queues those that can still be summed up exactly.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from types import MappingProxyType

from models.window import (
    DAY_MS,
    HOUR_MS,
    PANE_MS,
    QUARTER_MS,
    WINDOWS,
    BusinessDay,
    Window,
    WindowName,
    previous_period,
    start_of_window,
    whole_quarter,
)
from streams.engine.steps import Steps, in_groups
from streams.kpis.windows.due_windows import DueWindows, Ends

REMEMBERED = 200
"""Late data correct the last 200 evaluated ends of each window."""

RECENT_MS = 2 * DAY_MS
"""Costs of a period correct windows that ended longer ago only at the ends of business days."""
ENDS_A_STEP = 50
"""The number of closed windows that one step of up to 5 ms queues for correction."""

JUST_BEFORE_MS = HOUR_MS
"""Longer than the longest correction horizon, 15 min."""

Holds = Callable[[int, int], bool]
"""Returns whether [start, end), in ms, can still be summed up exactly from the buckets."""


class WindowSchedule:
    """The ends that wait to be closed, and the closed ends that wait for a correction.

    Args:
        day: the business day.
        holds: returns whether a closed window can still be summed up.
        regular: the intervals of the ends that are scheduled whatever comes, in ms, by window.
    """

    def __init__(
        self,
        day: BusinessDay,
        holds: Holds,
        *,
        regular: Mapping[WindowName, int] = MappingProxyType({}),
    ) -> None:
        self.uncorrected = 0
        """Number of late panes that changed a closed window which can't be summed up any more."""
        self._day = day
        self._holds = holds
        self._regular = regular
        self._schedule = DueWindows(day, regular=regular)
        self._evaluated: dict[WindowName, deque[int]] = {
            window.name: deque(maxlen=REMEMBERED) for window in WINDOWS
        }
        self._to_correct: dict[WindowName, set[int]] = {window.name: set() for window in WINDOWS}
        """Ends of closed windows whose value late data changed."""

    def restore(
        self,
        ends: Mapping[WindowName, Ends],
        evaluated: Mapping[WindowName, Iterable[int]],
        to_correct: Iterable[tuple[WindowName, int]],
    ) -> None:
        """Restore the saved `ends`, `evaluated` and `to_correct`."""
        self._schedule = DueWindows(self._day, ends, regular=self._regular)
        for name, evaluated_ends in evaluated.items():
            self._evaluated[name].extend(evaluated_ends)
        for name, end in to_correct:
            self._to_correct[name].add(end)

    @property
    def ends(self) -> dict[WindowName, Ends]:
        """The ends that are not closed yet, also those that the frontier has passed; in ms."""
        return self._schedule.ends()

    @property
    def correcting(self) -> bool:
        """Whether closed windows wait for their correction."""
        return any(self._to_correct.values())

    @property
    def to_correct(self) -> list[tuple[WindowName, int]]:
        """The closed windows that wait for their correction, as (window, end in ms)."""
        return [(name, end) for name, ends in self._to_correct.items() for end in sorted(ends)]

    @property
    def evaluated(self) -> dict[WindowName, list[int]]:
        """The last evaluated ends of each window, at most `REMEMBERED`, in ms."""
        return {name: list(ends) for name, ends in self._evaluated.items()}

    def pane_changed(self, pane_start: int, *, frontier_ms: int) -> None:
        """Schedule the ends that a pane's events change, and queue corrections of closed ones.

        Args:
            pane_start: start of the pane, event time in ms.
            frontier_ms: event time up to which everything is complete.
        """
        passed = self._schedule.pane_changed(pane_start, frontier_ms=frontier_ms)
        if not passed:
            return
        closed = self._closed_with(pane_start, pane_start + PANE_MS, frontier_ms=frontier_ms)
        corrected = [self._correct(window, end) for window, end in {*passed, *closed}]
        if not all(corrected):
            self.uncorrected += 1

    def costs_changed(self, start: int, end: int, *, frontier_ms: int) -> Steps[None]:
        """Schedule ends at which costs that are spread over [start, end) change a window.

        Costs change windows at every pane of their period, by equal amounts. Ends are scheduled
        for each quarter of an hour, where the period starts and where it ends.

        Of the closed windows, those are corrected that ended in the last two days at a quarter of
        an hour, the last 200 evaluated ones, and those that ended with a business day. So a
        platform that restates 35 days each morning causes hundreds of corrections, not thousands.

        Args:
            start: event time in ms, a multiple of a pane.
            end: likewise.
            frontier_ms: event time up to which everything is complete.
        """
        passed: list[tuple[Window, int]] = []
        for pane_start in (start, *range(whole_quarter(start), end, QUARTER_MS), end - PANE_MS):
            passed += self._schedule.pane_changed(pane_start, frontier_ms=frontier_ms)
            yield
        if not passed:
            return
        recent = [closed for closed in passed if closed[1] > frontier_ms - RECENT_MS]
        closed = {*recent, *self._closed_with(start, end, frontier_ms=frontier_ms)}
        for several in in_groups(closed, of=ENDS_A_STEP):
            for window, window_end in several:
                self._correct(window, window_end)
            yield

    def _correct(self, window: Window, end: int) -> bool:
        """Queue the correction of a closed window; return False if it can't be summed up.

        Its business day must be held, too: KPIs whose inputs were seen only before the window, but
        on the same day, would become absent otherwise.
        """
        starts = (start_of_window(window, end, day=self._day), self._day.start_of(end - 1))
        if not all(self._holds(start, end) for start in starts):
            return False
        self._to_correct[window.name].add(end)
        return True

    def _closed_with(
        self, start: int, end: int, *, frontier_ms: int
    ) -> Iterator[tuple[Window, int]]:
        """Yield closed windows that a change in [start, end) changes.

        These are the last evaluated ends, and for windows of business days also the ends of the
        days that have a part of it in the window or in the period before it.
        """
        for window in WINDOWS:
            for closed in self._evaluated[window.name]:
                if start < closed and self._belongs(start, end, window, closed):
                    yield window, closed
            closed = self._day.end_of(start)
            last = self._day.end_of(end - 1)
            after = 2 * window.days
            while after and closed <= frontier_ms:
                yield window, closed
                after -= closed >= last
                closed = self._day.end_of(closed)

    def _belongs(self, start: int, end: int, window: Window, closed: int) -> bool:
        """Return whether [start, end) has a part in a window, or in the period before it.

        To windows of business days belongs also the time just before their start, as customers
        before them are counted from it. Only recent data can add a customer: a correction of an
        older order changes its money.

        Args:
            start: event time in ms, before the end of the window.
            end: event time in ms.
            window: the window.
            closed: its end.
        """
        begins = start_of_window(window, closed, day=self._day)
        if end > (begins - JUST_BEFORE_MS if window.days else begins):
            return True
        period = previous_period(window, closed, day=self._day)
        return period is not None and start < period[1] and end > period[0]

    def inputs_changed(self, pane_start: int) -> None:
        """Queue corrections of the day's evaluated windows that end after a pane.

        Called when late data show a scope or an input earlier than it was known that day: KPIs
        that were absent in those windows may have a value then.
        """
        day_start = self._day.start_of(pane_start)
        for window in WINDOWS:
            for end in self._evaluated[window.name]:
                if end > pane_start and self._day.start_of(end - 1) == day_start:
                    self._correct(window, end)

    def next_end(self, *, frontier_ms: int) -> int | None:
        """Return the earliest end that waits to be closed; None if all are closed."""
        return self._schedule.next_end(frontier_ms=frontier_ms)

    def waiting(self, *, frontier_ms: int, windows: Collection[WindowName]) -> int:
        """Return how many ends of these windows wait to be closed."""
        return self._schedule.waiting(frontier_ms=frontier_ms, windows=windows)

    def take_due(self, *, frontier_ms: int) -> tuple[Window, int] | None:
        """Remove and return the earliest end that the frontier has passed; None without one."""
        return self._schedule.take(frontier_ms=frontier_ms)

    def take_correction(self) -> tuple[Window, int] | None:
        """Remove and return the next closed window to correct; None if there is none."""
        for window in WINDOWS:
            ends = self._to_correct[window.name]
            if ends:
                end = min(ends)
                ends.discard(end)
                return window, end
        return None

    def record_evaluated(self, window: WindowName, end: int) -> None:
        """Record that a window was evaluated, also by a correction."""
        if end not in self._evaluated[window]:
            self._evaluated[window].append(end)
