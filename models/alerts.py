"""Alert rules as they are configured, and alerts as they are told."""

from __future__ import annotations

from enum import StrEnum
from fnmatch import fnmatchcase
from itertools import product
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, model_validator

from models.kpi.user_catalogue import catalogue_of
from models.scope import PARTS, Scope, ScopeKind
from models.window import WindowName

Severity = Literal["info", "warning", "critical"]
Category = Literal["kpi", "data_health"]


class AlertState(StrEnum):
    """Where an alert stands."""

    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"


class Match(BaseModel):
    """Which campaigns, channels, regions and segments a rule is about; shell patterns."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    campaign: tuple[str, ...] = ("*",)
    channel: tuple[str, ...] = ("*",)
    region: tuple[str, ...] = ("*",)
    segment: tuple[str, ...] = ("*",)

    def matches(self, scope: Scope) -> bool:
        """Say whether the scope is meant."""
        return all(
            not name or _any(getattr(self, part), name) for part, name in scope.labels.items()
        )

    def named(self, kind: ScopeKind) -> tuple[Scope, ...]:
        """Return the scopes that are named outright, without a pattern."""
        used = [part for part in PARTS if part in kind.split("_")]
        named = [[name for name in getattr(self, part) if not _is_pattern(name)] for part in used]
        return tuple(
            Scope(kind, **dict(zip(used, names, strict=True))) for names in product(*named)
        )


def _any(patterns: tuple[str, ...], name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _is_pattern(name: str) -> bool:
    return any(character in name for character in "*?[")


class Rule(BaseModel):
    """What every rule has. Durations are seconds of event time."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    kpi: str
    scope: ScopeKind = "all"
    match: Match = Match()
    window: WindowName = "5m"
    for_s: Annotated[int, Field(alias="for", ge=0)] = 0
    keep_firing_for_s: Annotated[int, Field(alias="keep_firing_for", ge=0)] = 0
    severity: Severity = "warning"
    owner: str = ""
    summary_en: str = ""
    summary_zh: str = ""
    next_step: str = ""

    @model_validator(mode="after")
    def _kpi_is_known(self, info: ValidationInfo) -> Rule:
        catalogue = catalogue_of(info)
        if self.kpi not in catalogue:
            raise ValueError(f"kpi: no KPI named {self.kpi!r}; known: {', '.join(catalogue)}")
        return self


class ThresholdRule(Rule):
    """Fires while a value is beyond a limit and rests on at least ``min_n``.

    A KPI with an interval fires only when the interval excludes the limit. A
    firing alert resolves once the value is back by ``hysteresis``, a fraction
    of the limit.
    """

    kind: Literal["threshold"]
    below: float | None = None
    above: float | None = None
    min_n: Annotated[int, Field(ge=0)] = 0
    hysteresis: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @model_validator(mode="after")
    def _one_limit(self) -> ThresholdRule:
        if (self.below is None) == (self.above is None):
            raise ValueError("give exactly one of below and above")
        return self


class AbsenceRule(Rule):
    """Fires while a named scope that should be live has no traffic."""

    kind: Literal["absence"]

    @model_validator(mode="after")
    def _names_scopes(self) -> AbsenceRule:
        if not self.match.named(self.scope):
            raise ValueError(
                "match: an absence rule must name its campaigns or channels outright, "
                "because what is absent cannot be found by a pattern"
            )
        return self


AnyRule = Annotated[ThresholdRule | AbsenceRule, Field(discriminator="kind")]


class RuleBook(BaseModel):
    """A file of rules; names are unique."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rules: tuple[AnyRule, ...] = ()

    @model_validator(mode="after")
    def _unique_names(self) -> RuleBook:
        names = [rule.name for rule in self.rules]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"two rules have the name {repeated[0]!r}")
        return self


class Correction(BaseModel):
    """What late data made of the value on which an alert fired.

    ``holds`` says whether the rule would have held with it.
    """

    model_config = ConfigDict(frozen=True)

    value: float | None
    n: int
    holds: bool


class Alert(BaseModel):
    """One alert: a rule that does not hold in a scope.

    Times are event time in ms. There is one alert per (rule, scope) at a time.
    ``value`` is the newest, ``fired_value`` the one on which it fired;
    ``correction`` is there once late data changed that one.
    """

    model_config = ConfigDict(frozen=True)

    rule: str
    category: Category = "kpi"
    severity: Severity
    state: AlertState
    scope: Scope
    window: str = ""
    kpi: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    threshold: float | None = None
    active_since_ms: int
    fired_at_ms: int | None = None
    fired_value: float | None = None
    correction: Correction | None = None
    resolved_at_ms: int | None = None
    updated_ms: int
    inhibited: bool = False
    owner: str = ""
    summary_en: str = ""
    summary_zh: str = ""
    next_step: str = ""

    @property
    def id(self) -> str:
        """What identifies the alert: its rule and scope."""
        return alert_id(self.rule, self.scope)


def alert_id(rule: str, scope: Scope) -> str:
    """Return what identifies the one alert of a rule and scope."""
    parts = (rule, scope.kind, scope.campaign, scope.channel)
    return "/".join([*parts, *filter(None, (scope.region, scope.segment))])
