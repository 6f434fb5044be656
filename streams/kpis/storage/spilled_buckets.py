"""Spilled buckets: their encoded bytes, and an LRU cache of decoded columns."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import MutableMapping

from streams.kpis.columnar.cell_columns import CellColumns
from streams.kpis.columnar.facet_index import FacetIndex
from streams.kpis.storage import bucket_codec

Spill = MutableMapping[bytes, bytes]
"""Encoded buckets by key: a `DiskCache`, or a dict in tests."""

DECODED_ENTRIES = 1_000_000
"""The size of the cache of decoded columns, in entries; about 16 MB. Consecutive windows read
mostly the same buckets."""


class SpilledBuckets:
    """The encoded buckets by key, with the most recently read ones decoded.

    Args:
        facets: the numbering of the rows of columns.
        spill: stores the bytes.
    """

    def __init__(self, facets: FacetIndex, spill: Spill) -> None:
        self.facets = facets
        self._cold = spill
        self._decoded: OrderedDict[bytes, CellColumns] = OrderedDict()
        self._entries = 0

    def put(self, key: bytes, data: bytes) -> None:
        """Store the bytes of a bucket, in place of any earlier ones."""
        self._forget(key)
        self._cold[key] = data

    def data(self, key: bytes) -> bytes:
        """Return the bytes of a bucket.

        Raises:
            KeyError: the bucket is not spilled.
        """
        return self._cold[key]

    def columns(self, key: bytes) -> CellColumns:
        """Return the columns of a bucket. Callers must not modify them.

        Raises:
            KeyError: the bucket is not spilled.
        """
        known = self._decoded.get(key)
        if known is not None:
            self._decoded.move_to_end(key)
            return known
        columns = bucket_codec.decode(self._cold[key], self.facets)
        self._decoded[key] = columns
        self._entries += columns.size
        while self._entries > DECODED_ENTRIES and len(self._decoded) > 1:
            self._forget(next(iter(self._decoded)))
        return columns

    def take(self, key: bytes) -> CellColumns:
        """Return the columns of a bucket and remove it.

        Raises:
            KeyError: the bucket is not spilled.
        """
        columns = self.columns(key)
        self.remove(key)
        return columns

    def remove(self, key: bytes) -> None:
        """Remove a bucket, if it is spilled."""
        self._forget(key)
        self._cold.pop(key, None)

    def _forget(self, key: bytes) -> None:
        columns = self._decoded.pop(key, None)
        if columns is not None:
            self._entries -= columns.size
