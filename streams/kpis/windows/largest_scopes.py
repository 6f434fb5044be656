"""Decides which scopes are shown on their own: the largest of each kind, the same in all windows.

Scopes are ranked by clicks plus orders in the last 24 hours and of all time: the largest of either,
the second of either, and so on. So a campaign that began today is among the largest as well as one
that sold for months, and none comes and goes with every minute. Both windows close every quarter of
an hour. A scope that is not ranked yet is shown on its own while there is room.

Example:
    Two campaigns are shown. In 24 hours c3 has 50 clicks and c2 has 20; of all time c1 has 900 and
    c3 has 60. c1 and c3 come first in one of the windows; c2 is summed up with all others, also in
    a minute in which only c2 has clicks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from heapq import nsmallest

from models.scope import SCOPE_KINDS, Scope, ScopeKind, parts_of
from models.window import SO_FAR, WindowName
from streams.engine.steps import Steps, in_groups

RANKING_WINDOWS: frozenset[WindowName] = frozenset({"24h", SO_FAR})
"""The windows by whose volumes scopes are ranked."""
SCOPES_A_STEP = 4_000
"""Number of scopes that are ranked in one step, about 5 ms."""

Volumes = Mapping[Scope, int]
"""Clicks plus orders by scope."""
ByKind = Mapping[ScopeKind, list[Scope]]
_Place = tuple[int, int, Scope]
"""The place of a scope in a window, from 0, its volume below 0, and the scope."""


class LargestScopes:
    """The ranking of scopes. It is not saved: the first closed windows after a start make it anew.

    Args:
        largest: how many scopes are shown on their own, by kind; other kinds are not ranked.
    """

    def __init__(self, largest: Mapping[ScopeKind, int]) -> None:
        self._largest = {kind: largest[kind] for kind in SCOPE_KINDS if kind in largest}
        self._places: dict[WindowName, tuple[int, Mapping[ScopeKind, list[_Place]]]] = {}
        self._ranked: Mapping[ScopeKind, frozenset[Scope]] = {}

    def has_room_for(self, count: int) -> bool:
        """Return whether none of that many scopes can be small, of whatever kind they are."""
        return count <= min(self._largest.values(), default=count)

    def record(self, window: WindowName, end_ms: int, volumes: Volumes) -> Steps[None]:
        """Rank the scopes anew, if the window is one that they are ranked by, and no older one.

        Args:
            window: name of the window.
            end_ms: its end, event time in ms.
            volumes: of all scopes in the window.
        """
        known_ms = self._places[window][0] if window in self._places else 0
        if window not in RANKING_WINDOWS or end_ms < known_ms:
            return
        places: dict[ScopeKind, list[_Place]] = {}
        by_kind = yield from _by_kind(scope for scope in volumes if volumes[scope] > 0)
        for kind, count in self._largest.items():
            first = yield from _first(by_kind[kind], volumes, count)
            places[kind] = [(place, -volumes[one], one) for place, one in enumerate(first)]
        self._places[window] = end_ms, places
        self._ranked = {kind: self._best(kind) for kind in self._largest}

    def _best(self, kind: ScopeKind) -> frozenset[Scope]:
        """Return the scopes with the best places in any window, as many as are shown."""
        best: dict[Scope, _Place] = {}
        for _, places in self._places.values():
            for place in places[kind]:
                best[place[-1]] = min(place, best.get(place[-1], place))
        return frozenset(scope for *_, scope in sorted(best.values())[: self._largest[kind]])

    def beyond(self, volumes: Volumes) -> Steps[ByKind]:
        """Return the scopes of a window that are not shown on their own, by kind.

        A scope with two parts, such as a campaign's channel, is shown only if both parts are: a
        name that is not shown on its own is shown nowhere. Kinds without such scopes are left out.

        Args:
            volumes: of all scopes in the window.
        """
        small: dict[ScopeKind, list[Scope]] = {}
        hidden: set[tuple[str, str]] = set()
        by_kind = yield from _by_kind(volumes)
        for kind, count in self._largest.items():
            parts = parts_of(kind)
            ranked = self._ranked.get(kind, frozenset())
            unranked: list[Scope] = []
            left_over: list[Scope] = []
            for group in in_groups(by_kind[kind], of=SCOPES_A_STEP):
                for scope in group:
                    if hidden and not hidden.isdisjoint(
                        (part, getattr(scope, part)) for part in parts
                    ):
                        left_over.append(scope)
                    elif scope not in ranked:
                        unranked.append(scope)
                yield
            more = frozenset((yield from _first(unranked, volumes, count - len(ranked))))
            for group in in_groups(unranked, of=SCOPES_A_STEP):
                left_over += [scope for scope in group if scope not in more]
                yield
            if left_over:
                small[kind] = left_over
            if len(parts) == 1:
                for group in in_groups(left_over, of=SCOPES_A_STEP):
                    hidden.update((parts[0], getattr(scope, parts[0])) for scope in group)
                    yield
        return small


def _by_kind(scopes: Iterable[Scope]) -> Steps[defaultdict[ScopeKind, list[Scope]]]:
    found: defaultdict[ScopeKind, list[Scope]] = defaultdict(list)
    for group in in_groups(scopes, of=SCOPES_A_STEP):
        for scope in group:
            found[scope.kind].append(scope)
        yield
    return found


def _first(scopes: Iterable[Scope], volumes: Volumes, count: int) -> Steps[list[Scope]]:
    """Return the largest scopes, the largest first."""
    found: list[Scope] = []
    for group in in_groups(scopes, of=SCOPES_A_STEP):
        found = nsmallest(count, [*found, *group], key=lambda one: (-volumes[one], one))
        yield
    return found
