"""Distinct users: exact up to a limit, a theta sketch above it.

The sketch is Apache DataSketches' theta sketch with 4,096 nominal entries: a
relative standard error of 1/sqrt(4096) = 1.6 %, and unions are exact up to it
(Dasgupta, Lang, Rhodes, Thaler: "A Framework for Estimating Stream Expression
Cardinalities", 2016). Users are known by a 64-bit hash only.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable

import datasketches
import xxhash

EXACT_LIMIT = 1_024
"""Up to so many users are counted exactly and held as a set of hashes."""

_LOG2_ENTRIES = 12
_EXACT = b"\x00"
_SKETCH = b"\x01"


def hash_user(user_id: str) -> int:
    """Return the 64-bit hash under which a user is counted."""
    hashed: int = xxhash.xxh3_64_intdigest(user_id.encode())
    return hashed


class Distinct:
    """A mergeable count of distinct users.

    Merging is associative, commutative and idempotent; at or below
    `EXACT_LIMIT` the estimate is exact.
    """

    __slots__ = ("_hashes", "_sketch")

    def __init__(self, hashes: Iterable[int] = ()) -> None:
        self._hashes: set[int] = set(hashes)
        self._sketch: datasketches.compact_theta_sketch | None = None
        if len(self._hashes) > EXACT_LIMIT:
            self._compress()

    @property
    def estimate(self) -> int:
        """How many distinct users, rounded to a whole user."""
        if self._sketch is None:
            return len(self._hashes)
        users: int = round(self._sketch.get_estimate())
        return users

    @property
    def is_exact(self) -> bool:
        """Whether the estimate is an exact count."""
        return self._sketch is None

    def merge(self, other: Distinct) -> None:
        """Count the other's users too; the other stays as it is."""
        if self._sketch is None and other._sketch is None:
            if other._hashes:
                self._hashes |= other._hashes
                if len(self._hashes) > EXACT_LIMIT:
                    self._compress()
            return
        if other._sketch is None and not other._hashes:
            return
        union = datasketches.theta_union(_LOG2_ENTRIES)
        union.update(self._as_sketch())
        union.update(other._as_sketch())
        self._sketch = union.get_result(ordered=True)
        self._hashes = set()

    def to_bytes(self) -> bytes:
        """Serialise; empty is zero bytes."""
        if self._sketch is not None:
            return _SKETCH + bytes(self._sketch.serialize())
        if not self._hashes:
            return b""
        return _EXACT + array("Q", sorted(self._hashes)).tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Distinct:
        """Read what `to_bytes` wrote."""
        distinct = cls()
        if data[:1] == _SKETCH:
            distinct._sketch = datasketches.compact_theta_sketch.deserialize(data[1:])
        elif data:
            hashes = array("Q")
            hashes.frombytes(data[1:])
            distinct._hashes = set(hashes)
        return distinct

    def _compress(self) -> None:
        self._sketch = self._as_sketch()
        self._hashes = set()

    def _as_sketch(self) -> datasketches.compact_theta_sketch:
        if self._sketch is not None:
            return self._sketch
        sketch = datasketches.update_theta_sketch(_LOG2_ENTRIES)
        for hashed in self._hashes:
            sketch.update(hashed)
        return sketch.compact(True)
