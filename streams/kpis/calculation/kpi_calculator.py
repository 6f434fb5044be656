"""Calculates KPI values from cells, as the catalogue defines them.

Each formula is compiled once, when the calculator is made, into a function of a cell's numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType

from models.aggregates import histogram
from models.aggregates.cell import Cell
from models.kpi import measures
from models.kpi.definition import Catalogue, Kpi, KpiValue
from models.kpi.formula import (
    Coefficient,
    Growth,
    Newest,
    Quantile,
    Quotient,
    Spread,
    Terms,
    Total,
    bare,
    in_parts,
    names_in,
    parse_terms,
    previous,
)
from models.kpi.measures import (
    DISTRIBUTION_INDEX,
    DISTRIBUTIONS,
    DURATIONS,
    FIGURES,
    INPUTS,
    LEVEL_INDEX,
    MONEY,
    ORDER_CREDIT,
    PLANNED,
    SET_INDEX,
    SUM_INDEX,
    UNIONS,
    USER_SETS,
    WIDTH,
)
from models.money.amounts import UNITS_PER_CURRENCY, to_currency
from streams.kpis.calculation import confidence_intervals

KpiValues = dict[str, KpiValue]

Numbers = Sequence[int]
"""A cell's numbers in the order of `_PLACE`.

First the sums, the counts of distinct users, the counts of the unions of sets, and `FIGURES`, 0
where one is not available; then the sums and counts of the period before, if that is known.
"""

MS_PER_SECOND = 1_000

_PLACE = {
    **SUM_INDEX,
    **{name: WIDTH + index for name, index in SET_INDEX.items()},
    **{name: WIDTH + len(USER_SETS) + index for index, name in enumerate((*UNIONS, *FIGURES))},
}
_PLACE |= {previous(name): len(_PLACE) + place for name, place in _PLACE.items()}

Coefficients = Mapping[Coefficient, float]
Figures = Mapping[str, int]
"""The available ones of `models.kpi.measures.FIGURES`; money in 1/10,000 of the currency."""
NO_FIGURES: Figures = MappingProxyType({})

_Sum = Callable[[Numbers], int]
_Amount = Callable[[Numbers], int | float]
_Compute = Callable[[Cell, Numbers, Cell], KpiValue | None]
"""Computes a KPI from the cell, its numbers, and the cell of the period before."""
_Bounds = Callable[
    [Cell, Numbers, int | float, int | float, float], confidence_intervals.Bounds | None
]
"""Computes an interval from the cell, its numbers, numerator, denominator and the shown value."""


class KpiCalculator:
    """Computes all KPIs of a catalogue.

    Args:
        catalogue: the KPIs.
        coefficients: configured factors by name; KPIs whose coefficient is missing are absent.
    """

    def __init__(self, catalogue: Catalogue, coefficients: Coefficients | None = None) -> None:
        self.catalogue = catalogue
        self.needed = catalogue.needed
        self.looks_back = any(kpi.looks_back for kpi in catalogue.values())
        self._needed_sums = [SUM_INDEX[name] for name in self.needed]
        self._compiled = tuple(
            (
                kpi.name,
                kpi.looks_back,
                self._mask(kpi.needs),
                since_of(kpi),
                kpi.figures,
                [_connected_by(inputs) for inputs in kpi.inputs],
                compute,
            )
            for kpi in catalogue.values()
            if (compute := _compile(kpi, coefficients or {})) is not None
        )
        self._possible = lru_cache(maxsize=1_000)(self._choose)

    def _mask(self, names: Sequence[str]) -> int:
        return sum(1 << self.needed.index(name) for name in names)

    def inputs_in(self, cell: Cell) -> int:
        """Return a bit mask of the needed sums that are not 0 in a cell: bit i is ``needed[i]``."""
        sums = cell.sums
        mask = 0
        for bit, index in enumerate(self._needed_sums):
            if sums[index]:
                mask |= 1 << bit
        return mask

    def evaluate(
        self,
        cell: Cell,
        *,
        inputs: int,
        connected: int = measures.ALL_INPUTS,
        version: int = measures.VERSION,
        before: Cell | None = None,
        version_before: int = measures.VERSION,
        figures: Figures = NO_FIGURES,
    ) -> KpiValues:
        """Return the KPIs of one scope in one window, by name.

        A KPI is absent, not 0, if an input of its formula never came, if none of the sums it
        needs was seen, if a part of its window was measured by a version without its measures, or
        if it has no value, such as a quotient by 0.

        Args:
            cell: the measures of the scope in the window.
            inputs: the needed sums seen that day, as `inputs_in` returns them.
            connected: the inputs that ever came, in any scope, as `FirstInputs.connected` returns
                them.
            version: the oldest version of the measures in cells of the window.
            before: the measures in the equal period before. None if it is not known whole: KPIs
                that look back are then absent.
            version_before: the oldest version of the measures in cells of the period before.
            figures: what is available beside the cells; KPIs that name another one are absent.
        """
        values: KpiValues = {}
        numbers = [*cell.sums, *cell.counts(), *(figures.get(name, 0) for name in FIGURES)]
        since_before = None
        if before is not None:
            numbers += [*before.sums, *before.counts()]
            since_before = version_before
        for name, compute in self._possible(
            inputs, connected, version, since_before, frozenset(figures)
        ):
            value = compute(cell, numbers, before or cell)
            if value is not None:
                values[name] = value
        return values

    def _choose(
        self,
        inputs: int,
        connected: int,
        version: int,
        version_before: int | None,
        available: frozenset[str],
    ) -> list[tuple[str, _Compute]]:
        """Return the names and functions of the KPIs whose inputs, versions and figures suffice."""
        return [
            (name, compute)
            for name, looks_back, needs, since, figures, connected_by, compute in self._compiled
            if (not needs or needs & inputs)
            and since <= version
            and (not looks_back or (version_before is not None and since <= version_before))
            and figures <= available
            and all(mask & connected for mask in connected_by)
        ]


def _connected_by(inputs: Iterable[str]) -> int:
    """Return the bit mask of some of `INPUTS`."""
    return sum(1 << INPUTS.index(name) for name in inputs)


def since_of(kpi: Kpi) -> int:
    """Return the first version of the measures that has all that a KPI uses."""
    named = {*names_in(kpi.parsed), *kpi.needs} - PLANNED.keys()
    for part in (kpi.n, kpi.squares):
        if part in DISTRIBUTION_INDEX:
            named.add(part)
        elif part is not None:
            named |= {name for _, name in parse_terms(part)}
    return max(map(measures.known_since, named), default=measures.FIRST_VERSION)


def _is_money(kpi: Kpi, terms: Terms) -> bool:
    """Return whether a KPI shows a sum of money, whose units of 1/10,000 become the currency."""
    return kpi.unit == "money" and any(bare(name) in MONEY for _, name in terms)


def _scale_of(kpi: Kpi, terms: Terms) -> int:
    """Return the number of stored units in one shown unit: of money 10,000, of times 1,000 ms."""
    if _is_money(kpi, terms):
        return UNITS_PER_CURRENCY
    return MS_PER_SECOND if any(bare(name) in DURATIONS for _, name in terms) else 1


def _summed(terms: Terms) -> _Sum:
    indexed = [(sign, _PLACE[name]) for sign, name in terms]
    if len(indexed) == 1 and indexed[0][0] == 1:
        only = indexed[0][1]
        return lambda numbers: numbers[only]
    return lambda numbers: sum(sign * numbers[index] for sign, index in indexed)


def _amount(terms: Terms) -> _Amount:
    """Return how to compute a sum as it is shown; credits for parts of orders become orders."""
    total = _summed(terms)
    return (lambda numbers: total(numbers) / ORDER_CREDIT) if in_parts(terms) else total


def _count(terms: Terms) -> _Sum:
    """Return how to compute a sum as n; credits for parts of orders become whole orders."""
    total = _summed(terms)
    return (lambda numbers: total(numbers) // ORDER_CREDIT) if in_parts(terms) else total


def _compile(kpi: Kpi, coefficients: Coefficients) -> _Compute | None:
    """Return the function that computes a KPI; None if its coefficient is not configured."""
    formula = kpi.parsed
    if isinstance(formula, Total):
        return _total(kpi, formula)
    if isinstance(formula, Quotient):
        times = formula.times
        factor = times if isinstance(times, int) else coefficients.get(times)
        return None if factor is None else _quotient(kpi, formula, factor)
    if isinstance(formula, Quantile):
        return _quantile(kpi, formula)
    if isinstance(formula, Growth):
        return _growth(formula)
    return _spread(kpi, formula) if isinstance(formula, Spread) else _newest(formula)


def _total(kpi: Kpi, formula: Total) -> _Compute:
    total = _amount(formula.terms)
    n_of = _count(formula.terms if kpi.n is None else parse_terms(kpi.n))
    money = _is_money(kpi, formula.terms)

    def compute(_: Cell, numbers: Numbers, _before: Cell) -> KpiValue:
        n = n_of(numbers)
        value = total(numbers)
        return KpiValue(to_currency(value) if money else value, None, None, n, n >= kpi.min_n)

    return compute


def _quotient(kpi: Kpi, formula: Quotient, factor: float) -> _Compute:
    over_of, under_of = _amount(formula.over), _amount(formula.under)
    n_of = _count(formula.under if kpi.n is None else parse_terms(kpi.n))
    scale = _scale_of(kpi, formula.over)
    bounds_of = _bounds(kpi, factor=factor / scale)

    def compute(cell: Cell, numbers: Numbers, _: Cell) -> KpiValue | None:
        under = under_of(numbers)
        if under <= 0:
            return None
        over = over_of(numbers)
        n = n_of(numbers)
        value = factor * over / under / scale
        bounds = bounds_of(cell, numbers, over, under, value)
        low, high = (None, None) if bounds is None else bounds
        return KpiValue(value, low, high, n, n >= kpi.min_n)

    return compute


def _bounds(kpi: Kpi, *, factor: float) -> _Bounds:
    if kpi.interval == "wilson":
        return lambda _cell, _numbers, over, under, _value: (
            confidence_intervals.wilson(over, under) if 0 <= over <= under else None
        )
    if kpi.interval == "poisson":
        return lambda _cell, _numbers, over, under, _value: confidence_intervals.per_count(
            over * factor, under
        )
    distribution = DISTRIBUTION_INDEX.get(kpi.squares or "")
    if kpi.interval == "compound" and distribution is not None:
        place = distribution

        def compound(
            cell: Cell, _numbers: Numbers, _over: float, under: float, value: float
        ) -> confidence_intervals.Bounds | None:
            amounts = cell.histograms[place]
            if not amounts:
                return None
            squares = histogram.sum_of_squares(amounts)
            return confidence_intervals.compound(value, squares=squares, under=under / factor)

        return compound
    if kpi.interval == "mean" and distribution is not None:
        place = distribution

        def mean_of(
            cell: Cell, _numbers: Numbers, over: float, under: float, _value: float
        ) -> confidence_intervals.Bounds | None:
            bounds = confidence_intervals.mean_of(cell.histograms[place], around=over / under)
            return None if bounds is None else (bounds[0] * factor, bounds[1] * factor)

        return mean_of
    if kpi.interval == "mean":
        squares_of = _summed(parse_terms(kpi.squares or ""))

        def mean(
            _cell: Cell, numbers: Numbers, over: float, under: float, _value: float
        ) -> confidence_intervals.Bounds | None:
            bounds = confidence_intervals.mean(over, squares_of(numbers), under)
            return None if bounds is None else (bounds[0] * factor, bounds[1] * factor)

        return mean
    return lambda _cell, _numbers, _over, _under, _value: None


def _quantile(kpi: Kpi, formula: Quantile) -> _Compute:
    place = DISTRIBUTION_INDEX[formula.of]
    scale = _SCALE_OF[DISTRIBUTIONS[place].name]

    def compute(cell: Cell, _numbers: Numbers, _before: Cell) -> KpiValue | None:
        values = cell.histograms[place]
        if not values:
            return None
        n = histogram.count_of(values)
        value, low, high = confidence_intervals.quantile(values, formula.share)
        return KpiValue(value / scale, low / scale, high / scale, n, n >= kpi.min_n)

    return compute


def _spread(kpi: Kpi, formula: Spread) -> _Compute:
    terms = [((1, name),) for name in formula.of]
    sums = [_summed(one) for one in terms]
    counts = [_count(one) for one in terms] if kpi.n is None else [_count(parse_terms(kpi.n))]

    def compute(_: Cell, numbers: Numbers, _before: Cell) -> KpiValue | None:
        found = [total(numbers) for total in sums]
        most = max(found)
        if most <= 0:
            return None
        n = max(count(numbers) for count in counts)
        return KpiValue((most - min(found)) / most, None, None, n, n >= kpi.min_n)

    return compute


def _newest(formula: Newest) -> _Compute:
    place = LEVEL_INDEX[formula.of]

    def compute(cell: Cell, _numbers: Numbers, _before: Cell) -> KpiValue | None:
        level = cell.levels.get(place)
        return None if level is None else KpiValue(level[1] / UNITS_PER_CURRENCY, None, None, 1)

    return compute


def _growth(formula: Growth) -> _Compute:
    place = LEVEL_INDEX[formula.of]

    def compute(cell: Cell, _: Numbers, before: Cell) -> KpiValue | None:
        now, then = cell.levels.get(place), before.levels.get(place)
        if now is None or then is None or then[1] <= 0:
            return None
        return KpiValue((now[1] - then[1]) / then[1], None, None, 1)

    return compute


_SCALE_OF = {
    "dwell_ms": MS_PER_SECOND,
    "complaint_response_ms": MS_PER_SECOND,
    "order_amount": UNITS_PER_CURRENCY,
}
"""Divisors by distribution: its values are shown in seconds or in the currency."""
