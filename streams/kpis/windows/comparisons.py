"""Windows beside their reference periods: the equal one before, and the same a week before.

Comparisons are for people: only the newest quarter of an hour is compared, for at its end
last week's period can be summed from quarters. Nothing of it is saved; after a restart they
are made anew.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from models.scope import ScopeKind
from models.window import (
    COMPARED,
    QUARTER_MS,
    WINDOWS,
    BusinessDay,
    Reference,
    ShownWindow,
    Window,
    WindowName,
    reference_period,
)
from streams.engine.steps import Steps
from streams.kpis.view import Comparison, Evaluation
from streams.kpis.windows.round_robin import RoundRobin
from streams.kpis.windows.window_evaluator import WindowEvaluator

SHOWN_MS = 2 * QUARTER_MS
"""A comparison is shown until it is made anew, but while catching up not for longer than this."""

KINDS: tuple[ScopeKind, ...] = ("all", "channel", "campaign")
"""Of the scopes that are compared."""

_PAIRS = [
    (window, reference)
    for window in WINDOWS
    for reference, windows in COMPARED.items()
    if window.name in windows
]


def comparisons_in_turn(
    windows: WindowEvaluator,
    *,
    day: BusinessDay,
    latest: Callable[[], Mapping[WindowName, Evaluation]],
    small: Callable[[], Collection[str]],
) -> RoundRobin[tuple[Window, Reference], Comparison]:
    """Return what compares each window with each of its reference periods.

    Where a reference period is not known whole, there is no comparison.

    Args:
        windows: evaluates windows.
        day: the business day.
        latest: returns what was evaluated already.
        small: returns the campaigns that are not shown one by one.
    """

    def evaluate(window: Window, end: int) -> Steps[Evaluation]:
        left_out = small()
        return windows.evaluate(
            window,
            end,
            only=lambda scope: scope.kind in KINDS and scope.campaign not in left_out,
            looking_back=False,
        )

    newest: dict[Window, Evaluation] = {}  # the references of a window follow each other

    def make(pair: tuple[Window, Reference], end: int) -> Steps[Comparison | None]:
        window, reference = pair
        period = reference_period(reference, window, end, day=day)
        if period is None or not windows.knows(window, period):
            return None
        now = latest().get(window.name)
        if now is None or now.end_ms != end:
            now = newest.get(window)
        if now is None or now.end_ms != end:
            now = yield from evaluate(window, end)
            newest.clear()
            newest[window] = now
        then = yield from evaluate(window, period[1])
        return Comparison(reference, now, then)

    return RoundRobin(step_ms=QUARTER_MS, due=lambda _: _PAIRS, make=make)


def shown(
    comparisons: Iterable[Comparison], frontier_ms: int
) -> dict[tuple[ShownWindow, Reference], Comparison]:
    """Return the comparisons that are not out of date, by window and reference."""
    return {
        (one.now.window, one.reference): one
        for one in comparisons
        if frontier_ms < one.now.end_ms + SHOWN_MS
    }
