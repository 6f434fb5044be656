"""Cells by campaign and channel in buckets of 10 s, a minute and a quarter of an hour.

A delta is added to the three buckets that hold its pane at once, so that late
data need nothing special, and a long window is the sum of a few coarse buckets
and the fine ones at its edges. Every bucket remembers the offset of the report
it last took, so that a replay adds nothing twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

import msgspec

from models.measures import Cell, CellKey, CellWire
from models.scopes import Scope, scopes_of
from models.windows import DAY_MS, HOUR_MS, MINUTE_MS, PANE_MS
from streams.kpis.ledger import PanesWire

QUARTER_MS = 15 * MINUTE_MS
"""Offsets from UTC are whole quarters of an hour, so days are sums of them."""

LEVELS = (PANE_MS, MINUTE_MS, QUARTER_MS)

KEPT_MS = (25 * MINUTE_MS, 2 * HOUR_MS + 30 * MINUTE_MS, DAY_MS + 3 * HOUR_MS)
"""How long before the frontier the buckets of a level are kept: their longest
window, its edge, and the longest correction horizon of the default settings."""


LONGEST_FINE_MS = 5 * MINUTE_MS + PANE_MS
"""The longest window that closes every pane, and one pane."""


FROZEN_AFTER_MS = (LONGEST_FINE_MS + PANE_MS, QUARTER_MS + MINUTE_MS, 2 * QUARTER_MS)
"""So long after its end a bucket of a level is seldom looked at: it is kept as bytes."""


class Bucket:
    """The cells of one stretch of time.

    A frozen bucket holds them as the bytes that are stored, which is a tenth of
    their size as objects.
    """

    __slots__ = ("_cells", "_frozen", "dirty", "offset")

    def __init__(self) -> None:
        self._cells: defaultdict[CellKey, Cell] | None = defaultdict(Cell)
        self._frozen = b""
        self.offset = -1
        self.dirty = False

    @property
    def cells(self) -> defaultdict[CellKey, Cell]:
        """The cells, to be added to."""
        if self._cells is None:
            self._cells = _cells_from(_decode(self._frozen))
            self._frozen = b""
        return self._cells

    def rows(self) -> Iterable[tuple[CellKey, Cell]]:
        """Return the cells, only to be read."""
        cells = _cells_from(_decode(self._frozen)) if self._cells is None else self._cells
        return cells.items()

    @property
    def frozen(self) -> bool:
        """Whether it is kept as bytes."""
        return self._cells is None

    def freeze(self) -> None:
        """Keep it as bytes from now on."""
        self._frozen = self.to_bytes()
        self._cells = None

    def to_bytes(self) -> bytes:
        """Write it as it is stored."""
        if self._cells is None:
            return self._frozen
        rows = [
            (campaign, channel, cell.to_wire()) for (campaign, channel), cell in self._cells.items()
        ]
        return _encode(_BucketWire(self.offset, rows))

    @classmethod
    def from_bytes(cls, data: bytes) -> Bucket:
        """Read what `to_bytes` wrote."""
        wire = _decode(data)
        bucket = cls()
        bucket.offset = wire.offset
        bucket._cells = _cells_from(wire)
        return bucket


class _BucketWire(msgspec.Struct, array_like=True):
    offset: int
    cells: list[tuple[str, str, CellWire]]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_BucketWire).decode


def _cells_from(wire: _BucketWire) -> defaultdict[CellKey, Cell]:
    cells: defaultdict[CellKey, Cell] = defaultdict(Cell)
    for campaign, channel, cell in wire.cells:
        cells[campaign, channel] = Cell.from_wire(cell)
    return cells


class Buckets:
    """All cells that windows may still need."""

    def __init__(self) -> None:
        self._levels: tuple[dict[int, Bucket], ...] = ({}, {}, {})
        self._expired: list[bytes] = []

    def apply(self, panes: PanesWire, *, undo: PanesWire, at_offset: int) -> None:
        """Take ``undo`` back and add ``panes``, unless this offset was applied before."""
        touched: list[Bucket] = []
        for start, campaign, channel, wire in _rows(undo):
            cell = Cell.from_wire(wire)
            for bucket in self._holding(start, at_offset, touched):
                bucket.cells[campaign, channel].subtract_sums(cell)
        for start, campaign, channel, wire in _rows(panes):
            cell = Cell.from_wire(wire)
            for bucket in self._holding(start, at_offset, touched):
                bucket.cells[campaign, channel].merge(cell)
        for bucket in touched:
            bucket.offset = at_offset
            bucket.dirty = True

    def _holding(self, start: int, at_offset: int, touched: list[Bucket]) -> Iterator[Bucket]:
        for step, buckets in zip(LEVELS, self._levels, strict=True):
            aligned = start - start % step
            bucket = buckets.get(aligned)
            if bucket is None:
                bucket = buckets[aligned] = Bucket()
            if bucket.offset < at_offset:
                touched.append(bucket)
                yield bucket

    def cover(self, start: int, end: int) -> Iterator[Bucket]:
        """Yield the buckets that together are [start, end), coarse where possible."""
        at = start
        while at < end:
            for level in (2, 1, 0):
                step = LEVELS[level]
                if at % step == 0 and at + step <= end:
                    bucket = self._levels[level].get(at)
                    if bucket is not None:
                        yield bucket
                    at += step
                    break
            else:  # pragma: no cover - ends and starts are multiples of a pane
                raise ValueError(f"[{start}, {end}) is not made of panes")

    def totals(self, start: int, end: int) -> dict[Scope, Cell]:
        """Return each scope's cell over [start, end); they are only to be read."""
        parts: defaultdict[CellKey, list[Cell]] = defaultdict(list)
        for bucket in self.cover(start, end):
            for key, cell in bucket.rows():
                parts[key].append(cell)
        scoped: defaultdict[Scope, list[Cell]] = defaultdict(list)
        for (campaign, channel), cells in parts.items():
            total = Cell.total(cells)
            for scope in scopes_of(campaign=campaign, channel=channel):
                scoped[scope].append(total)
        return {scope: Cell.total(cells) for scope, cells in scoped.items()}

    def oldest_kept(self, frontier_ms: int) -> int:
        """Return the start of the oldest pane whose windows can still be corrected.

        They reach back further than the pane, by the longest of fine panes.
        """
        return frontier_ms - KEPT_MS[0] + LONGEST_FINE_MS

    def panes_after(self, frontier_ms: int) -> int:
        """Return how many panes have events and end after the frontier."""
        return sum(start + PANE_MS > frontier_ms for start in self._levels[0])

    def expire(self, frontier_ms: int) -> None:
        """Forget what no window will need, and freeze what is seldom looked at."""
        for level, (buckets, kept_ms) in enumerate(zip(self._levels, KEPT_MS, strict=True)):
            limit = frontier_ms - kept_ms
            # Buckets are mostly in order of time, but late ones may come after.
            for start in [start for start in buckets if start < limit]:
                del buckets[start]
                self._expired.append(_key(level, start))
            cold = frontier_ms - LEVELS[level] - FROZEN_AFTER_MS[level]
            for start, bucket in buckets.items():
                if start < cold and not bucket.frozen and not bucket.dirty:
                    bucket.freeze()

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
            self._levels[int(level)][int(start)] = Bucket.from_bytes(data)

    def __len__(self) -> int:
        """Return how many buckets are held."""
        return sum(len(buckets) for buckets in self._levels)


def _rows(panes: PanesWire) -> Iterator[tuple[int, str, str, CellWire]]:
    for start, cells in panes.items():
        for campaign, channel, wire in cells:
            yield start, campaign, channel, wire


def _key(level: int, start: int) -> bytes:
    return b"bucket/%d/%d" % (level, start)
