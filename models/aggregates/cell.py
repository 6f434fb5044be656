"""A cell: all that is measured of one scope in one stretch of time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from models.aggregates import histograms
from models.aggregates.distinct_users import Distinct
from models.aggregates.histograms import Histogram
from models.kpi.measures import DISTRIBUTIONS, SET_INDEX, UNIONS, USER_SETS, WIDTH

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


class CountedUsers(Protocol):
    """Sets of users that were counted already, and are made when somebody asks for them."""

    @property
    def counts(self) -> Sequence[int]:
        """How many users are in each set, and then in each union of sets."""

    def sets(self) -> list[Distinct]:
        """Return the sets, in their order."""


class Cell:
    """The sums, distinct users, distributions and levels of one scope and stretch of time."""

    __slots__ = ("_counted", "_users", "histograms", "levels", "sums")

    def __init__(self, sums: list[int] | None = None, counted: CountedUsers | None = None) -> None:
        self.sums = [0] * WIDTH if sums is None else sums
        self._users: list[Distinct] = [_NOBODY] * len(USER_SETS)
        self._counted = counted
        self.histograms: list[Histogram] = [{} for _ in DISTRIBUTIONS]
        self.levels: dict[int, LevelWire] = {}

    @property
    def users(self) -> list[Distinct]:
        """The sets of distinct users, in their order."""
        if self._counted is not None:
            self._users, self._counted = self._counted.sets(), None
        return self._users

    def counts(self) -> Sequence[int]:
        """Return how many users are in each set, and then in each union of sets."""
        if self._counted is not None:
            return self._counted.counts
        unions = (self.users_in(map(SET_INDEX.__getitem__, names)) for names in UNIONS.values())
        return [users.estimate for users in (*self.users, *unions)]

    @classmethod
    def total(cls, cells: Sequence[Cell]) -> Cell:
        """Return the sum of at least one cell; they stay as they are."""
        total = cls(list(map(sum, zip(*(cell.sums for cell in cells), strict=True))))
        by_set = zip(*(cell.users for cell in cells), strict=True)
        total._users = [Distinct.union_of(users) for users in by_set]
        for cell in cells:
            for index, counts in enumerate(cell.histograms):
                histograms.merge(total.histograms[index], counts)
            for index, level in cell.levels.items():
                total.levels[index] = max(level, total.levels.get(index, level))
        return total

    def users_in(self, indices: Iterable[int]) -> Distinct:
        """Return the users in any of the sets."""
        return Distinct.union_of(self.users[index] for index in indices)
