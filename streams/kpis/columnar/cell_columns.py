"""The cells of many facets, or scopes, in columns: what adds up is added for all at once.

A row is a facet or a scope, by its number. What is 0 takes no room: sums and
distributions are (row, place, value). To merge is to sort and to add up neighbours,
so that the order and grouping of what is merged does not show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from models.aggregates.cell import Cell, LevelWire
from models.aggregates.distinct_users import Distinct, is_exact
from models.aggregates.histograms import ZERO_BUCKET
from models.aggregates.hyperloglog import REGISTERS, Registers
from models.aggregates.ingest_report import FacetCell
from models.kpi.measures import DISTRIBUTIONS, WIDTH
from models.scope import Facet
from streams.engine.steps import Steps, at_once, in_groups
from streams.kpis.columnar.user_columns import (
    NO_USERS,
    SET_BITS,
    Bools,
    ByRow,
    Integers,
    Rows,
    UserColumns,
    UsersOfRow,
    runs,
    united_in_steps,
)

Levels = dict[tuple[int, int], LevelWire]
"""The newest measurement by row and level."""

_PLACE_BITS = 16
_PLACES = (1 << _PLACE_BITS) - 1
"""A place is a sum or a bucket of a distribution."""
_SUMS = 1 << 10
"""Places of sums, more than there are: those of buckets stay where they are when some are added."""
_BUCKETS = 1 << 12
LARGEST = 2**63 - 1
"""Sums stay at it, and at its negative, rather than leave 64 bits."""
_FEW = 10_000
"""Entries, which are merged all at once."""
_ROWS_A_STEP = 500
"""So many cells are made in one step, up to 5 ms."""


class CellColumns(NamedTuple):
    """Cells by row.

    Args:
        places: row and place in one.
        values: what is there.
        users: the distinct users.
        levels: the newest measurements.
    """

    places: Integers
    values: Integers
    users: UserColumns
    levels: Levels

    @property
    def size(self) -> int:
        """How many entries there are."""
        return len(self.places) + self.users.size + len(self.levels)

    @property
    def retraction(self) -> CellColumns:
        """What takes the sums and distributions back when it is added.

        Users are a union and levels the newest: what comes in their place has them too.
        """
        return CellColumns(self.places, -self.values, NO_USERS, {})

    def by(self, row_of: Rows) -> CellColumns:
        """Return the columns by other rows; those whose number is negative are left out."""
        rows = row_of[self.places >> _PLACE_BITS]
        kept = rows >= 0
        levels: Levels = {}
        for (row, index), level in self.levels.items():
            if row_of[row] >= 0:
                _record(levels, (int(row_of[row]), index), level)
        return CellColumns(
            (rows[kept].astype(np.int64) << _PLACE_BITS) | (self.places[kept] & _PLACES),
            self.values[kept],
            self.users.by(row_of),
            levels,
        )

    def of_rows(self, chosen: Bools) -> CellColumns:
        """Return the columns of the chosen rows."""
        kept = chosen[self.places >> _PLACE_BITS]
        levels = {key: level for key, level in self.levels.items() if chosen[key[0]]}
        return CellColumns(self.places[kept], self.values[kept], self.users.of_rows(chosen), levels)

    def rows(self) -> Integers:
        """Return the rows of which there is anything, in order."""
        of_levels = np.array([row for row, _ in self.levels], np.int64)
        rows = np.concatenate([self.places >> _PLACE_BITS, self.users.all_rows(), of_levels])
        return np.flatnonzero(np.bincount(rows))

    def cells(self) -> Steps[Mapping[int, Cell]]:
        """Return each row's cell; the columns were merged before."""
        height = int(self.users.all_rows().max(initial=-1)) + 1
        counts = yield from self.users.counts(height=height)
        return (yield from self.cells_with(counts, [self.users]))

    def cells_with(
        self, counts: Integers, users: Sequence[UserColumns]
    ) -> Steps[Mapping[int, Cell]]:
        """Return each row's cell, with users that are held elsewhere.

        Args:
            counts: how many users each row has in each set and union of sets.
            users: who they are.
        """
        rows = np.union1d(self.rows(), np.flatnonzero(counts.any(axis=1)))
        sums, rest = np.zeros((len(rows), WIDTH), np.int64), self.places & _PLACES
        at = rest < _SUMS
        sums[np.searchsorted(rows, self.places[at] >> _PLACE_BITS), rest[at]] = self.values[at]
        counts = _at(counts, rows)
        yield
        by_row = [ByRow(several) for several in users]
        cells: dict[int, Cell] = {}
        for first in range(0, len(rows), _ROWS_A_STEP):
            some = slice(first, first + _ROWS_A_STEP)
            of_rows = zip(
                rows[some].tolist(), sums[some].tolist(), counts[some].tolist(), strict=True
            )
            for row, of, counted in of_rows:
                cells[row] = Cell(of, UsersOfRow(by_row, row, counted))
            yield
        yield from self._add_histograms(cells)
        for (row, index), level in self.levels.items():
            cells[row].levels[index] = level
        return cells

    def _add_histograms(self, cells: Mapping[int, Cell]) -> Steps[None]:
        counted = (self.places & _PLACES) >= _SUMS
        index, bucket = np.divmod((self.places[counted] & _PLACES) - _SUMS, _BUCKETS)
        buckets, counts = (bucket + ZERO_BUCKET).tolist(), self.values[counted].tolist()
        groups = (self.places[counted] >> _PLACE_BITS) * len(DISTRIBUTIONS) + index
        for several in in_groups(runs(groups), of=_ROWS_A_STEP):
            for group, first, end in several:
                row, of = divmod(group, len(DISTRIBUTIONS))
                cells[row].histograms[of] = dict(
                    zip(buckets[first:end], counts[first:end], strict=True)
                )
            yield


def row_and_place(at: int) -> tuple[int, int]:
    """Return the two of which `CellColumns.places` makes one."""
    return at >> _PLACE_BITS, at & _PLACES


def is_sum(place: int) -> bool:
    """Say whether a place is that of a sum, and not of a bucket."""
    return place < _SUMS


def bucket_at(place: int) -> tuple[int, int]:
    """Return the distribution and the bucket of a place."""
    index, bucket = divmod(place - _SUMS, _BUCKETS)
    return index, bucket + ZERO_BUCKET


NOTHING = CellColumns(np.empty(0, np.int64), np.empty(0, np.int64), NO_USERS, {})


def together(parts: Sequence[CellColumns]) -> CellColumns:
    """Merge columns: each place, user and sketch comes once, in order."""
    return at_once(together_in_steps(parts))


def together_in_steps(parts: Sequence[CellColumns]) -> Steps[CellColumns]:
    """Merge columns of many rows as `together` does."""
    places = np.concatenate([part.places for part in parts])
    values = np.concatenate([part.values for part in parts])
    places, values = _added(places, values)
    yield
    users = yield from united_in_steps([part.users for part in parts])
    return CellColumns(places, values, users, _newest(parts))


def with_news(columns: CellColumns, news: CellColumns) -> CellColumns:
    """Merge columns and fewer others, both merged, but leave their users out.

    What is there already is not sorted again.
    """
    places = columns.places
    at = np.searchsorted(places, news.places)
    known = places[np.minimum(at, len(places) - 1)] == news.places if len(places) else at < 0
    values = columns.values.copy()
    if known.any():
        pairs = np.stack([values[at[known]], news.values[known]], axis=1)
        values[at[known]] = _sums(pairs.reshape(-1), np.arange(0, pairs.size, 2))
    places = np.insert(places, at[~known], news.places[~known])
    values = np.insert(values, at[~known], news.values[~known])
    kept = values != 0
    return CellColumns(places[kept], values[kept], NO_USERS, _newest([columns, news]))


def _newest(parts: Iterable[CellColumns]) -> Levels:
    levels: Levels = {}
    for part in parts:
        for key, level in part.levels.items():
            _record(levels, key, level)
    return levels


class GrowingColumns:
    """Columns that are added to: they are merged when they have become twice as many."""

    def __init__(self, columns: CellColumns = NOTHING) -> None:
        self.parts = [columns]
        self.size = self._merged = columns.size

    @classmethod
    def of(cls, parts: Sequence[CellColumns]) -> GrowingColumns:
        """Return columns that have these parts, not merged yet."""
        growing = cls()
        growing.parts = list(parts)
        growing.size = sum(part.size for part in parts)
        return growing

    def add(self, columns: CellColumns) -> None:
        """Add columns; they stay as they are."""
        self.parts.append(columns)
        self.size += columns.size
        if self.size > 2 * self._merged + _FEW:
            self.whole()

    def whole(self) -> CellColumns:
        """Return everything that was added, merged."""
        if len(self.parts) > 1:
            self.parts = [together(self.parts)]
            self.size = self._merged = self.parts[0].size
        return self.parts[0]


def _added(places: Integers, values: Integers) -> tuple[Integers, Integers]:
    """Add up the values that have the same place, and leave out what is 0."""
    if not (places[1:] > places[:-1]).all():
        order = np.argsort(places, kind="stable")  # quick where sorted columns follow each other
        places, values = places[order], values[order]
        first = np.flatnonzero(np.append(True, places[1:] != places[:-1]))
        places, values = places[first], _sums(values, first)
    kept = values != 0
    return places[kept], values[kept]


def _sums(values: Integers, first: Integers) -> Integers:
    """Return the sums of the stretches that begin at these; beyond 64 bits they stay at the end."""
    totals = np.add.reduceat(values, first)
    if int(np.abs(values).max()) > LARGEST // len(values):
        roughly = np.add.reduceat(values.astype(np.float64), first)
        totals[roughly >= LARGEST], totals[roughly <= -LARGEST] = LARGEST, -LARGEST
    return totals


def _at(counts: Integers, rows: Integers) -> Integers:
    """Return the counts of these rows; those beyond the last are 0."""
    found = np.zeros((len(rows), counts.shape[1]), np.int64)
    counted = rows < len(counts)
    found[counted] = counts[rows[counted]]
    return found


def columns_of(cells: Iterable[FacetCell], row_of: Callable[[Facet], int]) -> CellColumns:
    """Take up cells as they travel; a facet may come twice."""
    rows: list[int] = []
    sums: list[list[int]] = []
    places: list[int] = []
    counts: list[int] = []
    users: list[tuple[int, int, bytes]] = []
    sketches: list[tuple[int, Registers]] = []
    levels: Levels = {}
    for faceted in cells:
        row, cell = row_of(faceted.facet), faceted.cell
        rows.append(row)
        sums.append(cell.sums + [0] * (WIDTH - len(cell.sums)))
        for index, data in enumerate((cell.natural, cell.buyers, *cell.users)):
            if is_exact(data):
                users.append((row, 1 << index, data[1:]))
            elif data:
                sketches.append((row << SET_BITS | index, Distinct.from_bytes(data).registers))
        for index, histogram in enumerate(cell.histograms):
            first = (row << _PLACE_BITS) + _SUMS + index * _BUCKETS - ZERO_BUCKET
            places.extend([first + bucket for bucket in histogram])
            counts.extend(histogram.values())
        for index, level in cell.levels.items():
            _record(levels, (row, index), level)
    matrix = _whole(sums).reshape(-1, WIDTH)
    which, place = np.nonzero(matrix)
    return CellColumns(
        np.append((_whole(rows)[which] << _PLACE_BITS) | place, _whole(places)),
        np.append(matrix[which, place], _whole(counts)),
        _users_of(users, sketches),
        levels,
    )


def _users_of(
    users: Sequence[tuple[int, int, bytes]], sketches: Sequence[tuple[int, Registers]]
) -> UserColumns:
    times = [len(hashes) // 8 for _, _, hashes in users]
    return UserColumns.of(
        np.frombuffer(b"".join(hashes for _, _, hashes in users), np.uint64),
        np.repeat(np.array([row for row, _, _ in users], np.int32), times),
        np.repeat(np.array([bit for _, bit, _ in users], np.uint8), times),
        _whole([sketch for sketch, _ in sketches]),
        np.array([registers for _, registers in sketches], np.uint8).reshape(-1, REGISTERS),
    )


def _whole(numbers: list[int] | list[list[int]]) -> Integers:
    """Return numbers as a column; what takes more than 64 bits stays at their end."""
    try:
        return np.array(numbers, np.int64)
    except OverflowError:
        ends: Integers = np.clip(np.array(numbers, object), -LARGEST, LARGEST).astype(np.int64)
        return ends


def _record(levels: Levels, key: tuple[int, int], level: LevelWire) -> None:
    levels[key] = max(level, levels.get(key, level))
