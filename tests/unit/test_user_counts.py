"""Users are counted with news as if all had been counted at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.aggregates.distinct_users import EXACT_LIMIT
from models.aggregates.hyperloglog import REGISTERS
from models.kpi.measures import USER_SETS
from streams.engine.steps import at_once
from streams.kpis.columnar.user_columns import NO_USERS, UserColumns, united
from streams.kpis.columnar.user_counts import NO_COUNTS

ROWS = 4
ALL_SETS = (1 << len(USER_SETS)) - 1

some = st.tuples(
    st.integers(0, ROWS - 1),  # the row
    st.integers(1, ALL_SETS),  # the sets
    st.integers(0, 1_500),  # the first user
    st.one_of(st.integers(1, 5), st.just(EXACT_LIMIT - 1), st.just(EXACT_LIMIT + 1)),  # how many
)
news = st.lists(st.lists(some, max_size=3), max_size=5)


def users(several: list[tuple[int, int, int, int]]) -> UserColumns:
    """Return users, merged."""
    parts = [
        UserColumns.of(
            np.arange(first, first + many, dtype=np.uint64) * np.uint64(0x9E37_79B9_7F4A_7C15),
            np.full(many, row, np.int32),
            np.full(many, sets, np.uint8),
            np.empty(0, np.int64),
            np.empty((0, REGISTERS), np.uint8),
        )
        for row, sets, first, many in several
    ]
    return united([NO_USERS, *parts])


@settings(max_examples=80, deadline=None)
@given(news)
def test_incremental_counts_equal_a_full_count(
    made: list[list[tuple[int, int, int, int]]],
) -> None:
    """Counts that were updated step by step equal those of all users at once."""
    user_counts = NO_COUNTS
    for several in made:
        user_counts = at_once(user_counts.with_news(users(several)))
    together = users([one for several in made for one in several])
    counts = np.zeros((ROWS, user_counts.counts.shape[1]), np.int64)
    counts[: len(user_counts.counts)] = user_counts.counts
    assert counts.tolist() == at_once(together.counts(height=ROWS)).tolist()


def test_incremental_counts_with_colliding_keys() -> None:
    """New users whose key collides with that of another row are counted."""
    # Keys are the hash and a multiple of the row: these two have the same.
    one, other = users([(0, 1, 1, 1)]), users([(1, 1, 0, 1)])
    assert one.keys.tolist() == other.keys.tolist()
    user_counts = at_once(at_once(NO_COUNTS.with_news(one)).with_news(other))
    assert user_counts.counts[:, 0].tolist() == [1, 1]
    assert at_once(user_counts.with_news(other)).counts[:, 0].tolist() == [1, 1]


@settings(max_examples=60, deadline=None)
@given(st.lists(some, max_size=3), st.lists(some, max_size=3))
def test_sorted_in_parts(
    one: list[tuple[int, int, int, int]], other: list[tuple[int, int, int, int]]
) -> None:
    """Users that are merged and counted in many steps are those of one step."""
    parts = [users(one), users(other), users(one)]
    module = "streams.kpis.columnar.user_columns"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(f"{module}.EXACT_LIMIT", 20)
        patched.setattr("streams.kpis.columnar.user_counts.EXACT_LIMIT", 20)
        patched.setattr(f"{module}._KEYS_A_STEP", 50)
        patched.setattr(f"{module}._SKETCHES_A_STEP", 2)
        in_parts = united(parts)
        counts = at_once(at_once(NO_COUNTS.with_news(users(one))).counts_with(users(other)))
        patched.setattr(f"{module}._KEYS_A_STEP", 10**9)
        patched.setattr(f"{module}._SKETCHES_A_STEP", 10**9)
        at_a_time = united(parts)
        height = at_a_time.height
        assert counts.tolist() == at_once(at_a_time.counts(height=height)).tolist()
    assert in_parts.keys.tolist() == at_a_time.keys.tolist()
    assert in_parts.rows.tolist() == at_a_time.rows.tolist()
    assert in_parts.sets.tolist() == at_a_time.sets.tolist()
    assert in_parts.sketches.tolist() == at_a_time.sketches.tolist()
    assert (in_parts.registers == at_a_time.registers).all()
