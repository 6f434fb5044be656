"""Sums of all traffic and sales over stretches of business days, such as a campaign's run so far.

They are asked for at every close of the all-time window, from the first day of each campaign on. So
the sum of each whole day is kept, that of the whole days of a stretch, and of each day that a
stretch ends in, the sum up to there, which is extended as time goes on.

Example: a campaign runs since Monday, and it is Thursday 12:15.
    since its start    [Mon, Thu) of three whole days, and [Thu, Thu 12:15) extended from 12:00
    before             [Thu, Sun) of last week, three whole days, and [Sun, Sun 12:15) extended
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from models.aggregates.cell import Cell
from models.window import BusinessDay
from streams.engine.steps import Steps
from streams.kpis.columnar.cell_columns import NOTHING, CellColumns, together_in_steps
from streams.kpis.columnar.facet_index import FacetIndex
from streams.kpis.storage.running_sums import Cover

KEPT = 200
"""The number kept of days, of stretches of days, and of beginnings of days; each is some 50 kB."""


@dataclass(frozen=True, slots=True)
class _Beginning:
    """The sum of a business day up to an event time in ms, a settled part of it."""

    until: int
    columns: CellColumns = NOTHING


_Key = TypeVar("_Key")
_Kept = TypeVar("_Kept")


class TrafficByDay:
    """The cells of everything, by business day.

    Args:
        facets: the numbering of facets.
        cover: finds the buckets of a stretch of time.
        day: where business days begin and end.
    """

    def __init__(self, facets: FacetIndex, cover: Cover, day: BusinessDay) -> None:
        self._facets = facets
        self._cover = cover
        self._day = day
        self._days: dict[int, CellColumns] = {}
        self._stretches: dict[tuple[int, int], CellColumns] = {}
        self._beginnings: dict[int, _Beginning] = {}

    def over(self, start: int, end: int, *, settled: int) -> Steps[Cell]:
        """Return the cell of everything over [start, end).

        Args:
            start: the start of a business day, ms of event time.
            end: the end of the stretch, ms.
            settled: buckets that end at or before it do not change any more, save for late data.
        """
        last = self._day.start_of(end)
        parts = [(yield from self._whole_days(start, last))]
        if last < end:
            until = max(last, min(end, settled))
            parts.append((yield from self._beginning(last, until)))
            parts.append((yield from self._summed([NOTHING], until, end)))
        columns = yield from together_in_steps(parts)
        cells = yield from columns.cells()
        return cells.get(0) or Cell()

    def _whole_days(self, start: int, end: int) -> Steps[CellColumns]:
        known = self._stretches.pop((start, end), None)
        if known is None:
            parts = [NOTHING]
            at = start
            while at < end:
                parts.append((yield from self._of_day(at)))
                at = self._day.end_of(at)
            known = yield from together_in_steps(parts)
        _keep(self._stretches, (start, end), known)
        return known

    def _of_day(self, start: int) -> Steps[CellColumns]:
        known = self._days.pop(start, None)
        if known is None:
            known = yield from self._summed([NOTHING], start, self._day.end_of(start))
        _keep(self._days, start, known)
        return known

    def _beginning(self, start: int, end: int) -> Steps[CellColumns]:
        known = self._beginnings.pop(start, None)
        if known is None or known.until > end:
            known = _Beginning(start)
        columns = yield from self._summed([known.columns], known.until, end)
        _keep(self._beginnings, start, _Beginning(end, columns))
        return columns

    def _summed(self, parts: Iterable[CellColumns], start: int, end: int) -> Steps[CellColumns]:
        """Return the sum of some parts and of the buckets of [start, end), as row 0."""
        listed = [*parts]
        for bucket in self._cover(start, end):
            listed.append(bucket.columns().by(self._facets.into_all()))
            yield
        return (yield from together_in_steps(listed))

    def changed(self, time_ms: int) -> None:
        """Drop the sums that contain that event time, because late data changed it."""
        day = self._day.start_of(time_ms)
        self._days.pop(day, None)
        beginning = self._beginnings.get(day)
        if beginning is not None and time_ms < beginning.until:
            del self._beginnings[day]
        for stretch in [one for one in self._stretches if one[0] <= time_ms < one[1]]:
            del self._stretches[stretch]


def _keep(kept: dict[_Key, _Kept], key: _Key, value: _Kept) -> None:
    """Keep a value as the most recently used one, and drop the least recently used over `KEPT`."""
    kept[key] = value
    if len(kept) > KEPT:
        del kept[next(iter(kept))]
