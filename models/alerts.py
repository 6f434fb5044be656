"""Alert rules as they are configured, and alerts as they are sent."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from itertools import product
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    model_validator,
)

from models.events import SourceKind
from models.kpi.definition import Kpi
from models.kpi.formula import Growth, Newest
from models.kpi.user_catalogue import catalogue_of
from models.kpi.value_range import is_share, range_of, why_absent
from models.names import AsShown, canonical, matches_name, shown_names
from models.patterns import hint, is_pattern, overlap
from models.scope import PARTS, Scope, ScopeKind, parts_of
from models.window import DAY_MS, GROWING, SECOND_MS, SO_FAR, WindowName

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
_TEXTS = {"name", "match", "summary_en", "summary_zh", "next_step", "next_step_zh", "runbook"}
"""The keys of a rule that do not decide when it fires, of what severity and for whom."""
LARGEST_LIMIT = 1e15
"""The largest limit: counts are exact up to about there, and no KPI gets so far."""
LONGEST_DAYS = 92
"""The longest duration of a rule, in days: a quarter of a year."""


def _a_number(value: Any) -> Any:
    """Refuse what YAML and people take for a number: ``2%``, ``yes``.

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
        raise ValueError("give a fraction of the limit, from 0 to below 1: 0.1 for 10 %")
    return value


def _a_link(url: str) -> str:
    """Refuse what is no URL; an empty text is no link.

    Raises:
        ValueError: it is none.
    """
    if url and not re.fullmatch(r"https?://\S+", url):
        raise ValueError("give a URL that begins with http:// or https://")
    return url


def _not_empty(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names or "" in names:
        raise ValueError('give at least one name, and none that is empty; for all of them "*"')
    return names


Patterns = Annotated[tuple[Annotated[str, Field(max_length=200)], ...], AfterValidator(_not_empty)]
Limit = Annotated[float, BeforeValidator(_a_number), Field(allow_inf_nan=False)]
Seconds = Annotated[int, BeforeValidator(_whole_seconds)]
Fraction = Annotated[float, BeforeValidator(_a_fraction)]
Link = Annotated[str, Field(max_length=2000), AfterValidator(_a_link)]
"""A URL that people can follow, or an empty string."""


class AlertState(StrEnum):
    """The state of an alert."""

    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"


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


class Rule(BaseModel):
    """The fields of every rule. Durations are in s of event time."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    """Name of the rule, unique in the file: small letters, digits and hyphens."""
    kpi: str
    """Name of a KPI, built-in or of your own."""
    scope: ScopeKind = "all"
    """Kind of scope: there is one alert for each scope of this kind that matches."""
    match: Match = Match()
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
    def _kpi_is_known(self, info: ValidationInfo) -> Rule:
        catalogue = catalogue_of(info)
        if self.kpi not in catalogue:
            raise ValueError(f"kpi: no KPI named {self.kpi!r}{hint(self.kpi, list(catalogue))}")
        return self

    @model_validator(mode="after")
    def _has_values(self, info: ValidationInfo) -> Rule:
        absent = why_absent(catalogue_of(info)[self.kpi], scope=self.scope, window=self.window)
        if absent is not None:
            raise ValueError(": ".join(absent))
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

    @model_validator(mode="after")
    def _fires_before_the_day_ends(self) -> Rule:
        if self.window == "day" and self.for_s * SECOND_MS >= DAY_MS:
            raise ValueError(
                "for: the window day begins anew at midnight, so no value lasts for a day; use a "
                "shorter duration, or window: 24h"
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
    """``threshold``: a value is beyond a limit."""
    below: Limit | None = None
    """Limit below which a value breaks the rule, in the unit of the KPI: ratios are fractions,
    money is in the reporting currency, times are in s. If the KPI has a confidence interval, all of
    it must be below. Give either this or ``above``.
    """
    above: Limit | None = None
    """Limit above which a value breaks the rule, likewise."""
    min_n: Annotated[int, Field(ge=0, strict=True)] = 0
    """Smallest number of events or users that a value must rest on to be judged."""
    hysteresis: Fraction = 0.0
    """By which fraction of the limit a value must be back inside of it for the alert to resolve."""

    @property
    def limit(self) -> float:
        """The limit, of whichever side."""
        limit = self.above if self.below is None else self.below
        assert limit is not None
        return limit

    @property
    def back_at(self) -> float:
        """The value at which a firing alert resolves."""
        margin = self.hysteresis * abs(self.limit)
        return self.limit - margin if self.below is None else self.limit + margin

    @model_validator(mode="after")
    def _one_limit(self) -> ThresholdRule:
        if (self.below is None) == (self.above is None):
            raise ValueError("below: give exactly one of below and above")
        return self

    @model_validator(mode="after")
    def _is_no_limit_to_grow_past(self, info: ValidationInfo) -> ThresholdRule:
        kpi = catalogue_of(info)[self.kpi]
        if self.below is None or self.below <= 0 or self.window not in GROWING:
            return self
        if self.window == SO_FAR and kpi.volume:
            raise ValueError(
                f"window: {self.kpi} of all time only grows, so it would be below the limit at "
                "first and never again; use a window of a fixed length, such as 24h"
            )
        if self.window != SO_FAR and kpi.additive:
            raise ValueError(
                f"window: {self.kpi} of {self.window} loses a day at midnight and grows, so it "
                "would be below the limit every night; use a window of a fixed length, such as 24h"
            )
        return self

    @model_validator(mode="after")
    def _limit_can_be_crossed(self, info: ValidationInfo) -> ThresholdRule:
        _refuse_limit(self, catalogue_of(info)[self.kpi])
        return self

    @model_validator(mode="after")
    def _resolves(self, info: ValidationInfo) -> ThresholdRule:
        if not self.hysteresis:
            return self
        if not self.limit:
            raise ValueError("hysteresis: of the limit 0 every fraction is 0; leave it out")
        possible = range_of(catalogue_of(info)[self.kpi])
        if not possible.low <= self.back_at <= possible.high:
            raise ValueError(
                f"hysteresis: the alert would resolve at {self.back_at:g}, and {self.kpi} is "
                f"{possible}; give a smaller fraction"
            )
        return self

    @model_validator(mode="after")
    def _n_can_be_too_small(self, info: ValidationInfo) -> ThresholdRule:
        kpi = catalogue_of(info)[self.kpi]
        if self.min_n and isinstance(kpi.parsed, Newest | Growth):
            raise ValueError(
                f"min_n: {kpi.name} rests on one measurement, and so has no n; leave it out"
            )
        if self.min_n and not kpi.has_n:
            raise ValueError(
                f"min_n: the n of {kpi.name} is its value, which the limit is about; leave it out"
            )
        return self


class AbsenceRule(Rule):
    """Fires while a scope that should be live has no traffic; names its scopes without patterns."""

    kind: Literal["absence"]
    """``absence``: nothing comes of scopes that are named."""

    @model_validator(mode="after")
    def _is_about_a_sum(self, info: ValidationInfo) -> AbsenceRule:
        kpi = catalogue_of(info)[self.kpi]
        if not kpi.volume:
            raise ValueError(
                f"kpi: {kpi.name} may have no value, or be 0, while events come; use a count, such "
                "as clicks, or kind: threshold with no_data: fire"
            )
        return self

    @model_validator(mode="after")
    def _is_about_no_data(self) -> AbsenceRule:
        if "no_data" in self.model_fields_set:
            raise ValueError("no_data: an absence rule fires on no data; leave it out")
        if self.window == SO_FAR:
            raise ValueError(
                "window: of all time, events that came once are never absent again; use a window "
                "of a fixed length, such as 1h"
            )
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


def _refuse_limit(rule: ThresholdRule, kpi: Kpi) -> None:
    """Refuse a limit that no value can be beyond, or that every value is beyond.

    Raises:
        ValueError: it is such a limit.
    """
    key = "above" if rule.below is None else "below"
    limit = rule.limit
    possible = range_of(kpi)
    if is_share(kpi) and limit > possible.high:
        raise ValueError(
            f"{key}: {kpi.name} is a share, and {limit:g} is {100 * limit:g} %; give a fraction, "
            f"such as {limit / 100:g} for {limit:g} %"
        )
    never = limit <= possible.low if key == "below" else limit >= possible.high
    always = limit > possible.high if key == "below" else limit < possible.low
    if never or always:
        what = "never" if never else "always"
        higher = (key == "below") is never
        raise ValueError(
            f"{key}: {kpi.name} is {possible}, {what} {key} {limit:g}, and the rule would {what} "
            f"fire; give a {'higher' if higher else 'lower'} limit"
        )


AnyRule = Annotated[ThresholdRule | AbsenceRule, Field(discriminator="kind")]


class RuleBook(BaseModel):
    """The content of a file of rules; names are unique."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    IDENTITIES: ClassVar[dict[str, tuple[str, ...]]] = {"rules": ("name",)}

    rules: tuple[AnyRule, ...] = ()

    def shown(self, as_shown: AsShown) -> RuleBook:
        """Return the rules with the names in their matches as they are shown.

        Raises:
            ValueError: two rules raise the same alerts, as two names are of one campaign or
                channel. The message begins with the key, such as ``rules[1].match``.
        """
        rules = tuple(
            rule.model_copy(update={"match": rule.match.shown(as_shown)}) for rule in self.rules
        )
        _refuse_alike(rules)
        return self.model_copy(update={"rules": rules})

    @model_validator(mode="after")
    def _unique_names(self) -> RuleBook:
        names = [rule.name for rule in self.rules]
        for at, name in enumerate(names):
            if name.startswith("data-"):
                raise ValueError(
                    f"rules[{at}].name: {name!r} begins with data-, as the monitor's own rules "
                    "about the data do, which can't be changed here; choose another name"
                )
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"two rules have the name {repeated[0]!r}")
        return self

    @model_validator(mode="after")
    def _no_alert_comes_twice(self) -> RuleBook:
        _refuse_alike(self.rules)
        return self


def _refuse_alike(rules: Iterable[AnyRule]) -> None:
    """Refuse two rules that raise the same alerts of some scope.

    Raises:
        ValueError: there are two.
    """
    alike: dict[str, list[AnyRule]] = {}
    for at, rule in enumerate(rules):
        earlier = alike.setdefault(rule.model_dump_json(exclude=_TEXTS), [])
        for one in earlier:
            if one.match.overlaps(rule.match):
                raise ValueError(
                    f"rules[{at}].match: rule {one.name!r} raises the same alerts, of scopes "
                    "that both match; leave one rule out, or let this one match others"
                )
        earlier.append(rule)


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
    break the rule; None if it can't be judged.
    """

    model_config = ConfigDict(frozen=True)

    value: float | None
    n: int
    holds: bool | None


class Alert(BaseModel):
    """One alert: a rule that does not hold in a scope.

    Times are event time in ms. There is at most one alert for a rule and scope at a time.
    ``value`` is the newest value, ``fired_value`` the one on which the alert fired. ``correction``
    is None until late data changes the latter. ``no_data_since_ms`` is since when there is no value
    that could be judged, None if there is one. ``held`` is why the alert is not judged now, None
    if it is. ``ended`` is why a resolved alert ended. ``meaning_en`` and ``meaning_zh`` are the
    sentence of its rule as it was when the alert was last judged.
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
    meaning_en: str = ""
    meaning_zh: str = ""
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
