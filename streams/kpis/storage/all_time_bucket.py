"""The all-time bucket: everything before the days that are kept. It never expires.

Its key in the state is ``bucket/4/<until_ms>``. A crash can leave a newer all-time bucket beside
an older head, so that days that the bucket already contains are still in the state. ``until_ms``
tells which days these are, and they are not added twice.
"""

from __future__ import annotations

from collections.abc import Iterator

from streams.kpis.columnar.cell_columns import CellColumns
from streams.kpis.storage.bucket import Bucket, Segment
from streams.kpis.storage.spilled_buckets import SpilledBuckets

ALL_TIME_LEVEL = 4
_PREFIX = b"bucket/%d/" % ALL_TIME_LEVEL


class AllTimeBucket:
    """The sum of the business days that have expired.

    `until_ms` is the event time, in ms, before which everything belongs to this bucket.

    Args:
        spilled: where the bucket is spilled while nobody reads it.
    """

    def __init__(self, spilled: SpilledBuckets) -> None:
        self.until_ms = 0
        self.bucket = Bucket(_key(0), spilled)
        self._spilled = spilled
        self._stored_as: bytes | None = None

    def holds(self, time_ms: int) -> bool:
        """Return whether events of that time belong to this bucket."""
        return time_ms < self.until_ms

    def take(self, day: Bucket) -> None:
        """Add the cells of a business day."""
        self.bucket.add(day.columns(), at_offset=max(self.bucket.offset, day.offset))

    def take_costs(self, costs: CellColumns) -> None:
        """Add costs of periods that ended on a business day."""
        self.bucket.add(costs, at_offset=self.bucket.offset)

    def extend(self, until_ms: int) -> None:
        """Move the bucket's end to ``until_ms``; it never moves back."""
        self.until_ms = max(self.until_ms, until_ms)

    def spill(self) -> None:
        """Spill the bucket, unless it has changes that are not stored yet."""
        if self._stored_as is not None and not self.bucket.dirty and not self.bucket.spilled:
            self.bucket.spill()

    def take_segments(self) -> Iterator[Segment]:
        """Yield the bucket if it changed since the last call, and the removal of its former key."""
        if not self.bucket.dirty:
            return
        self.bucket.dirty = False
        key = _key(self.until_ms)
        if self._stored_as is not None and self._stored_as != key:
            yield Segment(self._stored_as)
        self._stored_as = key
        yield Segment(key, self.bucket.writer())

    def restore(self, until_ms: int, data: bytes) -> list[bytes]:
        """Restore a stored bucket, unless a newer one was restored before.

        Args:
            until_ms: the end of the bucket, from its key.
            data: the value of the segment.

        Returns:
            The keys of this bucket when it ended earlier, which are to be removed.
        """
        key = _key(until_ms)
        if until_ms < self.until_ms:
            return [key]
        older = [] if self._stored_as is None else [self._stored_as]
        self.until_ms, self._stored_as = until_ms, key
        self.bucket = Bucket.from_bytes(_key(0), data, self._spilled)
        return older


def _key(until_ms: int) -> bytes:
    return _PREFIX + b"%d" % until_ms
