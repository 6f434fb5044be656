"""Cells: the measures of one facet or scope over a stretch of event time.

Cells merge: sums and histograms add up, sets of users are united, and of a level the newest
measurement is kept. Ratios are computed from the result, never merged.

Example: two panes of one campaign, of which user u1 is in both. Money is in 1/10,000.

                            12:00:00               12:00:10               sum
    clicks                  2                      3                      5
    revenue_gross           900,000                0                      900,000
    visitors_paid           {u1, u2}               {u1, u3, u4}           {u1, u2, u3, u4}: 4
    order_amount            {bucket 686: 1}        {}                     {bucket 686: 1}
    followers (time, value) (12:00:02, 10,000)     (12:00:15, 20,000)     (12:00:15, 20,000)

Visitors of the sum are 4, not 2 + 3. Clicks per visitor are 5 / 4, not a mean of 2 / 2 and 3 / 3.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from models.aggregates.distinct_users import Distinct
from models.aggregates.histogram import Histogram
from models.kpi.measures import DISTRIBUTIONS, SET_INDEX, UNIONS, USER_SETS, WIDTH

LevelWire = tuple[int, int]
"""The newest measurement of a level: event time in ms, value in 1/10,000. The larger is kept."""


class CellWire(msgspec.Struct, array_like=True, gc=False):
    """A cell as it is sent and stored. Fields may only be appended.

    ``sums`` are in the order of `SUMS`, ``users`` in that of `USER_SETS`, each as
    `Distinct.to_bytes` writes it; ``histograms`` in that of `DISTRIBUTIONS`; ``levels`` are by
    their index. Lists may be shorter: the rest is 0 or empty. Custom measures are by name, so that
    they are found again whatever else is declared.
    """

    sums: list[int]
    users: list[bytes] = []
    histograms: list[Histogram] = []
    levels: dict[int, LevelWire] = {}
    custom_sums: dict[str, int] = {}
    custom_levels: dict[str, LevelWire] = {}


_NO_CUSTOM: dict[int, int] = {}
"""No custom sums, shared by all cells; it is never added to."""
_NOBODY = Distinct()
"""The empty set, shared by all cells; it is never added to."""


class CountedUsers(Protocol):
    """Sets of users that are counted already, and built only when they are asked for."""

    @property
    def counts(self) -> Sequence[int]:
        """The number of users in each of `USER_SETS`, then in each of `UNIONS`."""

    def sets(self) -> list[Distinct]:
        """Return the sets, in the order of `USER_SETS`."""


class Cell:
    """The sums, distinct users, histograms and levels of a scope over a stretch of time.

    Args:
        sums: in the order of `SUMS`; zeros if None. The list is kept, not copied.
        counted: sets of users that are counted already; None for empty sets.

    Levels and custom sums are by their index (`FIRST_CUSTOM`). ``custom_sums`` is replaced to add
    to it: cells without any share one empty dict.
    """

    __slots__ = ("_counted", "_users", "custom_sums", "histograms", "levels", "sums")

    def __init__(self, sums: list[int] | None = None, counted: CountedUsers | None = None) -> None:
        self.sums = [0] * WIDTH if sums is None else sums
        self._users: list[Distinct] = [_NOBODY] * len(USER_SETS)
        self._counted = counted
        self.histograms: list[Histogram] = [{} for _ in DISTRIBUTIONS]
        self.levels: dict[int, LevelWire] = {}
        self.custom_sums = _NO_CUSTOM

    @property
    def users(self) -> list[Distinct]:
        """The sets of distinct users, in the order of `USER_SETS`."""
        if self._counted is not None:
            self._users, self._counted = self._counted.sets(), None
        return self._users

    def counts(self) -> Sequence[int]:
        """Return the number of users in each of `USER_SETS`, then in each of `UNIONS`.

        A union counts at least as many as each set and union that it contains, although estimates
        of sketches may be off in different directions.
        """
        if self._counted is not None:
            return self._counted.counts
        by_name = {
            one.name: users.estimate for one, users in zip(USER_SETS, self.users, strict=True)
        }
        for name, parts in UNIONS.items():
            union = self.users_in(map(SET_INDEX.__getitem__, parts))
            within = [
                count
                for part, count in by_name.items()
                if set(UNIONS.get(part, (part,))) <= set(parts)
            ]
            by_name[name] = max(union.estimate, *within)
        return list(by_name.values())

    def users_in(self, indices: Iterable[int]) -> Distinct:
        """Return the union of some of the sets, by index."""
        return Distinct.union_of(self.users[index] for index in indices)
