"""Defines KPIs as data: formula, unit, interval and what a value rests on; and the catalogue.

Calculation, metrics, boards and docs are all derived from a definition.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Annotated, Final, Literal, TypeVar, get_args

import msgspec
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationInfo,
    model_validator,
)

from models.events import SourceKind
from models.kpi.formula import (
    UNIT_NAMES,
    Formula,
    FormulaError,
    Newest,
    Quantile,
    Quotient,
    Spread,
    Terms,
    Total,
    bare,
    looks_back,
    names_in,
    parse,
    parse_terms,
    stored_unit,
)
from models.kpi.measures import (
    DISTRIBUTION_INDEX,
    FIGURES,
    NO_CUSTOM,
    SUM_INDEX,
    CustomNames,
    Metric,
    StoredUnit,
    inputs_of,
    metrics_with,
    sources_of,
    stored_unit_of,
)
from models.patterns import nearest

Unit = Literal["count", "users", "ratio", "money", "seconds", "score"]
ShownUnit = Unit | Literal["multiple"]
"""The unit in which a value is shown: ratios as percentages, or as multiples if so defined."""
Direction = Literal["more", "less", "neither"]
"""The direction that is better: more of it, less of it, or neither."""
Interval = Literal["none", "wilson", "mean", "compound", "poisson", "rank"]
"""The method of the 95 % confidence interval, see
`streams.kpis.calculation.confidence_intervals`."""

_ONLY_UNITS: Final[Mapping[StoredUnit, tuple[Unit, ...]]] = {
    "money": ("money",),
    "ms": ("seconds",),
    "parts": ("count",),
}
"""The units in which sums, means and quantiles of something else than numbers are shown."""
_PER_AMOUNT: Final[tuple[Unit, ...]] = ("count", "users", "score")
"""The units of a number for each unit of money or second, which is no share."""
_PLAIN: Final[tuple[Unit, ...]] = ("count", "users", "ratio", "score")
_COUNTED: Final[frozenset[StoredUnit]] = frozenset({"number", "parts"})

_T = TypeVar("_T")


def _counted_by(formula: Formula) -> StoredUnit:
    """Return the unit of what a KPI without an `n` rests on."""
    match formula:
        case Total(terms) | Quotient(_, terms):
            return stored_unit(terms)
        case Spread((first, *_)):
            return stored_unit_of(first)
    return "number"


def _units_of(formula: Formula, custom: CustomNames) -> tuple[Unit, ...]:
    """Return the units in which the values of a formula can be shown.

    The values of levels and of custom sums are in whatever unit the events have them.
    """
    match formula:
        case Newest():
            return get_args(Unit)
        case Quantile(of):
            return _ONLY_UNITS[stored_unit_of(of)]
        case Total(terms):
            unit, plain = stored_unit(terms), _PLAIN
        case Quotient(terms, under):
            over_unit, under_unit = (
                "number" if unit == "parts" else unit for unit in map(stored_unit, (terms, under))
            )
            unit = "number" if over_unit == under_unit else over_unit
            plain = _PLAIN if under_unit in {"number", over_unit} else _PER_AMOUNT
        case _:
            return _PLAIN
    if unit != "number":
        return _ONLY_UNITS[unit]
    own = plain is _PLAIN and all(bare(name) in custom.sums for _, name in terms)
    return get_args(Unit) if own else plain


def _checked(
    key: str, read: Callable[[str, CustomNames], _T], text: str, custom: CustomNames
) -> _T:
    try:
        return read(text, custom)
    except FormulaError as error:
        raise ValueError(f"{key}: {error}") from None


class Benchmark(BaseModel):
    """A value of a KPI that is usual in the industry (行业基准值 of S1), and who says so.

    Args:
        value: in the unit in which the KPI is shown: the currency, ratios as fractions, seconds.
        source: the publication and its date, as people are to read it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: Annotated[float, Field(allow_inf_nan=False)]
    source: Annotated[str, Field(min_length=1)]


class Kpi(BaseModel):
    """The definition of one KPI, in the catalogue or in a file of configuration.

    Its parts may name the custom measures in the validation context (``custom``).

    Args:
        formula: the formula, in the language of `models.kpi.formula`.
        multiple: whether a ratio is shown as 1.5 times and not as 150 %.
        needs: names of sums. If none of their events was seen on the day, the KPI is absent, not 0.
        n: the sum or set of users that the value rests on; if None, the value itself.
        squares: for ``mean``, the sum of the squares of what is averaged; for ``compound``, the
            distribution of the amounts that are summed.
        min_n: a value with a smaller n is not significant.
        outcome: the KPI by which a volume is to be judged, such as orders for clicks.
        objective: the objective that the KPI serves.
        source: the papers that name it, S0 to S3.
        benchmark: a value that is usual in the industry; None if none is known.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
    title_en: Annotated[str, Field(min_length=1)]
    title_zh: Annotated[str, Field(min_length=1)]
    formula: str
    unit: Unit
    multiple: bool = False
    direction: Direction = "more"
    help: str = ""
    needs: tuple[str, ...] = ()
    n: str | None = None
    interval: Interval = "none"
    squares: str | None = None
    min_n: Annotated[int, Field(ge=0)] = 0
    outcome: str | None = None
    objective: str = ""
    source: str = ""
    benchmark: Benchmark | None = None
    _custom: CustomNames = PrivateAttr(default=NO_CUSTOM)

    @model_validator(mode="after")
    def _formula_is_whole(self, info: ValidationInfo) -> Kpi:
        if isinstance(info.context, Mapping):
            self._custom = info.context.get("custom", NO_CUSTOM)
        custom = self._custom
        formula = _checked("formula", parse, self.formula, custom)
        sums = (*SUM_INDEX, *custom.sums)
        for name in self.needs:
            if name not in sums:
                raise ValueError(f"needs: no sum named {name!r} is measured{nearest(name, sums)}")
        if self.benchmark is not None and self.additive:
            raise ValueError("benchmark: a sum grows with its window and can't have one")
        if self.multiple and self.unit != "ratio":
            raise ValueError("multiple: only ratios are read as multiples")
        own_amount = isinstance(formula, Total) and self.unit in {"money", "seconds"}
        if self.n is None and (own_amount or _counted_by(formula) not in _COUNTED):
            raise ValueError("n: money and time are no number of events; name one, such as orders")
        if self.interval in {"wilson", "mean", "compound", "poisson"} and not isinstance(
            formula, Quotient
        ):
            raise ValueError(f"interval: {self.interval} is for quotients")
        if self.interval in {"mean", "compound"} and self.squares is None:
            raise ValueError(f"squares: {self.interval} needs them")
        units = _units_of(formula, custom)
        if self.unit not in units:
            raise ValueError(f"unit: {self.formula} can't be shown as {self.unit}; use {units[0]}")
        self._interval_fits(formula)
        for part in (self.n, self.squares):
            if part is not None and "previous(" in part:
                raise ValueError("n and squares are of the window, not of the period before")
        if self.n is not None:
            unit = stored_unit(_checked("n", parse_terms, self.n, custom))
            if unit not in _COUNTED:
                raise ValueError(f"n: {self.n} is {UNIT_NAMES[unit]}; n counts events or users")
        if self.squares is not None and self.squares not in DISTRIBUTION_INDEX:
            _checked("squares", parse_terms, self.squares, custom)
        return self

    def _interval_fits(self, formula: Formula) -> None:
        """Check that an interval is of what its method is for.

        Raises:
            ValueError: it is not.
        """
        if not isinstance(formula, Quotient):
            return
        over, under = stored_unit(formula.over), stored_unit(formula.under)
        if self.interval == "wilson" and not {over, under} <= _COUNTED:
            raise ValueError("interval: wilson is for shares of events or users")
        if self.interval in {"mean", "poisson"} and under not in _COUNTED:
            raise ValueError(f"interval: {self.interval} is for quotients by a number")
        if self.squares in DISTRIBUTION_INDEX and over != stored_unit_of(self.squares):
            raise ValueError(
                f"squares: {self.squares} is {UNIT_NAMES[stored_unit_of(self.squares)]}, and the"
                f" formula is about {UNIT_NAMES[over]}"
            )

    @cached_property
    def parsed(self) -> Formula:
        """The parsed formula."""
        return parse(self.formula, self._custom)

    @cached_property
    def n_terms(self) -> Terms | None:
        """The parsed `n`; None if there is none."""
        return None if self.n is None else parse_terms(self.n, self._custom)

    @cached_property
    def squares_terms(self) -> Terms | None:
        """The parsed `squares`, if they are a sum."""
        if self.squares is None or self.squares in DISTRIBUTION_INDEX:
            return None
        return parse_terms(self.squares, self._custom)

    @property
    def custom_sums(self) -> tuple[str, ...]:
        """The custom sums that its formula names, each once."""
        named = dict.fromkeys(names_in(self.parsed))
        return tuple(name for name in named if name in self._custom.sums)

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """The metrics of a ``measurement`` that its formula may name, by name."""
        return metrics_with(self._custom)

    @property
    def metric(self) -> str:
        """The name of its Prometheus metric, which ends with the unit."""
        if self.name.endswith(f"_{self.unit}"):
            return f"kpi_{self.name}"
        return f"kpi_{self.name}_{self.unit}"

    @property
    def shown_unit(self) -> ShownUnit:
        """The unit in which a value is shown."""
        return "multiple" if self.multiple else self.unit

    @cached_property
    def sources(self) -> frozenset[SourceKind]:
        """The kinds of source topics that it is computed from."""
        found = (sources_of(name) for name in names_in(self.parsed))
        return frozenset().union(*found)

    @cached_property
    def inputs(self) -> tuple[frozenset[str], ...]:
        """The inputs of each measure of its formula, each once: any of a set brings the measure.

        Example: conversion has ``orders`` and ``clicks``. Unique visitors have one set of both
        ``clicks`` and ``visits``.
        """
        found = dict.fromkeys(map(inputs_of, names_in(self.parsed)))
        return tuple(inputs for inputs in found if inputs)

    @cached_property
    def looks_back(self) -> bool:
        """Whether its formula uses the equal period before its window."""
        return looks_back(self.parsed)

    @cached_property
    def figures(self) -> frozenset[str]:
        """Its names among `FIGURES`; where one is not available, the KPI is absent."""
        named = {*names_in(self.parsed)}
        named |= {name for _, name in self.n_terms or ()}
        return frozenset(named.intersection(FIGURES))

    @property
    def additive(self) -> bool:
        """Whether it is a sum of measures of its window, so that it depends on the window's length.

        Sums of `FIGURES`, such as the customers of 30 days or the budget of a campaign, do not.
        """
        return isinstance(self.parsed, Total) and not self.figures

    @property
    def volume(self) -> bool:
        """Whether it is a sum to which events only add; credits and refunds may lower it."""
        return (
            self.additive
            and isinstance(self.parsed, Total)
            and not self.looks_back
            and all(sign > 0 for sign, _ in self.parsed.terms)
        )

    @property
    def has_n(self) -> bool:
        """Whether its n differs from its value."""
        return self.n is not None or isinstance(self.parsed, Quotient | Quantile | Spread)


class KpiValue(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A KPI's value in one window and scope.

    Args:
        value: the value in the unit of its KPI: money in the reporting currency, ratios as
            fractions (0.5 is 50 %), times in s. Counts are ints.
        low: the lower bound of the 95 % interval; None if there is none.
        high: the upper bound, likewise.
        n: the number of events or users that the value rests on.
        significant: whether n is large enough for the value to be judged.
    """

    value: int | float
    low: float | None = None
    high: float | None = None
    n: int = 0
    significant: bool = True

    @property
    def interval(self) -> tuple[float, float] | None:
        """The bounds of the interval; None if there is none."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    def __str__(self) -> str:
        return (
            str(self.value) if self.significant else f"{self.value} (not significant, n={self.n})"
        )


class Catalogue(Mapping[str, Kpi]):
    """KPIs by name, in the order of their definition.

    Args:
        kpis: the KPIs.
        custom: the custom measures, which the KPIs may name.

    Raises:
        ValueError: two KPIs have the same name or metric.
    """

    def __init__(self, kpis: Iterable[Kpi], *, custom: CustomNames = NO_CUSTOM) -> None:
        self.custom = custom
        self._by_name: dict[str, Kpi] = {}
        metrics: dict[str, str] = {}
        for kpi in kpis:
            if kpi.name in self._by_name:
                raise ValueError(f"two KPIs have the name {kpi.name!r}")
            # The n of a KPI is exported as a metric of its own.
            for metric in (kpi.metric, f"kpi_{kpi.name}_n"):
                if metric in metrics:
                    raise ValueError(f"{kpi.name} and {metrics[metric]} share a metric, {metric}")
                metrics[metric] = kpi.name
            self._by_name[kpi.name] = kpi

    def __getitem__(self, name: str) -> Kpi:
        """Return the KPI with a name."""
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names, in the order of definition."""
        return iter(self._by_name)

    def __len__(self) -> int:
        """Return the number of KPIs."""
        return len(self._by_name)

    def with_more(self, kpis: Iterable[Kpi], *, custom: CustomNames = NO_CUSTOM) -> Catalogue:
        """Return a catalogue with these KPIs added, which may name these custom measures.

        Raises:
            ValueError: one of them has a name or metric that is taken.
        """
        return Catalogue([*self.values(), *kpis], custom=custom)

    def only(self, names: Collection[str]) -> Catalogue:
        """Return a catalogue with the KPIs of these names alone."""
        return Catalogue([self[name] for name in self if name in names], custom=self.custom)

    def with_benchmarks(self, benchmarks: Mapping[str, Benchmark]) -> Catalogue:
        """Return a catalogue in which these KPIs, by name, have these benchmarks.

        Raises:
            ValueError: there is no such KPI, or it grows with its window: a benchmark of orders
                says nothing without the length of the window.
        """
        for name in benchmarks:
            if name not in self:
                raise ValueError(f"benchmarks.{name}: there is no such KPI{nearest(name, self)}")
            if self[name].additive:
                raise ValueError(
                    f"benchmarks.{name}: it grows with its window; only quotients, quantiles and"
                    " levels can have a benchmark"
                )
        return Catalogue(
            (
                kpi.model_copy(update={"benchmark": benchmarks[kpi.name]})
                if kpi.name in benchmarks
                else kpi
                for kpi in self.values()
            ),
            custom=self.custom,
        )

    @property
    def needed(self) -> tuple[str, ...]:
        """The sums that some KPI needs, in the order of `SUMS`, then the custom ones."""
        wanted = {name for kpi in self.values() for name in kpi.needs}
        return tuple(name for name in (*SUM_INDEX, *self.custom.sums) if name in wanted)

    def lint(self) -> list[str]:
        """Return a message for each questionable definition.

        A volume without an outcome tends to be maximised for its own sake. A KPI without an
        objective has nobody who acts on it (S0).
        """
        found: list[str] = []
        for kpi in self.values():
            if not kpi.objective:
                found.append(f"{kpi.name}: serves no objective; name one, or leave it out")
            if kpi.volume and kpi.direction == "more" and kpi.outcome is None:
                found.append(f"{kpi.name}: a volume without its outcome; name the KPI it is for")
            if kpi.outcome is not None and kpi.outcome not in self:
                found.append(f"{kpi.name}: its outcome {kpi.outcome!r} is no KPI")
            elif kpi.outcome == kpi.name and kpi.objective != "growth":
                found.append(f"{kpi.name}: is its own outcome, which only growth itself may be")
            if isinstance(kpi.parsed, Quotient | Spread) and kpi.n is None:
                found.append(
                    f"{kpi.name}: a quotient or spread that does not say what it rests on (n)"
                )
        return found
