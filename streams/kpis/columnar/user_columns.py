"""The distinct users of many rows in columns: row, user and which sets, and sketches of many.

A row is a facet or a scope, by its number. To merge is to sort and to join
neighbours, so that the order and grouping of what is merged does not show.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from models.aggregates import hyperloglog
from models.aggregates.distinct_users import EXACT_LIMIT, Distinct
from models.aggregates.hyperloglog import REGISTERS, Hashes, Registers
from models.kpi.measures import SET_INDEX, UNIONS, USER_SETS
from streams.engine.steps import Steps, at_once

Rows = npt.NDArray[np.int32]
Integers = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

COUNTED = [1 << index for index in range(len(USER_SETS))] + [
    sum(1 << SET_INDEX[name] for name in names) for names in UNIONS.values()
]
"""Each set and each union of sets, as bits."""

SET_BITS = 3
_SET_MASK = (1 << SET_BITS) - 1
_KEYS_A_STEP = 50_000
"""More are sorted in parts, each in some ms."""
_PART_BITS = 4
_SPREAD = np.uint64(0x9E37_79B9_7F4A_7C15)


def _key(hashes: Hashes, rows: Rows) -> Hashes:
    """Return one number for a user and a row, which hardly another pair has."""
    return hashes + rows.astype(np.uint64) * _SPREAD


@dataclass(frozen=True, slots=True)
class UserColumns:
    """Users by row, and in which sets they are.

    Args:
        keys: the user's hash and the row in one.
        rows: the row of each key.
        sets: the sets that the user is in, a bit for each.
        sketches: row and set of each sketch; keys are not in sets that are sketched.
        registers: of each sketch.
    """

    keys: Hashes
    rows: Rows
    sets: npt.NDArray[np.uint8]
    sketches: Integers
    registers: Registers

    @classmethod
    def of(
        cls,
        hashes: Hashes,
        rows: Rows,
        sets: npt.NDArray[np.uint8],
        sketches: Integers,
        registers: Registers,
    ) -> UserColumns:
        """Return users by their hashes."""
        return cls(_key(hashes, rows), rows, sets, sketches, registers)

    @property
    def hashes(self) -> Hashes:
        """The user of each key."""
        return self.hashes_at(slice(None))

    def hashes_at(self, places: Integers | Bools | slice) -> Hashes:
        """Return the users of some keys."""
        return self.keys[places] - self.rows[places].astype(np.uint64) * _SPREAD

    @property
    def size(self) -> int:
        """How many keys and registers there are."""
        return len(self.keys) + self.registers.size

    def all_rows(self) -> Integers:
        """Return the row of each key and each sketch."""
        return np.append(self.rows, self.sketches >> SET_BITS)

    def listed(self) -> Iterator[tuple[int, int, int]]:
        """Yield the row, the user and the sets of each key."""
        return zip(self.rows.tolist(), self.hashes.tolist(), self.sets.tolist(), strict=True)

    def by(self, row_of: Rows) -> UserColumns:
        """Return the users by other rows; those whose number is negative are left out."""
        rows = row_of[self.rows]
        kept = rows >= 0
        sketches, registers = self.sketches, self.registers
        if len(sketches):
            sketched = row_of[sketches >> SET_BITS]
            drawn = sketched >= 0
            registers = registers[drawn]
            sketches = sketched[drawn].astype(np.int64) << SET_BITS | sketches[drawn] & _SET_MASK
        return UserColumns.of(
            self.hashes_at(kept), rows[kept], self.sets[kept], sketches, registers
        )

    def of_rows(self, chosen: Bools) -> UserColumns:
        """Return the users of the chosen rows."""
        kept, drawn = chosen[self.rows], chosen[self.sketches >> SET_BITS]
        return UserColumns(
            self.keys[kept],
            self.rows[kept],
            self.sets[kept],
            self.sketches[drawn],
            self.registers[drawn],
        )

    def counted(self, sets: int, *, height: int) -> Integers:
        """Return how many distinct users each of the first rows has in any of the sets."""
        counts = np.bincount(self.rows[self.sets & sets != 0], minlength=height)
        if not len(self.sketches) and counts.max(initial=0) <= EXACT_LIMIT:
            return counts
        drawn = self.drawn(sets, over=EXACT_LIMIT)
        counts[drawn.rows] = hyperloglog.estimates(drawn.registers)
        return counts

    def drawn(self, sets: int, *, over: int) -> Drawn:
        """Return the registers of the rows that have a sketch, or more keys, in any of the sets."""
        keys = np.flatnonzero(self.sets & sets)
        sketches = np.flatnonzero(1 << (self.sketches & _SET_MASK) & sets)
        rows_of_sketches = self.sketches[sketches] >> SET_BITS
        counts = np.bincount(self.rows[keys], minlength=int(rows_of_sketches.max(initial=-1)) + 1)
        many = counts > over
        many[rows_of_sketches] = True
        keys = keys[many[self.rows[keys]]]
        number = np.cumsum(many) - 1
        registers = np.zeros((np.count_nonzero(many), REGISTERS), np.uint8)
        for sketch, at in zip(sketches.tolist(), number[rows_of_sketches].tolist(), strict=True):
            np.maximum(registers[at], self.registers[sketch], out=registers[at])
        of_key = number[self.rows[keys]]
        hyperloglog.fill(registers, of_key, self.hashes_at(keys))
        sketched = np.zeros(len(registers), np.bool_)
        sketched[number[rows_of_sketches]] = True
        return Drawn(np.flatnonzero(many), registers, sketched, keys, of_key)

    def counts(self, *, height: int) -> Steps[Integers]:
        """Return how many users each of the first rows has in each set and union of sets."""
        counts = []
        for sets in COUNTED:
            counts.append(self.counted(sets, height=height))
            yield
        return np.stack(counts, axis=1)


class UsersOfRow:
    """The users of one row, as a cell takes them."""

    __slots__ = ("_columns", "_row", "counts")

    def __init__(self, columns: Sequence[ByRow], row: int, counts: list[int]) -> None:
        self.counts = counts
        self._columns = columns
        self._row = row

    def sets(self) -> list[Distinct]:
        """Return the sets, in their order."""
        several = [by_row.sets(self._row) for by_row in self._columns]
        return [Distinct.union_of(parts) for parts in zip(*several, strict=True)]


class ByRow:
    """Users, ordered by row once somebody asks for the sets of one."""

    def __init__(self, users: UserColumns) -> None:
        self._users = users
        self._ordered = False

    def sets(self, row: int) -> list[Distinct]:
        """Return the sets of a row, in their order."""
        users = self._users
        if not self._ordered:
            order = np.argsort(users.rows, kind="stable")
            ordered = (users.keys[order], users.rows[order], users.sets[order])
            self._users = users = UserColumns(*ordered, users.sketches, users.registers)
            self._ordered = True
        places = slice(*np.searchsorted(users.rows, [row, row + 1]).tolist())
        hashes, sets = users.hashes_at(places), users.sets[places]
        made = [Distinct(hashes[sets >> at & 1 == 1].tolist()) for at in range(len(USER_SETS))]
        for place in np.flatnonzero(users.sketches >> SET_BITS == row).tolist():
            made[int(users.sketches[place]) & _SET_MASK] = Distinct.of_registers(
                users.registers[place]
            )
        return made


def runs(numbers: npt.NDArray[np.integer[Any]]) -> Iterator[tuple[int, int, int]]:
    """Yield each number of a column in which equal ones are neighbours, and from where to where."""
    first = np.flatnonzero(_changes(numbers))
    ends = np.append(first[1:], len(numbers))
    yield from zip(numbers[first].tolist(), first.tolist(), ends.tolist(), strict=False)


def _changes(numbers: npt.NDArray[Any]) -> Bools:
    """Return where another number begins."""
    return np.append(True, numbers[1:] != numbers[:-1])[: len(numbers)]


class Drawn(NamedTuple):
    """Registers of some rows.

    Args:
        rows: their numbers.
        registers: of each of them.
        sketched: whether a sketch is among what they were drawn from.
        keys: the places of the keys that they were drawn from.
        of_key: the place among the rows of each of these.
    """

    rows: Integers
    registers: Registers
    sketched: Bools
    keys: Integers
    of_key: Integers


NO_USERS = UserColumns(
    np.empty(0, np.uint64),
    np.empty(0, np.int32),
    np.empty(0, np.uint8),
    np.empty(0, np.int64),
    np.empty((0, REGISTERS), np.uint8),
)


def united(parts: Sequence[UserColumns]) -> UserColumns:
    """Merge users: each comes once in a row, in the order of keys; what is many is sketched."""
    return at_once(united_in_steps(parts))


def united_in_steps(parts: Sequence[UserColumns]) -> Steps[UserColumns]:
    """Merge users as `united` does."""
    # One name for all that follows: with many users, what came before is freed meanwhile.
    users = UserColumns(
        np.concatenate([part.keys for part in parts]),
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.sets for part in parts]),
        np.concatenate([part.sketches for part in parts]),
        np.concatenate([part.registers for part in parts]),
    )
    if len(users.keys) <= EXACT_LIMIT and not len(users.sketches):
        return _told_apart(users)
    # What is very many shows it before users are told apart, which takes longer.
    users = yield from _sketched(users, each_once=False)
    users = yield from _told_apart_in_steps(users)
    return (yield from _sketched(users, each_once=True))


def _told_apart_in_steps(users: UserColumns) -> Steps[UserColumns]:
    """Join the keys that are equal, those of a part of all numbers in one step."""
    many = len(users.keys)
    if many <= _KEYS_A_STEP:
        return _told_apart(users)
    part_of = (users.keys >> np.uint64(64 - _PART_BITS)).astype(np.uint8)
    parts = []
    for part in range(1 << _PART_BITS):
        yield
        chosen = part_of == part
        some = replace(
            users, keys=users.keys[chosen], rows=users.rows[chosen], sets=users.sets[chosen]
        )
        parts.append(_told_apart(some))
    yield
    return replace(
        users,
        keys=np.concatenate([part.keys for part in parts]),
        rows=np.concatenate([part.rows for part in parts]),
        sets=np.concatenate([part.sets for part in parts]),
    )


def _told_apart(users: UserColumns) -> UserColumns:
    """Join the keys that are equal."""
    keys = users.keys
    if (keys[1:] > keys[:-1]).all():
        return users
    order = np.argsort(keys, kind="stable")  # quick where sorted columns follow each other
    fresh, moved = _changes(keys[order]), _changes(users.rows[order])
    if (moved & ~fresh).any():  # two pairs have the same key
        order = np.lexsort((users.rows, keys))
        fresh, moved = _changes(keys[order]), _changes(users.rows[order])
    first = np.flatnonzero(fresh | moved)
    return replace(
        users,
        keys=keys[order[first]],
        rows=users.rows[order[first]],
        sets=np.bitwise_or.reduceat(users.sets[order], first),
    )


def _sketched(users: UserColumns, *, each_once: bool) -> Steps[UserColumns]:
    """Sketch the sets that surely are of over `EXACT_LIMIT` users."""
    left = users.sets.copy()
    sketches, registers = [], []
    for index in range(len(USER_SETS)):
        drawn = users.drawn(1 << index, over=EXACT_LIMIT * (1 if each_once else 2))
        sure = drawn.sketched | (
            each_once or np.count_nonzero(drawn.registers, axis=1) > EXACT_LIMIT
        )
        left[drawn.keys[sure[drawn.of_key]]] &= ~np.uint8(1 << index)
        sketches.append(drawn.rows[sure] << SET_BITS | index)
        registers.append(drawn.registers[sure])
        del drawn  # it is as large as all that comes of it
        yield
    kept = left != 0
    return UserColumns(
        users.keys[kept],
        users.rows[kept],
        left[kept],
        np.concatenate(sketches),
        np.concatenate(registers),
    )
