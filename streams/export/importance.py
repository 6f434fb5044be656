"""Orders scopes by importance, so that what is cut from a list or a scrape is the least important.

A scope's place is the best that it has in any window, by clicks plus orders. So a campaign that
began an hour ago comes before one that was larger last month.

Places alternate between kinds of scope: the largest channel, region, segment and campaign, then the
second of each, and so on; channels of campaigns and the like come last. However many channels there
are, they take the room of no campaign that is larger than they are among their own.

Example:
    In the last hour c1 has 90 clicks and c2 has 10; of all time c2 has 900 and c1 has 200. Both
    have the place 0, and c2, which has more, comes first. With the channels search (95) and feed
    (5) the order is everything, search, c2, c1, feed: all but feed have the place 0.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from heapq import nsmallest

from models.scope import SCOPE_KINDS, Scope, ScopeKind, parts_of
from streams.kpis.calculation.kpi_calculator import KpiValues
from streams.kpis.view import Evaluation

_RANK = {kind: rank for rank, kind in enumerate(SCOPE_KINDS)}


def by_importance(
    evaluations: Iterable[Evaluation],
    wanted: Callable[[Evaluation, Scope], bool],
    *,
    most: int | None = None,
) -> list[Scope]:
    """Return scopes, the most important first.

    Args:
        evaluations: the windows that scopes are ranked in.
        wanted: returns whether a scope is ranked in a window.
        most: the number of scopes to return; None returns all.
    """
    places: dict[Scope, tuple[int, int | float]] = {}
    for evaluation in evaluations:
        of_kinds: defaultdict[ScopeKind, list[tuple[int | float, Scope]]] = defaultdict(list)
        for scope, values in evaluation.values.items():
            if wanted(evaluation, scope):
                of_kinds[scope.kind].append((-volume_of(values), scope))
        for ranked in of_kinds.values():
            for place, (less, scope) in enumerate(sorted(ranked)):
                # Where nothing happens nobody is first.
                found = place if less else len(ranked), less
                places[scope] = min(places.get(scope, found), found)

    def order(scope: Scope) -> tuple[int, int, int, int | float, Scope]:
        place, less = places[scope]
        return len(parts_of(scope.kind)), place, _RANK[scope.kind], less, scope

    return sorted(places, key=order) if most is None else nsmallest(most, places, key=order)


def volume_of(values: KpiValues) -> int | float:
    """Return clicks plus orders, by which scopes are ranked."""
    return sum(values[name].value for name in ("clicks", "orders") if name in values)
