"""The stages of campaigns so far: when they are evaluated."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from models.windows import MINUTE_MS, align_down
from streams.kpis.moments import Moments
from streams.kpis.view import Evaluation

STEP_MS = MINUTE_MS
"""A stage so far closes as often as the business day so far."""

EvaluateSince = Callable[[int, int, Collection[str]], Evaluation | None]
"""Returns the KPIs of campaigns over [start, end); None where they are not known whole."""


class Stages:
    """The stages so far that were evaluated. They are for people: no rule rests on them.

    Args:
        evaluate: returns the KPIs of campaigns.
        moments: knows when stages begin.
    """

    def __init__(self, evaluate: EvaluateSince, moments: Moments) -> None:
        self._evaluate = evaluate
        self._moments = moments
        self._end = 0
        self._begun: Mapping[int, Collection[str]] = {}
        self._found: dict[int, tuple[int, Evaluation | None]] = {}

    @property
    def latest(self) -> tuple[Evaluation, ...]:
        """The newest evaluation for each moment at which stages began, in their order."""
        return tuple(found for _, (_, found) in sorted(self._found.items()) if found is not None)

    def close_newest(self, frontier_ms: int, *, small: Collection[str]) -> None:
        """Evaluate the stages that began at one moment; the others wait for the next ticks.

        Args:
            frontier_ms: event time up to which everything is complete.
            small: the campaigns that are not shown one by one.
        """
        end = align_down(frontier_ms, step_ms=STEP_MS)
        if end > self._end:
            self._end, self._begun = end, self._moments.stages(end)
            self._found = {at: one for at, one in self._found.items() if at in self._begun}
        due = {at: self._found[at][0] if at in self._found else 0 for at in self._begun}
        start = min(due, key=due.__getitem__, default=None)
        if start is not None and due[start] < self._end:
            campaigns = set(self._begun[start]).difference(small)
            self._found[start] = self._end, self._evaluate(start, self._end, campaigns)
