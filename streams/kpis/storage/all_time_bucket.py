"""Everything before the days that are kept, in one bucket that never expires."""

from __future__ import annotations

from collections.abc import Iterator

from streams.kpis.storage.bucket import Bucket, Segment
from streams.kpis.storage.spilled_buckets import SpilledBuckets

ALL_TIME_LEVEL = 4
_PREFIX = b"bucket/%d/" % ALL_TIME_LEVEL


class AllTimeBucket:
    """What days had that are not kept any more.

    Its key says up to when it has everything: where it is newer than the rest of a
    state, the days that it took already are still there, and must not be taken twice.
    """

    def __init__(self, frozen: SpilledBuckets) -> None:
        self.until_ms = 0
        self.bucket = Bucket(_key(0), frozen)
        self._spilled = frozen
        self._stored_as: bytes | None = None

    def holds(self, time_ms: int) -> bool:
        """Say whether events of that time belong to it."""
        return time_ms < self.until_ms

    def take(self, day: Bucket) -> None:
        """Add what a day had."""
        self.bucket.add(day.columns(), at_offset=max(self.bucket.offset, day.offset))

    def extend(self, until_ms: int) -> None:
        """Let everything before that time be its own from now on."""
        self.until_ms = max(self.until_ms, until_ms)

    def freeze(self) -> None:
        """Keep it in the cold store while nobody looks at it, once it was stored."""
        if self._stored_as is not None and not self.bucket.dirty and not self.bucket.frozen:
            self.bucket.freeze()

    def take_segments(self) -> Iterator[Segment]:
        """Yield what is to be stored since the last call."""
        if not self.bucket.dirty:
            return
        self.bucket.dirty = False
        key = _key(self.until_ms)
        if self._stored_as is not None and self._stored_as != key:
            yield Segment(self._stored_as)
        self._stored_as = key
        yield Segment(key, self.bucket.as_it_is())

    def restore(self, until_ms: int, data: bytes) -> list[bytes]:
        """Take up what was stored, if it is the newest; return the keys of what is older."""
        key = _key(until_ms)
        if until_ms < self.until_ms:
            return [key]
        older = [] if self._stored_as is None else [self._stored_as]
        self.until_ms, self._stored_as = until_ms, key
        self.bucket = Bucket.from_bytes(_key(0), data, self._spilled)
        return older


def _key(until_ms: int) -> bytes:
    return _PREFIX + b"%d" % until_ms
