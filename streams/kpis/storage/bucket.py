"""A bucket: the cells of one stretch of time, in memory or spilled."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from streams.kpis.columnar.cell_columns import CellColumns, GrowingColumns
from streams.kpis.storage import bucket_codec
from streams.kpis.storage.spilled_buckets import SpilledBuckets


class Segment(NamedTuple):
    """A changed key of the stage's state.

    Args:
        key: the key.
        write: returns the value to be stored; None removes the key.
    """

    key: bytes
    write: Callable[[], bytes] | None = None


class Bucket:
    """The cells of one stretch of time.

    A spilled bucket (`spilled`) has no cells in memory: `SpilledBuckets` holds its bytes as they
    are stored in the state. `offset` is that of the last record of reports that was added;
    -1 if there is none. `dirty` says that the bucket changed since it was last stored.

    Args:
        key: the bucket's key in the state.
        spilled: where it is spilled.
    """

    __slots__ = ("_columns", "_key", "_spilled", "dirty", "offset")

    def __init__(self, key: bytes, spilled: SpilledBuckets) -> None:
        self._key = key
        self._spilled = spilled
        self._columns: GrowingColumns | None = GrowingColumns()
        self.offset = -1
        self.dirty = False

    def add(self, columns: CellColumns, *, at_offset: int) -> None:
        """Add cells that were reported at an offset; a spilled bucket is loaded first."""
        if self._columns is None:
            self._columns = GrowingColumns(self._spilled.take(self._key))
        self._columns.add(columns)
        self.offset = at_offset
        self.dirty = True

    def columns(self) -> CellColumns:
        """Return the cells, merged. Callers must not modify them."""
        if self._columns is None:
            return self._spilled.columns(self._key)
        return self._columns.whole()

    @property
    def spilled(self) -> bool:
        """Whether the bucket is spilled."""
        return self._columns is None

    def spill(self) -> None:
        """Spill the bucket, and free its memory."""
        self._spilled.put(self._key, self.to_bytes())
        self._columns = None

    def forget(self) -> None:
        """Remove the bucket's spilled bytes, if there are any."""
        if self.spilled:
            self._spilled.remove(self._key)

    def writer(self) -> Callable[[], bytes]:
        """Return a function that encodes the bucket as it is now, whatever is added later."""
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
        """Encode the bucket as it is stored."""
        return self.writer()()

    @classmethod
    def from_bytes(cls, key: bytes, data: bytes, spilled: SpilledBuckets) -> Bucket:
        """Restore a bucket from the bytes of `to_bytes`. It stays spilled until cells are added."""
        bucket = cls(key, spilled)
        bucket.offset = bucket_codec.offset_in(data)
        spilled.put(key, data)
        bucket._columns = None
        return bucket
