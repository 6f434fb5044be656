"""Which inputs a scope has shown on a business day.

A KPI without its inputs is absent, not 0; once an input was seen that day, 0
is the truth.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

from models.kpis import KPIS
from models.measures import MEASURES, Cell
from models.scopes import Scope, ScopeKind

NEEDED = tuple(sorted({measure for kpi in KPIS for measure in kpi.needs}))
"""The measures that some KPI needs."""
_NEEDED_INDEX = tuple(MEASURES.index(name) for name in NEEDED)
_NEVER = 2**62

SeenWire = tuple[int, list[tuple[ScopeKind, str, str, list[int]]]]

KEPT_DAYS = 3


class SeenInputs:
    """The first pane of each needed measure, by business day and scope."""

    def __init__(self, wire: Iterable[SeenWire] = ()) -> None:
        self._days: dict[int, dict[Scope, list[int]]] = {
            day: {
                Scope(kind, campaign, channel): firsts for kind, campaign, channel, firsts in rows
            }
            for day, rows in wire
        }

    def note(
        self, scopes: Iterable[Scope], sums: Sequence[int], *, day_start: int, pane_start: int
    ) -> bool:
        """Note what the sums of a pane's cell show; the first entry is for any event.

        Returns:
            Whether a scope or an input of it was seen for the first time, or earlier
            than known: windows that do not hold the pane itself may change by that.
        """
        earlier = False
        present = [0, *(1 + i for i, index in enumerate(_NEEDED_INDEX) if sums[index])]
        day = self._days.setdefault(day_start, {})
        for scope in scopes:
            firsts = day.get(scope)
            if firsts is None:
                firsts = day[scope] = [_NEVER] * (1 + len(NEEDED))
            for index in present:
                if pane_start < firsts[index]:
                    firsts[index] = pane_start
                    earlier = True
        return earlier

    def scopes(self, *, day_start: int, end: int) -> Iterable[Scope]:
        """Yield the scopes that had an event on that day before ``end``."""
        for scope, firsts in self._days.get(day_start, {}).items():
            if firsts[0] < end:
                yield scope

    def inputs(self, scope: Scope, *, day_start: int, end: int) -> frozenset[str]:
        """Return the needed measures that the scope showed that day before ``end``."""
        firsts = self._days.get(day_start, {}).get(scope)
        if firsts is None:
            return frozenset()
        mask = 0
        for bit, first in enumerate(firsts[1:]):
            if first < end:
                mask |= 1 << bit
        return _names(mask)

    def expire(self, *, day_start: int) -> None:
        """Forget days long before the given one."""
        for day in [day for day in self._days if day < day_start - KEPT_DAYS * 86_400_000]:
            del self._days[day]

    def to_wire(self) -> list[SeenWire]:
        """Return what is to be saved."""
        return [
            (
                day,
                [
                    (scope.kind, scope.campaign, scope.channel, firsts)
                    for scope, firsts in rows.items()
                ],
            )
            for day, rows in self._days.items()
        ]


@cache
def _names(mask: int) -> frozenset[str]:
    return frozenset(name for bit, name in enumerate(NEEDED) if mask >> bit & 1)


def inputs_in(cell: Cell) -> frozenset[str]:
    """Return the needed measures that a cell itself shows."""
    mask = 0
    for bit, index in enumerate(_NEEDED_INDEX):
        if cell.sums[index]:
            mask |= 1 << bit
    return _names(mask)
