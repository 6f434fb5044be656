"""Compares windows with the equal period before and with the same window a week before.

Comparisons are made for the page and the metrics only, at the newest quarter of an hour: there,
last week's period can be summed up from buckets of quarters. They are not saved, but rebuilt
after a restart.

Example:
    At 12:15 on Tuesday the 14th there are eight comparisons, computed one at a time:

    window   now                       previous                  last_week
    1h       14th [11:15, 12:15)       14th [10:15, 11:15)       7th [11:15, 12:15)
    day      14th [00:00, 12:15)       13th [00:00, 12:15)       7th [00:00, 12:15)
    24h      to the 14th, 12:15        to the 13th, 12:15        to the 7th, 12:15
    week     8th to 14th, 12:15        1st to 7th, 12:15         -
    month    30 days to 14th, 12:15    the 30 days before        -
"""

from __future__ import annotations

from collections.abc import Iterable

from models.scope import ScopeKind
from models.window import (
    COMPARED,
    QUARTER_MS,
    WINDOWS,
    Reference,
    ShownWindow,
    Window,
)
from streams.engine.steps import Steps
from streams.kpis.view import Comparison, Evaluation
from streams.kpis.windows.round_robin import RoundRobin
from streams.kpis.windows.window_closer import WindowCloser
from streams.kpis.windows.window_evaluator import WindowEvaluator

SHOWN_MS = 2 * QUARTER_MS
"""A comparison that is not rebuilt is shown until this long after its end, in event time."""

KINDS: tuple[ScopeKind, ...] = ("all", "channel", "campaign")
"""The kinds of scope that are compared."""

_PAIRS = [
    (window, reference)
    for window in WINDOWS
    for reference, windows in COMPARED.items()
    if window.name in windows
]


def comparisons_in_turn(
    windows: WindowEvaluator,
    *,
    closer: WindowCloser,
) -> RoundRobin[tuple[Window, Reference], Comparison]:
    """Return a round-robin that compares each window with each of its reference periods.

    There is no comparison if the reference period was not observed completely or its buckets
    are no longer held.

    Args:
        windows: evaluates windows.
        closer: has the newest evaluations, of which one with the wanted end is used again, and
            knows which scopes are not shown one by one.
    """

    def evaluate(window: Window, end: int) -> Steps[Evaluation]:
        left_out = closer.small
        return windows.evaluate(
            window,
            end,
            only=lambda scope: scope.kind in KINDS and scope not in left_out,
            looking_back=False,
        )

    newest: dict[Window, Evaluation] = {}  # shared by both references of a window

    def make(pair: tuple[Window, Reference], end: int) -> Steps[Comparison | None]:
        window, reference = pair
        then_ms = windows.earlier_end(reference, window, end)
        if then_ms is None:
            return None
        now = closer.shown.get(window.name)
        if now is None or now.end_ms != end:
            now = newest.get(window)
        if now is None or now.end_ms != end:
            now = yield from evaluate(window, end)
            newest.clear()
            newest[window] = now
        then = yield from evaluate(window, then_ms)
        return Comparison(reference, now, then)

    return RoundRobin(step_ms=QUARTER_MS, due=lambda _: _PAIRS, make=make)


def shown(
    comparisons: Iterable[Comparison], frontier_ms: int
) -> dict[tuple[ShownWindow, Reference], Comparison]:
    """Return the comparisons that ended less than `SHOWN_MS` before the frontier, by their key."""
    return {
        (one.now.window, one.reference): one
        for one in comparisons
        if frontier_ms < one.now.end_ms + SHOWN_MS
    }
