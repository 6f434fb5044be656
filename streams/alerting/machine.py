"""State machine of one alert: inactive, pending, firing, resolved.

As in Prometheus, a broken rule makes the alert pending, and firing once it was broken for
``for``. A firing alert resolves once the rule held for ``keep_firing_for``. A pending alert
ends if the rule holds or can't be judged, and stays pending on BETWEEN. A firing alert goes on
firing on every verdict but HOLDS. Times are in ms: event time for rules on KPIs, broker time
for rules on the health of the data.

Example: a rule with ``for: 60`` and ``keep_firing_for: 120``, in s::

    12:00  BROKEN   pending, active since 12:00
    12:01  BROKEN   firing: broken for 60 s
    12:02  HOLDS    firing, held since 12:02
    12:03  BETWEEN  firing, not held any more
    12:04  HOLDS    firing, held since 12:04
    12:06  HOLDS    resolved: held for 120 s
    12:07  BROKEN   pending: a new alert, active since 12:07

HOLDS at 12:01 would have made the alert inactive. With ``for: 0`` it fires at 12:00.

While a rule is not judged, such as when a source of its KPI is silent, both clocks stand still
(`pause`). They go on with the next verdict::

    12:00  BROKEN   pending, active since 12:00
    12:00:30  BROKEN   pending: broken for 30 s
    12:00:40  pause, at 12:00:30, the time of the last verdict
    12:10  BROKEN   pending: broken for 30 s, without the 570 s in between
    12:10:30  BROKEN   firing: broken for 60 s
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from models.alerts import AlertState
from streams.alerting.rules.protocol import Verdict


@dataclass(frozen=True, slots=True)
class Standing:
    """The state of an alert that is not inactive.

    Attributes:
        state: pending, firing or resolved.
        active_since_ms: when it became pending.
        fired_at_ms: when it fired; None before that.
        held_since_ms: since when the rule holds again; None if it does not. Time without
            verdicts is added to it.
        resolved_at_ms: when it resolved; None before that.
        paused_ms: time without verdicts since ``active_since_ms``, while it was pending.
        unjudged_since_ms: time of the last verdict, if the rule is not judged now; else None.
        no_data_paused_ms: time without verdicts since there is no value that could be judged.
    """

    state: AlertState
    active_since_ms: int
    fired_at_ms: int | None = None
    held_since_ms: int | None = None
    resolved_at_ms: int | None = None
    paused_ms: int = 0
    unjudged_since_ms: int | None = None
    no_data_paused_ms: int = 0


def pause(standing: Standing, *, judged_ms: int) -> Standing:
    """Return the state of an alert whose rule is not judged for now.

    Args:
        standing: the state; one that is paused already does not change.
        judged_ms: time of the last verdict.
    """
    if standing.unjudged_since_ms is not None:
        return standing
    return replace(standing, unjudged_since_ms=judged_ms)


def resumed(standing: Standing, *, at_ms: int) -> Standing:
    """Return the state of an alert whose rule is judged again, without the time in between.

    Args:
        standing: the state; one that is not paused does not change.
        at_ms: time of the verdict.
    """
    if standing.unjudged_since_ms is None:
        return standing
    gap_ms = max(0, at_ms - standing.unjudged_since_ms)
    pending = standing.state is AlertState.PENDING
    held = standing.held_since_ms
    return replace(
        standing,
        paused_ms=standing.paused_ms + (gap_ms if pending else 0),
        held_since_ms=None if held is None else held + gap_ms,
        no_data_paused_ms=standing.no_data_paused_ms + gap_ms,
        unjudged_since_ms=None,
    )


def step(
    standing: Standing | None, verdict: Verdict, *, at_ms: int, for_ms: int, keep_firing_for_ms: int
) -> Standing | None:
    """Return the state of an alert after a verdict.

    Args:
        standing: the state before; None is inactive.
        verdict: what the rule says at ``at_ms``.
        at_ms: time of the verdict.
        for_ms: how long the rule must be broken before the alert fires.
        keep_firing_for_ms: how long the rule must hold before the alert resolves.

    Returns:
        The new state; None is inactive.
    """
    if standing is not None and standing.state is AlertState.RESOLVED:
        standing = None
    if standing is None:
        if verdict is not Verdict.BROKEN:
            return None
        standing = Standing(AlertState.PENDING, at_ms)
    standing = resumed(standing, at_ms=at_ms)
    if standing.state is AlertState.PENDING:
        if verdict in {Verdict.HOLDS, Verdict.NO_JUDGEMENT}:
            return None
        broken_ms = at_ms - standing.active_since_ms - standing.paused_ms
        if verdict is Verdict.BROKEN and broken_ms >= for_ms:
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
