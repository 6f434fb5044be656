"""Metrics of scorecards and funnels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client.core import Metric

from models.scope import PARTS
from streams.analysis.funnel import Funnel
from streams.analysis.scorecard_points import IndicatorState, Score
from streams.export.metrics.families import Sample, Spec, family

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


def scorecard_metrics(scores: Sequence[Score]) -> Iterator[Metric]:
    """Yield the metrics of all cards; without data, points are absent and not 0."""
    samples: dict[Spec, list[Sample]] = {spec: [] for spec in SPECS if _CARD[0] in spec.labels}
    for score in scores:
        card = (score.card, *score.scope)
        if score.points is not None:
            samples[POINTS].append((card, score.points))
        samples[COVERAGE].append((card, score.coverage))
        for dimension in score.dimensions:
            spoke = (*card, dimension.name)
            if dimension.points is not None:
                samples[DIMENSION_POINTS].append((spoke, dimension.points))
            samples[DIMENSION_COVERAGE].append((spoke, dimension.coverage))
            samples[DIMENSION_WEIGHT].append((spoke, dimension.weight))
            for indicator in dimension.indicators:
                labels = (*spoke, indicator.kpi)
                if indicator.points is not None:
                    samples[INDICATOR_POINTS].append((labels, indicator.points))
                samples[STATE].append(((*labels, indicator.state), 1.0))
                for target, value, attained in (
                    ("base", indicator.base, indicator.attainment_base),
                    ("stretch", indicator.stretch, indicator.attainment_stretch),
                ):
                    samples[TARGET].append(((*labels, target), value))
                    if attained is not None:
                        samples[ATTAINMENT].append(((*labels, target), attained))
    for spec, found in samples.items():
        yield family(spec, found)


def funnel_metrics(funnels: Sequence[tuple[tuple[str, ...], Funnel]]) -> Iterator[Metric]:
    """Yield the metrics of funnels, given as pairs of a scope and its funnel."""
    losses: list[Sample] = []
    branches: list[Sample] = []
    most: list[Sample] = []
    for scope, funnel in funnels:
        losses += [((*scope, step.name), step.excess_loss) for step in funnel.steps]
        branches += [((*scope, one.name), one.excess_loss) for one in funnel.branches]
        step = funnel.worst
        if step is not None:
            most.append(((*scope, step.name), 1.0))
    yield family(EXCESS_LOSS, losses)
    yield family(BRANCH_LOSS, branches)
    yield family(WORST_STEP, most)
