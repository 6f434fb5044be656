"""Few cells, added up one by one: arrays cost more than they save where there is little."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from models.aggregates import histograms
from models.aggregates.cell import Cell, LevelWire
from models.aggregates.distinct_users import EXACT_LIMIT, Distinct
from models.kpi.measures import USER_SETS
from streams.kpis.columnar.cell_columns import (
    LARGEST,
    CellColumns,
    bucket_at,
    is_sum,
    row_and_place,
)
from streams.kpis.columnar.user_columns import COUNTED

FEW = EXACT_LIMIT
"""So many entries are added up one by one: no sketch is among them, and none comes of them."""


class PlainUsers:
    """The users of one row: the sets that each is in, a bit for each set."""

    __slots__ = ("_counts", "sets_of")

    def __init__(self) -> None:
        self.sets_of: dict[int, int] = {}
        self._counts: list[int] = []

    @property
    def counts(self) -> list[int]:
        """How many users are in each set, and then in each union of sets; all have come."""
        if not self._counts:
            alike = Counter(self.sets_of.values()).items()
            self._counts = [sum([n for sets, n in alike if sets & any_of]) for any_of in COUNTED]
        return self._counts

    def sets(self) -> list[Distinct]:
        """Return the sets, in their order."""
        return [
            Distinct(user for user, sets in self.sets_of.items() if sets >> index & 1)
            for index in range(len(USER_SETS))
        ]


class _Sum:
    """The cell of one row while it is added to."""

    __slots__ = ("cell", "users")

    def __init__(self) -> None:
        self.users = PlainUsers()
        self.cell = Cell(counted=self.users)

    def put(self, place: int, value: int) -> None:
        """Put a sum, or a bucket of a distribution."""
        if is_sum(place):
            self.cell.sums[place] = value
        else:
            index, bucket = bucket_at(place)
            self.cell.histograms[index][bucket] = value

    def add_level(self, index: int, level: LevelWire) -> None:
        """Add a measurement."""
        levels = self.cell.levels
        levels[index] = max(level, levels.get(index, level))

    def add_all(self, others: Sequence[_Sum]) -> None:
        """Add other rows."""
        every = [self, *others]
        self.cell.sums = list(map(sum, zip(*[one.cell.sums for one in every], strict=True)))
        sets_of = self.users.sets_of
        for other in others:
            for into, counts in zip(self.cell.histograms, other.cell.histograms, strict=True):
                if counts:
                    histograms.merge(into, counts)
            for user, sets in other.users.sets_of.items():
                sets_of[user] = sets_of.get(user, 0) | sets
            for index, level in other.cell.levels.items():
                self.add_level(index, level)

    def whole(self) -> Cell | None:
        """Return the cell without what is 0; None where nothing is left."""
        cell = self.cell
        for counts in cell.histograms:
            for bucket in [bucket for bucket, count in counts.items() if not count]:
                del counts[bucket]
        if not (any(cell.sums) or any(cell.histograms) or self.users.sets_of or cell.levels):
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
    """Return the cells that parts of at most `FEW` entries add up to; rows may share one.

    Args:
        parts: by facet.
        rows_of: the rows that each facet adds to.
        only: the rows that are wanted; None wants all.
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
