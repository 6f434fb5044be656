"""Users are counted with news as if all had been counted at once."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.distinct import EXACT_LIMIT
from models.hyperloglog import REGISTERS
from models.measures import USER_SETS
from streams.kpis.census import NOBODY_COUNTED
from streams.kpis.users import NOBODY, Users, united

ROWS = 4
ALL_SETS = (1 << len(USER_SETS)) - 1

some = st.tuples(
    st.integers(0, ROWS - 1),  # the row
    st.integers(1, ALL_SETS),  # the sets
    st.integers(0, 1_500),  # the first user
    st.one_of(st.integers(1, 5), st.just(EXACT_LIMIT - 1), st.just(EXACT_LIMIT + 1)),  # how many
)
news = st.lists(st.lists(some, max_size=3), max_size=5)


def users(several: list[tuple[int, int, int, int]]) -> Users:
    """Return users, merged."""
    parts = [
        Users.of(
            np.arange(first, first + many, dtype=np.uint64) * np.uint64(0x9E37_79B9_7F4A_7C15),
            np.full(many, row, np.int32),
            np.full(many, sets, np.uint8),
            np.empty(0, np.int64),
            np.empty((0, REGISTERS), np.uint8),
        )
        for row, sets, first, many in several
    ]
    return united([NOBODY, *parts])


@settings(max_examples=80, deadline=None)
@given(news)
def test_counts_with_news_are_those_of_all_at_once(
    made: list[list[tuple[int, int, int, int]]],
) -> None:
    census = NOBODY_COUNTED
    for several in made:
        census = census.with_news(users(several))
    at_once = users([one for several in made for one in several])
    counts = np.zeros((ROWS, census.counts.shape[1]), np.int64)
    counts[: len(census.counts)] = census.counts
    assert counts.tolist() == at_once.counts(height=ROWS).tolist()


def test_news_whose_key_is_that_of_another_row_are_counted() -> None:
    # Keys are the hash and a multiple of the row: these two have the same.
    one, other = users([(0, 1, 1, 1)]), users([(1, 1, 0, 1)])
    assert one.keys.tolist() == other.keys.tolist()
    census = NOBODY_COUNTED.with_news(one).with_news(other)
    assert census.counts[:, 0].tolist() == [1, 1]
    assert census.with_news(other).counts[:, 0].tolist() == [1, 1]
