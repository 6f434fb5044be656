"""Metrics of scorecards and funnels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client.core import Metric

from models.scope import PARTS
from streams.analysis.funnel import Step, worst
from streams.analysis.scorecard_points import IndicatorState, Score
from streams.export.metrics.families import Sample, Spec, family

_CARD = ("scorecard", "scope", *PARTS)
_INDICATOR = (*_CARD, "dimension", "kpi")

POINTS = Spec("kpi_scorecard_points", "Points of a card, 60 at base and 100 at stretch", _CARD)
COVERAGE = Spec("kpi_scorecard_coverage_ratio", "Share of a card's weight that has data", _CARD)
DIMENSION_POINTS = Spec(
    "kpi_scorecard_dimension_points", "Points of a dimension", (*_CARD, "dimension")
)
DIMENSION_COVERAGE = Spec(
    "kpi_scorecard_dimension_coverage_ratio",
    "Share of a dimension's weight that has data",
    (*_CARD, "dimension"),
)
DIMENSION_WEIGHT = Spec(
    "kpi_scorecard_dimension_weight_ratio",
    "Weight of a dimension, normalised",
    (*_CARD, "dimension"),
)
INDICATOR_POINTS = Spec(
    "kpi_scorecard_indicator_points", "Points of an indicator that counts", _INDICATOR
)
ATTAINMENT = Spec(
    "kpi_scorecard_indicator_attainment_ratio",
    "Attainment of an indicator's base or stretch value",
    (*_INDICATOR, "target"),
)
TARGET = Spec("kpi_scorecard_indicator_target", "Base or stretch value", (*_INDICATOR, "target"))
STATE = Spec(
    "kpi_scorecard_indicator_state",
    f"1 for where an indicator stands: {', '.join(IndicatorState)}",
    (*_INDICATOR, "state"),
)
EXCESS_LOSS = Spec(
    "kpi_funnel_excess_loss_orders",
    "Orders lost at a step of the funnel in the last hour beyond the usual of the week",
    ("scope", *PARTS, "step"),
)
WORST_STEP = Spec(
    "kpi_funnel_worst_step",
    "1 for the step of the funnel with the largest excess loss that chance does not explain",
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


def funnel_metrics(funnels: Sequence[tuple[tuple[str, ...], Sequence[Step]]]) -> Iterator[Metric]:
    """Yield the metrics of funnels, given as pairs of a scope and its steps."""
    losses: list[Sample] = []
    most: list[Sample] = []
    for scope, steps in funnels:
        losses += [((*scope, step.name), step.excess_loss) for step in steps]
        step = worst(steps)
        if step is not None:
            most.append(((*scope, step.name), 1.0))
    yield family(EXCESS_LOSS, losses)
    yield family(WORST_STEP, most)
