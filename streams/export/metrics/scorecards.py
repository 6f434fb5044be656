"""Metrics of scorecards and funnels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from models.scope import PARTS, Scope
from streams.analysis.funnel import Funnel
from streams.analysis.scorecard_points import IndicatorScore, IndicatorState, Score
from streams.export.metrics.families import Sample, ScopeSamples, Spec

_CARD = ("scorecard", "scope", *PARTS)
_INDICATOR = (*_CARD, "dimension", "kpi")

POINTS = Spec(
    "kpi_scorecard_points",
    "Points of a scorecard, 0 to 120: 60 at the base value, 100 at the stretch value; absent if no"
    " indicator counts",
    _CARD,
)
COVERAGE = Spec(
    "kpi_scorecard_coverage_ratio",
    "Share of a scorecard's weight whose indicators count, 0 to 1",
    _CARD,
)
DIMENSION_POINTS = Spec(
    "kpi_scorecard_dimension_points",
    "Points of a dimension of a scorecard, 0 to 120; absent if none of its indicators counts",
    (*_CARD, "dimension"),
)
DIMENSION_COVERAGE = Spec(
    "kpi_scorecard_dimension_coverage_ratio",
    "Share of a dimension's weight whose indicators count, 0 to 1",
    (*_CARD, "dimension"),
)
DIMENSION_WEIGHT = Spec(
    "kpi_scorecard_dimension_weight_ratio",
    "Weight of a dimension as a share of its scorecard, 0 to 1",
    (*_CARD, "dimension"),
)
INDICATOR_POINTS = Spec(
    "kpi_scorecard_indicator_points",
    "Points of an indicator, 0 to 120; absent if it does not count: without data, not significant,"
    " or exempt",
    _INDICATOR,
)
ATTAINMENT = Spec(
    "kpi_scorecard_indicator_attainment_ratio",
    "Attainment of an indicator's base or stretch value, 1 if it is reached exactly; absent"
    " without data",
    (*_INDICATOR, "target"),
)
TARGET = Spec(
    "kpi_scorecard_indicator_target",
    "Base or stretch value of an indicator, in the KPI's unit",
    (*_INDICATOR, "target"),
)
STATE = Spec(
    "kpi_scorecard_indicator_state",
    f"1 for the current state of an indicator: {', '.join(IndicatorState)}",
    (*_INDICATOR, "state"),
)
EXCESS_LOSS = Spec(
    "kpi_funnel_excess_loss_orders",
    "Number of orders lost at a step of the funnel in the last hour beyond the usual loss of the"
    " last seven business days; 0 if no more than usual was lost",
    ("scope", *PARTS, "step"),
)
BRANCH_LOSS = Spec(
    "kpi_funnel_branch_excess_loss_events",
    "Number of events of a branch of the funnel (registrations, leads) in the last hour below the"
    " number at the usual rate of the last seven business days; 0 if it is not below",
    ("scope", *PARTS, "branch"),
)
WORST_STEP = Spec(
    "kpi_funnel_worst_step",
    "1 for the step of the funnel with the largest statistically significant excess loss; absent"
    " if there is none",
    ("scope", *PARTS, "step"),
)

SPECS = tuple(value for value in list(globals().values()) if isinstance(value, Spec))


def scorecard_samples(scores: Iterable[Score]) -> Iterator[ScopeSamples]:
    """Yield the samples of each card; without data, points are absent and not 0."""
    for score in scores:
        card = (score.card, *score.scope)
        samples: list[tuple[Spec, Sample]] = [(COVERAGE, (card, score.coverage))]
        if score.points is not None:
            samples.append((POINTS, (card, score.points)))
        for dimension in score.dimensions:
            spoke = (*card, dimension.name)
            if dimension.points is not None:
                samples.append((DIMENSION_POINTS, (spoke, dimension.points)))
            samples.append((DIMENSION_COVERAGE, (spoke, dimension.coverage)))
            samples.append((DIMENSION_WEIGHT, (spoke, dimension.weight)))
            for indicator in dimension.indicators:
                samples += _of_indicator(indicator, labels=(*spoke, indicator.kpi))
        yield ScopeSamples(score.scope, samples)


def _of_indicator(
    indicator: IndicatorScore, *, labels: tuple[str, ...]
) -> Iterator[tuple[Spec, Sample]]:
    if indicator.points is not None:
        yield INDICATOR_POINTS, (labels, indicator.points)
    yield STATE, ((*labels, indicator.state), 1.0)
    for target, value, attained in (
        ("base", indicator.base, indicator.attainment_base),
        ("stretch", indicator.stretch, indicator.attainment_stretch),
    ):
        yield TARGET, ((*labels, target), value)
        if attained is not None:
            yield ATTAINMENT, ((*labels, target), attained)


def funnel_samples(funnels: Mapping[Scope, Funnel]) -> Iterator[ScopeSamples]:
    """Yield the samples of the funnel of each scope."""
    for scope, funnel in funnels.items():
        samples: list[tuple[Spec, Sample]] = [
            (EXCESS_LOSS, ((*scope, step.name), step.excess_loss)) for step in funnel.steps
        ]
        samples += [(BRANCH_LOSS, ((*scope, one.name), one.excess_loss)) for one in funnel.branches]
        if (most := funnel.worst) is not None:
            samples.append((WORST_STEP, ((*scope, most.name), 1.0)))
        yield ScopeSamples(scope, samples)
