"""Marked incidents: how many of them rules found, how fast, and how many firings were about none.

Example of a file::

    incidents:
      - name: checkout broken
        from: 2026-11-26T14:05
        to: 2026-11-26T14:35
      - name: search ads paused
        from: 2026-11-27T09:00
        to: 2026-11-27T11:00
        rules: [clicks-absent]
        scopes: ["channel=search"]

A firing is about an incident if something of the incident is in the window on which it fired, or if
it fires at some time in it, and the incident names the rule and the scope, or none. A firing about
none is a false one.

Example: the checkout is broken from 14:05 to 14:35. A rule about windows of an hour fires at 14:40,
on the window from 13:40 to 14:40: that is about the incident, 35 min after its start.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from statistics import median
from typing import Annotated, ClassVar, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    model_validator,
)

from models.patterns import nearest
from models.scope import PARTS
from streams import config
from streams.alerting.rules.registry import RuleBook
from streams.backtest.firings import Firing
from streams.errors import FaultsError


def _with_offset(moment: datetime, info: ValidationInfo) -> datetime:
    """Return a time with its offset; one without is in the time zone of the business day."""
    zone = (info.context or {}).get("zone", UTC)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)


def _a_scope(text: str) -> str:
    """Refuse a text that is no scope as it is shown.

    Raises:
        ValueError: it is none.
    """
    parts = [part.partition("=")[0] for part in text.split(", ")]
    if text != "all" and (
        sum("=" in part for part in text.split(", ")) < len(parts) or not {*parts} <= {*PARTS}
    ):
        raise ValueError(f"{text!r} is no scope; give all, or such as campaign=618, channel=search")
    return text


Moment = Annotated[datetime, AfterValidator(_with_offset)]
ShownScope = Annotated[str, AfterValidator(_a_scope)]


class Incident(BaseModel):
    """A time in which something was wrong, as people remember it."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    name: str
    """Name of the incident, unique in the file."""
    begins: Annotated[Moment, Field(alias="from")]
    """Start, a local time or one with its offset from UTC."""
    ends: Annotated[Moment, Field(alias="to")]
    """End, likewise."""
    scopes: tuple[ShownScope, ...] = ()
    """Scopes that it concerned, such as ``all`` or ``campaign=618``; every scope, if left out."""
    rules: tuple[str, ...] = ()
    """Names of the rules that should find it; every rule, if left out."""

    @model_validator(mode="after")
    def _ends_later(self) -> Incident:
        if self.ends <= self.begins:
            raise ValueError("to: is not later than from; give the end of the incident")
        return self

    @property
    def from_ms(self) -> int:
        """Its start in ms."""
        return _ms(self.begins)

    @property
    def to_ms(self) -> int:
        """Its end in ms."""
        return _ms(self.ends)

    def concerns(self, rule: str) -> bool:
        """Return whether a rule should find it."""
        return not self.rules or rule in self.rules

    def explains(self, firing: Firing) -> bool:
        """Return whether a firing is about this incident."""
        return (
            self.concerns(firing.rule)
            and (not self.scopes or str(firing.scope) in self.scopes)
            and firing.window_from_ms < self.to_ms
            and (firing.resolved_ms is None or firing.resolved_ms > self.from_ms)
        )


class IncidentBook(BaseModel):
    """The content of a file of incidents."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    IDENTITIES: ClassVar[dict[str, tuple[str, ...]]] = {"incidents": ("name",)}

    incidents: tuple[Incident, ...]

    @model_validator(mode="after")
    def _rules_exist(self, info: ValidationInfo) -> IncidentBook:
        known = (info.context or {}).get("rules", ())
        faults = [
            f"incidents[{at}].rules[{place}]: there is no rule {name!r}{nearest(name, known)}"
            for at, incident in enumerate(self.incidents)
            for place, name in enumerate(incident.rules)
            if name not in known
        ]
        if faults:
            raise FaultsError(faults)
        return self


def load_incidents(path: Path, rules: RuleBook, *, zone: tzinfo) -> tuple[Incident, ...]:
    """Read incidents.

    Args:
        path: the file.
        rules: the rules that incidents may name.
        zone: the zone of times without an offset.

    Raises:
        ConfigError: the file is missing or wrong.
    """
    names = [rule.name for rule in rules.rules]
    return config.load(path, IncidentBook, rules=names, zone=zone).incidents


class Score(NamedTuple):
    """Agreement of firings with incidents.

    Args:
        firings: the number of firings.
        right: how many of them are about an incident.
        incidents: the number of incidents that should be found.
        found: how many of them a firing is about.
        delays_ms: of each that was found, the time from its start to the first firing; 0 if the
            rule fired already.
    """

    firings: int
    right: int
    incidents: int
    found: int
    delays_ms: tuple[int, ...]

    @property
    def precision(self) -> float | None:
        """The share of the firings that are about an incident; None without firings."""
        return self.right / self.firings if self.firings else None

    @property
    def recall(self) -> float | None:
        """The share of the incidents that were found; None without incidents."""
        return self.found / self.incidents if self.incidents else None

    @property
    def delay_ms(self) -> float | None:
        """The median of the delays; None if nothing was found."""
        return median(self.delays_ms) if self.delays_ms else None


def within(incidents: Iterable[Incident], from_ms: int, to_ms: int) -> list[Incident]:
    """Return the incidents of which a part is in [from_ms, to_ms): others can't be found."""
    return [one for one in incidents if one.from_ms < to_ms and one.to_ms > from_ms]


def score(firings: Sequence[Firing], incidents: Sequence[Incident]) -> Score:
    """Return how well firings agree with incidents."""
    right = sum(any(one.explains(firing) for one in incidents) for firing in firings)
    delays = [
        max(0, min(firing.from_ms for firing in about) - one.from_ms)
        for one in incidents
        if (about := [firing for firing in firings if one.explains(firing)])
    ]
    return Score(len(firings), right, len(incidents), len(delays), tuple(delays))


def score_of_rule(rule: str, firings: Sequence[Firing], incidents: Sequence[Incident]) -> Score:
    """Return the score of one rule, for the incidents that it should find."""
    return score(
        [one for one in firings if one.rule == rule],
        [one for one in incidents if one.concerns(rule)],
    )


def _ms(moment: datetime) -> int:
    return round(moment.astimezone(UTC).timestamp() * 1000)
