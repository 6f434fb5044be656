"""Compares KPIs before and after each change of a campaign.

A change at 10:07 counts from 10:15 on. At 12:15 its campaign is evaluated over [08:15, 10:15) and
over [10:15, 12:15); the two periods grow with the time since, up to a day each. For the start and
the end of a campaign everything is evaluated: the campaign itself has no events before its start.
"""

from __future__ import annotations

from models.campaigns.campaign_change import Change
from models.kpi.definition import Catalogue
from models.scope import ALL, Scope
from models.window import DAY_MS, QUARTER_MS, whole_quarter
from streams.engine.steps import Steps
from streams.kpis.calculation.kpi_calculator import KpiValues
from streams.kpis.view import Effect, Evaluation
from streams.kpis.windows.campaign_timeline import ENDED, STARTED, CampaignTimeline
from streams.kpis.windows.round_robin import RoundRobin
from streams.kpis.windows.window_evaluator import WindowEvaluator

LOOKBACK_MS = 7 * DAY_MS
"""Older changes are not shown."""
COMPARED_MS = DAY_MS
"""Longest period before a change that is compared with an equal one after it."""
SHOWN = 20
"""Number of changes that are shown: the newest of all campaigns."""


def effects_in_turn(
    windows: WindowEvaluator, timeline: CampaignTimeline, *, catalogue: Catalogue
) -> RoundRobin[Change, Effect]:
    """Return a round-robin that compares the time before each change with the time after it.

    An effect has no KPIs if one of its periods was not observed, is no longer held, or lacks
    records.

    Args:
        windows: evaluates both periods.
        timeline: finds the changes.
        catalogue: the KPIs.
    """

    def due(end: int) -> list[Change]:
        return timeline.changes(end - LOOKBACK_MS, end - QUARTER_MS)[:SHOWN]

    def evaluate(scope: Scope, start: int, end: int) -> Steps[Evaluation | None]:
        if scope == ALL:
            return windows.evaluate_everything(start, end)
        return windows.evaluate_campaigns({scope.campaign}, start, end)

    def make(change: Change, end: int) -> Steps[Effect]:
        moment = whole_quarter(change.at_ms)
        length = min(COMPARED_MS, end - moment)
        own = change.what not in {STARTED, ENDED} or change.event_id
        scope = Scope("campaign", change.campaign) if own else ALL
        before = yield from evaluate(scope, moment - length, moment)
        after = yield from evaluate(scope, moment, moment + length)
        if before is None or after is None or not (before.complete and after.complete):
            return Effect(change, scope, moment, length)
        return Effect(
            change,
            scope,
            moment,
            length,
            before=_complete(before, scope, catalogue),
            after=_complete(after, scope, catalogue),
        )

    return RoundRobin(step_ms=QUARTER_MS, due=due, make=make)


def _complete(evaluation: Evaluation, scope: Scope, catalogue: Catalogue) -> KpiValues:
    """Return the KPIs of a scope that are complete in an evaluation."""
    return {
        name: value
        for name, value in evaluation.values[scope].items()
        if evaluation.complete_for(catalogue[name])
    }
