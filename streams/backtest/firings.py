"""Firings: each time that an alert fired in a backtest, on what evidence, and for how long."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from models.alerts import Alert
from models.scope import Scope
from models.window import DAY_MS, WINDOWS
from streams.engine.contracts import Output

WEEK_MS = 7 * DAY_MS
_LENGTH_MS: dict[str, int] = {window.name: window.length_ms or 0 for window in WINDOWS}


class Firing(NamedTuple):
    """One time that an alert fired. All times are event times in ms.

    Args:
        fired: the alert as it was when it fired, with the evidence.
        last: the alert as it was at last: resolved, corrected, or firing still.
    """

    fired: Alert
    last: Alert

    @property
    def rule(self) -> str:
        """The name of its rule."""
        return self.fired.rule

    @property
    def scope(self) -> Scope:
        """The scope in which the rule was broken."""
        return self.fired.scope

    @property
    def from_ms(self) -> int:
        """The end of the window on which the alert fired."""
        assert self.fired.fired_at_ms is not None
        return self.fired.fired_at_ms

    @property
    def window_from_ms(self) -> int:
        """The start of that window, or its end if the window is of business days or all time."""
        return self.from_ms - _LENGTH_MS.get(self.fired.window, 0)

    @property
    def resolved_ms(self) -> int | None:
        """The end of the window on which it resolved; None if it fires still."""
        return self.last.resolved_at_ms

    def until_ms(self, end_ms: int) -> int:
        """Return when it resolved, or the end of the backtest if it fires still."""
        return end_ms if self.resolved_ms is None else self.resolved_ms

    def overlaps(self, from_ms: int, until_ms: int | None) -> bool:
        """Return whether it fired at some time in [from_ms, until_ms); None is without an end."""
        begins_before = until_ms is None or self.from_ms < until_ms
        return begins_before and (self.resolved_ms is None or self.resolved_ms > from_ms)


def firings(records: Iterable[Output]) -> list[Firing]:
    """Return the firings in records of the topic of alerts, in the order in which they began."""
    found: dict[tuple[str, int], Firing] = {}
    for record in records:
        alert = Alert.model_validate_json(record.value)
        if alert.fired_at_ms is None:
            continue  # It is pending, or ended without firing.
        key = alert.id, alert.fired_at_ms
        fired = found[key].fired if key in found else alert
        found[key] = Firing(fired, alert)
    return list(found.values())


def a_week(count: int, *, span_ms: int) -> float:
    """Return how many a week so many in a span of time are."""
    return count * WEEK_MS / span_ms if span_ms > 0 else 0.0


def of_kpis(found: Iterable[Firing]) -> list[Firing]:
    """Return the firings of rules on KPIs."""
    return [one for one in found if one.fired.category == "kpi"]


def of_data(found: Iterable[Firing]) -> list[Firing]:
    """Return the firings of rules about the health of the data."""
    return [one for one in found if one.fired.category == "data_health"]
