"""Cells to KPI values, by the catalogue."""

from __future__ import annotations

from collections.abc import Callable

from models.kpis import KPIS, Kpi, KpiValue
from models.measures import MEASURES, Cell
from models.money import UNITS_PER_CURRENCY
from streams.kpis.intervals import wilson

KpiValues = dict[str, KpiValue]

_Sum = Callable[[list[int]], int]


def evaluate(cell: Cell, *, inputs: frozenset[str]) -> KpiValues:
    """Return the KPIs that the cell and the inputs seen so far allow."""
    values: KpiValues = {}
    for name, needs, compute in _COMPILED:
        if needs and needs.isdisjoint(inputs):
            continue
        value = compute(cell)
        if value is not None:
            values[name] = value
    return values


def _summed(terms: tuple[tuple[int, str], ...]) -> _Sum:
    indexed = [(sign, MEASURES.index(name)) for sign, name in terms]
    if len(indexed) == 1 and indexed[0][0] == 1:
        only = indexed[0][1]
        return lambda sums: sums[only]
    return lambda sums: sum(sign * sums[index] for sign, index in indexed)


def _compile(kpi: Kpi) -> Callable[[Cell], KpiValue | None]:
    if kpi.distinct == "visitors":
        return lambda cell: KpiValue(users := cell.visitors.estimate, None, None, users)
    if kpi.distinct == "buyers":
        return lambda cell: KpiValue(users := cell.buyers.estimate, None, None, users)
    numerator = _summed(kpi.numerator)
    n_index = None if kpi.n is None else MEASURES.index(kpi.n)
    if not kpi.denominator:

        def total(cell: Cell) -> KpiValue:
            value = numerator(cell.sums)
            return KpiValue(value, None, None, value if n_index is None else cell.sums[n_index])

        return total
    denominator = _summed(kpi.denominator)
    scale = UNITS_PER_CURRENCY if kpi.unit == "money" else 1

    def quotient(cell: Cell) -> KpiValue | None:
        over = numerator(cell.sums)
        under = denominator(cell.sums)
        if under <= 0:
            return None
        low = high = None
        if kpi.interval == "wilson" and 0 <= over <= under:
            low, high = wilson(over, under)
        n = over if n_index is None else cell.sums[n_index]
        return KpiValue(over / under / scale, low, high, n)

    return quotient


_COMPILED = tuple((kpi.name, frozenset(kpi.needs), _compile(kpi)) for kpi in KPIS)
