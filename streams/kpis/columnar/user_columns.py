"""Distinct users of many rows as columns: exact up to 1,024 users of a set, sketches above.

A row is the number of a facet or a scope. Users are known by a 64-bit hash. An entry is a user in a
row, with a bit for each set of `USER_SETS` that the user is in. Its key is the hash plus the row
times an odd constant c, modulo 2^64: one integer to sort by, unique but for rare collisions.

Example: user 5 is a buyer (bit 1) in row 0 and a natural visitor (bit 0) in row 1, with user 9.

    rows    0      1      1
    hashes  5      5      9          kept as keys 5, 5 + c, 9 + c
    sets    0b10   0b01   0b01

To merge columns, entries are sorted by key and the bits of equal keys are joined. If user 5 also
visits in row 0, its sets there become 0b11. ``by([0, 0])`` moves both rows into one: user 5 (0b11)
and user 9 (0b01), which is 2 natural visitors, 1 buyer and 2 participants.

Once a set of a row has more than 1,024 users, its bit is removed from the keys, and a HyperLogLog
sketch of 4,096 registers takes their place. Any order and grouping of merges gives the same result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models.aggregates import hyperloglog
from models.aggregates.distinct_users import EXACT_LIMIT, Distinct
from models.aggregates.hyperloglog import REGISTERS, Hashes, Registers
from models.kpi.measures import SET_INDEX, UNIONS, USER_SETS
from streams.engine.steps import Steps, at_once, in_groups

Rows = npt.NDArray[np.int32]
Integers = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

COUNTED = [1 << index for index in range(len(USER_SETS))] + [
    sum(1 << SET_INDEX[name] for name in names) for names in UNIONS.values()
]
"""The bits of each set, and then of each union of sets: the columns of all counts."""

SET_BITS = 3
"""A sketch is named by ``row << SET_BITS | set``, where set is the index in `USER_SETS`."""
_SET_MASK = (1 << SET_BITS) - 1
_KEYS_A_STEP = 50_000
"""The most keys that one step of a few ms handles."""
_SKETCHES_A_STEP = 250
"""The most sketches that one step of a few ms handles: 1 MB of registers."""
_SPREAD = np.uint64(0x9E37_79B9_7F4A_7C15)


def _key(hashes: Hashes, rows: Rows) -> Hashes:
    """Return a 64-bit key for each user and row. Two pairs rarely have the same key."""
    return hashes + rows.astype(np.uint64) * _SPREAD


@dataclass(frozen=True, slots=True)
class UserColumns:
    """Users by row, and the sets that they are in.

    Merged columns have each user of a row once, in ascending order of keys.

    Args:
        keys: hash and row in one, shape (keys,).
        rows: the row of each key, shape (keys,).
        sets: the sets that the user is in, one bit each, shape (keys,).
        sketches: ``row << SET_BITS | set`` of each sketch, shape (sketches,). Merged, a row's keys
            do not have the bits of sets that are sketched.
        registers: of each sketch, shape (sketches, `REGISTERS`).
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
        """Return columns of users, given their hashes instead of keys."""
        return cls(_key(hashes, rows), rows, sets, sketches, registers)

    @property
    def hashes(self) -> Hashes:
        """The user's hash of each key."""
        return self.hashes_at(slice(None))

    def hashes_at(self, places: Integers | Bools | slice) -> Hashes:
        """Return the users' hashes of some keys."""
        return self.keys[places] - self.rows[places].astype(np.uint64) * _SPREAD

    @property
    def size(self) -> int:
        """The number of keys and of registers."""
        return len(self.keys) + self.registers.size

    @property
    def height(self) -> int:
        """One more than the largest row of a key or a sketch; 0 if there is none."""
        of_keys = int(self.rows.max(initial=-1))
        return max(of_keys, int(self.sketches.max(initial=-1)) >> SET_BITS) + 1

    def all_rows(self) -> Integers:
        """Return the row of each key and each sketch."""
        return np.append(self.rows, self.sketches >> SET_BITS)

    def pieces(self) -> Iterator[UserColumns]:
        """Yield the users in pieces, each small enough for one step. Arrays are not copied."""
        keys = list(slices(len(self.keys), of=_KEYS_A_STEP))
        sketches = list(slices(len(self.sketches), of=_SKETCHES_A_STEP))
        none = slice(0, 0)
        for some, drawn in zip_longest(keys, sketches, fillvalue=none):
            yield UserColumns(
                self.keys[some],
                self.rows[some],
                self.sets[some],
                self.sketches[drawn],
                self.registers[drawn],
            )

    def listed(self) -> Iterator[tuple[int, int, int]]:
        """Yield the row, the user's hash and the sets of each key."""
        return zip(self.rows.tolist(), self.hashes.tolist(), self.sets.tolist(), strict=True)

    def by(self, row_of: Rows) -> UserColumns:
        """Return the users with other rows, not merged.

        Args:
            row_of: the new row of each present row; a negative one drops the row.
        """
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

    def marked(self, marks: Sequence[tuple[int, int]]) -> UserColumns:
        """Return the users in other sets, not merged.

        Args:
            marks: pairs of the index of a set and of the set that its users are put into. Users
                of other sets are dropped.
        """
        sets_of = np.zeros(1 << (1 << SET_BITS), np.uint8)
        every = np.arange(len(sets_of))
        drawn = []
        for index, mark in marks:
            sets_of[every >> index & 1 == 1] |= np.uint8(1 << mark)
            drawn.append(np.flatnonzero(self.sketches & _SET_MASK == index))
        sets = sets_of[self.sets]
        kept = sets != 0
        return UserColumns(
            self.keys[kept],
            self.rows[kept],
            sets[kept],
            np.concatenate(
                [
                    self.sketches[places] & ~_SET_MASK | mark
                    for places, (_, mark) in zip(drawn, marks, strict=True)
                ]
            ),
            self.registers[np.concatenate(drawn)],
        )

    def of_rows(self, chosen: Bools) -> UserColumns:
        """Return the users of the chosen rows; ``chosen`` has a bool for each row."""
        kept, drawn = chosen[self.rows], chosen[self.sketches >> SET_BITS]
        return UserColumns(
            self.keys[kept],
            self.rows[kept],
            self.sets[kept],
            self.sketches[drawn],
            self.registers[drawn],
        )

    def counted(self, sets: int, *, height: int) -> Steps[Integers]:
        """Count the distinct users of each row that are in any of the sets.

        Args:
            sets: the sets, one bit each.
            height: the number of rows.

        Returns:
            Counts of shape (height,): exact up to `EXACT_LIMIT`, estimates above.
        """
        counts = yield from self._keys_by_row(sets, height=height)
        if not len(self.sketches) and counts.max(initial=0) <= EXACT_LIMIT:
            return counts
        drawn = yield from self.drawn(sets, over=EXACT_LIMIT)
        for some in slices(len(drawn.rows), of=_SKETCHES_A_STEP):
            counts[drawn.rows[some]] = hyperloglog.estimates(drawn.registers[some])
            yield
        return counts

    def _keys_by_row(self, sets: int, *, height: int) -> Steps[Integers]:
        """Count the keys of each row that are in any of the sets, shape (height,)."""
        counts = np.zeros(height, np.int64)
        for some in slices(len(self.keys), of=_KEYS_A_STEP):
            rows = self.rows[some][self.sets[some] & sets != 0]
            counts += np.bincount(rows, minlength=height)
            yield
        return counts

    def drawn(self, sets: int, *, over: int) -> Steps[Drawn]:
        """Return the HyperLogLog registers of rows that have many users in any of the sets.

        Args:
            sets: the sets, one bit each.
            over: a row without a sketch is included if it has more keys than this.
        """
        sketches = np.flatnonzero(1 << (self.sketches & _SET_MASK) & sets)
        rows_of_sketches = self.sketches[sketches] >> SET_BITS
        counts = yield from self._keys_by_row(sets, height=self.height)
        many = counts > over
        many[rows_of_sketches] = True
        number = np.cumsum(many) - 1
        registers = np.zeros((np.count_nonzero(many), REGISTERS), np.uint8)
        drawn = list(zip(sketches.tolist(), number[rows_of_sketches].tolist(), strict=True))
        for several in in_groups(drawn, of=_SKETCHES_A_STEP):
            for sketch, at in several:
                np.maximum(registers[at], self.registers[sketch], out=registers[at])
            yield
        keys, of_keys = [_NONE], [_NONE]
        for some in slices(len(self.keys), of=_KEYS_A_STEP):
            found = np.flatnonzero(self.sets[some] & sets) + some.start
            found = found[many[self.rows[found]]]
            if len(found):
                keys.append(found)
                of_keys.append(number[self.rows[found]])
                hyperloglog.fill(registers, of_keys[-1], self.hashes_at(found))
            yield
        sketched = np.zeros(len(registers), np.bool_)
        sketched[number[rows_of_sketches]] = True
        return Drawn(
            np.flatnonzero(many),
            registers,
            sketched,
            np.concatenate(keys),
            np.concatenate(of_keys),
        )

    def counts(self, *, height: int, of: Sequence[int] = COUNTED) -> Steps[Integers]:
        """Return the number of users in each set and union, shape (height, len(of)).

        Estimates of sketches may be off in different directions. A union counts at least as many
        as each set and union before it that it contains, so that a part is never more than the
        whole.

        Args:
            height: the number of rows.
            of: the sets and unions, a bit for each set.
        """
        counts: list[Integers] = []
        for sets in of:
            within = [
                of_part for part, of_part in zip(of, counts, strict=False) if part & sets == part
            ]
            counted = yield from self.counted(sets, height=height)
            counts.append(np.maximum.reduce([counted, *within]))
            yield
        return np.stack(counts, axis=1)


class UsersOfRow:
    """The users of one row as `CountedUsers` of a cell: the sets are built when they are needed.

    Args:
        columns: where the users are, in one or more parts.
        row: the row.
        counts: the number of users in each of `COUNTED`.
    """

    __slots__ = ("_columns", "_row", "counts")

    def __init__(self, columns: Sequence[ByRow], row: int, counts: list[int]) -> None:
        self.counts = counts
        self._columns = columns
        self._row = row

    def sets(self) -> list[Distinct]:
        """Return the sets of users, in the order of `USER_SETS`."""
        several = [by_row.sets(self._row) for by_row in self._columns]
        return [Distinct.union_of(parts) for parts in zip(*several, strict=True)]


class ByRow:
    """Users, sorted by row when the sets of a row are first requested."""

    def __init__(self, users: UserColumns) -> None:
        self._users = users
        self._ordered = False

    def sets(self, row: int) -> list[Distinct]:
        """Return the sets of a row, in the order of `USER_SETS`."""
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


def slices(count: int, *, of: int) -> Iterator[slice]:
    """Yield slices of ``of`` items that cover ``count`` items; the last one may be shorter."""
    for first in range(0, count, of):
        yield slice(first, min(first + of, count))


def runs(numbers: npt.NDArray[np.integer[Any]]) -> Iterator[tuple[int, int, int]]:
    """Yield each run of equal numbers in a column: the number, its first index, and its end."""
    first = np.flatnonzero(_changes(numbers))
    ends = np.append(first[1:], len(numbers))
    yield from zip(numbers[first].tolist(), first.tolist(), ends.tolist(), strict=False)


def _changes(numbers: npt.NDArray[Any]) -> Bools:
    """Return a mask of the positions at which a new number begins."""
    return np.append(True, numbers[1:] != numbers[:-1])[: len(numbers)]


class Drawn(NamedTuple):
    """HyperLogLog registers of some rows, and the keys that were counted in them.

    Args:
        rows: the rows, shape (n,).
        registers: of each row, shape (n, `REGISTERS`).
        sketched: whether the row had a sketch already, shape (n,).
        keys: indices of the counted keys in `UserColumns.keys`, shape (m,).
        of_key: for each of these the index of its row in ``rows``, shape (m,).
    """

    rows: Integers
    registers: Registers
    sketched: Bools
    keys: Integers
    of_key: Integers


_NONE: Final[Integers] = np.empty(0, np.int64)
NO_USERS = UserColumns(
    np.empty(0, np.uint64),
    np.empty(0, np.int32),
    np.empty(0, np.uint8),
    np.empty(0, np.int64),
    np.empty((0, REGISTERS), np.uint8),
)


def united(parts: Sequence[UserColumns]) -> UserColumns:
    """Merge users: a row has each user once, and sets above `EXACT_LIMIT` users are sketched."""
    return at_once(united_in_steps(parts))


def united_in_steps(parts: Sequence[UserColumns]) -> Steps[UserColumns]:
    """Merge users as `united` does, in steps."""
    # The same name is reused, so that the arrays of the stage before are freed.
    users = yield from _joined(parts)
    if len(users.keys) <= EXACT_LIMIT and not len(users.sketches):
        return _told_apart(users)
    # Sets that surely are above the limit are sketched first: fewer keys are left to be sorted.
    users = yield from _sketched(users, each_once=False)
    users = yield from _told_apart_in_steps(users)
    return (yield from _sketched(users, each_once=True))


def _joined(parts: Sequence[UserColumns]) -> Steps[UserColumns]:
    """Concatenate users, not merged."""
    columns = []
    for several in zip(
        *((part.keys, part.rows, part.sets, part.sketches, part.registers) for part in parts),
        strict=True,
    ):
        columns.append(np.concatenate(several))
        if len(columns[-1]) > _KEYS_A_STEP:
            yield
    return UserColumns(*columns)


def _told_apart_in_steps(users: UserColumns) -> Steps[UserColumns]:
    """Join equal keys; many keys are split by their upper bits, and each part is one step."""
    if len(users.keys) <= _KEYS_A_STEP:
        return _told_apart(users)
    bits = (len(users.keys) // _KEYS_A_STEP).bit_length()
    by_part: list[list[UserColumns]] = [[] for _ in range(1 << bits)]
    for piece in users.pieces():
        part_of = (piece.keys >> np.uint64(64 - bits)).astype(np.uint16)
        order = np.argsort(part_of, kind="stable")
        ends = np.cumsum(np.bincount(part_of, minlength=len(by_part))).tolist()
        keys, rows, sets = piece.keys[order], piece.rows[order], piece.sets[order]
        for first, end, pieces in zip([0, *ends], ends, by_part, strict=False):
            some = slice(first, end)
            pieces.append(replace(NO_USERS, keys=keys[some], rows=rows[some], sets=sets[some]))
        yield
    parts = []
    for pieces in by_part:
        parts.append(_told_apart((yield from _joined(pieces))))
        yield
    merged = yield from _joined(parts)
    return replace(merged, sketches=users.sketches, registers=users.registers)


def _told_apart(users: UserColumns) -> UserColumns:
    """Sort by key, and join the sets of equal keys.

    Keys that are equal but of different rows have collided; both are kept, in the order of rows.
    """
    keys = users.keys
    if (keys[1:] > keys[:-1]).all():
        return users
    order = np.argsort(keys, kind="stable")  # fast: the input is a few sorted runs
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
    """Replace the keys of sets that surely have more than `EXACT_LIMIT` users by sketches.

    Args:
        users: the users.
        each_once: whether each key occurs once. If not, the number of keys says little, and a set
            is sketched only if more than `EXACT_LIMIT` of its registers are filled: it then has at
            least as many users.
    """
    left = users.sets.copy()
    sketches, registers = [], []
    for index in range(len(USER_SETS)):
        drawn = yield from users.drawn(1 << index, over=EXACT_LIMIT * (1 if each_once else 2))
        sure = drawn.sketched.copy()
        for some in slices(len(sure), of=_SKETCHES_A_STEP):
            filled = np.count_nonzero(drawn.registers[some], axis=1)
            sure[some] |= each_once or filled > EXACT_LIMIT
            yield
        for some in slices(len(drawn.keys), of=_KEYS_A_STEP):
            left[drawn.keys[some][sure[drawn.of_key[some]]]] &= ~np.uint8(1 << index)
            yield
        sketches.append(drawn.rows[sure] << SET_BITS | index)
        registers.append(drawn.registers[sure])
        del drawn  # frees registers as large as all results together
        yield
    parts = [
        replace(NO_USERS, sketches=np.concatenate(sketches), registers=np.concatenate(registers))
    ]
    for some in slices(len(left), of=_KEYS_A_STEP):
        kept = left[some] != 0
        parts.append(
            replace(
                NO_USERS,
                keys=users.keys[some][kept],
                rows=users.rows[some][kept],
                sets=left[some][kept],
            )
        )
        yield
    return (yield from _joined(parts))
