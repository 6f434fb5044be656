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
import numpy as np
import numpy.typing as npt
import xxhash

EXACT_LIMIT = 1_024
"""Up to so many users are counted exactly and held as hashes."""
SET_LIMIT = 48
"""Up to so many hashes are a set, of about 70 bytes a hash; more are a sorted array, of 8."""

_LOG2_REGISTERS = 12
_KIND = datasketches.tgt_hll_type.HLL_4
_EXACT = b"\x00"
_THETA = b"\x01"
"""What versions before 0.2 wrote: a theta sketch. It is read, and never written."""
_SKETCH = b"\x02"

_Hashes = npt.NDArray[np.uint64]

hash_user: Callable[[bytes], int] = xxhash.xxh3_64_intdigest
"""Returns the 64-bit hash under which a user's id, in UTF-8, is counted."""


class Distinct:
    """A mergeable count of distinct users.

    Merging is associative, commutative and idempotent; at or below
    `EXACT_LIMIT` the estimate is exact.
    """

    __slots__ = ("_few", "_many", "_sketch", "_sketched", "_union")

    # Exactly one of three holds the users: hashes (a set of few, and beside it an
    # array of many), a sketch, or a union that is being added to. Taking the result
    # out of a union is the costly step, so it waits until somebody asks. The sketch
    # of hashes is kept beside them, because a delta is merged into several buckets.

    def __init__(self, hashes: Iterable[int] = ()) -> None:
        self._few: set[int] = set(hashes)
        self._many: _Hashes | None = None
        self._sketch: datasketches.hll_sketch | None = None
        self._union: datasketches.hll_union | None = None
        self._sketched: datasketches.hll_sketch | None = None
        self._settle()

    @property
    def estimate(self) -> int:
        """How many distinct users, rounded to a whole user."""
        if self.is_exact:
            return len(self._few) if self._many is None else len(self._hashes())
        users: int = round(self._as_sketch().get_estimate())
        return users

    @property
    def is_exact(self) -> bool:
        """Whether the estimate is an exact count."""
        return self._sketch is None and self._union is None

    @classmethod
    def union_of(cls, parts: Iterable[Distinct]) -> Distinct:
        """Return the union of many; they stay as they are."""
        listed = list(parts)
        distinct = cls()
        if all(part.is_exact for part in listed):
            for part in listed:
                distinct._few |= part._few
            many = [part._many for part in listed if part._many is not None]
            if many:
                distinct._many = many[0] if len(many) == 1 else _together(many)
            if len(distinct._few) <= SET_LIMIT and distinct._many is None:
                return distinct
            if len(distinct._hashes()) <= EXACT_LIMIT:
                return distinct
            distinct._many = None
        # The sketch of a part is made once for all unions that it is in.
        distinct._sketch = _regardless_of_order(part._as_sketch() for part in listed)
        return distinct

    def merge(self, other: Distinct) -> None:
        """Count the other's users too; the other stays as it is."""
        if not other.is_exact:
            self._as_union().update(other._as_sketch())
            return
        if other._many is None and not other._few:
            return
        if not self.is_exact:
            self._as_union().update(other._as_sketch())
            return
        self._sketched = None
        self._few |= other._few
        if other._many is not None:
            mine = self._many
            self._many = other._many if mine is None else _together([mine, other._many])
        self._settle()

    def to_bytes(self) -> bytes:
        """Serialise; empty is zero bytes."""
        if not self.is_exact:
            return _SKETCH + bytes(self._as_sketch().serialize_compact())
        if self._many is not None:
            return _EXACT + self._hashes().tobytes()
        return _EXACT + array("Q", self._few).tobytes() if self._few else b""

    @classmethod
    def from_bytes(cls, data: bytes) -> Distinct:
        """Read what `to_bytes` wrote."""
        distinct = cls()
        if data[:1] == _SKETCH:
            distinct._sketch = datasketches.hll_sketch.deserialize(data[1:])
        elif data[:1] == _THETA:
            distinct._sketch = _sketch_of_theta(data[1:])
        elif len(data) > 1 + 8 * SET_LIMIT:
            distinct._many = np.sort(np.frombuffer(data, np.uint64, offset=1))
        elif data:
            hashes = array("Q")
            hashes.frombytes(data[1:])
            distinct._few = set(hashes)
        return distinct

    def _settle(self) -> None:
        """Hold what are many in a way that takes less room."""
        if len(self._few) <= SET_LIMIT and (
            self._many is None or len(self._many) + len(self._few) <= EXACT_LIMIT
        ):
            return
        hashes = self._hashes()
        if len(hashes) > EXACT_LIMIT:
            self._sketch = _sketch_of_many(hashes.tolist())
            self._many = None

    def _hashes(self) -> _Hashes:
        """Return all hashes, sorted, and hold them so."""
        if self._few:
            few = np.fromiter(self._few, np.uint64, len(self._few))
            self._many = np.sort(few) if self._many is None else _together([self._many, few])
            self._few = set()
        return np.empty(0, np.uint64) if self._many is None else self._many

    def _as_union(self) -> datasketches.hll_union:
        if self._union is None:
            held = self._as_sketch()
            self._union = datasketches.hll_union(_LOG2_REGISTERS)
            self._union.update(held)
            self._sketch = self._sketched = self._many = None
            self._few = set()
        return self._union

    def _as_sketch(self) -> datasketches.hll_sketch:
        if self.is_exact:
            if self._sketched is None:
                many = [] if self._many is None else self._many.tolist()
                self._sketched = _sketch_of([*self._few, *many])
            return self._sketched
        if self._union is not None:
            self._sketch = self._union.get_result(_KIND)
            self._union = None
        return self._sketch


def _together(parts: list[_Hashes]) -> _Hashes:
    """Return the hashes of all parts, sorted and each once.

    Four times as fast as `numpy.unique`, which finds them by hashing.
    """
    hashes = np.concatenate(parts)
    hashes.sort()
    first = np.empty(len(hashes), bool)
    first[:1] = True
    np.not_equal(hashes[1:], hashes[:-1], out=first[1:])
    return hashes[first]


def _sketch_of(users: Iterable[int]) -> datasketches.hll_sketch:
    sketch = datasketches.hll_sketch(_LOG2_REGISTERS, _KIND)
    for user in users:
        sketch.update(user)
    return sketch


def _sketch_of_many(users: list[int]) -> datasketches.hll_sketch:
    """Return the sketch of over a thousand users, in a form that their order does not change."""
    return _regardless_of_order([_sketch_of(users)])


def _regardless_of_order(sketches: Iterable[datasketches.hll_sketch]) -> datasketches.hll_sketch:
    """Return the union of sketches of together over a thousand users.

    A sketch that was filled one by one estimates by the history of its filling, the
    union of two that are past that by their registers only: so it is united with itself.
    """
    union = datasketches.hll_union(_LOG2_REGISTERS)
    for sketch in sketches:
        union.update(sketch)
    filled = union.get_result(_KIND)
    union.update(filled)
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
