"""Which KPI series are exported, and what a file may add to the catalogue."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from models.kpi.catalogue import CATALOGUE
from models.kpi.definition import Catalogue, Kpi
from models.kpi.formulas import Coefficient
from models.scope import SCOPE_KINDS, ScopeKind
from models.window import SHOWN_WINDOWS, ShownWindow

Extra = Literal["n", "bounds", "comparisons"]
"""What may be exported beside a KPI's value: what it rests on, its interval of 95 %, and its
differences from reference periods."""

EXTRAS: tuple[Extra, ...] = get_args(Extra)


class ExportRule(BaseModel):
    """The KPIs and windows of some scopes, and what is exported beside; KPIs by shell patterns."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scopes: tuple[ScopeKind, ...] = SCOPE_KINDS
    kpis: tuple[str, ...] = ("*",)
    windows: tuple[ShownWindow, ...] = SHOWN_WINDOWS
    extras: tuple[Extra, ...] = EXTRAS


HEADLINES = ("clicks", "orders", "revenue_gross", "conversion_rate", "roas")
"""What the live board shows of each campaign and channel, in the window that is chosen."""
ATTRIBUTION = ("orders_*_touch", "orders_linear", "orders_declared", "roas_*", "attribution_spread")
"""And the models of attribution beside each other."""
SHORT_WINDOWS: tuple[ShownWindow, ...] = ("5m", "1h", "day")
DEFAULT_EXPORT = (
    ExportRule(scopes=("all",)),
    ExportRule(scopes=("campaign", "channel"), kpis=HEADLINES, extras=("bounds", "comparisons")),
    ExportRule(scopes=("campaign", "channel"), kpis=ATTRIBUTION, extras=()),
    ExportRule(scopes=("campaign", "channel"), windows=SHORT_WINDOWS, extras=()),
    ExportRule(scopes=("region", "segment"), kpis=HEADLINES, windows=SHORT_WINDOWS, extras=()),
)
"""What is exported without a file that says so: what the boards show, by default. Three
campaigns and six channels are some thousand series; everything would be ten times as many."""


class KpiBook(BaseModel):
    """A file of KPIs: more of them, and which are exported.

    ``top_campaigns`` keep series of their own, by volume; the others are ``other``.
    ``coefficients`` are what some KPIs are multiplied with, which are absent without.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kpis: tuple[Kpi, ...] = ()
    export: tuple[ExportRule, ...] = DEFAULT_EXPORT
    top_campaigns: Annotated[int, Field(ge=1)] = 100
    coefficients: dict[Coefficient, Annotated[float, Field(gt=0, le=1)]] = {}

    @field_validator("kpis")
    @classmethod
    def _names_are_free(cls, kpis: tuple[Kpi, ...]) -> tuple[Kpi, ...]:
        CATALOGUE.with_more(kpis)
        return kpis

    @property
    def catalogue(self) -> Catalogue:
        """The built-in KPIs and those of the file."""
        return CATALOGUE.with_more(self.kpis)

    def exports(self, kpi: str, scope: ScopeKind, window: str) -> bool:
        """Return whether a KPI's value is exported."""
        return self._extras(kpi, scope, window) is not None

    def extras(self, kpi: str, scope: ScopeKind, window: str) -> frozenset[Extra]:
        """Return what is exported beside a KPI's value."""
        return self._extras(kpi, scope, window) or frozenset()

    def _extras(self, kpi: str, scope: ScopeKind, window: str) -> frozenset[Extra] | None:
        """Return what is exported beside a value; None where the value is not exported either."""
        matching = [
            rule.extras
            for rule in self.export
            if scope in rule.scopes
            and window in rule.windows
            and any(fnmatchcase(kpi, pattern) for pattern in rule.kpis)
        ]
        return frozenset().union(*matching) if matching else None


def catalogue_of(info: ValidationInfo) -> Catalogue:
    """Return the catalogue that a file is checked against: that of the context, or the built-in."""
    context = info.context if isinstance(info.context, dict) else {}
    found = context.get("catalogue", CATALOGUE)
    assert isinstance(found, Catalogue)
    return found
