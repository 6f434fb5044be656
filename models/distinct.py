"""Distinct users: exact up to a limit, a HyperLogLog sketch above it.

The sketch is Apache DataSketches' HLL with 4,096 registers of 4 bits, 2 KiB: a
relative standard error of 1.04/sqrt(4096) = 1.6 %, for unions too (Flajolet,
Fusy, Gandouet, Meunier: "HyperLogLog", 2007). Users are known by a 64-bit hash
only.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable

import datasketches
import xxhash

EXACT_LIMIT = 1_024
"""Up to so many users are counted exactly and held as a set of hashes."""

_LOG2_REGISTERS = 12
_KIND = datasketches.tgt_hll_type.HLL_4
_EXACT = b"\x00"
_THETA = b"\x01"
"""What versions before 0.2 wrote: a theta sketch. It is read, and never written."""
_SKETCH = b"\x02"


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
        self._sketch: datasketches.hll_sketch | None = None
        self._union: datasketches.hll_union | None = None
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
            return _SKETCH + bytes(self._as_sketch().serialize_compact())
        if not self._hashes:
            return b""
        return _EXACT + array("Q", self._hashes).tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Distinct:
        """Read what `to_bytes` wrote."""
        distinct = cls()
        if data[:1] == _SKETCH:
            distinct._sketch = datasketches.hll_sketch.deserialize(data[1:])
        elif data[:1] == _THETA:
            distinct._sketch = _sketch_of_theta(data[1:])
        elif data:
            hashes = array("Q")
            hashes.frombytes(data[1:])
            distinct._hashes = set(hashes)
        return distinct

    def _compress(self) -> None:
        self._sketch = _sketch_of_many(self._hashes)
        self._hashes = set()

    def _as_union(self) -> datasketches.hll_union:
        if self._union is None:
            held = _sketch_of(self._hashes) if self._sketch is None else self._sketch
            self._union = datasketches.hll_union(_LOG2_REGISTERS)
            self._union.update(held)
            self._sketch = None
            self._hashes = set()
        return self._union

    def _as_sketch(self) -> datasketches.hll_sketch:
        if self._union is not None:
            self._sketch = self._union.get_result(_KIND)
            self._union = None
        return self._sketch


def _sketch_of(users: Iterable[int]) -> datasketches.hll_sketch:
    sketch = datasketches.hll_sketch(_LOG2_REGISTERS, _KIND)
    for user in users:
        sketch.update(user)
    return sketch


def _sketch_of_many(users: Iterable[int]) -> datasketches.hll_sketch:
    """Return the sketch of over a thousand users, in a form that their order does not change.

    A sketch that was filled one by one estimates by the history of its filling,
    the union of two by its registers only.
    """
    listed = list(users)
    union = datasketches.hll_union(_LOG2_REGISTERS)
    half = len(listed) // 2
    union.update(_sketch_of(listed[:half]))
    union.update(_sketch_of(listed[half:]))
    return union.get_result(_KIND)


def _sketch_of_theta(data: bytes) -> datasketches.hll_sketch:
    """Read a theta sketch: its sample of hashes stands for all, each for as many as it should.

    Sketches of the same users sample the same hashes, so unions of what is read
    still overlap where users do.
    """
    theta = datasketches.compact_theta_sketch.deserialize(data)
    weight = 1.0 / theta.theta
    users: list[int] = []
    for hashed in theta:
        # The fraction of the weight, by a lot that the hash itself draws.
        copies = int(weight + (hashed & 0xFFFFF) / (1 << 20))
        users.extend(hash_user(b"%d/%d" % (hashed, copy)) for copy in range(copies))
    return _sketch_of_many(users)
