"""Cells by facet in buckets of 10 s, a minute, a quarter of an hour and a business day.

A delta is added to the buckets that hold its pane at once, so that late data
need nothing special, and a long window is the sum of few coarse buckets and
the fine ones at its edges. Every bucket remembers the offset of the report it
last took, so that a replay adds nothing twice. A business day is summed up from
its quarters once it is settled: while it goes on, it would be written anew with
every checkpoint.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence

from models.cells import Cell
from models.reports import FacetCell, PanesWire
from models.scopes import Scope
from models.windows import DAY_MS, HOUR_MS, MINUTE_MS, PANE_MS, QUARTER_MS, WINDOWS, BusinessDay
from streams.kpis import stored
from streams.kpis.columns import Columns, Growing, columns_of
from streams.kpis.facets import Facets
from streams.kpis.prefixes import Prefixes, cells_by_scope

QUARTER_LEVEL, DAY_LEVEL = 2, 3
STEPS = (PANE_MS, MINUTE_MS, QUARTER_MS, DAY_MS)
"""How long a bucket of a level is; business days may be an hour off."""

_LONGEST_DAYS = max(window.days for window in WINDOWS)
KEPT_MS = (
    25 * MINUTE_MS,
    2 * HOUR_MS + 30 * MINUTE_MS,
    DAY_MS + 3 * HOUR_MS,
    (_LONGEST_DAYS + 2) * DAY_MS,
)
"""How long before the frontier the buckets of a level are kept: their longest
window, its edge, and the longest correction horizon of the default settings."""


LONGEST_FINE_MS = 5 * MINUTE_MS + PANE_MS
"""The longest window that closes every pane, and one pane."""


FROZEN_AFTER_MS = (LONGEST_FINE_MS + PANE_MS, LONGEST_FINE_MS, QUARTER_MS, QUARTER_MS)
"""So long after its end a bucket of a level is seldom looked at: it is kept in the cold store."""

SETTLED_AFTER_MS = 2 * QUARTER_MS
"""So long before a window's end its buckets do not change any more, but for very late data."""
LONG_MS = 3 * HOUR_MS
"""Longer windows that begin with a business day are summed from where they were summed before."""


Cold = MutableMapping[bytes, bytes]
"""Where frozen buckets are kept, by their key."""


class Bucket:
    """The cells of one stretch of time.

    A frozen bucket has them in the cold store, as the bytes that are stored.
    """

    __slots__ = ("_cold", "_columns", "_facets", "_key", "dirty", "offset")

    def __init__(self, key: bytes, facets: Facets, cold: Cold) -> None:
        self._key = key
        self._facets = facets
        self._cold = cold
        self._columns: Growing | None = Growing()
        self.offset = -1
        self.dirty = False

    def add(self, columns: Columns, *, at_offset: int) -> None:
        """Take what was reported at an offset."""
        if self._columns is None:
            self._columns = Growing(stored.decode(self._cold.pop(self._key), self._facets))
        self._columns.add(columns)
        self.offset = at_offset
        self.dirty = True

    def columns(self) -> Columns:
        """Return the cells, only to be read."""
        if self._columns is None:
            return stored.decode(self._cold[self._key], self._facets)
        return self._columns.whole()

    @property
    def frozen(self) -> bool:
        """Whether it is in the cold store."""
        return self._columns is None

    def freeze(self) -> None:
        """Keep it in the cold store from now on."""
        self._cold[self._key] = self.to_bytes()
        self._columns = None

    def forget(self) -> None:
        """Leave nothing in the cold store."""
        self._cold.pop(self._key, None)

    def to_bytes(self) -> bytes:
        """Write it as it is stored."""
        if self._columns is None:
            return self._cold[self._key]
        return stored.encode(self.offset, self._columns.whole(), self._facets)

    @classmethod
    def from_bytes(cls, key: bytes, data: bytes, facets: Facets, cold: Cold) -> Bucket:
        """Take up what `to_bytes` wrote; it is frozen until somebody looks at it."""
        bucket = cls(key, facets, cold)
        bucket.offset = stored.offset_in(data)
        bucket._cold[key] = data
        bucket._columns = None
        return bucket


class Buckets:
    """All cells that windows may still need.

    Args:
        day: the business day.
        cold: where buckets are kept that are seldom looked at.
    """

    def __init__(self, day: BusinessDay, cold: Cold | None = None) -> None:
        self._day = day
        self._cold: Cold = {} if cold is None else cold
        self._facets = Facets()
        self._levels: tuple[dict[int, Bucket], ...] = ({}, {}, {}, {})
        self._expired: list[bytes] = []
        self._prefixes = Prefixes(self._facets, self.cover)
        self._days_until = 0

    def apply(self, panes: PanesWire, *, undo: PanesWire, at_offset: int) -> None:
        """Take ``undo`` back and add ``panes``, unless this offset was applied before."""
        deltas = [(start, self._columns_of(cells).taken_back) for start, cells in undo.items()]
        deltas += [(start, self._columns_of(cells)) for start, cells in panes.items()]
        holding = [(delta, list(self._holding(start, at_offset))) for start, delta in deltas]
        for delta, buckets in holding:
            for bucket in buckets:
                bucket.add(delta, at_offset=at_offset)
        for start, _ in deltas:
            self._prefixes.changed(start)

    def _columns_of(self, cells: Sequence[FacetCell]) -> Columns:
        return columns_of(cells, self._facets.number)

    def _holding(self, start: int, at_offset: int) -> Iterator[Bucket]:
        """Yield the buckets that hold a pane and did not take that offset yet."""
        for level, buckets in enumerate(self._levels):
            aligned = self._aligned(level, start)
            bucket = buckets.get(aligned)
            if bucket is None:
                if level == DAY_LEVEL:
                    continue
                bucket = buckets[aligned] = Bucket(_key(level, aligned), self._facets, self._cold)
            if bucket.offset < at_offset:
                yield bucket

    def _aligned(self, level: int, time_ms: int) -> int:
        if level == DAY_LEVEL:
            return self._day.start_of(time_ms)
        return time_ms - time_ms % STEPS[level]

    def _end(self, level: int, start: int) -> int:
        return self._day.end_of(start) if level == DAY_LEVEL else start + STEPS[level]

    def cover(self, start: int, end: int) -> Iterator[Bucket]:
        """Yield the buckets that together are [start, end), coarse where possible."""
        at = start
        while at < end:
            for level in reversed(range(len(STEPS))):
                if self._aligned(level, at) == at and (after := self._end(level, at)) <= end:
                    bucket = self._levels[level].get(at)
                    if bucket is not None:
                        yield bucket
                    elif level == DAY_LEVEL:
                        continue  # not summed up, or empty: its quarters say
                    at = after
                    break
            else:  # pragma: no cover - ends and starts are multiples of a pane
                raise ValueError(f"[{start}, {end}) is not made of panes")

    def totals(self, start: int, end: int) -> dict[Scope, Cell]:
        """Return each scope's cell over [start, end); they are only to be read."""
        scopes = self._facets.scopes
        return {scopes[row]: cell for row, cell in self._by_scope(start, end).items()}

    def _by_scope(self, start: int, end: int) -> Mapping[int, Cell]:
        if end - start > LONG_MS and self._day.start_of(start) == start:
            settled = end - SETTLED_AFTER_MS
            return self._prefixes.cells(start, settled - settled % QUARTER_MS, end)
        growing = Growing()
        for bucket in self.cover(start, end):
            growing.add(bucket.columns())
        return cells_by_scope(growing, self._facets)

    def oldest_kept(self, frontier_ms: int) -> int:
        """Return the start of the oldest pane whose windows can still be corrected.

        They reach back further than the pane, by the longest of fine panes.
        """
        return frontier_ms - KEPT_MS[0] + LONGEST_FINE_MS

    def panes(self) -> Iterable[int]:
        """Return the starts of the panes that are kept."""
        return self._levels[0].keys()

    def panes_after(self, frontier_ms: int) -> int:
        """Return how many panes have events and end after the frontier."""
        return sum(start + PANE_MS > frontier_ms for start in self._levels[0])

    def expire(self, frontier_ms: int) -> None:
        """Sum up days, forget what no window will need, freeze what is seldom looked at."""
        self._sum_up_days(before=frontier_ms - SETTLED_AFTER_MS)
        for level, (buckets, kept_ms) in enumerate(zip(self._levels, KEPT_MS, strict=True)):
            limit = frontier_ms - kept_ms
            # Buckets are mostly in order of time, but late ones may come after.
            for start in [start for start in buckets if start < limit]:
                buckets.pop(start).forget()
                self._expired.append(_key(level, start))
            cold = frontier_ms - STEPS[level] - FROZEN_AFTER_MS[level]
            for start, bucket in buckets.items():
                if start < cold and not bucket.frozen and not bucket.dirty:
                    bucket.freeze()
        self._prefixes.expire()

    def take_segments(self) -> Iterator[tuple[bytes, bytes | None]]:
        """Yield the buckets changed since the last call, and the expired ones."""
        for key in self._expired:
            yield key, None
        self._expired = []
        for level, buckets in enumerate(self._levels):
            for start, bucket in buckets.items():
                if bucket.dirty:
                    bucket.dirty = False
                    yield _key(level, start), bucket.to_bytes()

    def restore(self, segments: dict[bytes, bytes]) -> None:
        """Take up saved buckets."""
        for key, data in segments.items():
            _, level, start = key.split(b"/")
            self._levels[int(level)][int(start)] = Bucket.from_bytes(
                key, data, self._facets, self._cold
            )

    def _sum_up_days(self, *, before: int) -> None:
        """Make the days that ended before that time, from their quarters."""
        if before < self._days_until:
            return
        days = self._levels[DAY_LEVEL]
        ended: defaultdict[int, list[Bucket]] = defaultdict(list)
        for start, quarter in self._levels[QUARTER_LEVEL].items():
            if self._day.end_of(start) <= before:
                ended[self._day.start_of(start)].append(quarter)
        for day, quarters in ended.items():
            if day in days:
                continue
            bucket = days[day] = Bucket(_key(DAY_LEVEL, day), self._facets, self._cold)
            for quarter in quarters:
                bucket.add(quarter.columns(), at_offset=max(bucket.offset, quarter.offset))
        self._days_until = self._day.end_of(before)

    def days_whole_from(self) -> int:
        """Return from when on days are whole in a state that kept quarters only; 0 if empty."""
        return min((self._day.end_of(start) for start in self._levels[QUARTER_LEVEL]), default=0)

    def __len__(self) -> int:
        """Return how many buckets are held."""
        return sum(len(buckets) for buckets in self._levels)


def _key(level: int, start: int) -> bytes:
    return b"bucket/%d/%d" % (level, start)
