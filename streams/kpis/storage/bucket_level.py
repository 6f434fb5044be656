"""The buckets of one length, by their start.

After months of history were read at once there are tens of thousands of buckets. Heaps of starts
find the oldest bucket, and the buckets that are to be spilled, without a scan of all of them.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator

from streams.kpis.storage.bucket import Bucket


class BucketLevel(dict[int, Bucket]):
    """Buckets by their start, in ms of event time.

    Add buckets with `put`: item assignment does not update the heaps.
    """

    def __init__(self) -> None:
        super().__init__()
        self._by_age: list[int] = []
        self._in_memory: list[int] = []
        """Heap of the starts of buckets in memory, which may have to be spilled."""
        self._dirty: list[int] = []
        """Starts of buckets that are old enough to be spilled, but must be stored first."""

    def put(self, start: int, bucket: Bucket) -> None:
        """Add a bucket."""
        self[start] = bucket
        heapq.heappush(self._by_age, start)
        if not bucket.spilled:
            heapq.heappush(self._in_memory, start)

    def loaded(self, start: int) -> None:
        """Record that a spilled bucket is loaded into memory again."""
        heapq.heappush(self._in_memory, start)

    def stored(self) -> None:
        """Record that all changed buckets were written to segments: they may be spilled now."""
        for start in self._dirty:
            heapq.heappush(self._in_memory, start)
        self._dirty = []

    @property
    def oldest(self) -> int | None:
        """The start of the oldest bucket, in ms; None if there are no buckets."""
        while self._by_age and self._by_age[0] not in self:
            heapq.heappop(self._by_age)
        return self._by_age[0] if self._by_age else None

    def older_than(self, limit: int, *, kept: Callable[[int], bool]) -> Iterator[int]:
        """Yield the starts of expired buckets, the oldest first; the caller removes each of them.

        Args:
            limit: buckets that start before it, in ms of event time, have expired.
            kept: returns whether the bucket with that start is kept nevertheless.
        """
        passed: list[int] = []
        while (start := self.oldest) is not None and start < limit:
            heapq.heappop(self._by_age)
            if kept(start):
                passed.append(start)
            else:
                yield start
        for start in passed:
            heapq.heappush(self._by_age, start)

    def to_spill(self, limit: int) -> Iterator[Bucket]:
        """Yield the buckets to be spilled: in memory, without changes that are not stored yet.

        Args:
            limit: only buckets that start before it, in ms of event time.
        """
        while self._in_memory and self._in_memory[0] < limit:
            start = heapq.heappop(self._in_memory)
            bucket = self.get(start)
            if bucket is None or bucket.spilled:
                continue
            if bucket.dirty:
                self._dirty.append(start)
            else:
                yield bucket
