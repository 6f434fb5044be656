"""The KPIs of all scopes of one window."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial, reduce
from operator import or_
from typing import NamedTuple

from models.cells import Cell
from models.distinct import Distinct
from models.measures import NEWEST_MEASURES, SUM_INDEX, UNIONS, USER_SETS
from models.scopes import Scope, ScopeKind
from models.windows import (
    SO_FAR,
    STAGE,
    BusinessDay,
    Window,
    previous_period,
    start_of_window,
)
from streams.engine.steps import Steps, in_groups
from streams.kpis.buckets import Buckets
from streams.kpis.observation import Observation
from streams.kpis.plans import NO_PLAN, Plan, Plans
from streams.kpis.seen import SeenInputs
from streams.kpis.silences import Silences
from streams.kpis.totals import Totals
from streams.kpis.values import Evaluator, KpiValues
from streams.kpis.view import Evaluation

SCOPES_SINCE = 4
"""The version that brought regions and segments."""
SCOPES_A_STEP = 32
"""So many scopes are evaluated in one step, about 5 ms."""


class _Nobody:
    """No users, which need not be counted."""

    counts = (0,) * (len(USER_SETS) + len(UNIONS))

    def sets(self) -> list[Distinct]:
        """Return empty sets."""
        return [Distinct() for _ in USER_SETS]


_NOTHING = Cell(counted=_Nobody())
"""Shared by all scopes without events; never added to."""

_OF_A_CAMPAIGN: tuple[ScopeKind, ...] = ("campaign", "campaign_channel")


def _every(_: Scope) -> bool:
    return True


class Evaluated(NamedTuple):
    """KPIs by scope.

    Args:
        values: of every scope.
        small: the campaigns beyond the largest.
        other: the KPIs of those together.
    """

    values: Mapping[Scope, KpiValues]
    small: frozenset[str]
    other: KpiValues


class WindowEvaluator:
    """Evaluates windows on what is held and was observed.

    Args:
        evaluator: computes the KPIs of a cell.
        day: the business day.
        buckets: the cells.
        seen: which inputs were seen on which day.
        observation: from when on what is known.
        silences: when sources were silent.
        plans: what campaigns may cost.
        top_campaigns: so many are shown one by one, the others together.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        *,
        day: BusinessDay,
        buckets: Buckets,
        seen: SeenInputs,
        observation: Observation,
        silences: Silences,
        plans: Plans,
        top_campaigns: int,
    ) -> None:
        self._evaluator = evaluator
        self._day = day
        self._buckets = buckets
        self._seen = seen
        self._observation = observation
        self._silences = silences
        self._plans = plans
        self._top_campaigns = top_campaigns

    def evaluate(
        self,
        window: Window,
        end: int,
        *,
        only: Callable[[Scope], bool] | None = None,
        looking_back: bool = True,
    ) -> Steps[Evaluation]:
        """Return the KPIs of every scope that had an event in the window or that day.

        Args:
            window: which.
            end: where it ends.
            only: says which scopes are evaluated, one by one; None evaluates all.
            looking_back: whether with the KPIs that look back.
        """
        start = start_of_window(window, end, day=self._day)
        previous = self._previous(window, end) if looking_back else None
        totals = yield from self._buckets.totals(start, end)
        inputs = yield from self._inputs(start, end, only or _every)
        if only is not None:
            totals = totals.only(only)
        before = None
        if previous is not None:
            before = yield from self._buckets.totals(*previous)
        observation = self._observation
        evaluated = yield from evaluate(
            totals,
            inputs,
            evaluator=self._evaluator,
            version=observation.version_at(start),
            before=before,
            version_before=observation.version_at(start if previous is None else previous[0]),
            plan_of=partial(self._plan_of, window, end),
            top_campaigns=self._top_campaigns if only is None else len(totals) + len(inputs),
        )
        return Evaluation(
            window=window.name,
            start_ms=start,
            end_ms=end,
            values=evaluated.values,
            observed_from_ms=observation.starts_of(window),
            complete=observation.complete(start, end),
            unsure=self._silences.unsure(max(start, observation.from_ms), end),
            small=evaluated.small,
            other=evaluated.other,
            previous=previous,
            unsure_before=frozenset() if previous is None else self._silences.unsure(*previous),
            exhausted_ms=self._exhausted(window, end, evaluated),
        )

    def knows(self, window: Window, period: tuple[int, int]) -> bool:
        """Say whether all of a period was observed, with no gap, and is still held."""
        return self._observation.knows(window, period) and self._buckets.holds(*period)

    def _inputs(
        self, start: int, end: int, only: Callable[[Scope], bool]
    ) -> Steps[Mapping[Scope, int]]:
        """Return what was seen of some scopes on the day of an end."""
        day_start = self._day.start_of(end - 1)
        if self._seen.knows(day_start):
            return dict(self._seen.scopes(day_start=day_start, end=end, only=only))
        if start <= day_start:
            return {}  # the cells of the window show it themselves
        totals = yield from self._buckets.totals(day_start, end)
        return {scope: self._evaluator.inputs_in(cell) for scope, cell in totals.only(only).items()}

    def _plan_of(self, window: Window, end: int, scope: Scope) -> Plan:
        """Return the plan of a campaign in the window of everything so far."""
        if window.name != SO_FAR or scope.kind != "campaign":
            return NO_PLAN
        return self._plans.at(scope.campaign, end) or NO_PLAN

    def _exhausted(self, window: Window, end: int, evaluated: Evaluated) -> Mapping[str, int]:
        """Return when each campaign that is shown will have spent its budget at this pace."""
        if window.name != SO_FAR:
            return {}
        return {
            scope.campaign: moment
            for scope, kpis in evaluated.values.items()
            if scope.kind == "campaign" and scope.campaign not in evaluated.small
            if (spend := kpis.get("spend")) is not None
            if (moment := self._plans.exhausted_ms(scope.campaign, end, spent=int(spend.value)))
        }

    def evaluate_campaigns(
        self, campaigns: Collection[str], start: int, end: int
    ) -> Steps[Evaluation | None]:
        """Return the KPIs of campaigns and of their channels over a time of their own.

        Args:
            campaigns: their ids.
            start: from when on, a whole quarter of an hour.
            end: up to when.

        Returns:
            None where the start was not observed or its quarters are not held any more.
        """
        observation = self._observation
        observed_from_ms = max(observation.whole_from_ms, observation.days_from_ms)
        if start < observed_from_ms or not self._buckets.holds(start, end):
            return None

        def concerned(scope: Scope) -> bool:
            return scope.kind in _OF_A_CAMPAIGN and scope.campaign in campaigns

        inputs = {Scope("campaign", campaign): 0 for campaign in campaigns}
        inputs |= yield from self._inputs(start, end, concerned)
        totals = yield from self._buckets.totals_of(campaigns, start, end)
        evaluated = yield from evaluate(
            totals,
            inputs,
            evaluator=self._evaluator,
            version=observation.version_at(start),
            top_campaigns=len(campaigns),
        )
        return Evaluation(
            window=STAGE,
            start_ms=start,
            end_ms=end,
            values=evaluated.values,
            observed_from_ms=observed_from_ms,
            complete=observation.complete(start, end),
            unsure=self._silences.unsure(start, end),
        )

    def _previous(self, window: Window, end: int) -> tuple[int, int] | None:
        """Return the equal period before a window, if everything of it is known and held."""
        if not self._evaluator.looks_back:
            return None
        period = previous_period(window, end, day=self._day)
        return period if period is not None and self.knows(window, period) else None


def evaluate(
    totals: Totals,
    inputs: Mapping[Scope, int],
    *,
    evaluator: Evaluator,
    version: int,
    top_campaigns: int,
    before: Totals | None = None,
    version_before: int = NEWEST_MEASURES,
    plan_of: Callable[[Scope], Plan] = lambda _: NO_PLAN,
) -> Steps[Evaluated]:
    """Return the KPIs of every scope that had an event in the window or that day.

    Args:
        totals: of the window.
        inputs: what was seen of each scope that day, as `Evaluator.inputs_in` returns it.
        evaluator: computes the KPIs.
        version: the oldest that measured a part of the window.
        top_campaigns: so many are shown one by one, the others together.
        before: of the equal period before; None where that is not known.
        version_before: the oldest that measured a part of that.
        plan_of: what a scope may cost.
    """
    cells = {**dict.fromkeys(inputs, _NOTHING), **totals}
    small = _beyond_the_largest(cells, top_campaigns)

    known: dict[tuple[int, int | None, int, Plan], KpiValues] = {}

    def values_of(cell: Cell, seen: int, then: Cell | None, plan: Plan) -> KpiValues:
        # Scopes that add up the same facets share a cell: one channel is all of its campaign.
        same = id(cell), None if then is None else id(then), seen, plan
        if same not in known:
            known[same] = evaluator.evaluate(
                cell,
                inputs=evaluator.inputs_in(cell) | seen,
                version=version,
                before=then,
                version_before=version_before,
                plan=plan,
            )
        return known[same]

    values: dict[Scope, KpiValues] = {}
    for group in in_groups(cells.items(), of=SCOPES_A_STEP):
        for scope, cell in group:
            if version >= SCOPES_SINCE or not (scope.region or scope.segment):
                values[scope] = values_of(
                    cell,
                    inputs.get(scope, 0),
                    None if before is None else before.get(scope, _NOTHING),
                    plan_of(scope),
                )
        yield
    if not small:
        return Evaluated(values, frozenset(), {})
    seen = reduce(or_, (inputs.get(scope, 0) for scope in small))
    then = None if before is None else before.together(small)
    other = values_of(totals.together(small), seen, then, NO_PLAN)
    return Evaluated(values, frozenset(scope.campaign for scope in small), other)


def _beyond_the_largest(cells: Mapping[Scope, Cell], count: int) -> list[Scope]:
    """Return the campaigns that are not among so many of the largest."""
    campaigns = [scope for scope in cells if scope.kind == "campaign"]
    if len(campaigns) <= count:
        return []
    campaigns.sort(key=lambda scope: (-_volume(cells[scope]), scope))
    return campaigns[count:]


def _volume(cell: Cell) -> int:
    return cell.sums[SUM_INDEX["clicks"]] + cell.sums[SUM_INDEX["orders"]]
