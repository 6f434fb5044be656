"""Which KPI series are exported, and what a file may add to the catalogue."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from models.definitions import Catalogue, Kpi
from models.formulas import Coefficient
from models.kpis import CATALOGUE
from models.scopes import SCOPE_KINDS, ScopeKind
from models.windows import SHOWN_WINDOWS, ShownWindow


class ExportRule(BaseModel):
    """The KPIs and windows of some scopes; KPIs by shell patterns."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scopes: tuple[ScopeKind, ...] = SCOPE_KINDS
    kpis: tuple[str, ...] = ("*",)
    windows: tuple[ShownWindow, ...] = SHOWN_WINDOWS


class KpiBook(BaseModel):
    """A file of KPIs: more of them, and which are exported.

    ``top_campaigns`` keep series of their own, by volume; the others are ``other``.
    ``coefficients`` are what some KPIs are multiplied with, which are absent without.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kpis: tuple[Kpi, ...] = ()
    export: tuple[ExportRule, ...] = (ExportRule(),)
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
        """Say whether a series is exported."""
        return _exports(self.export, kpi, scope, window)


@lru_cache(maxsize=1 << 16)
def _exports(rules: tuple[ExportRule, ...], kpi: str, scope: ScopeKind, window: str) -> bool:
    return any(
        scope in rule.scopes
        and window in rule.windows
        and any(fnmatchcase(kpi, pattern) for pattern in rule.kpis)
        for rule in rules
    )


def catalogue_of(info: ValidationInfo) -> Catalogue:
    """Return the catalogue that a file is checked against: that of the context, or the built-in."""
    context = info.context if isinstance(info.context, dict) else {}
    found = context.get("catalogue", CATALOGUE)
    assert isinstance(found, Catalogue)
    return found
