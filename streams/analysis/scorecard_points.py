"""Values to scores: how far a campaign is between base and stretch.

==================================  ================================================
at the stretch value (挑战)          100 points
at the base value (保底)             60 points
between and beyond the two          in a straight line, up to 120 points
below the base, more is better      60 * value / base
below the base, less is better      60 * base / value
==================================  ================================================

Points are never negative. The attainment of a target is value / target where more
is better and target / value where less is, from 0 to 100. A target of 0 or under,
such as a return of 0, has no such ratio: there the attainment falls, or grows, by 1
for each distance from base to stretch. Points follow the papers' ladder of base and
stretch values (S1); 60 as the pass mark is this project's choice.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
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
"""Costs near 0 would attain without end."""


class IndicatorState(StrEnum):
    """Where an indicator stands; only the last three count."""

    NO_DATA = "no_data"
    NOT_SIGNIFICANT = "not_significant"
    EXEMPT = "exempt"
    BELOW_BASE = "below_base"
    BASE_MET = "base_met"
    STRETCH_MET = "stretch_met"


@dataclass(frozen=True, slots=True, kw_only=True)
class IndicatorScore:
    """A KPI on a card; values are in the units people see.

    ``weight`` is its share of the dimension. ``value`` and the attainments are None
    without data, ``points`` also where it does not count.
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
    """A dimension of a card, one spoke of its profile.

    ``weight`` is its share of the card, ``coverage`` the share of its own weight
    that counted; ``points`` is None when nothing did.
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
    """A card's score in one scope, of 0 to 120 points; None when nothing counted.

    ``coverage`` is the share of the card's weight that counted, 0 to 1.
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
) -> list[Score]:
    """Return the scores of every card in every scope that it matches.

    Args:
        book: checked against the catalogue.
        evaluations: KPI values by the window's name and the scope.
        catalogue: where the KPIs are defined.
        today: the business day, for exemptions.
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
            for scope in card.scopes(by_scope)
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

    What has no data, rests on too little or is exempt takes its weight out of the
    card: it is not 0.

    Raises:
        KeyError: the card was not checked against the catalogue.
        ValueError: likewise.
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
    """Return the points, 0 to 120, of a value between base and stretch."""
    reached = (value - base) / (stretch - base)
    if reached >= 0:
        return min(MOST_POINTS, BASE_POINTS + (STRETCH_POINTS - BASE_POINTS) * reached)
    span = abs(stretch - base)
    return BASE_POINTS * attainment_of(value, target=base, span=span, direction=direction)


def attainment_of(value: float, *, target: float, span: float, direction: Better) -> float:
    """Return how much of a target is attained: 1 at the target, 0 to 100.

    Args:
        value: in the units of the target.
        target: the base or stretch value.
        span: the distance from base to stretch, the unit where the target is not over 0.
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
    shown = float(kpi.shown(value.value))
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
    """Return the weighted mean of the points that there are; None without any weight."""
    counted = [(weight, points) for weight, points in weighted if points is not None]
    total = math.fsum(weight for weight, _ in counted)
    if not total:
        return None
    return math.fsum(weight * points for weight, points in counted) / total
