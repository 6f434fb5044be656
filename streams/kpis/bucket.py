"""The cells of one stretch of time, in memory or in the cold store."""

from __future__ import annotations

from collections.abc import MutableMapping

from streams.kpis import stored
from streams.kpis.columns import Columns, Growing
from streams.kpis.facets import Facets

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
