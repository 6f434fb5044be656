"""How many distinct users each row has, and how many once a few more have come."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.aggregates.distinct_users import EXACT_LIMIT
from streams.engine.steps import Steps
from streams.kpis.columnar.user_columns import (
    COUNTED,
    NO_USERS,
    SET_BITS,
    Bools,
    Integers,
    Rows,
    UserColumns,
    united_in_steps,
)


class UserCounts(NamedTuple):
    """Users, merged, and their number by row in each set and union of sets."""

    users: UserColumns
    counts: Integers

    def with_news(self, news: UserColumns) -> Steps[UserCounts]:
        """Return the census of these and the news, which are merged."""
        counts = yield from self.counts_with(news)
        users = yield from united_in_steps([self.users, news])
        return UserCounts(users, counts)

    def counts_with(self, news: UserColumns) -> Steps[Integers]:
        """Return the counts with the news, which are merged, among the users.

        Rows without news stay as they were counted. In the others, news are looked up
        among the users that are known; rows that have sketches, or might need some, are
        counted as a whole.
        """
        height = max(len(self.counts), int(news.all_rows().max(initial=-1)) + 1)
        counts = np.zeros((height, len(COUNTED)), np.int64)
        counts[: len(self.counts)] = self.counts
        known, doubtful = self._known_sets(news)
        as_a_whole = _in_any(height, news.rows[doubtful], news.sketches >> SET_BITS)
        as_a_whole |= _in_any(height, self.users.sketches >> SET_BITS)
        as_a_whole |= counts.max(axis=1) + np.bincount(news.rows, minlength=height) > EXACT_LIMIT
        for place, sets in enumerate(COUNTED):
            fresh = (news.sets & sets != 0) & (known & sets == 0)
            counts[:, place] += np.bincount(news.rows[fresh], minlength=height)
        as_a_whole &= _in_any(height, news.all_rows())
        yield
        if as_a_whole.any():
            chosen = yield from united_in_steps(
                [self.users.of_rows(as_a_whole), news.of_rows(as_a_whole)]
            )
            of_chosen = yield from chosen.counts(height=height)
            counts[as_a_whole] = of_chosen[as_a_whole]
        return counts

    def _known_sets(self, news: UserColumns) -> tuple[npt.NDArray[np.uint8], Bools]:
        """Return the sets in which each key is already, and whether another row has the key."""
        users = self.users
        if not len(users.keys):
            return np.zeros(len(news.keys), np.uint8), np.zeros(len(news.keys), np.bool_)
        at = np.minimum(np.searchsorted(users.keys, news.keys), len(users.keys) - 1)
        same_key = users.keys[at] == news.keys
        same_row = users.rows[at] == news.rows
        return np.where(same_key & same_row, users.sets[at], np.uint8(0)), same_key & ~same_row


NO_COUNTS = UserCounts(NO_USERS, np.zeros((0, len(COUNTED)), np.int64))


def _in_any(height: int, *rows: Integers | Rows) -> Bools:
    """Return which of the first rows are named."""
    named = np.zeros(height, np.bool_)
    for several in rows:
        named[several] = True
    return named
