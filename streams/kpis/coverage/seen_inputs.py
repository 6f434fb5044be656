"""Seen inputs: the sums that each scope has had on a business day, and since when.

A KPI is absent, not 0, while none of the sums that it needs was seen that day. Once one was seen,
the KPI of a window without any is 0.

Example: the campaign `summer` has its first click of a day at 08:00:10 and its first visit at
09:30:00. The KPI `visits` of the 5 minutes that end at 09:00 is absent. That of the 5 minutes that
end at 10:00 is 0 if there were no visits in them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import msgspec

from models.aggregates.cell import CellWire
from models.aggregates.ingest_report import FacetCell
from models.kpi.measures import SUM_INDEX
from models.scope import Scope, ScopeKind, scopes_of
from models.window import DAY_MS, PANE_MS

_NEVER = 2**62
"""The first pane of a sum that was not seen."""
KEPT_DAYS = 3
"""The number of days before the present one that are kept."""


class SeenScope(msgspec.Struct, array_like=True):
    """One scope of a day, as it is saved.

    ``firsts`` has the start of the first pane with any event, in ms, and then that of each needed
    sum; 2^62 for a sum that was not seen.
    """

    kind: ScopeKind
    campaign: str
    channel: str
    firsts: list[int]
    region: str = ""
    segment: str = ""


SeenWire = tuple[int, list[SeenScope]]
"""The start of a business day, in ms, and the scopes that had an event on it."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(SeenWire).decode


class SeenInputs:
    """The first pane of each needed sum, by business day and scope.

    Args:
        needed: the names of the sums that KPIs need, custom ones last.
        wire: the saved state, from `to_wire`.
        wire_needed: the names of the needed sums when the state was saved. Sums that were not
            among them count as not seen.
    """

    def __init__(
        self,
        needed: Sequence[str],
        wire: Iterable[msgspec.Raw] = (),
        *,
        wire_needed: Sequence[str] = (),
    ) -> None:
        self._needed_sums = [SUM_INDEX[name] for name in needed if name in SUM_INDEX]
        self._needed_custom = [name for name in needed if name not in SUM_INDEX]
        self._width = 1 + len(needed)
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
        """By day and pane, the scopes in which any event or sum was first seen."""
        for day_start, scopes in self._days.items():
            for scope, firsts in scopes.items():
                for first in set(firsts) - {_NEVER}:
                    self._record_news(day_start, first, scope)
        self._written: dict[int, msgspec.Raw] = {}
        """The encoded days, without those that changed since they were encoded."""
        self._forgotten_before_ms = 0

    def record_pane(self, cells: Iterable[FacetCell], *, day_start: int, pane_start: int) -> bool:
        """Record the cells of a pane by facet; return whether any is news, as `record` does."""
        earlier = False
        for row in cells:
            earlier |= self.record(
                scopes_of(row.facet), row.cell, day_start=day_start, pane_start=pane_start
            )
        return earlier

    def record(
        self, scopes: Iterable[Scope], cell: CellWire, *, day_start: int, pane_start: int
    ) -> bool:
        """Record which sums a cell of a pane has.

        Args:
            scopes: the scopes that the cell adds to.
            cell: the cell; one of an older version has fewer sums.
            day_start: the start of the pane's business day, in ms.
            pane_start: the start of the pane, in ms.

        Returns:
            Whether a scope or one of its sums was first seen in this pane, or seen earlier than
            known. Later windows of the day may change by that, even if they do not contain the
            pane.
        """
        earlier = False
        sums = cell.sums
        width = len(sums)
        present = [
            0,
            *(1 + i for i, index in enumerate(self._needed_sums) if index < width and sums[index]),
        ]
        if cell.custom_sums:
            first = 1 + len(self._needed_sums)
            custom = enumerate(self._needed_custom, first)
            present += [place for place, name in custom if cell.custom_sums.get(name)]
        day = self._days.setdefault(day_start, {})
        for scope in scopes:
            firsts = day.get(scope)
            if firsts is None:
                firsts = day[scope] = [_NEVER] * self._width
            for index in present:
                if pane_start < firsts[index]:
                    firsts[index] = pane_start
                    earlier = True
                    self._record_news(day_start, pane_start, scope)
        if earlier:
            self._written.pop(day_start, None)
        return earlier

    def knows(self, day_start: int) -> bool:
        """Return whether the records of a day are still kept."""
        return day_start >= self._forgotten_before_ms

    def on(self, day_start: int) -> Collection[Scope]:
        """Return the scopes that had an event on a day."""
        return self._days.get(day_start, {}).keys()

    def inputs(
        self, scopes: Iterable[Scope], *, day_start: int, end: int
    ) -> Iterator[tuple[Scope, int]]:
        """Yield the scopes that had an event on a day before ``end``, and the sums seen by then.

        Args:
            scopes: the scopes to look up.
            day_start: the start of the business day, in ms.
            end: event time, in ms; what was first seen at or after it is ignored.

        Yields:
            A scope and a bit mask. Bit i is set if the i-th needed sum was seen.
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

    def _record_news(self, day_start: int, pane_start: int, scope: Scope) -> None:
        self._news.setdefault(day_start, defaultdict(set))[pane_start].add(scope)

    def news(self, start: int, end: int, *, day_start: int) -> set[Scope]:
        """Return the scopes in which an event or a sum of the day was first seen in [start, end).

        Such a scope may have no events there any more, because a report can be retracted.
        """
        by_pane: Mapping[int, set[Scope]] = self._news.get(day_start, {})
        panes: Sequence[int] = range(max(start, day_start), end, PANE_MS)
        if len(panes) > len(by_pane):
            panes = [pane_start for pane_start in by_pane if start <= pane_start < end]
        return set().union(*(by_pane.get(pane_start, ()) for pane_start in panes))

    def expire(self, *, day_start: int) -> None:
        """Drop the days more than `KEPT_DAYS` before the one that begins at ``day_start``."""
        self._forgotten_before_ms = day_start - KEPT_DAYS * DAY_MS
        for day in [day for day in self._days if day < self._forgotten_before_ms]:
            del self._days[day]
            self._written.pop(day, None)
            self._news.pop(day, None)

    def to_wire(self) -> list[msgspec.Raw]:
        """Return the days to be saved; only those that changed are encoded again."""
        for day, rows in self._days.items():
            if day not in self._written:
                self._written[day] = msgspec.Raw(_encode((day, _on_wire(rows))))
        return [self._written[day] for day in self._days]


def _on_wire(rows: Mapping[Scope, list[int]]) -> list[SeenScope]:
    return [
        SeenScope(scope.kind, scope.campaign, scope.channel, firsts, scope.region, scope.segment)
        for scope, firsts in rows.items()
    ]
