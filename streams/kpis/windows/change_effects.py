"""What changes of campaigns did: their KPIs before and after."""

from __future__ import annotations

from models.campaigns.campaign_change import Change
from models.kpi.definition import Catalogue
from models.scope import Scope
from models.window import DAY_MS, QUARTER_MS, whole_quarter
from streams.engine.steps import Steps
from streams.kpis.calculation.kpi_calculator import KpiValues
from streams.kpis.view import Effect, Evaluation
from streams.kpis.windows.campaign_timeline import CampaignTimeline
from streams.kpis.windows.round_robin import RoundRobin
from streams.kpis.windows.window_evaluator import WindowEvaluator

LOOKBACK_MS = 7 * DAY_MS
"""Changes that are older are not shown."""
COMPARED_MS = DAY_MS
"""At most so much time before a change is compared with as much after it."""
SHOWN = 20
"""So many changes are shown, the last of all campaigns."""


def effects_in_turn(
    windows: WindowEvaluator, moments: CampaignTimeline, *, catalogue: Catalogue
) -> RoundRobin[Change, Effect]:
    """Return what compares the time before each change with that after it.

    Args:
        windows: evaluates both.
        moments: knows the changes.
        catalogue: the KPIs.
    """

    def due(end: int) -> list[Change]:
        return moments.changes(end - LOOKBACK_MS, end - QUARTER_MS)[:SHOWN]

    def make(change: Change, end: int) -> Steps[Effect]:
        moment = whole_quarter(change.at_ms)
        length = min(COMPARED_MS, end - moment)
        before = yield from windows.evaluate_campaigns({change.campaign}, moment - length, moment)
        after = yield from windows.evaluate_campaigns({change.campaign}, moment, moment + length)
        if before is None or after is None or not (before.complete and after.complete):
            return Effect(change, moment, length)
        return Effect(
            change,
            moment,
            length,
            before=_told(before, change.campaign, catalogue),
            after=_told(after, change.campaign, catalogue),
        )

    return RoundRobin(step_ms=QUARTER_MS, due=due, make=make)


def _told(evaluation: Evaluation, campaign: str, catalogue: Catalogue) -> KpiValues:
    """Return the KPIs of a campaign that rest on everything."""
    return {
        name: value
        for name, value in evaluation.values[Scope("campaign", campaign)].items()
        if evaluation.tells(catalogue[name])
    }
