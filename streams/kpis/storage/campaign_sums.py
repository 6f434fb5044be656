"""Running sums of some campaigns from a moment of their own, such as the start of their stage.

The window `stage` of a campaign keeps its start while it grows. The sum of its settled part is
cached, and each call adds only what was settled since, as `RunningSums` does for business days.
Facets of other campaigns are dropped before buckets are added up: they are most of the data.
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
"""A sum that was not requested for this long, in event time, is dropped."""


@dataclass(slots=True)
class _Settled:
    """The cached sum of some campaigns, by facet.

    Args:
        end: where the sum ends, ms of event time.
        asked_ms: the end of the window for which it was last requested, ms.
        sums: the cells.
    """

    end: int
    asked_ms: int = 0
    sums: GrowingColumns = field(default_factory=GrowingColumns)


class CampaignSums:
    """The sums of campaigns and their channels, by facet.

    Args:
        facets: the numbering of facets.
        cover: finds the buckets of a stretch of time.
    """

    def __init__(self, facets: FacetIndex, cover: Cover) -> None:
        self._facets = facets
        self._cover = cover
        self._settled: dict[tuple[int, frozenset[str]], _Settled] = {}
        self._newest_end = 0

    def over(
        self, campaigns: Collection[str], start: int, settled: int, end: int
    ) -> Steps[GrowingColumns]:
        """Return the cells of campaigns and their channels over [start, end), by facet.

        Args:
            campaigns: the ids of the campaigns.
            start: where the window begins, ms of event time.
            settled: buckets that end at or before it do not change any more, save for late data.
            end: where the window ends, ms.
        """
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
            if len(rows) < len(self._facets.named):  # the bucket was loaded and has new facets
                rows = self._facets.of_campaigns(campaigns)
            growing.add(columns.by(rows))
            yield

    def changed(self, time_ms: int) -> None:
        """Drop the sums that contain that event time, because late data changed it."""
        if time_ms < self._newest_end:
            self._keep(lambda start, known: not start <= time_ms < known.end)

    def expire(self, frontier_ms: int, *, oldest_ms: int) -> None:
        """Drop the sums that are not requested any more, and those that can't be continued.

        Args:
            frontier_ms: event time up to which all source partitions are complete.
            oldest_ms: from then on quarters are kept. Sums end with a quarter of an hour: one that
                ends before it can't be continued.
        """
        self._keep(
            lambda _, known: known.end >= oldest_ms and known.asked_ms >= frontier_ms - KEPT_MS
        )

    def _keep(self, wanted: Callable[[int, _Settled], bool]) -> None:
        for key in [key for key, known in self._settled.items() if not wanted(key[0], known)]:
            del self._settled[key]
