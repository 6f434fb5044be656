"""The last evaluation of each window, kept so that the next one calculates only what changed.

A window that closes a step later differs by the events that entered it and those that left
it. Of a thousand campaigns with a click a day most had none in between: their KPIs are what
they were.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from models.scope import Scope
from models.window import WindowName
from streams.kpis.calculation.campaign_budgets import CampaignBudget
from streams.kpis.calculation.scope_calculation import Calculated

Span = tuple[int, int]
"""A stretch of event time, [start, end)."""

FEW_SCOPES = 32
"""So many are calculated in less time than it takes to find those that changed."""


class Period(NamedTuple):
    """A window, and what makes its KPIs comparable with those of another end.

    Args:
        start: of the window.
        end: of the window.
        previous: the equal period before, if it is known.
        day_start: the business day of the end, whose inputs count.
        version: the oldest that measured a part of the window.
        version_before: the oldest that measured a part of the period before.
    """

    start: int
    end: int
    previous: Span | None
    day_start: int
    version: int
    version_before: int

    def changed_since(self, last: Period) -> list[Span] | None:
        """Return where events entered or left since an earlier end; None if it can't be said.

        Example:
            The five minutes that end at 12:06 differ from those that end at 12:05 by what
            entered in [12:05, 12:06) and by what left in [12:00, 12:01); and as the five
            minutes before differ by [12:00, 12:01) and [11:55, 11:56), by those, too.
        """
        if (self.day_start, self.version, self.version_before) != (
            last.day_start,
            last.version,
            last.version_before,
        ):
            return None
        spans = [(last.start, self.start), (last.end, self.end)]
        if self.previous is not None and last.previous is not None:
            spans += zip(last.previous, self.previous, strict=True)
        elif self.previous != last.previous:
            return None
        if any(start > end for start, end in spans):
            return None
        return sorted({span for span in spans if span[0] < span[1]})


class Last(NamedTuple):
    """The last evaluation of a window.

    Args:
        period: what was evaluated.
        calculated: what came of it.
        plans: what the campaigns may cost that have a plan.
    """

    period: Period
    calculated: Calculated
    plans: Mapping[Scope, CampaignBudget]


class LastEvaluations:
    """The last evaluation of each window, as long as late data did not change it.

    Args:
        holds: says whether the events of a stretch of time are still told apart from others.
    """

    def __init__(self, holds: Callable[[int, int], bool]) -> None:
        self._holds = holds
        self._by_window: dict[WindowName, Last] = {}

    def record(self, window: WindowName, last: Last) -> None:
        """Note an evaluation."""
        self._by_window[window] = last

    def pane_changed(self, pane_start: int) -> None:
        """Forget the evaluations that may rest on a pane."""
        stale = [name for name, last in self._by_window.items() if pane_start < last.period.end]
        for name in stale:
            del self._by_window[name]

    def since(self, window: WindowName, period: Period) -> tuple[Last, list[Span]] | None:
        """Return the last evaluation, and in which stretches of time the difference lies.

        None where all is to be calculated.
        """
        last = self._by_window.get(window)
        if last is None or len(last.calculated.values) <= FEW_SCOPES:
            return None
        spans = period.changed_since(last.period)
        if spans is None or not all(self._holds(*span) for span in spans):
            return None
        return last, spans
