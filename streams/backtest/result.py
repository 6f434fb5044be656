"""The result of a backtest: firings by rule, scores against incidents, and all of it as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from streams.backtest.comparison import Comparison, compare
from streams.backtest.firings import Firing, a_week
from streams.backtest.incidents import Incident, Score, score, score_of_rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The result of a backtest. Times are event times in ms.

    Args:
        from_ms: the time of the first event.
        to_ms: the end of the last window.
        rules: the names of the rules, in the order of their file.
        firings: their firings.
        about_data: the firings of rules about the data, during which others may wait.
        records: the number of events that were played.
        dead_letters: how many of them were not counted.
        incidents: the marked incidents of that time; None without a file of them.
        against: the firings of the other rules; None without them.
    """

    from_ms: int
    to_ms: int
    rules: tuple[str, ...]
    firings: list[Firing]
    about_data: list[Firing] = field(default_factory=list)
    records: int = 0
    dead_letters: int = 0
    incidents: list[Incident] | None = None
    against: list[Firing] | None = None

    @property
    def counts(self) -> dict[str, int]:
        """The number of firings of each rule, also of those that never fired."""
        counted = Counter(one.rule for one in self.firings)
        return {rule: counted[rule] for rule in self.rules}

    def a_week(self, count: int) -> float:
        """Return how many a week so many in the time of the backtest are."""
        return a_week(count, span_ms=self.to_ms - self.from_ms)

    @property
    def scores(self) -> dict[str, Score]:
        """The score of each rule; empty without incidents."""
        if self.incidents is None:
            return {}
        return {rule: score_of_rule(rule, self.firings, self.incidents) for rule in self.rules}

    @property
    def score(self) -> Score | None:
        """The score of all rules together; None without incidents."""
        return None if self.incidents is None else score(self.firings, self.incidents)

    @property
    def missed(self) -> list[Incident]:
        """The incidents that no firing is about."""
        return [one for one in self.incidents or () if not any(map(one.explains, self.firings))]

    @property
    def comparison(self) -> Comparison | None:
        """The comparison with the other rules; None without them."""
        return None if self.against is None else compare(self.firings, self.against)

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON; times are ms since 1970."""
        shown: dict[str, Any] = {
            "from": self.from_ms,
            "to": self.to_ms,
            "events": self.records,
            "dead_letters": self.dead_letters,
            "rules": [
                {"rule": rule, "firings": count, "a_week": self.a_week(count)}
                for rule, count in self.counts.items()
            ],
            "firings": self._rows(self.firings),
            "about_data": self._rows(self.about_data),
        }
        if self.incidents is not None and (together := self.score) is not None:
            shown["incidents"] = {
                "marked": [
                    {"name": one.name, "from": one.from_ms, "to": one.to_ms}
                    for one in self.incidents
                ],
                "together": _scored(together),
                "by_rule": {rule: _scored(one) for rule, one in self.scores.items()},
            }
        if (compared := self.comparison) is not None:
            shown["against"] = {
                "only_here": self._rows(compared.only_here),
                "only_there": self._rows(compared.only_there),
                "both": [self._rows(pair) for pair in compared.both],
            }
        return shown

    def _rows(self, firings: Sequence[Firing]) -> list[dict[str, Any]]:
        return [self._row(one) for one in firings]

    def _row(self, firing: Firing) -> dict[str, Any]:
        fired, last = firing
        correction = last.correction
        return {
            "rule": fired.rule,
            "scope": str(fired.scope),
            "severity": fired.severity,
            "window": fired.window,
            "kpi": fired.kpi,
            "fired": firing.from_ms,
            "resolved": firing.resolved_ms,
            "for_ms": firing.until_ms(self.to_ms) - firing.from_ms,
            "value": fired.value,
            "low": fired.low,
            "high": fired.high,
            "n": fired.n,
            "limit": fired.threshold,
            "earlier": fired.earlier,
            "corrected": None if correction is None else correction.model_dump(),
            "ended": last.ended,
        }


def _scored(one: Score) -> dict[str, Any]:
    return {
        "firings": one.firings,
        "right": one.right,
        "incidents": one.incidents,
        "found": one.found,
        "precision": one.precision,
        "recall": one.recall,
        "delay_ms": one.delay_ms,
    }
