"""Which inputs a scope has shown on a business day.

A KPI without its inputs is absent, not 0; once an input was seen that day, 0
is the truth.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import msgspec

from models.aggregates.ingest_report import FacetCell
from models.kpi.measures import SUM_INDEX
from models.scope import Scope, ScopeKind, scopes_of
from models.window import DAY_MS, PANE_MS

_NEVER = 2**62
KEPT_DAYS = 3


class SeenScope(msgspec.Struct, array_like=True):
    """The first pane of any event and of each needed sum, in one scope and day."""

    kind: ScopeKind
    campaign: str
    channel: str
    firsts: list[int]
    region: str = ""
    segment: str = ""


SeenWire = tuple[int, list[SeenScope]]
"""The start of a business day, and the scopes that had an event on it."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(SeenWire).decode


class SeenInputs:
    """The first pane of each needed sum, by business day and scope.

    Args:
        needed: names of the sums.
        wire: what `to_wire` returned.
        wire_needed: the names of the sums at that time.
    """

    def __init__(
        self,
        needed: Sequence[str],
        wire: Iterable[msgspec.Raw] = (),
        *,
        wire_needed: Sequence[str] = (),
    ) -> None:
        self._needed_sums = [SUM_INDEX[name] for name in needed]
        places = [wire_needed.index(name) if name in wire_needed else None for name in needed]
        self._days: dict[int, dict[Scope, list[int]]] = {
            day: {
                Scope(row.kind, row.campaign, row.channel, row.region, row.segment): [
                    row.firsts[0],
                    *(_NEVER if place is None else row.firsts[1 + place] for place in places),
                ]
                for row in rows
            }
            for day, rows in map(_decode, wire)
        }
        self._news: dict[int, defaultdict[int, set[Scope]]] = {}
        """Of each day, by pane: the scopes that showed anything for the first time."""
        for day_start, scopes in self._days.items():
            for scope, firsts in scopes.items():
                for first in set(firsts) - {_NEVER}:
                    self._note_news(day_start, first, scope)
        self._written: dict[int, msgspec.Raw] = {}
        """The days as they are saved, but for those that changed since."""
        self._forgotten_before_ms = 0

    def record_pane(self, cells: Iterable[FacetCell], *, day_start: int, pane_start: int) -> bool:
        """Note what the cells of a pane show; say whether any is new, as `record` does."""
        earlier = False
        for row in cells:
            earlier |= self.record(
                scopes_of(row.facet), row.cell.sums, day_start=day_start, pane_start=pane_start
            )
        return earlier

    def record(
        self, scopes: Iterable[Scope], sums: Sequence[int], *, day_start: int, pane_start: int
    ) -> bool:
        """Note what the sums of a pane's cell show; the first entry is for any event.

        Returns:
            Whether a scope or an input of it was seen for the first time, or earlier
            than known: windows that do not hold the pane itself may change by that.
        """
        earlier = False
        width = len(sums)
        present = [
            0,
            *(1 + i for i, index in enumerate(self._needed_sums) if index < width and sums[index]),
        ]
        day = self._days.setdefault(day_start, {})
        for scope in scopes:
            firsts = day.get(scope)
            if firsts is None:
                firsts = day[scope] = [_NEVER] * (1 + len(self._needed_sums))
            for index in present:
                if pane_start < firsts[index]:
                    firsts[index] = pane_start
                    earlier = True
                    self._note_news(day_start, pane_start, scope)
        if earlier:
            self._written.pop(day_start, None)
        return earlier

    def knows(self, day_start: int) -> bool:
        """Say whether everything that was seen on a day is still known."""
        return day_start >= self._forgotten_before_ms

    def on(self, day_start: int) -> Collection[Scope]:
        """Return the scopes that had an event on a day."""
        return self._days.get(day_start, {}).keys()

    def inputs(
        self, scopes: Iterable[Scope], *, day_start: int, end: int
    ) -> Iterator[tuple[Scope, int]]:
        """Yield those of the scopes that had an event on a day before ``end``, and their inputs.

        Bit i of the inputs is for the i-th needed sum.
        """
        day = self._days.get(day_start, {})
        for scope in scopes:
            firsts = day.get(scope)
            if firsts is not None and firsts[0] < end:
                mask = 0
                for place, first in enumerate(firsts):
                    if first < end:
                        mask |= 1 << place
                yield scope, mask >> 1

    def _note_news(self, day_start: int, pane_start: int, scope: Scope) -> None:
        self._news.setdefault(day_start, defaultdict(set))[pane_start].add(scope)

    def news(self, start: int, end: int, *, day_start: int) -> set[Scope]:
        """Return the scopes that showed anything of a day for the first time in [start, end).

        They may have nothing in that time any more: what was reported can be taken back.
        """
        by_pane: Mapping[int, set[Scope]] = self._news.get(day_start, {})
        panes: Sequence[int] = range(max(start, day_start), end, PANE_MS)
        if len(panes) > len(by_pane):
            panes = [pane_start for pane_start in by_pane if start <= pane_start < end]
        return set().union(*(by_pane.get(pane_start, ()) for pane_start in panes))

    def expire(self, *, day_start: int) -> None:
        """Forget days long before the given one."""
        self._forgotten_before_ms = day_start - KEPT_DAYS * DAY_MS
        for day in [day for day in self._days if day < self._forgotten_before_ms]:
            del self._days[day]
            self._written.pop(day, None)
            self._news.pop(day, None)

    def to_wire(self) -> list[msgspec.Raw]:
        """Return what is to be saved."""
        for day, rows in self._days.items():
            if day not in self._written:
                self._written[day] = msgspec.Raw(_encode((day, _on_wire(rows))))
        return [self._written[day] for day in self._days]


def _on_wire(rows: Mapping[Scope, list[int]]) -> list[SeenScope]:
    return [
        SeenScope(scope.kind, scope.campaign, scope.channel, firsts, scope.region, scope.segment)
        for scope, firsts in rows.items()
    ]
