"""Sum small windows entry by entry, in plain Python.

Below about a thousand entries this is faster than NumPy. The results are the same.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from models.aggregates import histogram
from models.aggregates.cell import Cell, LevelWire
from models.aggregates.distinct_users import EXACT_LIMIT, Distinct
from models.kpi.measures import FIRST_CUSTOM, USER_SETS
from streams.kpis.columnar.cell_columns import (
    LARGEST,
    CellColumns,
    bucket_at,
    is_sum,
    row_and_place,
)
from streams.kpis.columnar.user_columns import COUNTED

FEW = EXACT_LIMIT
"""The most entries of a small window.

A sketch has 4,096 entries, so a small window contains none. Its users are too few to need one."""


class PlainUsers:
    """The users of one row. `sets_of` maps a user's hash to the sets it is in, one bit each."""

    __slots__ = ("_counts", "sets_of")

    def __init__(self) -> None:
        self.sets_of: dict[int, int] = {}
        self._counts: list[int] = []

    @property
    def counts(self) -> list[int]:
        """The number of users in each of `COUNTED`. Computed once: no user may be added later."""
        if not self._counts:
            alike = Counter(self.sets_of.values()).items()
            self._counts = [sum([n for sets, n in alike if sets & any_of]) for any_of in COUNTED]
        return self._counts

    def sets(self) -> list[Distinct]:
        """Return the sets of users, in the order of `USER_SETS`."""
        return [
            Distinct(user for user, sets in self.sets_of.items() if sets >> index & 1)
            for index in range(len(USER_SETS))
        ]


class _Sum:
    """The cell of one row while entries are added to it."""

    __slots__ = ("cell", "users")

    def __init__(self) -> None:
        self.users = PlainUsers()
        self.cell = Cell(counted=self.users)

    def put(self, place: int, value: int) -> None:
        """Set a sum, or the count of a distribution's bucket."""
        if place < FIRST_CUSTOM:
            self.cell.sums[place] = value
        elif is_sum(place):
            self.cell.custom_sums = {**self.cell.custom_sums, place: value}
        else:
            index, bucket = bucket_at(place)
            self.cell.histograms[index][bucket] = value

    def add_level(self, index: int, level: LevelWire) -> None:
        """Add a measurement; the newest of a level is kept."""
        levels = self.cell.levels
        levels[index] = max(level, levels.get(index, level))

    def add_all(self, others: Sequence[_Sum]) -> None:
        """Add the cells of other rows."""
        every = [self, *others]
        self.cell.sums = list(map(sum, zip(*[one.cell.sums for one in every], strict=True)))
        sets_of = self.users.sets_of
        for other in others:
            for into, counts in zip(self.cell.histograms, other.cell.histograms, strict=True):
                if counts:
                    histogram.merge(into, counts)
            for user, sets in other.users.sets_of.items():
                sets_of[user] = sets_of.get(user, 0) | sets
            for index, level in other.cell.levels.items():
                self.add_level(index, level)
            if other.cell.custom_sums:
                custom = Counter(self.cell.custom_sums)
                custom.update(other.cell.custom_sums)
                self.cell.custom_sums = dict(custom)

    def whole(self) -> Cell | None:
        """Return the cell with saturated sums and without empty buckets; None if it is empty."""
        cell = self.cell
        for counts in cell.histograms:
            for bucket in [bucket for bucket, count in counts.items() if not count]:
                del counts[bucket]
        if cell.custom_sums:
            cell.custom_sums = {
                place: max(-LARGEST, min(LARGEST, value))
                for place, value in cell.custom_sums.items()
                if value
            }
        counted = any(cell.sums) or any(cell.histograms) or self.users.sets_of
        if not (counted or cell.levels or cell.custom_sums):
            return None
        if max(cell.sums) > LARGEST or min(cell.sums) < -LARGEST:
            cell.sums = [max(-LARGEST, min(LARGEST, value)) for value in cell.sums]
        return cell


def cells_of(
    parts: Iterable[CellColumns],
    rows_of: Sequence[Sequence[int]],
    *,
    only: Collection[int] | None = None,
) -> dict[int, Cell]:
    """Sum columns by facet to cells by row.

    Rows that rest on the same single facet share one cell object.

    Args:
        parts: columns by facet, of at most `FEW` entries together.
        rows_of: the rows (scopes) that each facet adds to.
        only: the rows to calculate; None for all.
    """
    by_row: defaultdict[int, list[_Sum]] = defaultdict(list)
    for facet, of_facet in _by_facet(parts).items():
        for row in rows_of[facet]:
            if only is None or row in only:
                by_row[row].append(of_facet)
    cells = {row: _total(several).whole() for row, several in by_row.items()}
    return {row: cell for row, cell in cells.items() if cell is not None}


def _by_facet(parts: Iterable[CellColumns]) -> Mapping[int, _Sum]:
    sums: defaultdict[int, _Sum] = defaultdict(_Sum)
    values: dict[int, int] = {}
    for part in parts:
        for place, value in zip(part.places.tolist(), part.values.tolist(), strict=True):
            values[place] = values.get(place, 0) + value
        for facet, user, sets in part.users.listed():
            sets_of = sums[facet].users.sets_of
            sets_of[user] = sets_of.get(user, 0) | sets
        for (facet, index), level in part.levels.items():
            sums[facet].add_level(index, level)
    for place, value in values.items():
        if value:
            facet, at = row_and_place(place)
            sums[facet].put(at, value)
    return sums


def _total(several: Sequence[_Sum]) -> _Sum:
    if len(several) == 1:
        return several[0]
    total = _Sum()
    total.add_all(several)
    return total
