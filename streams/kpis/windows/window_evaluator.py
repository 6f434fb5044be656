"""Evaluates a window: sums up its buckets and calculates the KPIs of all scopes.

Where possible only the scopes are calculated that changed since the window's last evaluation
(`last_evaluations`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from functools import reduce
from itertools import chain
from operator import or_

from models.kpi.measures import SINCE_START, STOCKS, known_since, sources_of
from models.scope import ALL, Scope, ScopeKind, others_of
from models.window import (
    DAY,
    SO_FAR,
    STAGE,
    Window,
    days_before,
    previous_period,
    reference_period,
    start_of_window,
    whole_window_before,
)
from streams.engine.steps import Steps, in_groups
from streams.kpis.calculation.campaign_budgets import CAMPAIGNS_A_STEP, CampaignFigures
from streams.kpis.calculation.kpi_calculator import Figures, KpiValues
from streams.kpis.calculation.scope_calculation import (
    NOTHING_CALCULATED,
    Calculated,
    Cells,
    calculate,
    calculate_together,
    traffic_figures,
)
from streams.kpis.columnar.scope_totals import ScopeTotals
from streams.kpis.coverage.coverage import Coverage
from streams.kpis.judging import EarlierPeriod
from streams.kpis.storage.bucket_store import DAY_LEVEL, BucketStore
from streams.kpis.storage.user_stocks import Past
from streams.kpis.view import Evaluation
from streams.kpis.windows.definitions import Definitions
from streams.kpis.windows.largest_scopes import SCOPES_A_STEP, LargestScopes
from streams.kpis.windows.last_evaluations import Last, LastEvaluations, Period

_OF_A_CAMPAIGN: tuple[ScopeKind, ...] = ("campaign", "campaign_channel")


class WindowEvaluator:
    """Evaluates windows from the buckets, and states how complete they are.

    Args:
        definitions: the KPIs, the business day, the campaigns.
        buckets: the cells of all facets, by time.
        coverage: how much of the data is there.
    """

    def __init__(
        self,
        definitions: Definitions,
        *,
        buckets: BucketStore,
        coverage: Coverage,
    ) -> None:
        self._calculator = definitions.calculator
        self._day = definitions.day
        self._plans = definitions.budgets
        self._timeline = definitions.timeline
        self._customer_days = definitions.customer_days
        self._asks_for = frozenset().union(
            *(kpi.figures for kpi in definitions.calculator.catalogue.values())
        )
        self._largest = LargestScopes(definitions.largest)
        self._summed = definitions.summed
        self._buckets = buckets
        self._seen = coverage.seen
        self._connected = coverage.first_inputs.connected
        self._observation = coverage.observation
        self._silences = coverage.silences
        self._last = LastEvaluations(buckets.holds)

    def evaluate(
        self,
        window: Window,
        end: int,
        *,
        only: Callable[[Scope], bool] | None = None,
        looking_back: bool = True,
        ranked: bool = True,
    ) -> Steps[Evaluation]:
        """Return the KPIs of every scope that had an event in the window or on that business day.

        Args:
            window: the window.
            end: its end, event time in ms.
            only: returns whether a scope is evaluated; None evaluates all. With it, no scopes
                are set apart as small.
            looking_back: whether to include KPIs that refer to the period before.
            ranked: whether to set the small scopes apart and sum them up, as `Evaluation.small`
                and `other`.
        """
        yield from self._timeline.renew()
        period = self._period(window, end, looking_back=looking_back)
        cells, calculated = yield from self._calculated(window, period, only)
        small: set[Scope] = set()
        other: Mapping[Scope, KpiValues] = {}
        ranked = ranked or self._largest.has_room_for(len(calculated.volumes))
        if ranked and only is None:
            yield from self._largest.record(window.name, end, calculated.volumes)
            beyond = yield from self._largest.beyond(calculated.volumes)
            for group in in_groups(chain.from_iterable(beyond.values()), of=SCOPES_A_STEP):
                small.update(group)
                yield
            other = yield from self._others(beyond, period, cells)
        observation, previous = self._observation, period.previous
        evaluation = Evaluation(
            window=window.name,
            start_ms=period.start,
            end_ms=end,
            values=calculated.values,
            observed_from_ms=observation.starts_of(window),
            complete=observation.complete(period.start, end),
            unsure=self._silences.unsure(max(period.start, observation.from_ms), end),
            ranked=ranked,
            small=small,
            other=other,
            previous=previous,
            unsure_before={} if previous is None else self._silences.unsure(*previous),
            past=period.past,
            unsure_past=(
                {}
                if period.past is None
                else self._silences.unsure(period.past.start, period.past.end)
            ),
            unmeasured=self._calculator.unmeasured(period.measured),
            unconnected=self._calculator.unconnected(period.connected),
        )
        if window.name == SO_FAR:
            exhausted_ms = yield from self._exhausted(evaluation)
            return replace(evaluation, exhausted_ms=exhausted_ms)
        return evaluation

    def _others(
        self, small: Mapping[ScopeKind, list[Scope]], period: Period, cells: Cells
    ) -> Steps[Mapping[Scope, KpiValues]]:
        """Return the KPIs of the small scopes as one for each kind that is summed up."""
        groups = {others_of(kind): small[kind] for kind in small if kind in self._summed}
        if not groups:
            return {}
        inputs: dict[Scope, int] = {}
        for group, scopes in groups.items():
            of_scopes = yield from self._inputs(period, among=scopes)
            inputs[group] = reduce(or_, of_scopes.values(), 0)
            yield
        return (
            yield from calculate_together(groups, cells, inputs=inputs, evaluator=self._calculator)
        )

    def _period(self, window: Window, end: int, *, looking_back: bool) -> Period:
        start = start_of_window(window, end, day=self._day)
        previous = self._previous(window, end) if looking_back else None
        measured_at = self._observation.measured_at
        past = self._past(window, start, end) if looking_back else None
        return Period(
            start=start,
            end=end,
            previous=previous,
            day_start=self._day.start_of(end - 1),
            connected=self._connected(end),
            measured=measured_at(start),
            measured_before=measured_at(start if previous is None else previous[0]),
            past=past,
        )

    def _past(self, window: Window, start: int, end: int) -> Past | None:
        """Return the days before a window of business days; None if they are not known whole."""
        days = self._customer_days
        if not 0 < window.days <= days or self._asks_for.isdisjoint(STOCKS):
            return None
        past = Past(
            self._day.start_before(start, days=days),
            self._day.start_before(end - 1, days=days - 1),
            start,
        )
        return past if self.knows(window, (past.start, end)) else None

    def _calculated(
        self, window: Window, period: Period, only: Callable[[Scope], bool] | None
    ) -> Steps[tuple[Cells, Calculated]]:
        """Return the cells of a window and the KPIs calculated from them.

        The KPIs of scopes without changes since the last evaluation are copied from it. The
        cells are then those of the changed scopes only.
        """
        repeats = only is None and self._seen.knows(period.day_start)
        since = self._last.since(window.name, period) if repeats else None
        since_start: Mapping[str, Figures] = {}
        if window.name == SO_FAR and not self._asks_for.isdisjoint(SINCE_START):
            since_start = yield from self._since_start(period.end)
        campaigns = CampaignFigures(self._plans, window.name, period.end, since_start)
        changed: set[Scope] | None = None
        if since is not None:
            last, spans = since
            planned = (one for one in last.calculated.values if one.kind in _OF_A_CAMPAIGN)
            changed = yield from campaigns.changed(last.figures, among=planned)
            changed |= self._seen.news(last.period.end, period.end, day_start=period.day_start)
            for span in spans:
                changed |= yield from self._buckets.scopes_in(*span)
        cells = yield from self._cells(period, only=changed)
        if only is not None:
            cells = cells._replace(totals=cells.totals.only(only))
        inputs = yield from self._inputs(period, among=changed, only=only)
        figures_of: Callable[[Scope], Figures] = campaigns.of
        if period.past is not None:
            figures_of = yield from self._stocks(
                period, cells.totals, campaigns, scopes={*cells.totals, *inputs}
            )
        calculated = yield from calculate(
            cells,
            inputs,
            evaluator=self._calculator,
            figures_of=figures_of,
            last=NOTHING_CALCULATED if since is None else since[0].calculated,
            changed=changed or (),
        )
        if repeats:
            self._last.record(window.name, Last(period, calculated, campaigns.used))
        return cells, calculated

    def _stocks(
        self,
        period: Period,
        totals: ScopeTotals,
        campaigns: CampaignFigures,
        *,
        scopes: Collection[Scope],
    ) -> Steps[Callable[[Scope], Figures]]:
        """Return a function that returns the figures of a scope, with those of `STOCKS`."""
        assert period.past is not None
        stocks_of = yield from self._buckets.stocks(period.past, totals, only=scopes)
        version = self._observation.measured_at(period.past.start).version
        known = [name for name in STOCKS if known_since(name) <= version]

        def figures_of(scope: Scope) -> Figures:
            stocks = stocks_of(scope)
            if not stocks:
                return campaigns.of(scope)
            return {name: stocks[name] for name in known if name in stocks} | {
                **campaigns.of(scope)
            }

        return figures_of

    def _since_start(self, end: int) -> Steps[Mapping[str, Figures]]:
        """Return the figures of all traffic since campaigns started, by their id.

        The traffic before a campaign is that of as many business days before its first one, up
        to the same local time. Campaigns are left out if one of the two is not known whole, and
        figures if their source was silent for unusually long in their period.
        """
        found: dict[str, Figures] = {}
        kept_from_ms = end - self._buckets.kept_ms[DAY_LEVEL]
        runs = yield from self._timeline.runs(end, from_ms=kept_from_ms)
        # Stretches with the same end follow each other, so that each is extended from the last.
        for run in sorted(runs, key=lambda run: (run.until, -run.start)):
            yield
            before = days_before(run.start, run.until, day=self._day)
            known = all(
                self._observation.knows(DAY, period) and self._buckets.holds(*period)
                for period in (before, run)
            )
            if not known:
                continue
            figures: dict[str, int] = {}
            for when, period in (("since_start", run), ("before_start", before)):
                counts = yield from self._buckets.traffic(*period, at_ms=end)
                silent = self._silences.unsure(*period).keys()
                figures |= {
                    name: value
                    for name, value in traffic_figures(counts, when).items()
                    if silent.isdisjoint(sources_of(name))
                }
            found |= dict.fromkeys(runs[run], figures)
        return found

    def _cells(self, period: Period, *, only: Collection[Scope] | None) -> Steps[Cells]:
        """Return the cells of a window and of the period before; `only` None takes all scopes."""
        totals = yield from self._buckets.totals(period.start, period.end, only=only)
        before = None
        if period.previous is not None:
            before = yield from self._buckets.totals(*period.previous, only=only)
        return Cells(totals, period.connected, period.measured, before, period.measured_before)

    def pane_changed(self, pane_start: int) -> None:
        """Record that the events of a pane changed."""
        self._last.pane_changed(pane_start)

    def earlier_end(self, reference: EarlierPeriod, window: Window, end: int) -> int | None:
        """Return the end of the period that rules about a window refer to, event time in ms.

        Args:
            reference: the period.
            window: the window.
            end: the window's end, event time in ms.

        Returns:
            None if there is no such period, if it was not observed without a gap, or if it can't be
            summed up exactly any more.
        """
        if isinstance(reference, int):
            period = whole_window_before(window, end, reference, day=self._day)
        else:
            period = reference_period(reference, window, end, day=self._day)
        if period is None or not self.knows(window, period):
            return None
        return period[1]

    def knows(self, window: Window, period: tuple[int, int]) -> bool:
        """Return whether a period was observed without a gap and can still be summed up exactly."""
        return self._observation.knows(window, period) and self._buckets.holds(*period)

    def _inputs(
        self,
        period: Period,
        *,
        among: Iterable[Scope] | None = None,
        only: Callable[[Scope], bool] | None = None,
    ) -> Steps[Mapping[Scope, int]]:
        """Return the inputs that scopes showed on the business day of the end, before the end.

        Args:
            period: the window.
            among: the scopes to look up; None looks up all.
            only: returns whether one of them is wanted; None takes all.

        Returns:
            A bit mask by scope, as `KpiCalculator.inputs_in` returns it.
        """
        day_start, end = period.day_start, period.end
        if self._seen.knows(day_start):
            scopes = self._seen.on(day_start) if among is None else among
            wanted = scopes if only is None else filter(only, scopes)
            return dict(self._seen.inputs(wanted, day_start=day_start, end=end))
        if period.start <= day_start:
            return {}  # the window contains that day: its cells show the inputs
        totals = yield from self._buckets.totals(day_start, end)
        named = None if among is None else frozenset(among)
        return {
            scope: self._calculator.inputs_in(cell)
            for scope, cell in totals.items()
            if (named is None or scope in named) and (only is None or only(scope))
        }

    def _exhausted(self, evaluation: Evaluation) -> Steps[Mapping[str, int]]:
        """Return when each campaign will have spent its budget, in ms.

        Campaigns without such a moment are left out.
        """
        exhausted_ms: dict[str, int] = {}
        for group in in_groups(evaluation.values.items(), of=CAMPAIGNS_A_STEP):
            for scope, kpis in group:
                spend = kpis.get("spend")
                if scope.kind != "campaign" or spend is None:
                    continue
                moment = self._plans.exhausted_ms(
                    scope.campaign, evaluation.end_ms, spent=spend.value
                )
                if moment:
                    exhausted_ms[scope.campaign] = moment
            yield
        return exhausted_ms

    def evaluate_campaigns(
        self,
        campaigns: Collection[str],
        start: int,
        end: int,
        *,
        left_out: Collection[Scope] = (),
    ) -> Steps[Evaluation | None]:
        """Return the KPIs of campaigns and of their channels over any period.

        Args:
            campaigns: ids of the campaigns.
            start: start of the period, event time in ms, a whole quarter of an hour.
            end: end of the period, event time in ms.
            left_out: scopes that are not evaluated.

        Returns:
            An evaluation of the window `stage`, without KPIs that look back. None if the start
            was not observed or the buckets of the period are no longer held.
        """
        if not self._whole(start, end):
            return None

        def concerned(scope: Scope) -> bool:
            return (
                scope.kind in _OF_A_CAMPAIGN
                and scope.campaign in campaigns
                and scope not in left_out
            )

        totals = yield from self._buckets.totals_of(campaigns, start, end)
        asked = [Scope("campaign", campaign) for campaign in campaigns]
        return (yield from self._beside(start, end, totals, asked=asked, concerned=concerned))

    def evaluate_everything(self, start: int, end: int) -> Steps[Evaluation | None]:
        """Return the KPIs of the scope `all` over any period, as `evaluate_campaigns` does."""
        if not self._whole(start, end):
            return None
        totals = yield from self._buckets.totals(start, end, only=[ALL])
        return (
            yield from self._beside(
                start, end, totals, asked=[ALL], concerned=lambda one: one == ALL
            )
        )

    def _whole(self, start: int, end: int) -> bool:
        """Return whether a period was observed from its start and can be summed up."""
        return start >= self._observation.whole_from_ms and self._buckets.holds(start, end)

    def _beside(
        self,
        start: int,
        end: int,
        totals: ScopeTotals,
        *,
        asked: Iterable[Scope],
        concerned: Callable[[Scope], bool],
    ) -> Steps[Evaluation]:
        """Return an evaluation of some scopes over a period that is no window.

        Args:
            start: start of the period, event time in ms.
            end: its end, likewise.
            totals: the cells of the scopes in the period.
            asked: scopes that are evaluated also without events.
            concerned: returns whether a scope is evaluated.
        """
        observation = self._observation
        measured = observation.measured_at(start)
        connected = self._connected(end)
        day_start = self._day.start_of(end - 1)
        period = Period(start, end, None, day_start, connected, measured, measured)
        inputs = dict.fromkeys(asked, 0)
        inputs |= yield from self._inputs(period, only=concerned)
        calculated = yield from calculate(
            Cells(totals.only(concerned), connected, measured), inputs, evaluator=self._calculator
        )
        return Evaluation(
            window=STAGE,
            start_ms=start,
            end_ms=end,
            values=calculated.values,
            observed_from_ms=observation.whole_from_ms,
            complete=observation.complete(start, end),
            unsure=self._silences.unsure(start, end),
        )

    def _previous(self, window: Window, end: int) -> tuple[int, int] | None:
        """Return the equal period before a window; None if unknown, or if no KPI looks back."""
        if not self._calculator.looks_back:
            return None
        period = previous_period(window, end, day=self._day)
        return period if period is not None and self.knows(window, period) else None
