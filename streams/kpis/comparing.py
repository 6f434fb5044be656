"""Windows beside their reference periods: the equal one before, and the same a week before.

Comparisons are for people: only the newest quarter of an hour is compared, for at its end
last week's period can be summed from quarters. Nothing of it is saved; after a restart they
are made anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from models.scopes import ScopeKind
from models.windows import (
    COMPARED,
    QUARTER_MS,
    WINDOWS,
    BusinessDay,
    Reference,
    Window,
    WindowName,
    align_down,
    reference_period,
)
from streams.kpis.evaluating import WindowEvaluator
from streams.kpis.view import Comparison, Evaluation

SHOWN_MS = 2 * QUARTER_MS
"""A comparison stays until it is made anew, but while catching up not for longer than this."""

KINDS: tuple[ScopeKind, ...] = ("all", "channel", "campaign")
"""Of the scopes that are compared."""

_PAIRS = [
    (window, reference)
    for window in WINDOWS
    for reference, windows in COMPARED.items()
    if window.name in windows
]


class Comparing:
    """The comparisons of the newest quarter of an hour.

    Args:
        windows: evaluates windows.
        day: the business day.
    """

    def __init__(self, windows: WindowEvaluator, *, day: BusinessDay) -> None:
        self._windows = windows
        self._day = day
        self._end_ms = 0
        self._waiting: deque[tuple[Window, Reference]] = deque()
        self._made: dict[tuple[WindowName, Reference], Comparison] = {}

    def compare_next(self, frontier_ms: int, latest: Mapping[WindowName, Evaluation]) -> None:
        """Make one comparison that waits: with many scopes records do not wait for them all.

        Args:
            frontier_ms: event time up to which everything is complete.
            latest: what was evaluated already.
        """
        newest_ms = align_down(frontier_ms, step_ms=QUARTER_MS)
        if newest_ms > self._end_ms:
            self._end_ms = newest_ms
            self._waiting = deque(_PAIRS)
        while self._waiting:
            window, reference = self._waiting.popleft()
            made = self._compare(window, reference, latest.get(window.name))
            if made is not None:
                self._made[window.name, reference] = made
                return
            self._made.pop((window.name, reference), None)

    def shown(self, frontier_ms: int) -> dict[tuple[WindowName, Reference], Comparison]:
        """Return the comparisons that are not out of date."""
        return {
            key: comparison
            for key, comparison in self._made.items()
            if frontier_ms < comparison.now.end_ms + SHOWN_MS
        }

    def _compare(
        self, window: Window, reference: Reference, latest: Evaluation | None
    ) -> Comparison | None:
        """Return a comparison; None where the reference period is not known whole."""
        end_ms = self._end_ms
        period = reference_period(reference, window, end_ms, day=self._day)
        if period is None or not self._windows.knows(window, period):
            return None
        made = [latest, *(one.now for one in self._made.values() if one.now.window == window.name)]
        now = next((one for one in made if one is not None and one.end_ms == end_ms), None)
        return Comparison(
            reference, now or self._evaluate(window, end_ms), self._evaluate(window, period[1])
        )

    def _evaluate(self, window: Window, end_ms: int) -> Evaluation:
        return self._windows.evaluate(window, end_ms, kinds=KINDS, looking_back=False)
