"""The user's file of KPIs: own measurements and KPIs, and which series are exported."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from models.kpi.catalogue import CATALOGUE
from models.kpi.custom_measures import CustomMeasureBook
from models.kpi.definition import Benchmark, Catalogue, Kpi
from models.kpi.formula import Coefficient
from models.kpi.value_range import is_share, range_of
from models.patterns import matches
from models.scope import SCOPE_KINDS, ScopeKind
from models.window import SHOWN_WINDOWS, ShownWindow

Extra = Literal["n", "bounds", "comparisons"]
"""Series that can be exported with a KPI's value: its n, the bounds of its 95 % interval, and its
differences from reference periods."""

EXTRAS: tuple[Extra, ...] = get_args(Extra)


class ExportRule(BaseModel):
    """Selects KPIs (by shell patterns), windows and extras to export for some kinds of scopes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scopes: tuple[ScopeKind, ...] = SCOPE_KINDS
    kpis: tuple[str, ...] = ("*",)
    windows: tuple[ShownWindow, ...] = SHOWN_WINDOWS
    extras: tuple[Extra, ...] = EXTRAS


HEADLINES = ("clicks", "orders", "revenue_gross", "conversion_rate", "roas")
"""The KPIs that the live board shows of each campaign and channel."""
ATTRIBUTION = ("orders_*_touch", "orders_linear", "orders_declared", "roas_*", "attribution_spread")
"""Patterns of the KPIs that compare the models of attribution."""
Count = Annotated[int, Field(ge=1)]
SHORT_WINDOWS: tuple[ShownWindow, ...] = ("5m", "1h", "day")
DEFAULT_EXPORT = (
    ExportRule(scopes=("all",)),
    ExportRule(scopes=("campaign", "channel"), kpis=HEADLINES, extras=("bounds", "comparisons")),
    ExportRule(scopes=("campaign", "channel"), kpis=ATTRIBUTION, extras=()),
    ExportRule(scopes=("campaign", "channel"), windows=SHORT_WINDOWS, extras=()),
    ExportRule(scopes=("region", "segment"), kpis=HEADLINES, windows=SHORT_WINDOWS, extras=()),
)
"""The default export: the series that the boards show. Three campaigns and six channels give some
thousand series; an export of everything would have ten times as many."""


class Largest(BaseModel):
    """The number of scopes of each kind that are shown and exported on their own: the largest ones.

    The others of the kind are summed up and exported as one, ``(other)``. A campaign's channel or
    region is shown on its own only if its campaign and its channel or region are, too.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    campaign: Count = 100
    channel: Count = 50
    region: Count = 50
    segment: Count = 50
    campaign_channel: Count = 200
    campaign_region: Count = 200

    @property
    def by_kind(self) -> Mapping[ScopeKind, int]:
        """The numbers by kind of scope; the scope of everything has no limit."""
        return {kind: getattr(self, kind) for kind in SCOPE_KINDS if kind != "all"}


class KpiBook(CustomMeasureBook):
    """The content of a file of KPIs.

    Args:
        measurements: custom measures. KPIs can name them if they are in the validation context,
            too (``custom``).
        kpis: additions to the catalogue. A KPI on custom sums needs these, unless it says what it
            needs: it is absent, not 0, until one of them was measured.
        export: the series to export; a series is exported if any rule selects it.
        largest: the number of campaigns, channels and so on with series of their own.
        coefficients: factors for formulas. A KPI whose coefficient is missing is absent.
        benchmarks: values that are usual in the industry, by name of the KPI.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    IDENTITIES: ClassVar[dict[str, tuple[str, ...]]] = {
        **CustomMeasureBook.IDENTITIES,
        "kpis": ("name",),
    }

    kpis: tuple[Kpi, ...] = ()
    export: tuple[ExportRule, ...] = DEFAULT_EXPORT
    largest: Largest = Largest()
    coefficients: dict[Coefficient, Annotated[float, Field(gt=0, le=1)]] = Field(
        default_factory=dict
    )
    benchmarks: dict[str, Benchmark] = Field(default_factory=dict)

    @field_validator("kpis")
    @classmethod
    def _names_are_free(cls, kpis: tuple[Kpi, ...]) -> tuple[Kpi, ...]:
        CATALOGUE.with_more(kpis)
        return tuple(
            kpi if kpi.needs else kpi.model_copy(update={"needs": kpi.custom_sums}) for kpi in kpis
        )

    @model_validator(mode="after")
    def _benchmarks_are_possible(self) -> KpiBook:
        places = {name: f"benchmarks.{name}" for name in self.benchmarks}
        own = {kpi.name: f"kpis[{at}].benchmark" for at, kpi in enumerate(self.kpis)}
        for name, place in (own | places).items():
            kpi = self.catalogue[name]
            given = kpi.benchmark
            if given is None:
                continue
            possible = range_of(kpi)
            if is_share(kpi) and given.value > 1:
                possible = possible._replace(high=1)
            if not possible.low <= given.value <= possible.high:
                hint = "; ratios are fractions, 3 % is 0.03" if kpi.unit == "ratio" else ""
                raise ValueError(
                    f"{place}.value: {name} is {possible}, so {given.value:g} can't be usual{hint}"
                )
        return self

    @cached_property
    def catalogue(self) -> Catalogue:
        """The built-in KPIs, followed by those of the file."""
        return CATALOGUE.with_more(self.kpis, custom=self.custom).with_benchmarks(self.benchmarks)

    def exported_kinds(self) -> frozenset[ScopeKind]:
        """Return the kinds of scope of which any series is exported."""
        return frozenset(kind for rule in self.export for kind in rule.scopes)

    def exports(self, kpi: str, scope: ScopeKind, window: str) -> bool:
        """Return whether a KPI's value is exported."""
        return self._extras(kpi, scope, window) is not None

    def extras(self, kpi: str, scope: ScopeKind, window: str) -> frozenset[Extra]:
        """Return the extras that are exported with a KPI's value."""
        return self._extras(kpi, scope, window) or frozenset()

    def _extras(self, kpi: str, scope: ScopeKind, window: str) -> frozenset[Extra] | None:
        """Return the extras of all matching rules; None if no rule exports the value."""
        matching = [
            rule.extras
            for rule in self.export
            if scope in rule.scopes and window in rule.windows and matches(kpi, rule.kpis)
        ]
        return frozenset().union(*matching) if matching else None


def catalogue_of(info: ValidationInfo) -> Catalogue:
    """Return the catalogue to check a file against: that of the context, else the built-in one."""
    context = info.context if isinstance(info.context, dict) else {}
    found = context.get("catalogue", CATALOGUE)
    assert isinstance(found, Catalogue)
    return found
