"""The cells of frozen buckets, as bytes in the cold store; those that were read last as columns."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import MutableMapping

from streams.kpis.columnar.cell_columns import CellColumns
from streams.kpis.columnar.facet_index import FacetIndex
from streams.kpis.storage import bucket_codec

Spill = MutableMapping[bytes, bytes]
"""Where frozen buckets are kept, by their key."""

DECODED_ENTRIES = 1_000_000
"""So many entries of columns are kept decoded, about 16 MB: one window after another reads
mostly the same buckets."""


class SpilledBuckets:
    """Bytes of buckets by key, and their columns.

    Args:
        facets: what the rows of columns are numbered by.
        cold: keeps the bytes.
    """

    def __init__(self, facets: FacetIndex, cold: Spill) -> None:
        self.facets = facets
        self._cold = cold
        self._decoded: OrderedDict[bytes, CellColumns] = OrderedDict()
        self._entries = 0

    def put(self, key: bytes, data: bytes) -> None:
        """Keep what a bucket has."""
        self._forget(key)
        self._cold[key] = data

    def data(self, key: bytes) -> bytes:
        """Return the bytes of a bucket."""
        return self._cold[key]

    def columns(self, key: bytes) -> CellColumns:
        """Return the columns of a bucket, only to be read."""
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
        """Return the columns of a bucket and keep nothing of it."""
        columns = self.columns(key)
        self.remove(key)
        return columns

    def remove(self, key: bytes) -> None:
        """Keep nothing of a bucket, if anything was kept."""
        self._forget(key)
        self._cold.pop(key, None)

    def _forget(self, key: bytes) -> None:
        columns = self._decoded.pop(key, None)
        if columns is not None:
            self._entries -= columns.size
