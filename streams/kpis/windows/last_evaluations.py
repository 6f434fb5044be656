"""Keeps the last evaluation of each window, so that the next one recalculates only what changed.

When a window closes a step later, its KPIs change only by events that entered or left the window
or the period before it. Of a thousand campaigns with a click a day, most have no such event;
their KPIs are copied from the last evaluation.

Example:
    The 5m window is evaluated at 12:05 for 1,000 campaigns, and again at 12:06.
    At 12:05 it is [12:00, 12:05), and the period before it [11:55, 12:00).
    At 12:06 it is [12:01, 12:06), and the period before it [11:56, 12:01).
    `Period.changed_since` returns [11:55, 11:56), [12:00, 12:01) and [12:05, 12:06). If 12
    campaigns have events there, `WindowEvaluator` calculates these and the scopes beside them
    (all, their channels, regions), and keeps the KPIs of the other 988.
    A late click at 12:04:30 drops the evaluation: the next one calculates all scopes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import NamedTuple

from models.kpi.measures import Measured
from models.scope import Scope
from models.window import WindowName
from streams.kpis.calculation.kpi_calculator import Figures
from streams.kpis.calculation.scope_calculation import Calculated
from streams.kpis.storage.user_stocks import Past

Span = tuple[int, int]
"""A stretch of event time, [start, end)."""

FEW_SCOPES = 32
"""Up to this many scopes, calculating all is faster than finding those that changed."""


class Period(NamedTuple):
    """A window at one end, and what its KPIs depend on besides events. Times are in ms.

    Args:
        start: start of the window.
        end: end of the window.
        previous: the equal period before, [start, end); None if it is not known whole.
        day_start: start of the business day of the end; the inputs seen on that day decide
            which KPIs are present.
        connected: the inputs that ever came before the end.
        measured: the measures that all cells of the window have.
        measured_before: those that all cells of the period before have.
        past: the business days before the window from which customers are counted; None if they
            are not known whole.
    """

    start: int
    end: int
    previous: Span | None
    day_start: int
    connected: int
    measured: Measured
    measured_before: Measured
    past: Past | None = None

    def changed_since(self, last: Period) -> list[Span] | None:
        """Return the stretches of time whose events entered or left since an earlier end.

        Returns:
            Stretches [start, end) in ms, ascending. None if all scopes must be calculated: the
            business day, the days before the window, the connected inputs or what is measured is
            another, only one of the two periods has a known period before it, or one of the bounds
            lies before its earlier value.
        """
        if _fixed(self) != _fixed(last):
            return None
        spans = [(last.start, self.start), (last.end, self.end)]
        if self.previous is not None and last.previous is not None:
            spans += zip(last.previous, self.previous, strict=True)
        elif self.previous != last.previous:
            return None
        if any(start > end for start, end in spans):
            return None
        return sorted({span for span in spans if span[0] < span[1]})


_fixed = attrgetter("day_start", "past", "connected", "measured", "measured_before")
"""The parts that must be equal for the KPIs of unchanged scopes to be equal."""


class Last(NamedTuple):
    """The last evaluation of a window.

    Args:
        period: the window that was evaluated.
        calculated: the KPIs by scope.
        figures: the figures of campaigns that were used, of scopes that have any.
    """

    period: Period
    calculated: Calculated
    figures: Mapping[Scope, Figures]


class LastEvaluations:
    """The last evaluation of each window, until late data change it.

    Args:
        holds: returns whether the buckets can still sum up a stretch of time [start, end), in
            ms, exactly.
    """

    def __init__(self, holds: Callable[[int, int], bool]) -> None:
        self._holds = holds
        self._by_window: dict[WindowName, Last] = {}

    def record(self, window: WindowName, last: Last) -> None:
        """Record the newest evaluation of a window."""
        self._by_window[window] = last

    def pane_changed(self, pane_start: int) -> None:
        """Drop the evaluations of windows that end after the start of a changed pane."""
        stale = [name for name, last in self._by_window.items() if pane_start < last.period.end]
        for name in stale:
            del self._by_window[name]

    def since(self, window: WindowName, period: Period) -> tuple[Last, list[Span]] | None:
        """Return the last evaluation and the stretches of time whose events changed since.

        Returns:
            None if all scopes are to be calculated: there is no last evaluation, it has at most
            `FEW_SCOPES` scopes, or the difference can't be found exactly.
        """
        last = self._by_window.get(window)
        if last is None or len(last.calculated.values) <= FEW_SCOPES:
            return None
        spans = period.changed_since(last.period)
        if spans is None or not all(self._holds(*span) for span in spans):
            return None
        return last, spans
