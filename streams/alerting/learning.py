"""Rules that learn what is usual: which values of a window they observe, and in which scopes."""

from __future__ import annotations

from collections.abc import Iterable, Set
from math import inf

from models.campaigns.campaign import Campaign, milliseconds
from models.campaigns.campaign_change import Change
from models.kpi.definition import Kpi
from models.scope import Scope
from models.usual import Usual
from streams.alerting.rules.protocol import JudgeContext
from streams.alerting.rules.rule import Rule
from streams.alerting.usual.detector import Judgement, Point
from streams.alerting.usual.learned_series import About, LearnedSeries, Learner, Side
from streams.alerting.usual.local_clock import ClockTime, LocalClock
from streams.kpis.view import Evaluation


class LastShifts:
    """The last moments before a time at which values of campaigns were expected to shift.

    They are the starts of a campaign and of its phases, and the changes of it that were reported.

    Args:
        changes: the last reported changes, the oldest first.
        before_ms: the time, event time in ms.
    """

    def __init__(self, changes: Iterable[Change], *, before_ms: int) -> None:
        self._before_ms = before_ms
        self._changed = {one.campaign: one.at_ms for one in changes if one.at_ms < before_ms}

    def of(self, campaign: Campaign | None) -> float:
        """Return the moment of a campaign, event time in s; minus infinity if there is none."""
        if campaign is None:
            return -inf
        starts = [milliseconds(stage.starts) for stage in campaign.stages]
        if campaign.starts is not None:
            starts.append(milliseconds(campaign.starts))
        known = [at for at in starts if at < self._before_ms]
        if campaign.id in self._changed:
            known.append(self._changed[campaign.id])
        return max(known, default=-inf) / 1000


class Learning:
    """A rule that observes one window.

    Args:
        series: what was learned so far.
        about: the rule, its KPI and its window.
        learner: how the rule learns.
        end_ms: the end of the window, event time in ms.
        clock: the local time of its start.
        shifts: the last expected shifts of campaigns before its end.
    """

    def __init__(
        self,
        series: LearnedSeries,
        about: About,
        learner: Learner,
        *,
        end_ms: int,
        clock: ClockTime,
        shifts: LastShifts,
    ) -> None:
        self._series = series
        self._about = about
        self._learner = learner
        self._end_ms = end_ms
        self._clock = clock
        self._shifts = shifts

    def scopes(self) -> Set[Scope]:
        """Return the scopes in which anything was learned before."""
        return frozenset(self._series.scopes(self._about.rule))

    def observe(self, context: JudgeContext) -> Usual | None:
        """Return what is usual in a scope, and how unusual its value is; then learn from it.

        Returns:
            None if the scope is not learned, as there are too many.
        """
        value = _observed(context)
        if value is None:
            rule = self._about.rule
            return Usual(learned=self._series.learned(rule, context.scope, self._learner))
        number, n = value
        special = self._clock.special
        point = Point(
            time_s=self._end_ms / 1000,
            clock_s=self._clock.clock_s,
            value=number,
            n=n if self._learner.rests_on_n else inf,
            special=special is not None,
            teaches=special is None or special.like is not None,
            shifted_s=self._shifts.of(context.campaign),
        )
        judgement = self._series.observe(
            self._about, context.scope, point, self._learner, end_ms=self._end_ms
        )
        return None if judgement is None else _usual(judgement, self._clock, self._learner.side)


class Learners:
    """The series of all rules that learn, and their clock.

    Args:
        clock: the local clock.
        changes: the last reported changes of campaigns; other tasks may add to them.
    """

    def __init__(self, clock: LocalClock, changes: Iterable[Change]) -> None:
        self.series = LearnedSeries()
        self._clock = clock
        self._changes = changes

    def of(self, rule: Rule, kpi: Kpi, evaluation: Evaluation) -> Learning | None:
        """Return a rule as it observes a window; None if it learns nothing."""
        learner = rule.learner(kpi)
        if learner is None:
            return None
        self.series.forget_old(rule.name, at_ms=evaluation.end_ms)
        return Learning(
            self.series,
            about_of(rule, kpi, learner),
            learner,
            end_ms=evaluation.end_ms,
            clock=self._clock.at(evaluation.start_ms),
            shifts=LastShifts(self._changes, before_ms=evaluation.end_ms),
        )


def about_of(rule: Rule, kpi: Kpi, learner: Learner) -> About:
    """Return the subject of the series of a rule."""
    return About(rule.name, rule.kpi, rule.window, learner.scale, kpi.formula)


def _observed(context: JudgeContext) -> tuple[float, float] | None:
    """Return the value and the n that a rule learns from; None if the window teaches nothing.

    A sum of which nothing came is 0 in a scope that has values else. Windows that were observed or
    measured in part teach nothing, nor do those in which the campaign does not run.
    """
    value, coverage, campaign = context.value, context.coverage, context.campaign
    if not (coverage.observed and coverage.measured):
        return None
    if campaign is not None and not campaign.runs(coverage.start_ms, coverage.end_ms):
        return None
    if value is not None:
        return (float(value.value), float(value.n)) if value.n or not context.kpi.has_n else None
    is_zero = context.kpi.additive and coverage.connected and context.had_value
    return (0.0, 0.0) if is_zero else None


def _usual(judgement: Judgement, clock: ClockTime, side: Side) -> Usual:
    counts = side == "both" or (judgement.side < 0) == (side == "lower")
    return Usual(
        learned=judgement.learned,
        expected=judgement.expected,
        low=judgement.low,
        high=judgement.high,
        score=judgement.score if counts else 0.0,
        side=judgement.side,
        windows=judgement.windows,
        widened_by="" if clock.special is None else clock.special.name_en,
        widened_by_zh="" if clock.special is None else clock.special.name_zh,
        settles=judgement.settles,
        too_few=judgement.too_few,
    )
