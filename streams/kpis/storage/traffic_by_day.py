"""Sums of all traffic and sales over stretches of business days, such as a campaign's run so far.

They are asked for at every close of the all-time window, from the first day of each campaign on. So
the sum of each whole day is kept, that of the whole days of a stretch, and of each day that a
stretch ends in, the sum up to there, which is extended as time goes on. A stretch of whole days is
extended from a later start with the same end. Of stretches that end with a day, such as those of
campaigns that are over, the result is kept, too: they may be many, and do not change any more.

Example: a campaign runs since Monday, and it is Thursday 12:15.
    since its start    [Mon, Thu) of three whole days, and [Thu, Thu 12:15) extended from 12:00
    before             [Thu, Sun) of last week, three whole days, and [Sun, Sun 12:15) extended
A campaign that ran on Tuesday and Wednesday has [Tue, Thu), from which [Mon, Thu) is extended.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from models.aggregates.cell import Cell
from models.kpi.measures import SET_INDEX, SINCE_START, SUM_INDEX, UNIONS
from models.window import BusinessDay
from streams.engine.steps import Steps
from streams.kpis.columnar.cell_columns import NOTHING, CellColumns, together_in_steps
from streams.kpis.columnar.facet_index import FacetIndex
from streams.kpis.storage.running_sums import Cover

KEPT = 200
"""The number kept of days, of stretches of days, and of beginnings of days; each is some 50 kB."""
RESULTS_KEPT = 10_000
"""The number of results kept, some 500 bytes each: more than there are pairs of a first and a last
day with as many days before, as long as days are kept."""

Counts = Mapping[str, int]
"""The measures of all traffic that `SINCE_START` is made of, by name."""
_COUNTED = (*SUM_INDEX, *SET_INDEX, *UNIONS)
_WANTED = frozenset(measure for (measure,), _ in SINCE_START.values())


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
        self._results: dict[tuple[int, int], Counts] = {}
        self._until = 0
        """The latest end of a stretch that is kept: most events come after it."""

    def over(self, start: int, end: int, *, settled: int) -> Steps[Counts]:
        """Return the counts of everything over [start, end).

        Args:
            start: the start of a business day, ms of event time.
            end: the end of the stretch, ms.
            settled: buckets that end at or before it do not change any more, save for late data.
        """
        known = self._results.pop((start, end), None)
        if known is not None:
            _keep(self._results, (start, end), known, most=RESULTS_KEPT)
            return known
        last = self._day.start_of(end)
        parts = [(yield from self._whole_days(start, last))]
        if last < end:
            until = max(last, min(end, settled))
            parts.append((yield from self._beginning(last, until)))
            parts.append((yield from self._summed([NOTHING], until, end)))
        columns = yield from together_in_steps(parts)
        cells = yield from columns.cells()
        cell = cells.get(0) or Cell()
        counts = zip(_COUNTED, (*cell.sums, *cell.counts()), strict=True)
        found = {name: count for name, count in counts if name in _WANTED}
        if last == end <= settled:
            _keep(self._results, (start, end), found, most=RESULTS_KEPT)
        return found

    def _whole_days(self, start: int, end: int) -> Steps[CellColumns]:
        known = self._stretches.pop((start, end), None)
        if known is None:
            parts = [NOTHING]
            at = start
            while at < end and (at, end) not in self._stretches:
                parts.append((yield from self._of_day(at)))
                at = self._day.end_of(at)
            known = yield from together_in_steps([*parts, self._stretches.get((at, end), NOTHING)])
        _keep(self._stretches, (start, end), known)
        self._until = max(self._until, end)
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
        if time_ms >= self._until:
            return
        for kept in (self._stretches, self._results):
            for stretch in [one for one in kept if one[0] <= time_ms < one[1]]:
                del kept[stretch]


def _keep(kept: dict[_Key, _Kept], key: _Key, value: _Kept, *, most: int = KEPT) -> None:
    """Keep a value as the most recently used one; drop the least recently used over ``most``."""
    kept[key] = value
    if len(kept) > most:
        del kept[next(iter(kept))]
