"""Evaluates the current phase of each campaign, from the phase's start until now.

A phase is one of the `stages` of a campaign's plan, such as warm-up or peak, and its window is
named `stage`. Campaigns whose phases start at the same moment are evaluated together, one
moment at a time.

Example:
    Campaign A is in a phase since 10:07, which is rounded up to 10:15, campaign B since 10:15,
    and campaign C since midnight. At 12:04 two evaluations are due: C over [00:00, 12:04), then
    A and B over [10:15, 12:04). `RoundRobin` computes one of them at a time, the one that has
    waited longest first. From 12:05 on both are due again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from models.scope import Scope
from models.window import MINUTE_MS
from streams.engine.steps import Steps
from streams.kpis.view import Evaluation
from streams.kpis.windows.campaign_timeline import CampaignTimeline
from streams.kpis.windows.round_robin import RoundRobin
from streams.kpis.windows.window_closer import WindowCloser
from streams.kpis.windows.window_evaluator import WindowEvaluator

STEP_MS = MINUTE_MS
"""Phases are evaluated as often as the window `day`: once a minute of event time."""


class _Begun(NamedTuple):
    """Campaigns whose current phases began at the same moment, in ms."""

    start_ms: int
    campaigns: frozenset[str]


def stages_in_turn(
    windows: WindowEvaluator, timeline: CampaignTimeline, *, closer: WindowCloser
) -> RoundRobin[_Begun, Evaluation]:
    """Return a round-robin that evaluates current phases, one evaluation for each start.

    Args:
        windows: evaluates campaigns over a period.
        timeline: finds the current phases and their starts.
        closer: knows which campaigns, and which channels of campaigns, are not shown one by one;
            they are left out.
    """

    def due(end: int) -> Iterable[_Begun]:
        left_out = closer.small
        for start, campaigns in sorted(timeline.stages(end).items()):
            shown = frozenset(one for one in campaigns if Scope("campaign", one) not in left_out)
            if shown:
                yield _Begun(start, shown)

    def make(begun: _Begun, end: int) -> Steps[Evaluation | None]:
        return windows.evaluate_campaigns(
            begun.campaigns, begun.start_ms, end, left_out=closer.small
        )

    return RoundRobin(step_ms=STEP_MS, due=due, make=make)
