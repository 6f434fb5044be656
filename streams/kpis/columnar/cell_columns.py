"""Cells of many facets or scopes as sparse columns, so that sums are added for all at once.

A row is the number of a facet or a scope (`FacetIndex`). A place is a measure within a row: places
below 1,024 are sums: up to 511 by their index in `models.kpi.measures.SUMS`, from 512 custom ones
(`CustomIndex`). The others are buckets of distributions. An entry is a row, a place and a value;
entries of value 0 are not stored. Row and place are packed into one integer,
``row << 16 | place``.

Example: row 0 has 3 clicks, row 1 has 2 clicks and a visit of 1,000 ms. Clicks are sum 1 and visits
are sum 2. The length of the visit is in bucket 346 of distribution 0, which is place
1,024 + 346 + 1, because the first bucket is -1.

    places  1        65537    65538    66907        row << 16 | place
    values  3        2        1        1

To merge columns, entries are sorted by place and neighbours of the same place are added up. After 4
more clicks in row 0, ``values`` is 7, 2, 1, 1. If both facets add to scope 0, ``by([0, 0])`` gives
them the same row: the places are 1, 2, 1371 and the values 9, 1, 1 once merged. Any order and
grouping of merges gives the same columns, as long as no sum leaves 64 bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from models.aggregates.cell import Cell, LevelWire
from models.aggregates.distinct_users import Distinct, is_exact
from models.aggregates.histogram import ZERO_BUCKET
from models.aggregates.hyperloglog import REGISTERS, Registers
from models.aggregates.ingest_report import FacetCell
from models.kpi.measures import DISTRIBUTIONS, FIRST_CUSTOM, WIDTH
from models.scope import Facet
from streams.engine.steps import Steps, at_once, in_groups
from streams.kpis.columnar.custom_index import SUM_PLACES, CustomIndex
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
"""The newest measurement by row and by index of the level."""

_PLACE_BITS = 16
_PLACES = (1 << _PLACE_BITS) - 1
"""The largest place, and the mask for it."""
_BUCKETS = 1 << 12
"""Places reserved for each distribution."""
LARGEST = 2**63 - 1
"""Sums saturate at this value and at its negative."""
_FEW = 10_000
"""`GrowingColumns` collects at least so many new entries before it merges."""
_ROWS_A_STEP = 500
"""The most cells built in one step of up to 5 ms."""


class CellColumns(NamedTuple):
    """Cells by row. Merged columns have each place once, ascending, and no value of 0.

    Args:
        places: ``row << 16 | place`` of each entry, shape (entries,).
        values: the value of each entry, shape (entries,); money in 1/10,000 of the currency.
        users: the distinct users.
        levels: the newest measurements, values in 1/10,000.
    """

    places: Integers
    values: Integers
    users: UserColumns
    levels: Levels

    @property
    def size(self) -> int:
        """The number of entries, of users' keys and registers, and of levels."""
        return len(self.places) + self.users.size + len(self.levels)

    @property
    def retraction(self) -> CellColumns:
        """Columns that retract the sums and distributions of these when they are added.

        Users and levels can't be retracted. They need not be: the reports that replace this one
        cover the same records, so they have them too.
        """
        return CellColumns(self.places, -self.values, NO_USERS, {})

    def by(self, row_of: Rows) -> CellColumns:
        """Return the columns with other rows, not merged.

        Args:
            row_of: the new row of each present row; a negative one drops the row.
        """
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
        """Return the entries of the chosen rows; ``chosen`` has a bool for each row."""
        kept = chosen[self.places >> _PLACE_BITS]
        levels = {key: level for key, level in self.levels.items() if chosen[key[0]]}
        return CellColumns(self.places[kept], self.values[kept], self.users.of_rows(chosen), levels)

    def renumbered(
        self, sums: Sequence[str], levels: Sequence[str], *, custom: CustomIndex
    ) -> CellColumns:
        """Return the columns with other numbers of custom measures.

        A sum for which ``custom`` has no place is dropped.

        Args:
            sums: the names of the custom sums, by their present numbers from `FIRST_CUSTOM`.
            levels: the names of the custom levels, likewise.
            custom: the new numbers; names without one get one.
        """
        renamed: Levels = {}
        for (row, index), level in self.levels.items():
            known = index < FIRST_CUSTOM
            new = index if known else custom.level_at(levels[index - FIRST_CUSTOM])
            renamed[row, new] = level
        at = np.flatnonzero(is_custom(self.places))
        if not len(at):
            return self._replace(levels=renamed)
        present, which = np.unique(self.places[at] & _PLACES, return_inverse=True)
        found = [custom.sum_at(sums[place - FIRST_CUSTOM]) for place in present.tolist()]
        numbers = np.array([-1 if number is None else number for number in found])[which]
        places, kept = self.places.copy(), np.ones(len(self.places), np.bool_)
        places[at] = (places[at] & ~_PLACES) | (numbers & _PLACES)
        kept[at] = numbers >= 0
        return CellColumns(places[kept], self.values[kept], self.users, renamed)

    def rows(self) -> Integers:
        """Return the rows that have entries, ascending."""
        of_levels = np.array([row for row, _ in self.levels], np.int64)
        rows = np.concatenate([self.places >> _PLACE_BITS, self.users.all_rows(), of_levels])
        return np.flatnonzero(np.bincount(rows))

    def cells(self) -> Steps[Mapping[int, Cell]]:
        """Return the cell of each row. The columns must be merged."""
        counts = yield from self.users.counts(height=self.users.height)
        return (yield from self.cells_with(counts, [self.users]))

    def cells_with(
        self, counts: Integers, users: Sequence[UserColumns]
    ) -> Steps[Mapping[int, Cell]]:
        """Return the cell of each row, with users that are held elsewhere.

        Args:
            counts: the number of users of each row in each set and union of sets, shape
                (rows, len(COUNTED)).
            users: the users, in one or more parts.
        """
        rows = np.union1d(self.rows(), np.flatnonzero(counts.any(axis=1)))
        sums, rest = np.zeros((len(rows), WIDTH), np.int64), self.places & _PLACES
        at = rest < FIRST_CUSTOM
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
        yield from self._add_custom_sums(cells)
        for (row, index), level in self.levels.items():
            cells[row].levels[index] = level
        return cells

    def _add_histograms(self, cells: Mapping[int, Cell]) -> Steps[None]:
        counted = (self.places & _PLACES) >= SUM_PLACES
        index, bucket = np.divmod((self.places[counted] & _PLACES) - SUM_PLACES, _BUCKETS)
        buckets, counts = (bucket + ZERO_BUCKET).tolist(), self.values[counted].tolist()
        groups = (self.places[counted] >> _PLACE_BITS) * len(DISTRIBUTIONS) + index
        for several in in_groups(runs(groups), of=_ROWS_A_STEP):
            for group, first, end in several:
                row, of = divmod(group, len(DISTRIBUTIONS))
                cells[row].histograms[of] = dict(
                    zip(buckets[first:end], counts[first:end], strict=True)
                )
            yield

    def _add_custom_sums(self, cells: Mapping[int, Cell]) -> Steps[None]:
        at = np.flatnonzero(is_custom(self.places))
        if not len(at):
            return
        rows, custom = self.places[at] >> _PLACE_BITS, (self.places[at] & _PLACES).tolist()
        values = self.values[at].tolist()
        for several in in_groups(runs(rows), of=_ROWS_A_STEP):
            for row, first, end in several:
                cells[row].custom_sums = dict(
                    zip(custom[first:end], values[first:end], strict=True)
                )
            yield


def row_and_place(at: int) -> tuple[int, int]:
    """Unpack the row and the place from an item of `CellColumns.places`."""
    return at >> _PLACE_BITS, at & _PLACES


def is_custom(places: Integers) -> Bools:
    """Return which items of `CellColumns.places` are custom sums."""
    rest = places & _PLACES
    custom: Bools = (rest >= FIRST_CUSTOM) & (rest < SUM_PLACES)
    return custom


def is_sum(place: int) -> bool:
    """Return whether a place is a sum, and not a bucket of a distribution."""
    return place < SUM_PLACES


def bucket_at(place: int) -> tuple[int, int]:
    """Return the index of the distribution and the bucket of a place."""
    index, bucket = divmod(place - SUM_PLACES, _BUCKETS)
    return index, bucket + ZERO_BUCKET


NOTHING = CellColumns(np.empty(0, np.int64), np.empty(0, np.int64), NO_USERS, {})


def together(parts: Sequence[CellColumns]) -> CellColumns:
    """Merge columns: the result has each place, user and sketch once, ascending."""
    return at_once(together_in_steps(parts))


def together_in_steps(parts: Sequence[CellColumns]) -> Steps[CellColumns]:
    """Merge columns as `together` does, in steps."""
    places = np.concatenate([part.places for part in parts])
    values = np.concatenate([part.values for part in parts])
    places, values = _added(places, values)
    yield
    users = yield from united_in_steps([part.users for part in parts])
    return CellColumns(places, values, users, _newest(parts))


def with_news(columns: CellColumns, news: CellColumns) -> CellColumns:
    """Merge columns with fewer new ones, both merged before, without their users.

    The new entries are inserted into the sorted columns, which are not sorted again.
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
    """Columns to which others are appended. They are merged when they have grown twofold.

    `parts` holds the columns, merged or not, and `size` is the number of their entries.
    """

    def __init__(self, columns: CellColumns = NOTHING) -> None:
        self.parts = [columns]
        self.size = self._merged = columns.size

    @classmethod
    def of(cls, parts: Sequence[CellColumns]) -> GrowingColumns:
        """Return growing columns with these parts, without merging them."""
        growing = cls()
        growing.parts = list(parts)
        growing.size = sum(part.size for part in parts)
        return growing

    def add(self, columns: CellColumns) -> None:
        """Append columns, which are not modified."""
        self.parts.append(columns)
        self.size += columns.size
        if self.size > 2 * self._merged + _FEW:
            self.whole()

    def whole(self) -> CellColumns:
        """Merge everything that was appended, and return it."""
        if len(self.parts) > 1:
            self.parts = [together(self.parts)]
            self.size = self._merged = self.parts[0].size
        return self.parts[0]


def _added(places: Integers, values: Integers) -> tuple[Integers, Integers]:
    """Sort by place, add up the values of the same place, and drop zeros."""
    if not (places[1:] > places[:-1]).all():
        order = np.argsort(places, kind="stable")  # fast: the input is a few sorted runs
        places, values = places[order], values[order]
        first = np.flatnonzero(np.append(True, places[1:] != places[:-1]))
        places, values = places[first], _sums(values, first)
    kept = values != 0
    return places[kept], values[kept]


def _sums(values: Integers, first: Integers) -> Integers:
    """Return the sums of the stretches of ``values`` that begin at ``first``, saturated.

    The sum in float64 tells which stretches leave 64 bits. It is computed only if any could.
    """
    totals = np.add.reduceat(values, first)
    if int(np.abs(values).max()) > LARGEST // len(values):
        roughly = np.add.reduceat(values.astype(np.float64), first)
        totals[roughly >= LARGEST], totals[roughly <= -LARGEST] = LARGEST, -LARGEST
    return totals


def _at(counts: Integers, rows: Integers) -> Integers:
    """Return the counts of these rows; 0 for rows beyond the last one."""
    found = np.zeros((len(rows), counts.shape[1]), np.int64)
    counted = rows < len(counts)
    found[counted] = counts[rows[counted]]
    return found


def columns_of(
    cells: Iterable[FacetCell], row_of: Callable[[Facet], int], custom: CustomIndex
) -> CellColumns:
    """Convert the cells of a report to columns.

    The result is not merged: a facet may occur twice.

    Args:
        cells: the cells of a report.
        row_of: returns the row of a facet.
        custom: the numbering of custom measures; unknown ones get a number.
    """
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
        for index, data in enumerate(cell.users):
            if is_exact(data):
                users.append((row, 1 << index, data[1:]))
            elif data:
                sketches.append((row << SET_BITS | index, Distinct.from_bytes(data).registers))
        for index, histogram in enumerate(cell.histograms):
            first = (row << _PLACE_BITS) + SUM_PLACES + index * _BUCKETS - ZERO_BUCKET
            places.extend([first + bucket for bucket in histogram])
            counts.extend(histogram.values())
        for index, level in cell.levels.items():
            _record(levels, (row, index), level)
        for name, value in cell.custom_sums.items():
            at = custom.sum_at(name)
            if at is not None:
                places.append(row << _PLACE_BITS | at)
                counts.append(value)
        for name, level in cell.custom_levels.items():
            _record(levels, (row, custom.level_at(name)), level)
    matrix = _whole(sums).reshape(-1, WIDTH)
    which, place = np.nonzero(matrix)
    return CellColumns(
        np.append((_whole(rows)[which] << _PLACE_BITS) | place, _whole(places)),
        np.append(matrix[which, place], _whole(counts)),
        _users_of(users, sketches),
        levels,
    )


def sum_columns(rows: Integers, places: Integers, values: Integers) -> CellColumns:
    """Return merged columns of sums only, from arrays of shape (entries,).

    Args:
        rows: the row of each entry.
        places: the index of each entry in `models.kpi.measures.SUMS`.
        values: the values.
    """
    places, values = _added((rows << _PLACE_BITS) | places, values)
    return CellColumns(places, values, NO_USERS, {})


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
    """Return numbers as an array of int64; larger ones are clipped to `LARGEST`."""
    try:
        return np.array(numbers, np.int64)
    except OverflowError:
        ends: Integers = np.clip(np.array(numbers, object), -LARGEST, LARGEST).astype(np.int64)
        return ends


def _record(levels: Levels, key: tuple[int, int], level: LevelWire) -> None:
    levels[key] = max(level, levels.get(key, level))
