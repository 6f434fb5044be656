"""Calculates KPI values from cells, as the catalogue defines them.

Each formula is compiled once, when the calculator is made, into a function of a cell's numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

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
    names_in,
    previous,
    stored_unit,
)
from models.kpi.measures import (
    ALL_MEASURED,
    DISTRIBUTION_INDEX,
    FIGURES,
    FIRST_CUSTOM,
    INPUTS,
    LEVEL_INDEX,
    ORDER_CREDIT,
    SET_INDEX,
    SUM_INDEX,
    UNIONS,
    CustomNames,
    Measured,
    StoredUnit,
    stored_unit_of,
)
from models.money.amounts import UNITS_PER_CURRENCY
from models.window import SECOND_MS
from streams.kpis.calculation import confidence_intervals

KpiValues = dict[str, KpiValue]

Numbers = Sequence[int]
"""A cell's numbers in the order of `_places`.

First the sums, the counts of distinct users, the counts of the unions of sets, the custom sums, and
`FIGURES`, 0 where one is not available; then those of the period before, if that is known, without
figures.
"""

Places = Mapping[str, int]
"""The place of each name in `Numbers`."""


def _places(custom: CustomNames) -> Places:
    names = (*SUM_INDEX, *SET_INDEX, *UNIONS, *custom.sums, *FIGURES)
    places = {name: place for place, name in enumerate(names)}
    return places | {previous(name): len(names) + place for name, place in places.items()}


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
        catalogue: the KPIs, and the custom measures that they may name.
        coefficients: configured factors by name; KPIs whose coefficient is missing are absent.
    """

    def __init__(self, catalogue: Catalogue, coefficients: Coefficients | None = None) -> None:
        self.catalogue = catalogue
        self.needed = catalogue.needed
        self.looks_back = any(kpi.looks_back for kpi in catalogue.values())
        custom = catalogue.custom
        self._custom = range(FIRST_CUSTOM, FIRST_CUSTOM + len(custom.sums))
        number_of = dict(zip(custom.sums, self._custom, strict=True))
        self._needed_sums = [SUM_INDEX[name] for name in self.needed if name in SUM_INDEX]
        self._needed_custom = [number_of[name] for name in self.needed if name in number_of]
        compiler = _Compiler(custom, coefficients or {})
        self._compiled = tuple(
            (
                _Conditions(
                    kpi.name,
                    kpi.looks_back,
                    self._mask(kpi.needs),
                    since_of(kpi),
                    number_of.keys() & _named(kpi),
                    kpi.figures,
                    [_connected_by(inputs) for inputs in kpi.inputs],
                ),
                compute,
            )
            for kpi in catalogue.values()
            if (compute := compiler.compile(kpi)) is not None
        )
        self._possible = lru_cache(maxsize=1_000)(self._choose)
        self.unmeasured: Callable[[Measured], frozenset[str]] = lru_cache(maxsize=100)(
            self._choose_unmeasured
        )
        """Returns the KPIs, by name, that cells with these measures can't give."""
        self.unconnected: Callable[[int], frozenset[str]] = lru_cache(maxsize=100)(
            self._choose_unconnected
        )
        """Returns the KPIs, by name, that lack one of their inputs if only these came."""

    def _mask(self, names: Sequence[str]) -> int:
        return sum(1 << self.needed.index(name) for name in names)

    def inputs_in(self, cell: Cell) -> int:
        """Return a bit mask of the needed sums that are not 0 in a cell: bit i is ``needed[i]``."""
        sums = cell.sums
        mask = 0
        for bit, index in enumerate(self._needed_sums):
            if sums[index]:
                mask |= 1 << bit
        if cell.custom_sums:
            for bit, index in enumerate(self._needed_custom, len(self._needed_sums)):
                if cell.custom_sums.get(index):
                    mask |= 1 << bit
        return mask

    def _choose_unmeasured(self, measured: Measured) -> frozenset[str]:
        return frozenset(kpi.name for kpi, _ in self._compiled if not kpi.are_in(measured))

    def _choose_unconnected(self, connected: int) -> frozenset[str]:
        return frozenset(kpi.name for kpi, _ in self._compiled if not kpi.are_connected(connected))

    def _numbers(self, cell: Cell) -> list[int]:
        numbers = [*cell.sums, *cell.counts()]
        if self._custom:
            numbers += [cell.custom_sums.get(index, 0) for index in self._custom]
        return numbers

    def evaluate(
        self,
        cell: Cell,
        *,
        inputs: int,
        connected: int = measures.ALL_INPUTS,
        measured: Measured = ALL_MEASURED,
        before: Cell | None = None,
        measured_before: Measured = ALL_MEASURED,
        figures: Figures = NO_FIGURES,
    ) -> KpiValues:
        """Return the KPIs of one scope in one window, by name.

        A KPI is absent, not 0, if an input of its formula never came, if none of the sums it
        needs was seen, if a part of its window does not have its measures (another version, or a
        custom sum that was not declared yet), or
        if it has no value, such as a quotient by 0.

        Args:
            cell: the measures of the scope in the window.
            inputs: the needed sums seen that day, as `inputs_in` returns them.
            connected: the inputs that ever came, in any scope, as `FirstInputs.connected` returns
                them.
            measured: the measures that all cells of the window have.
            before: the measures in the equal period before. None if it is not known whole: KPIs
                that look back are then absent.
            measured_before: those that all cells of the period before have.
            figures: what is available beside the cells; KPIs that name another one are absent.
        """
        values: KpiValues = {}
        numbers = [*self._numbers(cell), *(figures.get(name, 0) for name in FIGURES)]
        known_before = None
        if before is not None:
            numbers += self._numbers(before)
            known_before = measured_before
        available = frozenset(figures)
        for name, compute in self._possible(inputs, connected, measured, known_before, available):
            value = compute(cell, numbers, before or cell)
            if value is not None:
                values[name] = value
        return values

    def _choose(
        self,
        inputs: int,
        connected: int,
        measured: Measured,
        measured_before: Measured | None,
        available: frozenset[str],
    ) -> list[tuple[str, _Compute]]:
        """Return the names and functions of the KPIs whose inputs, measures and figures suffice."""

        def possible(kpi: _Conditions) -> bool:
            if kpi.needs and not kpi.needs & inputs:
                return False
            if not kpi.are_connected(connected):
                return False
            if not (kpi.are_in(measured) and kpi.figures <= available):
                return False
            return not kpi.looks_back or (
                measured_before is not None and kpi.are_in(measured_before)
            )

        return [(kpi.name, compute) for kpi, compute in self._compiled if possible(kpi)]


class _Conditions(NamedTuple):
    """The conditions on which a KPI has a value.

    Args:
        name: the name of the KPI.
        looks_back: whether it uses the period before.
        needs: a bit mask of sums, one of which must have been seen; 0 for none.
        since: the first version of the measures that has all that it uses.
        custom: the custom sums that it uses.
        figures: what it uses of `FIGURES`.
        inputs: bit masks of `INPUTS`, of each of which one must have come.
    """

    name: str
    looks_back: bool
    needs: int
    since: int
    custom: Set[str]
    figures: frozenset[str]
    inputs: Sequence[int]

    def are_in(self, measured: Measured) -> bool:
        """Return whether cells with these measures have all that the KPI uses."""
        return self.since <= measured.version and self.custom.isdisjoint(measured.lacking)

    def are_connected(self, connected: int) -> bool:
        """Return whether all inputs of the KPI are among these, a bit mask of `INPUTS`."""
        return all(mask & connected for mask in self.inputs)


def _connected_by(inputs: Iterable[str]) -> int:
    """Return the bit mask of some of `INPUTS`."""
    return sum(1 << INPUTS.index(name) for name in inputs)


def since_of(kpi: Kpi) -> int:
    """Return the first version of the measures that has all that a KPI uses."""
    return max(map(measures.known_since, _named(kpi)), default=measures.FIRST_VERSION)


def _named(kpi: Kpi) -> Set[str]:
    """Return the names that a KPI uses: measures, unions of them, and figures."""
    named = {*names_in(kpi.parsed), *kpi.needs}
    if kpi.squares in DISTRIBUTION_INDEX:
        named.add(kpi.squares)
    for terms in (kpi.n_terms, kpi.squares_terms):
        named |= {name for _, name in terms or ()}
    return named


_SCALES: Mapping[StoredUnit, int] = {"money": UNITS_PER_CURRENCY, "ms": SECOND_MS}
"""The number of stored units in a shown one; parts of orders are already divided."""


def _scale_of(terms: Terms) -> int:
    return _SCALES.get(stored_unit(terms), 1)


class _Compiler:
    """Makes the functions that compute KPIs.

    Args:
        custom: the custom measures.
        coefficients: configured factors by name.
    """

    def __init__(self, custom: CustomNames, coefficients: Coefficients) -> None:
        self._places = _places(custom)
        self._levels = LEVEL_INDEX | {
            name: FIRST_CUSTOM + number for number, name in enumerate(custom.levels)
        }
        self._coefficients = coefficients

    def compile(self, kpi: Kpi) -> _Compute | None:
        """Return the function that computes a KPI; None if its coefficient is not configured."""
        formula = kpi.parsed
        if isinstance(formula, Total):
            return self._total(kpi, formula)
        if isinstance(formula, Quotient):
            times = formula.times
            factor = times if isinstance(times, int) else self._coefficients.get(times)
            return None if factor is None else self._quotient(kpi, formula, factor)
        if isinstance(formula, Quantile):
            return _quantile(kpi, formula)
        if isinstance(formula, Growth):
            return self._growth(formula)
        return self._spread(kpi, formula) if isinstance(formula, Spread) else self._newest(formula)

    def _summed(self, terms: Terms) -> _Sum:
        indexed = [(sign, self._places[name]) for sign, name in terms]
        if len(indexed) == 1 and indexed[0][0] == 1:
            only = indexed[0][1]
            return lambda numbers: numbers[only]
        return lambda numbers: sum(sign * numbers[index] for sign, index in indexed)

    def _amount(self, terms: Terms) -> _Amount:
        """Return how to compute a sum as it is shown; credits for parts of orders become orders."""
        total = self._summed(terms)
        if stored_unit(terms) != "parts":
            return total
        return lambda numbers: total(numbers) / ORDER_CREDIT

    def _count(self, terms: Terms) -> _Sum:
        """Return how to compute a sum as n; credits for parts of orders become whole orders."""
        total = self._summed(terms)
        if stored_unit(terms) != "parts":
            return total
        return lambda numbers: total(numbers) // ORDER_CREDIT

    def _total(self, kpi: Kpi, formula: Total) -> _Compute:
        total = self._amount(formula.terms)
        n_of = self._count(kpi.n_terms or formula.terms)
        scale = _scale_of(formula.terms)

        def compute(_: Cell, numbers: Numbers, _before: Cell) -> KpiValue:
            n = n_of(numbers)
            value = total(numbers)
            return KpiValue(value if scale == 1 else value / scale, None, None, n, n >= kpi.min_n)

        return compute

    def _quotient(self, kpi: Kpi, formula: Quotient, factor: float) -> _Compute:
        over_of, under_of = self._amount(formula.over), self._amount(formula.under)
        n_of = self._count(kpi.n_terms or formula.under)
        # Money over money has no unit, orders over money are orders for each unit of the currency.
        over_scale, under_scale = _scale_of(formula.over), _scale_of(formula.under)
        scale = 1 if over_scale == under_scale else over_scale / under_scale
        bounds_of = self._bounds(kpi, factor=factor / scale)

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

    def _bounds(self, kpi: Kpi, *, factor: float) -> _Bounds:
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
            squares_of = self._summed(kpi.squares_terms or ())

            def mean(
                _cell: Cell, numbers: Numbers, over: float, under: float, _value: float
            ) -> confidence_intervals.Bounds | None:
                bounds = confidence_intervals.mean(over, squares_of(numbers), under)
                return None if bounds is None else (bounds[0] * factor, bounds[1] * factor)

            return mean
        return lambda _cell, _numbers, _over, _under, _value: None

    def _spread(self, kpi: Kpi, formula: Spread) -> _Compute:
        terms = [((1, name),) for name in formula.of]
        sums = [self._summed(one) for one in terms]
        counts = [self._count(one) for one in ([kpi.n_terms] if kpi.n_terms else terms)]

        def compute(_: Cell, numbers: Numbers, _before: Cell) -> KpiValue | None:
            found = [total(numbers) for total in sums]
            most = max(found)
            if most <= 0:
                return None
            n = max(count(numbers) for count in counts)
            return KpiValue((most - min(found)) / most, None, None, n, n >= kpi.min_n)

        return compute

    def _newest(self, formula: Newest) -> _Compute:
        place = self._levels[formula.of]

        def compute(cell: Cell, _numbers: Numbers, _before: Cell) -> KpiValue | None:
            level = cell.levels.get(place)
            return None if level is None else KpiValue(level[1] / UNITS_PER_CURRENCY, None, None, 1)

        return compute

    def _growth(self, formula: Growth) -> _Compute:
        place = self._levels[formula.of]

        def compute(cell: Cell, _: Numbers, before: Cell) -> KpiValue | None:
            now, then = cell.levels.get(place), before.levels.get(place)
            if now is None or then is None or then[1] <= 0:
                return None
            return KpiValue((now[1] - then[1]) / then[1], None, None, 1)

        return compute


def _quantile(kpi: Kpi, formula: Quantile) -> _Compute:
    place = DISTRIBUTION_INDEX[formula.of]
    scale = _SCALES[stored_unit_of(formula.of)]

    def compute(cell: Cell, _numbers: Numbers, _before: Cell) -> KpiValue | None:
        values = cell.histograms[place]
        if not values:
            return None
        n = histogram.count_of(values)
        value, low, high = confidence_intervals.quantile(values, formula.share)
        return KpiValue(value / scale, low / scale, high / scale, n, n >= kpi.min_n)

    return compute
