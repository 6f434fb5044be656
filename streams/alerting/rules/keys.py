"""The keys of every rule on a KPI, with their types; each refuses what it can't mean."""

from __future__ import annotations

from itertools import product
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    model_validator,
)

from models.alerts import Alert, Link, Severity
from models.kpi.user_catalogue import catalogue_of
from models.kpi.value_range import why_absent
from models.names import AsShown, canonical, matches_name, shown_names
from models.patterns import hint, is_pattern, overlap
from models.scope import PARTS, Scope, ScopeKind, parts_of
from models.window import DAY_MS, SECOND_MS, WindowName

LARGEST_LIMIT = 1e15
"""The largest limit: counts are exact up to about there, and no KPI gets so far."""
LONGEST_DAYS = 92
"""The longest duration of a rule, in days: a quarter of a year."""


def a_number(value: Any) -> Any:
    """Return a number; refuse what YAML and people take for a number: ``2%``, ``yes``.

    Raises:
        ValueError: it is no number, or out of bounds.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        # Of all errors, pydantic collects ValueErrors only.
        raise ValueError("give a number, without quotes, unit or exponent; 2 % of a ratio is 0.02")  # noqa: TRY004
    if abs(value) > LARGEST_LIMIT:
        raise ValueError("no value gets so far; give a finite number of up to 1e15")
    return value


def _whole_seconds(value: Any) -> Any:
    """Refuse what is no whole number of seconds, ``5m``, ``yes``, ``-1``, and what is too long.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("give whole seconds without a unit, 0 or more: 300 for 5 min")
    if value * SECOND_MS > LONGEST_DAYS * DAY_MS:
        longest = LONGEST_DAYS * DAY_MS // SECOND_MS
        raise ValueError(f"give at most {longest} s, which are {LONGEST_DAYS} days")
    return value


def _a_fraction(value: Any) -> Any:
    """Refuse what is no fraction, such as a percentage.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise ValueError("give a fraction, from 0 to below 1: 0.1 for 10 %")
    return value


def _a_share(value: Any) -> Any:
    """Refuse what is no share, such as a negative number.

    Raises:
        ValueError: it is none.
    """
    given = a_number(value)
    if given < 0:
        raise ValueError("give a share, 0 or more: 0.3 for 30 %")
    return given


def _not_empty(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names or "" in names:
        raise ValueError('give at least one name, and none that is empty; for all of them "*"')
    return names


NoData = Literal["keep", "resolve", "fire"]
# The descriptions are the types and units of keys in docs/alert-rules.md.
Patterns = Annotated[
    tuple[Annotated[str, Field(max_length=200)], ...],
    AfterValidator(_not_empty),
    Field(description="list of names and patterns"),
]
Limit = Annotated[
    float,
    BeforeValidator(a_number),
    Field(allow_inf_nan=False, description="number, in the unit of the KPI"),
]
Seconds = Annotated[
    int,
    BeforeValidator(_whole_seconds),
    Field(description=f"whole seconds, up to {LONGEST_DAYS} days"),
]
Fraction = Annotated[
    float,
    BeforeValidator(_a_fraction),
    Field(description="fraction of the limit, from 0 to below 1"),
]
Share = Annotated[
    float,
    BeforeValidator(_a_share),
    Field(allow_inf_nan=False, description="share, 0.3 for 30 %"),
]
LeastCount = Annotated[int, Field(ge=0, strict=True, description="whole number")]


class Match(BaseModel):
    """Names and patterns of the campaigns, channels, regions and segments of a rule."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    campaign: Patterns = ("*",)
    """Ids, names or aliases of campaigns, or patterns of ids."""
    channel: Patterns = ("*",)
    """Names or aliases of channels, or patterns of names."""
    region: Patterns = ("*",)
    """Names or aliases of regions, or patterns of names."""
    segment: Patterns = ("*",)
    """Names or aliases of segments of customers, or patterns of names."""

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

    def names(self, scope: Scope) -> bool:
        """Return whether all parts of a scope are named without a pattern."""
        return all(
            name in getattr(self, part) and not is_pattern(name)
            for part, name in zip(PARTS, scope[1:], strict=True)
            if part in parts_of(scope.kind)
        )

    def named(self, kind: ScopeKind) -> tuple[Scope, ...]:
        """Return the scopes of a kind whose parts are named without a pattern."""
        used = parts_of(kind)
        named = [[name for name in getattr(self, part) if not is_pattern(name)] for part in used]
        return tuple(
            Scope(kind, **dict(zip(used, names, strict=True))) for names in product(*named)
        )

    def overlaps(self, other: Match) -> bool:
        """Return whether some scope is matched by both."""
        return all(
            any(
                overlap(canonical(one), canonical(another))
                for one, another in product(getattr(self, part), getattr(other, part))
            )
            for part in PARTS
        )


class RuleKeys(BaseModel):
    """The keys of every rule on a KPI. Durations are in s of event time."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    """Name of the rule, unique in the file: small letters, digits and hyphens."""
    kpi: Annotated[str, Field(description="name of a KPI")]
    """Name of a KPI, built-in or of your own."""
    scope: ScopeKind = "all"
    """Kind of scope: there is one alert for each scope of this kind that matches."""
    match: Annotated[Match, Field(description="object")] = Match()
    """Names of the campaigns, channels, regions and segments that the scope has. ``*`` in a name is
    any text, ``?`` any character; all, if left out.
    """
    window: WindowName = "5m"
    """Window whose values are judged, each time that it closes."""
    for_s: Annotated[Seconds, Field(alias="for")] = 0
    """Duration for which the rule is broken, in window after window, before the alert fires."""
    keep_firing_for_s: Annotated[Seconds, Field(alias="keep_firing_for")] = 0
    """Duration for which the rule holds again before the alert resolves."""
    no_data: NoData = "keep"
    """What becomes of the alert while there is no value, or one that rests on fewer than ``min_n``:
    it stays as it is for up to a day, resolves, or the rule counts as broken.
    """
    severity: Severity = "warning"
    """How bad it is; Alertmanager routes by it."""
    owner: str = ""
    """Person or team that acts on the alert; Alertmanager routes by it."""
    summary_en: str = ""
    """What happened, in English; the rule's sentence, if left out."""
    summary_zh: str = ""
    """What happened, in Chinese; the rule's sentence, if left out."""
    next_step: str = ""
    """What to do then."""
    next_step_zh: str = ""
    """The same in Chinese; ``next_step``, if left out."""
    runbook: Link = ""
    """URL of more about it, such as a page of the team's own."""

    def is_about(self, alert: Alert) -> bool:
        """Return whether an alert is one of this rule as it is now."""
        return (self.kpi, self.window, self.scope) == (
            alert.kpi,
            alert.window,
            alert.scope.kind,
        ) and self.match.matches(alert.scope)

    @model_validator(mode="after")
    def _kpi_is_known(self, info: ValidationInfo) -> RuleKeys:
        catalogue = catalogue_of(info)
        if self.kpi not in catalogue:
            raise ValueError(f"kpi: no KPI named {self.kpi!r}{hint(self.kpi, list(catalogue))}")
        return self

    @model_validator(mode="after")
    def _has_values(self, info: ValidationInfo) -> RuleKeys:
        absent = why_absent(catalogue_of(info)[self.kpi], scope=self.scope, window=self.window)
        if absent is not None:
            raise ValueError(": ".join(absent))
        return self

    @model_validator(mode="after")
    def _matches_its_scope(self) -> RuleKeys:
        for part in PARTS:
            if part in self.match.model_fields_set and part not in parts_of(self.scope):
                raise ValueError(
                    f"match.{part}: a rule of the scope {self.scope} has no {part}; choose a scope "
                    "that has, or leave it out"
                )
        return self

    @model_validator(mode="after")
    def _fires_before_the_day_ends(self) -> RuleKeys:
        if self.window == "day" and self.for_s * SECOND_MS >= DAY_MS:
            raise ValueError(
                "for: the window day begins anew at midnight, so no value lasts for a day; use a "
                "shorter duration, or window: 24h"
            )
        return self
