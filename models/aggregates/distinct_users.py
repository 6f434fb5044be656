"""Distinct users: exact up to a limit, a HyperLogLog sketch above it.

Users are known by a 64-bit hash only.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Callable, Iterable
from itertools import chain

import datasketches
import numpy as np
import xxhash

from models.aggregates import hyperloglog
from models.aggregates.hyperloglog import Hashes, Registers

EXACT_LIMIT = 1_024
"""Up to so many users are counted exactly and held as hashes."""

_EXACT = b"\x00"
_THETA = b"\x01"
"""What versions before 0.2 wrote: a theta sketch. It is read, and never written."""
_DATASKETCH = b"\x02"
"""What versions wrote before their registers were held as they are; read, never written."""
_REGISTERS = b"\x03"

hash_user: Callable[[bytes], int] = xxhash.xxh3_64_intdigest
"""Returns the 64-bit hash under which a user's id, in UTF-8, is counted."""


def is_exact(data: bytes) -> bool:
    """Return whether a `Distinct` was written as its hashes, 8 bytes each after the first."""
    return data[:1] == _EXACT


class Distinct:
    """A mergeable count of distinct users.

    Merging is associative, commutative and idempotent; at or below
    `EXACT_LIMIT` the estimate is exact.
    """

    __slots__ = ("_hashes", "_registers")

    def __init__(self, hashes: Iterable[int] = ()) -> None:
        self._hashes: set[int] = set(hashes)
        self._registers: Registers | None = None
        self._settle()

    @classmethod
    def of_registers(cls, registers: Registers) -> Distinct:
        """Return the users, over `EXACT_LIMIT`, that registers stand for."""
        distinct = cls()
        distinct._registers = registers
        return distinct

    @property
    def estimate(self) -> int:
        """How many distinct users, rounded to a whole user."""
        if self._registers is None:
            return len(self._hashes)
        return int(hyperloglog.estimates(self._registers[np.newaxis])[0])

    @property
    def is_exact(self) -> bool:
        """Whether the estimate is an exact count."""
        return self._registers is None

    @property
    def registers(self) -> Registers:
        """The registers of its users, only to be read."""
        if self._registers is None:
            return hyperloglog.registers_of(np.fromiter(self._hashes, np.uint64, len(self._hashes)))
        return self._registers

    @classmethod
    def union_of(cls, parts: Iterable[Distinct]) -> Distinct:
        """Return the union of many; they stay as they are."""
        listed = list(parts)
        union = cls(chain.from_iterable(part._hashes for part in listed))
        sketches = [part._registers for part in listed if part._registers is not None]
        if sketches:
            union = cls.of_registers(np.maximum.reduce([union.registers, *sketches]))
        return union

    def to_bytes(self) -> bytes:
        """Serialise; empty is zero bytes."""
        if self._registers is not None:
            return _REGISTERS + zlib.compress(self._registers.tobytes(), 1)
        return _EXACT + array("Q", self._hashes).tobytes() if self._hashes else b""

    @classmethod
    def from_bytes(cls, data: bytes) -> Distinct:
        """Read what `to_bytes` wrote."""
        kind, content = data[:1], data[1:]
        if kind == _REGISTERS:
            return cls.of_registers(np.frombuffer(zlib.decompress(content), np.uint8))
        if kind == _DATASKETCH:
            return cls.of_registers(hyperloglog.registers_of_datasketch(content))
        if kind == _THETA:
            return cls.of_registers(hyperloglog.registers_of(_sample_of_theta(content)))
        hashes = array("Q")
        hashes.frombytes(content)
        return cls(hashes)

    def _settle(self) -> None:
        if len(self._hashes) > EXACT_LIMIT:
            self._registers = self.registers
            self._hashes = set()


def _sample_of_theta(data: bytes) -> Hashes:
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
    return np.array(users, np.uint64)
