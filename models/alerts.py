"""Alerts as they are kept and sent."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from models.events import SourceKind
from models.scope import Scope
from models.usual import Usual

Severity = Literal["info", "warning", "critical"]
Category = Literal["kpi", "data_health"]
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


def _a_link(url: str) -> str:
    """Refuse what is no URL; an empty text is no link.

    Raises:
        ValueError: it is none.
    """
    if url and not re.fullmatch(r"https?://\S+", url):
        raise ValueError("give a URL that begins with http:// or https://")
    return url


Link = Annotated[str, Field(max_length=2000), AfterValidator(_a_link)]
"""A URL that people can follow, or an empty string."""


class AlertState(StrEnum):
    """The state of an alert."""

    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"


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
    is None until late data changes the latter. ``threshold`` is the limit, None if there is none.
    Beside it is, None if the rule is of another kind: ``earlier``, the value of the earlier period
    from which the limit follows; ``usual``, the band of usual values of which it is an end, if a
    single window is unusual; ``exhausted_ms``, when the budget will be exhausted; ``median``, that
    of the peers; ``windows_broken``, how many of the last windows are beyond the limit.
    ``no_data_since_ms`` is since when there is no value that could be judged, None if there is one.
    ``held`` is why the alert is not judged now, None if it is. ``ended`` is why a resolved alert
    ended. ``meaning_en`` and ``meaning_zh`` are the sentence of its rule as it was when the alert
    was last judged.
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
    earlier: float | None = None
    usual: Usual | None = None
    exhausted_ms: int | None = None
    median: float | None = None
    windows_broken: int | None = None
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
