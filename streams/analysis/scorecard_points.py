"""Converts KPI values to scorecard points: where they are between base and stretch value.

==================================  ================================================
at the stretch value (挑战)          100 points
at the base value (保底)             60 points
between and beyond the two          in a straight line, up to 120 points
below the base, more is better      60 * value / base
below the base, less is better      60 * base / value
==================================  ================================================

Points are never negative. The attainment of a target is value / target if more is better, and
target / value if less is, limited to 0 to 100. If the target is 0 or negative, such as a return
of 0, there is no such ratio: the attainment is then 1 at the target, and changes by 1 for each
distance from base to stretch. Points follow the papers' ladder of base and stretch values (S1);
60 as the pass mark is this project's choice.

Example:
    More is better, base 0.02, stretch 0.03: a conversion rate of 0.03 has 100 points, 0.025 has
    80, 0.02 has 60, and 0.015 has 60 * 0.015 / 0.02 = 45. A rate of 0.04 would have 140; the
    limit is 120.
    Less is better, base 50, stretch 40: a cost of 45 an order has 80 points, and a cost of 60
    has 60 * 50 / 60 = 50.
    A dimension with the indicators above at 80 and 50 points, and weights of 0.75 and 0.25, has
    0.75 * 80 + 0.25 * 50 = 72.5. If the second has no data, it has 80, with a coverage of 0.75.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from models.kpi.definition import Catalogue, KpiValue
from models.scope import Scope
from models.scorecards.indicator import Better, Indicator
from models.scorecards.scorecard import Dimension, Scorecard, ScorecardBook
from models.window import WindowName

BASE_POINTS: Final = 60.0
STRETCH_POINTS: Final = 100.0
MOST_POINTS: Final = 120.0
LARGEST_ATTAINMENT: Final = 100.0
"""Limit of an attainment: that of a cost near 0 would be unbounded."""


class IndicatorState(StrEnum):
    """State of an indicator; only `BELOW_BASE`, `BASE_MET` and `STRETCH_MET` count."""

    NO_DATA = "no_data"
    NOT_SIGNIFICANT = "not_significant"
    EXEMPT = "exempt"
    BELOW_BASE = "below_base"
    BASE_MET = "base_met"
    STRETCH_MET = "stretch_met"


@dataclass(frozen=True, slots=True, kw_only=True)
class IndicatorScore:
    """The score of a KPI on a card. Values are in the units people see.

    Args:
        kpi: name of the KPI.
        direction: whether more or less is better.
        weight: its share of the dimension's weight, 0 to 1.
        base: the base value.
        stretch: the stretch value.
        state: the state of the indicator.
        value: the KPI's value; None without data.
        n: the number that the value rests on.
        attainment_base: attainment of the base value, 0 to 100; None without data.
        attainment_stretch: attainment of the stretch value, 0 to 100; None without data.
        points: 0 to 120; None if the indicator does not count.
        exempt_until: the first day on which it counts again; None if it is not exempt now.
        exempt_reason: why it is exempt; empty if it is not exempt now.
    """

    kpi: str
    direction: Better
    weight: float
    base: float
    stretch: float
    state: IndicatorState
    value: float | None = None
    n: int = 0
    attainment_base: float | None = None
    attainment_stretch: float | None = None
    points: float | None = None
    exempt_until: date | None = None
    exempt_reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DimensionScore:
    """The score of a dimension of a card.

    Args:
        name: name of the dimension.
        title_en: its English title.
        title_zh: its Chinese title.
        weight: its share of the card's weight, 0 to 1.
        points: weighted mean of its indicators' points, 0 to 120; None if none counted.
        coverage: the share of its indicators' weight that counted, 0 to 1.
        indicators: the scores of its indicators.
    """

    name: str
    title_en: str
    title_zh: str
    weight: float
    points: float | None
    coverage: float
    indicators: tuple[IndicatorScore, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The score of a card in one scope.

    Args:
        card: name of the card.
        title_en: its English title.
        title_zh: its Chinese title.
        owner: who answers for the card.
        scope: the scope.
        window: name of the window that the values are from.
        lifecycle: stage of life that chose the weights of the dimensions; empty for none.
        points: weighted mean of its dimensions' points, 0 to 120; None if nothing counted.
        coverage: the share of the card's weight that counted, 0 to 1.
        dimensions: the scores of its dimensions.
        notes: remarks on the card, such as that its weights were normalised.
    """

    card: str
    title_en: str
    title_zh: str
    owner: str
    scope: Scope
    window: WindowName
    lifecycle: str
    points: float | None
    coverage: float
    dimensions: tuple[DimensionScore, ...]
    notes: tuple[str, ...] = ()


def scores(
    book: ScorecardBook,
    evaluations: Mapping[WindowName, Mapping[Scope, Mapping[str, KpiValue]]],
    *,
    catalogue: Catalogue,
    today: date,
    small: Mapping[WindowName, Collection[Scope]] = MappingProxyType({}),
) -> list[Score]:
    """Return the scores of every card in every scope that it matches.

    Args:
        book: the cards, checked against the catalogue.
        evaluations: KPI values by window name, scope and KPI name.
        small: by window name, scopes that get a card only if they are named without a pattern.
        catalogue: the definitions of the KPIs.
        today: date of the business day, which decides on exemptions.
    """
    found: list[Score] = []
    for card in book.scorecards:
        by_scope = evaluations.get(card.window, {})
        found.extend(
            score(
                card,
                scope=scope,
                values=by_scope.get(scope, {}),
                catalogue=catalogue,
                today=today,
            )
            for scope in card.scopes(by_scope.keys() - small.get(card.window, ()))
        )
    return found


def score(
    card: Scorecard,
    *,
    scope: Scope,
    values: Mapping[str, KpiValue],
    catalogue: Catalogue,
    today: date,
) -> Score:
    """Return a card's score in a scope.

    An indicator without data, with a value that is not significant, or with an exemption does
    not count as 0: its weight is left out of the means, which lowers the coverage.

    Raises:
        KeyError: a KPI is not in the catalogue.
        ValueError: an indicator's direction is missing or contradicts that of its KPI.

    Neither is raised for a card that was checked against the catalogue.
    """
    dimensions = tuple(
        _score_dimension(
            dimension,
            weight=card.weights[dimension.name],
            values=values,
            catalogue=catalogue,
            today=today,
        )
        for dimension in card.dimensions
    )
    return Score(
        card=card.name,
        title_en=card.title_en,
        title_zh=card.title_zh,
        owner=card.owner,
        scope=scope,
        window=card.window,
        lifecycle=card.lifecycle,
        points=_mean((one.weight, one.points) for one in dimensions),
        coverage=min(1.0, math.fsum(one.weight * one.coverage for one in dimensions)),
        dimensions=dimensions,
        notes=card.notes,
    )


def points_of(value: float, *, base: float, stretch: float, direction: Better) -> float:
    """Return the points, 0 to 120, of a value, given its base and stretch value."""
    reached = (value - base) / (stretch - base)
    if reached >= 0:
        return min(MOST_POINTS, BASE_POINTS + (STRETCH_POINTS - BASE_POINTS) * reached)
    span = abs(stretch - base)
    return BASE_POINTS * attainment_of(value, target=base, span=span, direction=direction)


def attainment_of(value: float, *, target: float, span: float, direction: Better) -> float:
    """Return the attainment of a target, 0 to 100; it is 1 at the target.

    Args:
        value: the value, in the unit of the target.
        target: the base or stretch value.
        span: the distance from base to stretch; used if the target is not above 0.
        direction: whether more or less is better.
    """
    if target <= 0:
        off = value - target if direction == "more" else target - value
        attained = 1 + off / span
    elif direction == "more":
        attained = value / target
    else:
        attained = target / value if value > 0 else LARGEST_ATTAINMENT
    return min(LARGEST_ATTAINMENT, max(0.0, attained))


def _score_dimension(
    dimension: Dimension,
    *,
    weight: float,
    values: Mapping[str, KpiValue],
    catalogue: Catalogue,
    today: date,
) -> DimensionScore:
    indicators = tuple(
        _score_indicator(
            indicator,
            weight=dimension.weights[indicator.kpi],
            value=values.get(indicator.kpi),
            catalogue=catalogue,
            today=today,
        )
        for indicator in dimension.indicators
    )
    counted = math.fsum(one.weight for one in indicators if one.points is not None)
    return DimensionScore(
        name=dimension.name,
        title_en=dimension.title_en,
        title_zh=dimension.title_zh,
        weight=weight,
        points=_mean((one.weight, one.points) for one in indicators),
        coverage=min(1.0, counted),
        indicators=indicators,
    )


def _score_indicator(
    indicator: Indicator,
    *,
    weight: float,
    value: KpiValue | None,
    catalogue: Catalogue,
    today: date,
) -> IndicatorScore:
    kpi = catalogue[indicator.kpi]
    base, stretch, direction = indicator.base, indicator.stretch, indicator.better(kpi)
    exempt = indicator.exempt(today)
    unseen = IndicatorScore(
        kpi=indicator.kpi,
        direction=direction,
        weight=weight,
        base=base,
        stretch=stretch,
        state=IndicatorState.EXEMPT if exempt else IndicatorState.NO_DATA,
        exempt_until=indicator.exempt_until if exempt else None,
        exempt_reason=indicator.exempt_reason if exempt else "",
    )
    if value is None or not math.isfinite(value.value):
        return unseen
    shown = float(value.value)
    span = abs(stretch - base)
    seen = replace(
        unseen,
        value=shown,
        n=value.n,
        attainment_base=attainment_of(shown, target=base, span=span, direction=direction),
        attainment_stretch=attainment_of(shown, target=stretch, span=span, direction=direction),
    )
    if exempt:
        return seen
    if not value.significant:
        return replace(seen, state=IndicatorState.NOT_SIGNIFICANT)
    sign = 1 if direction == "more" else -1
    if sign * shown < sign * base:
        state = IndicatorState.BELOW_BASE
    elif sign * shown < sign * stretch:
        state = IndicatorState.BASE_MET
    else:
        state = IndicatorState.STRETCH_MET
    points = points_of(shown, base=base, stretch=stretch, direction=direction)
    return replace(seen, state=state, points=points)


def _mean(weighted: Iterable[tuple[float, float | None]]) -> float | None:
    """Return the weighted mean of the points that are not None; None if their weights sum to 0."""
    counted = [(weight, points) for weight, points in weighted if points is not None]
    total = math.fsum(weight for weight, _ in counted)
    if not total:
        return None
    return math.fsum(weight * points for weight, points in counted) / total
