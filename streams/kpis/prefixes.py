"""Long windows that grow: their settled part is summed once, and then added to.

A business day, a week or a month so far starts where it started a minute ago.
Its buckets up to shortly before its end do not change any more, so that the sum
over them is kept, and only what was settled since is added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from streams.kpis.columns import Columns, Growing

KEPT = 4
"""Windows whose sums are kept: one of each sort that grows, and one of yesterday."""


class Summand(Protocol):
    """A bucket, to be read."""

    def columns(self) -> Columns:
        """Return the cells."""


Cover = Callable[[int, int], Iterable[Summand]]
"""Returns the buckets that together are [start, end)."""


class _Prefix:
    def __init__(self, start: int) -> None:
        self.end = start
        self.sum = Growing()


class Prefixes:
    """The sums of the settled parts of windows, by where they start."""

    def __init__(self) -> None:
        self._by_start: dict[int, _Prefix] = {}

    def up_to(self, start: int, end: int, *, cover: Cover) -> Columns | None:
        """Return the cells over [start, end), only to be read.

        None where a later end was asked before: what is over is asked seldom.
        """
        prefix = self._by_start.pop(start, None) or _Prefix(start)
        self._by_start[start] = prefix  # the latest asked is the last
        if prefix.end > end:
            return None
        for bucket in cover(prefix.end, end):
            prefix.sum.add(bucket.columns())
        prefix.end = end
        return prefix.sum.whole()

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
