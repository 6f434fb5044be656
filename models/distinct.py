"""Distinct users: exact up to a limit, a theta sketch above it.

The sketch is Apache DataSketches' theta sketch with 4,096 nominal entries: a
relative standard error of 1/sqrt(4096) = 1.6 %, and unions are exact up to it
(Dasgupta, Lang, Rhodes, Thaler: "A Framework for Estimating Stream Expression
Cardinalities", 2016). Users are known by a 64-bit hash only.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable

import datasketches
import xxhash

EXACT_LIMIT = 1_024
"""Up to so many users are counted exactly and held as a set of hashes."""

_LOG2_ENTRIES = 12
_EXACT = b"\x00"
_SKETCH = b"\x01"


hash_user: Callable[[bytes], int] = xxhash.xxh3_64_intdigest
"""Returns the 64-bit hash under which a user's id, in UTF-8, is counted."""


class Distinct:
    """A mergeable count of distinct users.

    Merging is associative, commutative and idempotent; at or below
    `EXACT_LIMIT` the estimate is exact.
    """

    __slots__ = ("_hashes", "_sketch", "_union")

    # Exactly one of three holds the users: the set of hashes, a sketch, or a
    # union that is being added to. Taking the result out of a union is the
    # costly step, so it waits until somebody asks.

    def __init__(self, hashes: Iterable[int] = ()) -> None:
        self._hashes: set[int] = set(hashes)
        self._sketch: datasketches.compact_theta_sketch | None = None
        self._union: datasketches.theta_union | None = None
        if len(self._hashes) > EXACT_LIMIT:
            self._compress()

    @property
    def estimate(self) -> int:
        """How many distinct users, rounded to a whole user."""
        if self.is_exact:
            return len(self._hashes)
        users: int = round(self._as_sketch().get_estimate())
        return users

    @property
    def is_exact(self) -> bool:
        """Whether the estimate is an exact count."""
        return self._sketch is None and self._union is None

    @classmethod
    def union_of(cls, parts: Iterable[Distinct]) -> Distinct:
        """Return the union of many; they stay as they are."""
        hashes: set[int] = set()
        sketched: list[Distinct] = []
        for part in parts:
            if part._hashes:
                hashes |= part._hashes
            elif part._sketch is not None or part._union is not None:
                sketched.append(part)
        distinct = cls()
        distinct._hashes = hashes
        if len(hashes) > EXACT_LIMIT:
            distinct._compress()
        for part in sketched:
            distinct.merge(part)
        return distinct

    def merge(self, other: Distinct) -> None:
        """Count the other's users too; the other stays as it is."""
        if other._sketch is None and other._union is None:
            if not other._hashes:
                return
            if self._sketch is None and self._union is None:
                self._hashes |= other._hashes
                if len(self._hashes) > EXACT_LIMIT:
                    self._compress()
                return
        union = self._as_union()
        union.update(_sketch_of(other._hashes) if other.is_exact else other._as_sketch())

    def to_bytes(self) -> bytes:
        """Serialise; empty is zero bytes."""
        if not self.is_exact:
            return _SKETCH + bytes(self._as_sketch().serialize())
        if not self._hashes:
            return b""
        return _EXACT + array("Q", self._hashes).tobytes()

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
        self._sketch = _sketch_of(self._hashes)
        self._hashes = set()

    def _as_union(self) -> datasketches.theta_union:
        if self._union is None:
            held = _sketch_of(self._hashes) if self._sketch is None else self._sketch
            self._union = datasketches.theta_union(_LOG2_ENTRIES)
            self._union.update(held)
            self._sketch = None
            self._hashes = set()
        return self._union

    def _as_sketch(self) -> datasketches.compact_theta_sketch:
        if self._union is not None:
            self._sketch = self._union.get_result(ordered=True)
            self._union = None
        return self._sketch


def _sketch_of(hashes: Iterable[int]) -> datasketches.compact_theta_sketch:
    sketch = datasketches.update_theta_sketch(_LOG2_ENTRIES)
    for hashed in hashes:
        sketch.update(hashed)
    return sketch.compact(ordered=False)
