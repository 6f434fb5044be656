"""The buckets of one length, which knows the oldest of them and those that are to be frozen.

When months of history were read at once there are tens of thousands of buckets: none of
these questions goes through all of them.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator

from streams.kpis.storage.bucket import Bucket


class BucketLevel(dict[int, Bucket]):
    """Buckets by their start; `put` them."""

    def __init__(self) -> None:
        super().__init__()
        self._by_age: list[int] = []
        self._in_memory: list[int] = []
        """Starts of buckets that may have to be frozen, the oldest first."""
        self._dirty: list[int] = []
        """Starts of those that are old enough to be frozen, but must be stored first."""

    def put(self, start: int, bucket: Bucket) -> None:
        """Hold a bucket."""
        self[start] = bucket
        heapq.heappush(self._by_age, start)
        if not bucket.frozen:
            heapq.heappush(self._in_memory, start)

    def thawed(self, start: int) -> None:
        """Note that a bucket is in memory again."""
        heapq.heappush(self._in_memory, start)

    def stored(self) -> None:
        """Note that all buckets were stored."""
        for start in self._dirty:
            heapq.heappush(self._in_memory, start)
        self._dirty = []

    @property
    def oldest(self) -> int | None:
        """The start of the oldest bucket; None if there is none."""
        while self._by_age and self._by_age[0] not in self:
            heapq.heappop(self._by_age)
        return self._by_age[0] if self._by_age else None

    def older_than(self, limit: int, *, kept: Callable[[int], bool]) -> Iterator[int]:
        """Yield the starts before a limit, to be removed, but for those that are kept."""
        passed: list[int] = []
        while (start := self.oldest) is not None and start < limit:
            heapq.heappop(self._by_age)
            if kept(start):
                passed.append(start)
            else:
                yield start
        for start in passed:
            heapq.heappush(self._by_age, start)

    def to_freeze(self, limit: int) -> Iterator[Bucket]:
        """Yield the buckets that start before a limit, are in memory, and are stored."""
        while self._in_memory and self._in_memory[0] < limit:
            start = heapq.heappop(self._in_memory)
            bucket = self.get(start)
            if bucket is None or bucket.frozen:
                continue
            if bucket.dirty:
                self._dirty.append(start)
            else:
                yield bucket
