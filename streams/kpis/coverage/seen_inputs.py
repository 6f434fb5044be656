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

KEPT_DAYS = 3
"""The number of days before the present one that are kept."""


class SeenScope(msgspec.Struct, array_like=True):
    """One scope of a day, as it is saved. Fields are appended, never reordered or removed.

    ``seen`` has, by the ms from the day's start to that of a pane, what was first seen in the pane:
    bits of `_Seen`, little-endian. States of older versions have ``firsts`` instead: the start of
    the first pane with any event, in ms, and then that of each needed sum, 2^62 for one that was
    not seen.
    """

    kind: ScopeKind
    campaign: str
    channel: str
    firsts: list[int]
    region: str = ""
    segment: str = ""
    seen: dict[int, bytes] = {}


SeenWire = tuple[int, list[SeenScope]]
"""The start of a business day, in ms, and the scopes that had an event on it."""

_Seen = dict[int, int]
"""The inputs of a scope on a day, by the pane in which they were first seen: its start in ms, and
bits. Bit 0 says that the scope had any event, bit i + 1 that it had the i-th needed sum.
No bit is set in two panes."""
_ANY_EVENT = 1
_NEVER = 2**62

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
        self._needed_sums = [
            (SUM_INDEX[name], 2 << place) for place, name in enumerate(needed) if name in SUM_INDEX
        ]
        self._needed_custom = [
            (name, 2 << place) for place, name in enumerate(needed) if name not in SUM_INDEX
        ]
        self._width_bytes = (len(needed) + 8) // 8
        bits = [
            _ANY_EVENT,
            *(2 << needed.index(name) if name in needed else 0 for name in wire_needed),
        ]
        self._days: dict[int, dict[Scope, _Seen]] = {
            day: {
                Scope(row.kind, row.campaign, row.channel, row.region, row.segment): _seen_in(
                    row, day, bits
                )
                for row in rows
            }
            for day, rows in map(_decode, wire)
        }
        self._news: dict[int, defaultdict[int, set[Scope]]] = {}
        """By day and pane, the scopes in which any event or sum was first seen."""
        for day_start, scopes in self._days.items():
            for scope, seen in scopes.items():
                for first in seen:
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
        sums = cell.sums
        width = len(sums)
        present = _ANY_EVENT
        for index, bit in self._needed_sums:
            if index < width and sums[index]:
                present |= bit
        if cell.custom_sums:
            for name, bit in self._needed_custom:
                if cell.custom_sums.get(name):
                    present |= bit
        earlier = False
        day = self._days.setdefault(day_start, {})
        for scope in scopes:
            seen = day.get(scope)
            if seen is None:
                seen = day[scope] = {}
            if news := present & ~_by(seen, pane_start):
                earlier = True
                _move(seen, news, to=pane_start)
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
            seen = day.get(scope)
            if seen is not None and (bits := _by(seen, end - 1)):
                yield scope, bits >> 1

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
                self._written[day] = msgspec.Raw(self._encoded(day, rows))
        return [self._written[day] for day in self._days]

    def _encoded(self, day: int, scopes: Mapping[Scope, _Seen]) -> bytes:
        width = self._width_bytes
        rows = [
            SeenScope(
                scope.kind,
                scope.campaign,
                scope.channel,
                [],
                scope.region,
                scope.segment,
                {first - day: bits.to_bytes(width, "little") for first, bits in seen.items()},
            )
            for scope, seen in scopes.items()
        ]
        return _encode((day, rows))


def _by(seen: _Seen, last_ms: int) -> int:
    """Return the bits that were first seen in panes that start at ``last_ms`` or before."""
    bits = 0
    for first, of_pane in seen.items():
        if first <= last_ms:
            bits |= of_pane
    return bits


def _move(seen: _Seen, bits: int, *, to: int) -> None:
    """Record that bits were first seen in a pane, which is before those that have any of them."""
    for first, of_pane in list(seen.items()):
        if of_pane & bits:
            if left := of_pane & ~bits:
                seen[first] = left
            else:
                del seen[first]
    seen[to] = seen.get(to, 0) | bits


def _seen_in(row: SeenScope, day: int, bits: Sequence[int]) -> _Seen:
    """Decode what a saved scope has seen.

    Args:
        row: the scope.
        day: the start of its day in ms.
        bits: by place in the saved state, the bit of now; 0 for sums that are no longer needed.
    """
    seen: _Seen = {}
    if row.firsts:
        for first, bit in zip(row.firsts, bits, strict=True):
            if first < _NEVER and bit:
                seen[first] = seen.get(first, 0) | bit
        return seen
    for first, stored in row.seen.items():
        saved = int.from_bytes(stored, "little")
        if now := sum(bit for place, bit in enumerate(bits) if saved >> place & 1):
            seen[day + first] = now
    return seen
