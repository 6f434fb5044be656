"""The cells of one stretch of time, in memory or in the cold store."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from streams.kpis.columnar.cell_columns import CellColumns, GrowingColumns
from streams.kpis.storage import bucket_codec
from streams.kpis.storage.spilled_buckets import SpilledBuckets


class Segment(NamedTuple):
    """A key of the stage's state that changed, and what writes its value; None removes it."""

    key: bytes
    write: Callable[[], bytes] | None = None


class Bucket:
    """The cells of one stretch of time.

    A frozen bucket has them in the cold store, as the bytes that are stored.
    """

    __slots__ = ("_columns", "_key", "_spilled", "dirty", "offset")

    def __init__(self, key: bytes, frozen: SpilledBuckets) -> None:
        self._key = key
        self._spilled = frozen
        self._columns: GrowingColumns | None = GrowingColumns()
        self.offset = -1
        self.dirty = False

    def add(self, columns: CellColumns, *, at_offset: int) -> None:
        """Take what was reported at an offset."""
        if self._columns is None:
            self._columns = GrowingColumns(self._spilled.take(self._key))
        self._columns.add(columns)
        self.offset = at_offset
        self.dirty = True

    def columns(self) -> CellColumns:
        """Return the cells, only to be read."""
        if self._columns is None:
            return self._spilled.columns(self._key)
        return self._columns.whole()

    @property
    def frozen(self) -> bool:
        """Whether it is in the cold store."""
        return self._columns is None

    def freeze(self) -> None:
        """Keep it in the cold store from now on."""
        self._spilled.put(self._key, self.to_bytes())
        self._columns = None

    def forget(self) -> None:
        """Leave nothing in the cold store."""
        if self.frozen:
            self._spilled.remove(self._key)

    def as_it_is(self) -> Callable[[], bytes]:
        """Return what writes the bucket as it is now, whatever is added to it later."""
        if self._columns is None:
            data = self._spilled.data(self._key)
            return lambda: data
        offset, parts, facets = (
            self.offset,
            GrowingColumns.of(self._columns.parts),
            self._spilled.facets,
        )
        return lambda: bucket_codec.encode(offset, parts.whole(), facets)

    def to_bytes(self) -> bytes:
        """Write it as it is stored."""
        return self.as_it_is()()

    @classmethod
    def from_bytes(cls, key: bytes, data: bytes, frozen: SpilledBuckets) -> Bucket:
        """Take up what `to_bytes` wrote; it is frozen until somebody looks at it."""
        bucket = cls(key, frozen)
        bucket.offset = bucket_codec.offset_in(data)
        frozen.put(key, data)
        bucket._columns = None
        return bucket
