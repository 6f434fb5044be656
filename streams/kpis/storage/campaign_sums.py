"""What campaigns had since moments of their own: what is settled of it is summed once.

A stage so far starts where it started a minute ago. What else buckets hold is left out
before it is added up: that is most of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from models.window import HOUR_MS
from streams.engine.steps import Steps
from streams.kpis.columnar.cell_columns import GrowingColumns
from streams.kpis.columnar.facet_index import FacetIndex
from streams.kpis.storage.running_sums import Cover

KEPT_MS = HOUR_MS
"""A sum that was not asked for so long is forgotten."""


@dataclass(slots=True)
class _Settled:
    """The sum up to a moment, by facet."""

    end: int
    asked_ms: int = 0
    sums: GrowingColumns = field(default_factory=GrowingColumns)


class CampaignSums:
    """The sums of campaigns and their channels, by facet.

    Args:
        facets: what they are numbered by.
        cover: finds the buckets.
    """

    def __init__(self, facets: FacetIndex, cover: Cover) -> None:
        self._facets = facets
        self._cover = cover
        self._settled: dict[tuple[int, frozenset[str]], _Settled] = {}
        self._newest_end = 0

    def over(
        self, campaigns: Collection[str], start: int, settled: int, end: int
    ) -> Steps[GrowingColumns]:
        """Return what campaigns had over [start, end), which is settled up to a moment."""
        key = start, frozenset(campaigns)
        known = self._settled.get(key)
        if known is None or known.end > settled:
            known = self._settled[key] = _Settled(start)
        yield from self._add(known.sums, campaigns, known.end, settled)
        known.end, known.asked_ms = settled, end
        self._newest_end = max(self._newest_end, settled)
        growing = GrowingColumns(known.sums.whole())
        yield from self._add(growing, campaigns, settled, end)
        return growing

    def _add(
        self, growing: GrowingColumns, campaigns: Collection[str], start: int, end: int
    ) -> Steps[None]:
        rows = self._facets.of_campaigns(campaigns)
        for bucket in self._cover(start, end):
            columns = bucket.columns()
            if len(rows) < len(self._facets.named):  # it had facets that were not seen before
                rows = self._facets.of_campaigns(campaigns)
            growing.add(columns.by(rows))
            yield

    def changed(self, time_ms: int) -> None:
        """Forget the sums that hold that time."""
        if time_ms < self._newest_end:
            self._keep(lambda start, known: not start <= time_ms < known.end)

    def expire(self, frontier_ms: int, *, oldest_ms: int) -> None:
        """Forget the sums that nobody asks for, and those that can't be added to any more.

        Args:
            frontier_ms: event time up to which everything is complete.
            oldest_ms: from when on buckets are kept as finely as sums end.
        """
        self._keep(
            lambda _, known: known.end >= oldest_ms and known.asked_ms >= frontier_ms - KEPT_MS
        )

    def _keep(self, wanted: Callable[[int, _Settled], bool]) -> None:
        for key in [key for key, known in self._settled.items() if not wanted(key[0], known)]:
            del self._settled[key]
