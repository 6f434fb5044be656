"""Counts of distinct users by row, updated incrementally when a few users are added."""

from __future__ import annotations

from collections.abc import Sequence
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
    """Merged users, and their counts.

    Args:
        users: the users, merged.
        counts: the number of users in each set and union of sets, shape (rows, len(of)).
        of: the sets and unions that are counted, a bit for each set.
    """

    users: UserColumns
    counts: Integers
    of: Sequence[int] = COUNTED

    def with_news(self, news: UserColumns) -> Steps[UserCounts]:
        """Return the counts of these users together with new ones, which must be merged."""
        counts = yield from self.counts_with(news)
        users = yield from united_in_steps([self.users, news])
        return UserCounts(users, counts, self.of)

    def counts_with(self, news: UserColumns) -> Steps[Integers]:
        """Return the counts that result when new users, which must be merged, are added.

        Rows without new users keep their counts. In other rows each new user is looked up among
        the known ones, and counts in the sets that it was not in yet. Rows that have sketches,
        or may need one by now, or whose keys collide, are counted as a whole.

        Example: A is known as a buyer in row 0. New are A as a visitor and B as a buyer. Visitors
        grow by one (A) and buyers by one (B). The union of both grows by one (B): A was in it.
        """
        height = max(len(self.counts), news.height)
        counts = np.zeros((height, len(self.of)), np.int64)
        counts[: len(self.counts)] = self.counts
        as_a_whole = _in_any(height, self.users.sketches >> SET_BITS, news.sketches >> SET_BITS)
        many = counts.max(axis=1, initial=0)
        with_news = _in_any(height, news.sketches >> SET_BITS)
        for piece in news.pieces():
            known, doubtful = self._known_sets(piece)
            as_a_whole |= _in_any(height, piece.rows[doubtful])
            with_news |= _in_any(height, piece.rows)
            many += np.bincount(piece.rows, minlength=height)
            for place, sets in enumerate(self.of):
                fresh = (piece.sets & sets != 0) & (known & sets == 0)
                counts[:, place] += np.bincount(piece.rows[fresh], minlength=height)
            yield
        as_a_whole = (as_a_whole | (many > EXACT_LIMIT)) & with_news
        if as_a_whole.any():
            chosen = [NO_USERS]
            for users in self.users, news:
                for piece in users.pieces():
                    chosen.append(piece.of_rows(as_a_whole))
                    yield
            together = yield from united_in_steps(chosen)
            of_chosen = yield from together.counts(height=height, of=self.of)
            counts[as_a_whole] = of_chosen[as_a_whole]
        return counts

    def _known_sets(self, news: UserColumns) -> tuple[npt.NDArray[np.uint8], Bools]:
        """Look new keys up among the known ones.

        Returns:
            The sets in which each key is known already, and whether its key collides with that of
            a user in another row.
        """
        users = self.users
        if not len(users.keys):
            return np.zeros(len(news.keys), np.uint8), np.zeros(len(news.keys), np.bool_)
        at = np.minimum(np.searchsorted(users.keys, news.keys), len(users.keys) - 1)
        same_key = users.keys[at] == news.keys
        same_row = users.rows[at] == news.rows
        return np.where(same_key & same_row, users.sets[at], np.uint8(0)), same_key & ~same_row


NO_COUNTS = UserCounts(NO_USERS, np.zeros((0, len(COUNTED)), np.int64))


def _in_any(height: int, *rows: Integers | Rows) -> Bools:
    """Return a mask of the rows that are listed, shape (height,)."""
    named = np.zeros(height, np.bool_)
    for several in rows:
        named[several] = True
    return named
