"""Long windows that grow: their settled part is summed once, and then added to.

A business day, a week or a month so far starts where it started a minute ago.
Its buckets up to shortly before its end do not change any more, so that the sum
over them is kept, and only what was settled since is added.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Protocol

from streams.engine.steps import Steps
from streams.kpis.columnar import small_windows
from streams.kpis.columnar.cell_columns import NOTHING, CellColumns, GrowingColumns, with_news
from streams.kpis.columnar.facet_index import FacetIndex
from streams.kpis.columnar.scope_totals import Summed, summed
from streams.kpis.columnar.user_counts import NO_COUNTS

KEPT = 9
"""Windows whose sums are kept: one of each sort that grows, its period before, yesterday, and
the day a week before."""

_PARTS = 16
"""More than so many are merged, so that they are not gone through each time."""


class Summand(Protocol):
    """A bucket, to be read."""

    def columns(self) -> CellColumns:
        """Return the cells."""


Cover = Callable[[int, int], Iterable[Summand]]
"""Returns the buckets that together are [start, end)."""


class RunningSum:
    """The sum from the start of a window up to a moment, by scope, with how many users are in it.

    What was settled lately is kept by facet, and made a part of it when it is more than few.
    """

    def __init__(self, start: int) -> None:
        self.end = start
        self._lately = GrowingColumns()
        self._columns = NOTHING
        self._census = NO_COUNTS

    def extend(self, end: int, *, cover: Cover, facets: FacetIndex) -> Steps[None]:
        """Take what is between its end and the new one."""
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
            self._census = yield from self._census.with_news(news.users)

    def summed_with(
        self, buckets: Iterable[Summand], *, facets: FacetIndex, only: Collection[int] | None
    ) -> Steps[Summed]:
        """Return the cells of scopes, or only of some, with what comes after."""
        news = GrowingColumns()
        for columns in (*self._lately.parts, *(bucket.columns() for bucket in buckets)):
            news.add(columns)
        if not (self._columns.size or self._census.users.size):
            return (yield from summed(news, facets, only=only))
        by_scope = yield from facets.by_scope(news.whole())
        users = self._census.users
        settled = self._columns._replace(users=users)
        columns, fresh = self._columns, by_scope
        chosen = None if only is None else facets.chosen(only)
        if chosen is not None:
            columns, fresh = columns.of_rows(chosen), fresh.of_rows(chosen)
        yield
        counts = yield from self._census.counts_with(fresh.users)
        if chosen is not None:
            counts[~chosen[: len(counts)]] = 0
        whole = with_news(columns, fresh)
        yield
        cells = yield from whole.cells_with(counts, [users, fresh.users])
        return Summed(cells, by_scope=[settled, by_scope])


class RunningSums:
    """The sums of the settled parts of windows, by where they start.

    Args:
        facets: what they are numbered by.
        cover: finds the buckets.
    """

    def __init__(self, facets: FacetIndex, cover: Cover) -> None:
        self._facets = facets
        self._cover = cover
        self._by_start: dict[int, RunningSum] = {}

    def over(
        self, start: int, settled: int, end: int, *, only: Collection[int] | None
    ) -> Steps[Summed]:
        """Return the cells of scopes over [start, end), which is settled up to a moment.

        Where a later one was asked before, there is no sum to go on from: what is over is
        asked seldom.

        Args:
            start: of the stretch.
            settled: up to where it does not change any more.
            end: of the stretch.
            only: the numbers of the scopes whose cells are wanted; None wants all.
        """
        prefix = self._by_start.pop(start, None) or RunningSum(start)
        self._by_start[start] = prefix  # the latest asked is the last
        if prefix.end > settled:
            prefix = RunningSum(start)
        yield from prefix.extend(settled, cover=self._cover, facets=self._facets)
        after = self._cover(settled, end)
        return (yield from prefix.summed_with(after, facets=self._facets, only=only))

    def changed(self, time_ms: int) -> None:
        """Forget the sums that hold that time."""
        for start in [
            start for start, prefix in self._by_start.items() if start <= time_ms < prefix.end
        ]:
            del self._by_start[start]

    def forget_before(self, oldest_ms: int) -> None:
        """Forget the sums that end before that time: what follows them is not kept so finely."""
        for start in [start for start, prefix in self._by_start.items() if prefix.end < oldest_ms]:
            del self._by_start[start]

    def expire(self) -> None:
        """Forget the sums that were not asked for lately."""
        for start in list(self._by_start)[:-KEPT]:
            del self._by_start[start]
