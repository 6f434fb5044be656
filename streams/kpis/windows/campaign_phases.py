"""The stages of campaigns so far."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

from models.window import MINUTE_MS
from streams.engine.steps import Steps
from streams.kpis.view import Evaluation
from streams.kpis.windows.campaign_timeline import CampaignTimeline
from streams.kpis.windows.round_robin import RoundRobin
from streams.kpis.windows.window_evaluator import WindowEvaluator

STEP_MS = MINUTE_MS
"""A stage so far closes as often as the business day so far."""


class _Begun(NamedTuple):
    """The campaigns whose stages began at a moment."""

    start_ms: int
    campaigns: frozenset[str]


def stages_in_turn(
    windows: WindowEvaluator, moments: CampaignTimeline, *, small: Callable[[], Collection[str]]
) -> RoundRobin[_Begun, Evaluation]:
    """Return what evaluates stages, those together that began at one moment.

    Args:
        windows: evaluates them.
        moments: knows when stages begin.
        small: returns the campaigns that are not shown one by one.
    """

    def due(end: int) -> Iterable[_Begun]:
        left_out = small()
        for start, campaigns in sorted(moments.stages(end).items()):
            shown = frozenset(campaigns).difference(left_out)
            if shown:
                yield _Begun(start, shown)

    def make(begun: _Begun, end: int) -> Steps[Evaluation | None]:
        return windows.evaluate_campaigns(begun.campaigns, begun.start_ms, end)

    return RoundRobin(step_ms=STEP_MS, due=due, make=make)
