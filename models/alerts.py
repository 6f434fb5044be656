"""Alert rules as they are configured, and alerts as they are sent."""

from __future__ import annotations

from enum import StrEnum
from itertools import product
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, model_validator

from models.events import SourceKind
from models.kpi.user_catalogue import catalogue_of
from models.names import AsShown, matches_name, shown_names
from models.patterns import is_pattern
from models.scope import PARTS, Scope, ScopeKind, parts_of
from models.window import GROWING, WindowName

Severity = Literal["info", "warning", "critical"]
Category = Literal["kpi", "data_health"]
NoData = Literal["keep", "resolve", "fire"]
Ended = Literal[
    "recovered",
    "not_long_enough",
    "not_judged",
    "no_data",
    "campaign_over",
    "rule_removed",
    "rule_changed",
]
"""Why an alert ended: its rule holds again; it was pending and did not last for ``for``; it was
pending and a window could not be judged; it had no data for long; its campaign does not run; its
rule was removed, or is about something else now."""
Patterns = Annotated[tuple[str, ...], Field(min_length=1)]
Link = Annotated[str, Field(pattern=r"^(https?://\S+)?$", max_length=2000)]
"""A URL that people can follow, or an empty string."""
Limit = Annotated[float, Field(allow_inf_nan=False)]


class AlertState(StrEnum):
    """The state of an alert."""

    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"


class Match(BaseModel):
    """Patterns for the campaigns, channels, regions and segments of a rule."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    campaign: Patterns = ("*",)
    channel: Patterns = ("*",)
    region: Patterns = ("*",)
    segment: Patterns = ("*",)

    def matches(self, scope: Scope) -> bool:
        """Return whether all parts that a scope uses match."""
        return all(
            not name or matches_name(name, getattr(self, part))
            for part, name in scope.labels.items()
        )

    def shown(self, as_shown: AsShown) -> Match:
        """Return the match with its names as they are shown; patterns stay as they are."""
        return self.model_copy(
            update={part: shown_names(getattr(self, part), part, as_shown) for part in PARTS}
        )

    def named(self, kind: ScopeKind) -> tuple[Scope, ...]:
        """Return the scopes of a kind whose parts are named without a pattern."""
        used = parts_of(kind)
        named = [[name for name in getattr(self, part) if not is_pattern(name)] for part in used]
        return tuple(
            Scope(kind, **dict(zip(used, names, strict=True))) for names in product(*named)
        )


class Rule(BaseModel):
    """The fields of every rule. Durations are in s of event time.

    ``for`` is how long an alert is pending before it fires; ``keep_firing_for`` is how long it
    still fires once its reason is gone. ``no_data`` is what becomes of an alert whose value is
    absent, or rests on fewer than ``min_n``: it stays as it is for up to a day, resolves, or the
    rule counts as broken. ``next_step`` is what to do, ``next_step_zh`` the same in Chinese, and
    ``runbook`` a link to more about it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    kpi: str
    scope: ScopeKind = "all"
    match: Match = Match()
    window: WindowName = "5m"
    for_s: Annotated[int, Field(alias="for", ge=0)] = 0
    keep_firing_for_s: Annotated[int, Field(alias="keep_firing_for", ge=0)] = 0
    no_data: NoData = "keep"
    severity: Severity = "warning"
    owner: str = ""
    summary_en: str = ""
    summary_zh: str = ""
    next_step: str = ""
    next_step_zh: str = ""
    runbook: Link = ""

    def is_about(self, alert: Alert) -> bool:
        """Return whether an alert is one of this rule as it is now."""
        return (self.kpi, self.window, self.scope) == (
            alert.kpi,
            alert.window,
            alert.scope.kind,
        ) and self.match.matches(alert.scope)

    @model_validator(mode="after")
    def _kpi_is_known(self, info: ValidationInfo) -> Rule:
        catalogue = catalogue_of(info)
        if self.kpi not in catalogue:
            raise ValueError(f"kpi: no KPI named {self.kpi!r}; known: {', '.join(catalogue)}")
        return self

    @model_validator(mode="after")
    def _matches_its_scope(self) -> Rule:
        for part in PARTS:
            if part in self.match.model_fields_set and part not in parts_of(self.scope):
                raise ValueError(
                    f"match.{part}: a rule of the scope {self.scope} has no {part}; choose a scope "
                    "that has, or leave it out"
                )
        return self


class ThresholdRule(Rule):
    """Fires while a value is below or above a limit and its n is at least ``min_n``.

    If the KPI has an interval, all of it must be beyond the limit. A firing alert resolves once the
    value is back inside the limit by ``hysteresis``, a fraction of the limit.

    Example: ``below: 0.02`` with ``hysteresis: 0.1``. A value of 0.015 with the interval 0.011 to
    0.019 fires, one with 0.012 to 0.022 does not. It resolves at 0.022 or more.
    """

    kind: Literal["threshold"]
    below: Limit | None = None
    above: Limit | None = None
    min_n: Annotated[int, Field(ge=0)] = 0
    hysteresis: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @model_validator(mode="after")
    def _one_limit(self) -> ThresholdRule:
        if (self.below is None) == (self.above is None):
            raise ValueError("give exactly one of below and above")
        return self

    @model_validator(mode="after")
    def _is_no_limit_to_grow_past(self, info: ValidationInfo) -> ThresholdRule:
        kpi = catalogue_of(info)[self.kpi]
        if self.below is not None and kpi.volume and self.window in GROWING:
            raise ValueError(
                f"window: {self.kpi} of {self.window} loses a day at midnight and grows, so it "
                "would be below the limit every night; use a window of a fixed length, such as 24h"
            )
        return self


class AbsenceRule(Rule):
    """Fires while a scope that should be live has no traffic; names its scopes without patterns."""

    kind: Literal["absence"]

    @model_validator(mode="after")
    def _is_about_no_data(self) -> AbsenceRule:
        if "no_data" in self.model_fields_set:
            raise ValueError("no_data: an absence rule fires on no data; leave it out")
        if self.window in GROWING:
            raise ValueError(
                f"window: {self.window} loses a day at midnight, when it may have no events yet; "
                "use a window of a fixed length, such as 1h"
            )
        return self

    @model_validator(mode="after")
    def _names_scopes(self) -> AbsenceRule:
        patterns = [
            name
            for part in parts_of(self.scope)
            for name in getattr(self.match, part)
            if is_pattern(name)
        ]
        if patterns or not self.match.named(self.scope):
            raise ValueError(
                "match: an absence rule must name its campaigns or channels outright, "
                "because what is absent cannot be found by a pattern"
            )
        return self


AnyRule = Annotated[ThresholdRule | AbsenceRule, Field(discriminator="kind")]


class RuleBook(BaseModel):
    """The content of a file of rules; names are unique."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    IDENTITIES: ClassVar[dict[str, tuple[str, ...]]] = {"rules": ("name",)}

    rules: tuple[AnyRule, ...] = ()

    def shown(self, as_shown: AsShown) -> RuleBook:
        """Return the rules with the names in their matches as they are shown."""
        rules = [
            rule.model_copy(update={"match": rule.match.shown(as_shown)}) for rule in self.rules
        ]
        return self.model_copy(update={"rules": tuple(rules)})

    @model_validator(mode="after")
    def _unique_names(self) -> RuleBook:
        names = [rule.name for rule in self.rules]
        reserved = next((name for name in names if name.startswith("data-")), None)
        if reserved is not None:
            raise ValueError(f"name: {reserved!r} begins with data-, as the monitor's own rules do")
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"two rules have the name {repeated[0]!r}")
        return self


class Held(BaseModel):
    """Why an alert is not judged: sources of its KPI are or were silent in its window.

    ``until_ms`` is None while one of the sources is silent. Times are event time in ms.
    """

    model_config = ConfigDict(frozen=True)

    sources: tuple[SourceKind, ...]
    since_ms: int
    until_ms: int | None = None


class Correction(BaseModel):
    """The value on which an alert fired, as late data corrected it.

    ``value`` is None if there is none any more. ``holds`` is whether the corrected value does not
    break the rule.
    """

    model_config = ConfigDict(frozen=True)

    value: float | None
    n: int
    holds: bool


class Alert(BaseModel):
    """One alert: a rule that does not hold in a scope.

    Times are event time in ms. There is at most one alert for a rule and scope at a time.
    ``value`` is the newest value, ``fired_value`` the one on which the alert fired. ``correction``
    is None until late data changes the latter. ``no_data_since_ms`` is since when there is no value
    that could be judged, None if there is one. ``held`` is why the alert is not judged now, None
    if it is. ``ended`` is why a resolved alert ended.
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
    ended: Ended | None = None
    no_data_since_ms: int | None = None
    held: Held | None = None
    updated_ms: int
    inhibited: bool = False
    owner: str = ""
    summary_en: str = ""
    summary_zh: str = ""
    next_step: str = ""
    next_step_zh: str = ""
    runbook: str = ""

    @property
    def id(self) -> str:
        """The id of the alert, made of its rule and scope."""
        return alert_id(self.rule, self.scope)


def alert_id(rule: str, scope: Scope) -> str:
    """Return the id of the alert of a rule and scope."""
    parts = (rule, scope.kind, scope.campaign, scope.channel)
    return "/".join(map(_quoted, [*parts, *filter(None, (scope.region, scope.segment))]))


def _quoted(name: str) -> str:
    """Return a name without a slash, so that no two scopes have one id."""
    return name.replace("%", "%25").replace("/", "%2F")
