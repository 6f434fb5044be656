"""Writes closed windows as records of the topic of values, and alerts as records of theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import msgspec

from models.alerts import Alert
from models.kpi.definition import KpiValue
from models.scope import Scope
from streams.engine.contracts import Output
from streams.kpis.view import Evaluation

SCOPES_PER_RECORD = 500
"""A window with more scopes is split into several records."""


class ScopeValues(msgspec.Struct, kw_only=True):
    """The KPIs of one scope: name to [value, low, high, n, significant]."""

    scope: str
    campaign: str
    channel: str
    region: str
    segment: str
    values: dict[str, KpiValue]


class ClosedWindow(msgspec.Struct, kw_only=True):
    """One record of the topic of values: up to `SCOPES_PER_RECORD` scopes of a closed window.

    Times are event times in ms. Money is in the reporting currency.

    Args:
        window: name of the window.
        start: start of the window.
        end: end of the window.
        corrected: whether late data changed the window after it was closed.
        complete: whether no records of the window were lost.
        unsure: kinds of source that were silent for unusually long in the window.
        previous: the period that growth refers to, [start, end); null if not known whole.
        past: the days before the window from which customers are counted: start, start of those
            that count at its end, end; null if not known whole.
        part: number of this record among those of the window, from 0.
        scopes: the KPIs by scope.
    """

    window: str
    start: int
    end: int
    corrected: bool
    complete: bool
    unsure: list[str]
    previous: tuple[int, int] | None
    past: tuple[int, int, int] | None
    part: int
    scopes: list[ScopeValues]


_encode = msgspec.json.Encoder().encode


def alert_outputs(changes: Iterable[Alert], topic: str) -> list[Output]:
    """Return the changes of alerts as records with the alert's id as their key."""
    return [
        Output(topic=topic, key=alert.id.encode(), value=alert.model_dump_json().encode())
        for alert in changes
    ]


def values_encoder(topic: str) -> Callable[[Evaluation, bool], Iterable[Output]]:
    """Return the function that encodes a closed window as records of the topic."""

    def encode(evaluation: Evaluation, corrected: bool) -> Iterable[Output]:
        return _records(topic, evaluation, corrected=corrected)

    return encode


def _records(topic: str, evaluation: Evaluation, *, corrected: bool) -> Iterator[Output]:
    rows = sorted(evaluation.values.items())
    # A window without scopes is published as well: it is closed and empty.
    for part, chunk in enumerate(_chunks(rows) or [[]]):
        closed = ClosedWindow(
            window=evaluation.window,
            start=evaluation.start_ms,
            end=evaluation.end_ms,
            corrected=corrected,
            complete=evaluation.complete,
            unsure=sorted(evaluation.unsure),
            previous=evaluation.previous,
            past=evaluation.past,
            part=part,
            scopes=[
                ScopeValues(scope=scope.kind, **scope.labels, values=values)
                for scope, values in chunk
            ],
        )
        key = f"{evaluation.window}/{evaluation.end_ms}/{part}".encode()
        yield Output(topic=topic, key=key, value=_encode(closed), partition=0)


_Row = tuple[Scope, dict[str, KpiValue]]


def _chunks(rows: list[_Row]) -> list[list[_Row]]:
    starts = range(0, len(rows), SCOPES_PER_RECORD)
    return [rows[first : first + SCOPES_PER_RECORD] for first in starts]
