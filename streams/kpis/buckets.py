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
from collections.abc import Iterable, Iterator, MutableMapping

import msgspec

from models.cells import Cell
from models.reports import FacetCell, PanesWire
from models.scopes import Facet, Scope, scopes_of
from models.windows import DAY_MS, HOUR_MS, MINUTE_MS, PANE_MS, QUARTER_MS, WINDOWS, BusinessDay
from streams.kpis.prefixes import Prefixes

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
"""Longer windows are summed from where they were summed before."""


Cold = MutableMapping[bytes, bytes]
"""Where frozen buckets are kept, by their key."""


class Bucket:
    """The cells of one stretch of time.

    A frozen bucket has them in the cold store, as the bytes that are stored.
    """

    __slots__ = ("_cells", "_cold", "_key", "dirty", "offset")

    def __init__(self, key: bytes, cold: Cold) -> None:
        self._key = key
        self._cold = cold
        self._cells: defaultdict[Facet, Cell] | None = defaultdict(Cell)
        self.offset = -1
        self.dirty = False

    @property
    def cells(self) -> defaultdict[Facet, Cell]:
        """The cells, to be added to."""
        if self._cells is None:
            self._cells = _cells_from(_decode(self._cold.pop(self._key)))
        return self._cells

    def rows(self) -> Iterable[tuple[Facet, Cell]]:
        """Return the cells, only to be read."""
        if self._cells is None:
            return _cells_from(_decode(self._cold[self._key])).items()
        return self._cells.items()

    @property
    def frozen(self) -> bool:
        """Whether it is in the cold store."""
        return self._cells is None

    def freeze(self) -> None:
        """Keep it in the cold store from now on."""
        self._cold[self._key] = self.to_bytes()
        self._cells = None

    def forget(self) -> None:
        """Leave nothing in the cold store."""
        self._cold.pop(self._key, None)

    def to_bytes(self) -> bytes:
        """Write it as it is stored."""
        if self._cells is None:
            return self._cold[self._key]
        rows = [
            FacetCell(facet.campaign, facet.channel, cell.to_wire(), facet.region, facet.segment)
            for facet, cell in self._cells.items()
        ]
        return _encode(_BucketWire(self.offset, rows))

    @classmethod
    def from_bytes(cls, key: bytes, data: bytes, cold: Cold) -> Bucket:
        """Take up what `to_bytes` wrote; it is frozen until somebody looks at it."""
        bucket = cls(key, cold)
        bucket.offset = _decode_offset(data).offset
        bucket._cold[key] = data
        bucket._cells = None
        return bucket


class _BucketWire(msgspec.Struct, array_like=True):
    offset: int
    cells: list[FacetCell]


class _Offset(msgspec.Struct, array_like=True):
    """The head of what is stored of a bucket; the rest is skipped."""

    offset: int


_decode_offset = msgspec.msgpack.Decoder(_Offset).decode
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_BucketWire).decode


def _cells_from(wire: _BucketWire) -> defaultdict[Facet, Cell]:
    cells: defaultdict[Facet, Cell] = defaultdict(Cell)
    for row in wire.cells:
        cells[row.facet] = Cell.from_wire(row.cell)
    return cells


class Buckets:
    """All cells that windows may still need.

    Args:
        day: the business day.
        cold: where buckets are kept that are seldom looked at.
    """

    def __init__(self, day: BusinessDay, cold: Cold | None = None) -> None:
        self._day = day
        self._cold: Cold = {} if cold is None else cold
        self._levels: tuple[dict[int, Bucket], ...] = ({}, {}, {}, {})
        self._expired: list[bytes] = []
        self._prefixes = Prefixes()
        self._days_until = 0

    def apply(self, panes: PanesWire, *, undo: PanesWire, at_offset: int) -> None:
        """Take ``undo`` back and add ``panes``, unless this offset was applied before."""
        touched: list[Bucket] = []
        for start, row in _rows(undo):
            cell = Cell.from_wire(row.cell)
            for bucket in self._holding(start, at_offset, touched):
                bucket.cells[row.facet].subtract(cell)
        for start, row in _rows(panes):
            cell, facet = Cell.from_wire(row.cell), row.facet
            for bucket in self._holding(start, at_offset, touched):
                bucket.cells[facet].merge(cell)
        for bucket in touched:
            bucket.offset = at_offset
            bucket.dirty = True
        for start in (*undo, *panes):
            self._prefixes.changed(start)

    def _holding(self, start: int, at_offset: int, touched: list[Bucket]) -> Iterator[Bucket]:
        for level, buckets in enumerate(self._levels):
            aligned = self._aligned(level, start)
            bucket = buckets.get(aligned)
            if bucket is None:
                if level == DAY_LEVEL:
                    continue
                bucket = buckets[aligned] = Bucket(_key(level, aligned), self._cold)
            if bucket.offset < at_offset:
                touched.append(bucket)
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
        parts: defaultdict[Facet, list[Cell]] = defaultdict(list)
        at = start
        if end - start > LONG_MS:
            settled = end - SETTLED_AFTER_MS
            settled -= settled % QUARTER_MS
            prefix = self._prefixes.up_to(start, settled, cover=self.cover)
            if prefix is not None:
                at = settled
                for facet, cell in prefix.items():
                    parts[facet].append(cell)
        for bucket in self.cover(at, end):
            for facet, cell in bucket.rows():
                parts[facet].append(cell)
        scoped: defaultdict[Scope, list[Cell]] = defaultdict(list)
        for facet, cells in parts.items():
            total = Cell.total(cells)
            for scope in scopes_of(facet):
                scoped[scope].append(total)
        return {scope: Cell.total(cells) for scope, cells in scoped.items()}

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
            self._levels[int(level)][int(start)] = Bucket.from_bytes(key, data, self._cold)

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
            bucket = days[day] = Bucket(_key(DAY_LEVEL, day), self._cold)
            for quarter in quarters:
                for facet, cell in quarter.rows():
                    bucket.cells[facet].merge(cell)
            bucket.offset = max(quarter.offset for quarter in quarters)
            bucket.dirty = True
        self._days_until = self._day.end_of(before)

    def days_whole_from(self) -> int:
        """Return from when on days are whole in a state that kept quarters only; 0 if empty."""
        return min((self._day.end_of(start) for start in self._levels[QUARTER_LEVEL]), default=0)

    def __len__(self) -> int:
        """Return how many buckets are held."""
        return sum(len(buckets) for buckets in self._levels)


def _rows(panes: PanesWire) -> Iterator[tuple[int, FacetCell]]:
    for start, cells in panes.items():
        for row in cells:
            yield start, row


def _key(level: int, start: int) -> bytes:
    return b"bucket/%d/%d" % (level, start)
