"""Few cells, added up one by one: arrays cost more than they save where there is little."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from models.cells import Cell
from models.distinct import EXACT_LIMIT, Distinct
from models.measures import USER_SETS
from streams.kpis.columns import LARGEST, Columns, bucket_at, is_sum
from streams.kpis.users import COUNTED

FEW = EXACT_LIMIT
"""So many entries are added up one by one: no sketch is among them, and none comes of them."""


class PlainUsers:
    """The users of one row: the sets that each is in, a bit for each set."""

    __slots__ = ("_sets_of",)

    def __init__(self, sets_of: Mapping[int, int]) -> None:
        self._sets_of = sets_of

    @property
    def counts(self) -> list[int]:
        """How many users are in each set, and then in each union of sets."""
        alike = Counter(self._sets_of.values()).items()
        return [sum([count for sets, count in alike if sets & any_of]) for any_of in COUNTED]

    def sets(self) -> list[Distinct]:
        """Return the sets, in their order."""
        return [
            Distinct(user for user, sets in self._sets_of.items() if sets >> index & 1)
            for index in range(len(USER_SETS))
        ]


class _Sum:
    """The cell of one row, and its users by their sets, while they are added to."""

    __slots__ = ("cell", "sets_of")

    def __init__(self) -> None:
        self.sets_of: dict[int, int] = {}
        self.cell = Cell(counted=PlainUsers(self.sets_of))

    def add(self, place: int, value: int) -> None:
        """Add to a sum or to a bucket of a distribution."""
        if is_sum(place):
            self.cell.sums[place] += value
            return
        index, bucket = bucket_at(place)
        counts = self.cell.histograms[index]
        counts[bucket] = counts.get(bucket, 0) + value
        if not counts[bucket]:
            del counts[bucket]

    def whole(self) -> Cell | None:
        """Return the cell; None where everything was taken back."""
        cell = self.cell
        if not (any(cell.sums) or any(cell.histograms) or self.sets_of or cell.levels):
            return None
        if max(cell.sums) > LARGEST or min(cell.sums) < -LARGEST:
            cell.sums = [max(-LARGEST, min(LARGEST, value)) for value in cell.sums]
        return cell


def cells_of(parts: Iterable[Columns], rows_of: Sequence[Sequence[int]]) -> dict[int, Cell]:
    """Return the cells that parts of at most `FEW` entries add up to.

    Args:
        parts: by facet.
        rows_of: the rows that each facet adds to.
    """
    by_row: defaultdict[int, _Sum] = defaultdict(_Sum)
    for part in parts:
        for facet, place, value in part.listed():
            for row in rows_of[facet]:
                by_row[row].add(place, value)
        for facet, user, sets in part.users.listed():
            for row in rows_of[facet]:
                sets_of = by_row[row].sets_of
                sets_of[user] = sets_of.get(user, 0) | sets
        for (facet, index), level in part.levels.items():
            for row in rows_of[facet]:
                levels = by_row[row].cell.levels
                levels[index] = max(level, levels.get(index, level))
    return {row: cell for row, of_row in by_row.items() if (cell := of_row.whole()) is not None}
