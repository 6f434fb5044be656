"""The KPIs of all scopes of one window."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import or_
from typing import NamedTuple

from models.cells import Cell
from models.measures import SUM_INDEX
from models.scopes import Scope
from streams.kpis.totals import Totals
from streams.kpis.values import Evaluator, KpiValues


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


def evaluate(
    totals: Totals,
    inputs: Mapping[Scope, int],
    *,
    evaluator: Evaluator,
    whole: bool,
    top_campaigns: int,
) -> Evaluated:
    """Return the KPIs of every scope that had an event in the window or that day.

    Args:
        totals: of the window.
        inputs: what was seen of each scope that day, as `Evaluator.inputs_in` returns it.
        evaluator: computes the KPIs.
        whole: False where a part of the window was measured by a version before 4.
        top_campaigns: so many are shown one by one, the others together.
    """
    cells = {**{scope: Cell() for scope in inputs}, **totals}
    small = _beyond_the_largest(cells, top_campaigns)

    def values_of(cell: Cell, seen: int) -> KpiValues:
        return evaluator.evaluate(cell, inputs=evaluator.inputs_in(cell) | seen, whole=whole)

    values = {
        scope: values_of(cell, inputs.get(scope, 0))
        for scope, cell in cells.items()
        if whole or not (scope.region or scope.segment)
    }
    if not small:
        return Evaluated(values, frozenset(), {})
    seen = reduce(or_, (inputs.get(scope, 0) for scope in small))
    other = values_of(totals.together(small), seen)
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
