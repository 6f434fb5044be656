"""HyperLogLog: 4,096 registers, from which the number of distinct users is estimated.

P. Flajolet, E. Fusy, O. Gandouet, F. Meunier, "HyperLogLog: the analysis of a
near-optimal cardinality estimation algorithm", 2007. A union is the larger of
each register, so that the same users give the same registers in any order and
grouping, and so the same estimate: a relative standard error of
1.04/sqrt(4096) = 1.6 %. Registers are those of Apache DataSketches, whose
sketches are read.
"""

from __future__ import annotations

from math import log
from typing import Final

import datasketches
import numpy as np
import numpy.typing as npt

LOG2_REGISTERS: Final = 12
REGISTERS: Final = 1 << LOG2_REGISTERS

Hashes = npt.NDArray[np.uint64]
"""Users, by their 64-bit hash."""
Registers = npt.NDArray[np.uint8]
"""Of one set of users, or a row for each of several."""

_AT_ONCE: Final = 8_192
"""So many users are counted at once: the numbers on the way stay in the processor's cache."""
_SEED: Final = np.uint64(9001)
_RANKS: Final = 64
_SCALE: Final = REGISTERS**2 / (2 * log(2))
_WEIGHTS: Final = np.append(0.0, 0.5 ** np.arange(1, _RANKS))


def fill(registers: Registers, rows: npt.NDArray[np.int64], hashes: Hashes) -> None:
    """Count users in the registers of their rows."""
    flat = registers.reshape(-1)
    for first in range(0, len(hashes), _AT_ONCE):
        some = slice(first, first + _AT_ONCE)
        slots, ranks = _slots_and_ranks(hashes[some])
        np.maximum.at(flat, rows[some] * REGISTERS + slots, ranks)


def registers_of(hashes: Hashes) -> Registers:
    """Return the registers of one set of users."""
    registers = np.zeros(REGISTERS, np.uint8)
    fill(registers, np.zeros(len(hashes), np.int64), hashes)
    return registers


def estimates(registers: Registers) -> npt.NDArray[np.int64]:
    """Return how many users each row of registers stands for.

    By the improved raw estimator, which needs no correction for small sets:
    O. Ertl, "New cardinality estimation algorithms for HyperLogLog sketches",
    2017, arXiv:1702.01284, section 2.
    """
    rows = np.arange(len(registers))[:, np.newaxis] * _RANKS
    counts = np.bincount((rows + registers).reshape(-1), minlength=len(registers) * _RANKS)
    counts = counts.reshape(-1, _RANKS)
    harmonic = counts @ _WEIGHTS + REGISTERS * _sigma(counts[:, 0] / REGISTERS)
    users: npt.NDArray[np.int64] = np.rint(_SCALE / harmonic).astype(np.int64)
    return users


def registers_of_datasketch(data: bytes) -> Registers:
    """Read a sketch that `datasketches` wrote."""
    union = datasketches.hll_union(LOG2_REGISTERS)
    union.update(datasketches.hll_sketch.deserialize(data))
    plain = union.get_result(datasketches.tgt_hll_type.HLL_8).serialize_updatable()
    return np.frombuffer(plain, np.uint8)[-REGISTERS:].copy()


def _sigma(empty: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return Ertl's correction for empty registers, of their share below 1."""
    share, weight, total = empty, 1.0, empty.copy()
    while True:
        share = share * share
        grown = total + share * weight
        if np.array_equal(grown, total):
            return total
        total, weight = grown, 2 * weight


def _slots_and_ranks(hashes: Hashes) -> tuple[npt.NDArray[np.int64], Registers]:
    """Return each user's register and what it holds at least, as DataSketches finds them.

    MurmurHash3 (x64, 128 bits) of 8 bytes; its Python binding takes what is 2^63 or
    more as a floating-point number.
    """
    key = np.where(hashes >> np.uint64(63), hashes.astype(np.float64).view(np.uint64), hashes)
    key = _rotated(key * np.uint64(0x87C37B91114253D5)) * np.uint64(0x4CF5AD432745937F)
    low = (_SEED ^ key ^ np.uint64(8)) + (_SEED ^ np.uint64(8))
    high = low + (_SEED ^ np.uint64(8))
    low, high = _mixed(low), _mixed(high)
    low = low + high
    high = high + low
    slots = (low & np.uint64(REGISTERS - 1)).astype(np.int64)
    _, bits = np.frexp((high >> np.uint64(11)).astype(np.float64))
    return slots, (54 - bits).astype(np.uint8)


def _rotated(key: Hashes) -> Hashes:
    return (key << np.uint64(31)) | (key >> np.uint64(33))


def _mixed(key: Hashes) -> Hashes:
    key = (key ^ (key >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    key = (key ^ (key >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return key ^ (key >> np.uint64(33))
