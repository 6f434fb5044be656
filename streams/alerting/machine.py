"""The states of one alert: inactive, pending, firing, resolved.

As Prometheus does it: a broken rule makes the alert pending, and firing once it
was broken for ``for``; a firing alert resolves once the rule held for
``keep_firing_for``. Times are event time in ms.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from models.alerts import AlertState
from streams.alerting.verdicts import Verdict


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an alert stands. ``held_since_ms``: since when the rule holds again."""

    state: AlertState
    active_since_ms: int
    fired_at_ms: int | None = None
    held_since_ms: int | None = None
    resolved_at_ms: int | None = None


def step(
    standing: Standing | None, verdict: Verdict, *, at_ms: int, for_ms: int, keep_firing_for_ms: int
) -> Standing | None:
    """Return where the alert stands after a verdict; None is inactive."""
    if standing is not None and standing.state is AlertState.RESOLVED:
        standing = None
    if standing is None:
        if verdict is not Verdict.BROKEN:
            return None
        standing = Standing(AlertState.PENDING, at_ms)
    if standing.state is AlertState.PENDING:
        if verdict in {Verdict.HOLDS, Verdict.NO_JUDGEMENT}:
            return None
        if verdict is Verdict.BROKEN and at_ms - standing.active_since_ms >= for_ms:
            return replace(standing, state=AlertState.FIRING, fired_at_ms=at_ms)
        return standing
    if verdict is not Verdict.HOLDS:
        return replace(standing, held_since_ms=None)
    held_since_ms = at_ms if standing.held_since_ms is None else standing.held_since_ms
    if at_ms - held_since_ms >= keep_firing_for_ms:
        return replace(
            standing,
            state=AlertState.RESOLVED,
            held_since_ms=held_since_ms,
            resolved_at_ms=at_ms,
        )
    return replace(standing, held_since_ms=held_since_ms)
