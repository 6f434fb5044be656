"""A cell: all that is measured of one scope in one stretch of time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import add

import msgspec

from models import histograms
from models.distinct import Distinct
from models.histograms import Histogram
from models.measures import DISTRIBUTIONS, USER_SETS, WIDTH

LevelWire = tuple[int, int]
"""A level's newest measurement: event time in ms, value in 1/10,000; of two the larger counts."""


class CellWire(msgspec.Struct, array_like=True, gc=False):
    """A cell as it travels and is stored; append only.

    ``natural`` and ``buyers`` are the first two sets of users, ``users`` the others,
    ``levels`` by their index. Before version 4 ``natural`` held all visitors.
    """

    sums: list[int]
    natural: bytes = b""
    buyers: bytes = b""
    users: list[bytes] = []
    histograms: list[Histogram] = []
    levels: dict[int, LevelWire] = {}


_NOBODY = Distinct()
"""Shared by all cells without users of a kind; never added to."""


class Cell:
    """The sums, distinct users, distributions and levels of one scope and stretch of time."""

    __slots__ = ("histograms", "levels", "sums", "users")

    def __init__(self, sums: list[int] | None = None) -> None:
        self.sums = [0] * WIDTH if sums is None else sums
        self.users: list[Distinct] = [_NOBODY] * len(USER_SETS)
        self.histograms: list[Histogram | None] = [None] * len(DISTRIBUTIONS)
        self.levels: dict[int, LevelWire] = {}

    def merge(self, other: Cell) -> None:
        """Add another cell to this one; the other stays as it is."""
        self.sums = list(map(add, self.sums, other.sums))
        for index, theirs in enumerate(other.users):
            if theirs is not _NOBODY:
                if self.users[index] is _NOBODY:
                    self.users[index] = Distinct()
                self.users[index].merge(theirs)
        for index, counts in enumerate(other.histograms):
            if counts:
                mine = self.histograms[index]
                if mine is None:
                    self.histograms[index] = dict(counts)
                else:
                    histograms.merge(mine, counts)
        self._merge_levels(other.levels)

    def _merge_levels(self, levels: dict[int, LevelWire]) -> None:
        for index, level in levels.items():
            known = self.levels.get(index)
            if known is None or level > known:
                self.levels = {**self.levels, index: level}

    @classmethod
    def total(cls, cells: Sequence[Cell]) -> Cell:
        """Return the sum of at least one cell. It may be one of them: do not change it."""
        if len(cells) == 1:
            return cells[0]
        made = cls(list(map(sum, zip(*(cell.sums for cell in cells), strict=True))))
        for index in range(len(USER_SETS)):
            parts = [users for cell in cells if (users := cell.users[index]) is not _NOBODY]
            if parts:
                made.users[index] = parts[0] if len(parts) == 1 else Distinct.union_of(parts)
        for index in range(len(DISTRIBUTIONS)):
            counted = [counts for cell in cells if (counts := cell.histograms[index])]
            if counted:
                merged = dict(counted[0])
                for counts in counted[1:]:
                    histograms.merge(merged, counts)
                made.histograms[index] = merged
        for cell in cells:
            if cell.levels:
                made._merge_levels(cell.levels)
        return made

    def users_in(self, indices: Iterable[int], *, and_: Distinct | None = None) -> Distinct:
        """Return the users in any of the sets, and those given, only to be read."""
        parts = [] if and_ is None or and_ is _NOBODY else [and_]
        parts += [users for index in indices if (users := self.users[index]) is not _NOBODY]
        if not parts:
            return _NOBODY
        return parts[0] if len(parts) == 1 else Distinct.union_of(parts)

    def subtract(self, other: Cell) -> None:
        """Take another cell's sums and distributions away, which were added before.

        Users are a union and levels the newest: what comes in its place has them too.
        """
        self.sums = [mine - theirs for mine, theirs in zip(self.sums, other.sums, strict=True)]
        for index, counts in enumerate(other.histograms):
            mine = self.histograms[index]
            if counts and mine is not None:
                histograms.subtract(mine, counts)

    def to_wire(self) -> CellWire:
        """Return the cell as it travels."""
        natural, buyers, *others = [users.to_bytes() for users in self.users]
        return CellWire(
            self.sums,
            natural,
            buyers,
            others if any(others) else [],
            [counts or {} for counts in self.histograms] if any(self.histograms) else [],
            self.levels,
        )

    @classmethod
    def from_wire(cls, wire: CellWire) -> Cell:
        """Read what `to_wire` wrote, also from before measures were appended."""
        cell = cls(wire.sums + [0] * (WIDTH - len(wire.sums)))
        for index, users in enumerate((wire.natural, wire.buyers, *wire.users)):
            if users:
                cell.users[index] = Distinct.from_bytes(users)
        for index, counts in enumerate(wire.histograms):
            if counts:
                cell.histograms[index] = dict(counts)
        cell.levels = wire.levels
        return cell
