"""Running sums: cache the sum of the settled part of long windows, and extend it.

The windows of business days and of all time keep their start for a day or longer while their end
moves on. Their buckets up to half an hour before the end are settled: they change only by late
data. The sum over settled buckets is cached, and each call adds what was settled since.

Example: the day to date at 12:05, which started at 00:00. It is settled up to 11:30.

    at     cached sum       extended by         added from buckets
    12:05  none             [00:00, 11:30) 46q  [11:30, 12:05)  2 quarters, 5 minutes
    12:06  [00:00, 11:30)   nothing             [11:30, 12:06)  2 quarters, 6 minutes
    12:15  [00:00, 11:30)   [11:30, 11:45) 1q   [11:45, 12:15)  2 quarters

An event of 09:20 that arrives at 12:06 changes the cached sum: `RunningSums.changed` drops it, and
the next call sums the day from its buckets again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from itertools import chain
from typing import Protocol

from models.window import WINDOWS
from streams.engine.steps import Steps
from streams.kpis.columnar import small_windows
from streams.kpis.columnar.cell_columns import NOTHING, CellColumns, GrowingColumns, with_news
from streams.kpis.columnar.facet_index import FacetIndex
from streams.kpis.columnar.scope_totals import Summed, summed
from streams.kpis.columnar.user_counts import NO_COUNTS

_GROWING = [window for window in WINDOWS if window.length_ms is None]
KEPT = len(_GROWING) + sum(window.days > 0 for window in _GROWING) + 2
"""The number of sums kept: one for each window that grows, one for the period before it, one for
yesterday, and one for the same day a week before."""

_PARTS = 16
"""More parts than this are merged into one, so that reading them stays fast."""


class Summand(Protocol):
    """A bucket as a source of cells."""

    def columns(self) -> CellColumns:
        """Return the cells by facet. Callers must not modify them."""


Cover = Callable[[int, int], Iterable[Summand]]
"""Returns the buckets that together cover [start, end), ms of event time."""


class RunningSum:
    """The cached sum of a window's settled part: cells by scope, and counts of distinct users.

    Recently settled buckets are collected by facet. Once they have more than `small_windows.FEW`
    entries, they are converted to scopes and merged into the sum. `end` is the event time, in ms,
    up to which buckets were added.
    """

    def __init__(self, start: int) -> None:
        self.end = start
        self._lately = GrowingColumns()
        self._columns = NOTHING
        self._user_counts = NO_COUNTS

    def extend(self, end: int, *, cover: Cover, facets: FacetIndex) -> Steps[None]:
        """Add the buckets from the present end up to the new one."""
        for bucket in cover(self.end, end):
            self._lately.add(bucket.columns())
            yield
        self.end = end
        if len(self._lately.parts) > _PARTS:
            self._lately.whole()
        if self._lately.size > small_windows.FEW:
            news = yield from facets.by_scope(self._lately.whole())
            self._lately = GrowingColumns()
            self._columns = with_news(self._columns, news)
            self._user_counts = yield from self._user_counts.with_news(news.users)

    def summed_with(
        self, others: Iterable[CellColumns], *, facets: FacetIndex, only: Collection[int] | None
    ) -> Steps[Summed]:
        """Return the cells of scopes over the cached sum and other cells.

        Args:
            others: by facet, of the buckets after `end` and beside the buckets.
            facets: the numbering of facets and scopes.
            only: the numbers of the scopes to calculate; None for all.
        """
        news = GrowingColumns()
        for columns in chain(self._lately.parts, others):
            news.add(columns)
        if not (self._columns.size or self._user_counts.users.size):
            return (yield from summed(news, facets, only=only))
        by_scope = yield from facets.by_scope(news.whole())
        users = self._user_counts.users
        settled = self._columns._replace(users=users)
        columns, fresh = self._columns, by_scope
        chosen = None if only is None else facets.chosen(only)
        if chosen is not None:
            columns, fresh = columns.of_rows(chosen), fresh.of_rows(chosen)
        yield
        counts = yield from self._user_counts.counts_with(fresh.users)
        if chosen is not None:
            counts[~chosen[: len(counts)]] = 0
        whole = with_news(columns, fresh)
        yield
        cells = yield from whole.cells_with(counts, [users, fresh.users])
        return Summed(cells, by_scope=[settled, by_scope])


class RunningSums:
    """The running sums of windows, by the start of the window.

    Args:
        facets: the numbering of facets and scopes.
        cover: finds the buckets of a stretch of time.
    """

    def __init__(self, facets: FacetIndex, cover: Cover) -> None:
        self._facets = facets
        self._cover = cover
        self._by_start: dict[int, RunningSum] = {}

    def over(
        self,
        start: int,
        settled: int,
        end: int,
        *,
        beside: CellColumns,
        only: Collection[int] | None,
    ) -> Steps[Summed]:
        """Return the cells of scopes over [start, end).

        The cached sum of ``start`` is extended to ``settled`` and kept. If it already ends after
        ``settled``, the window is summed from its buckets, without the cache; such earlier ends
        are requested seldom.

        Args:
            start: where the window begins, ms of event time.
            settled: buckets that end at or before it do not change any more, save for late data.
            end: where the window ends, ms.
            beside: cells of the window, by facet, that are not in its buckets.
            only: the numbers of the scopes to calculate; None for all.
        """
        prefix = self._by_start.pop(start, None) or RunningSum(start)
        self._by_start[start] = prefix  # moved to the end: `expire` drops the least recently used
        if prefix.end > settled:
            prefix = RunningSum(start)
        yield from prefix.extend(settled, cover=self._cover, facets=self._facets)
        after = (bucket.columns() for bucket in self._cover(settled, end))
        news = chain([beside], after)
        return (yield from prefix.summed_with(news, facets=self._facets, only=only))

    def changed(self, time_ms: int) -> None:
        """Drop the sums that contain that event time, because late data changed it."""
        for start in [
            start for start, prefix in self._by_start.items() if start <= time_ms < prefix.end
        ]:
            del self._by_start[start]

    def forget_before(self, oldest_ms: int) -> None:
        """Drop the sums that end before that event time: the quarters after them have expired."""
        for start in [start for start, prefix in self._by_start.items() if prefix.end < oldest_ms]:
            del self._by_start[start]

    def expire(self) -> None:
        """Drop all but the `KEPT` most recently used sums."""
        for start in list(self._by_start)[:-KEPT]:
            del self._by_start[start]
