"""Buckets that are seldom looked at are bytes, and nobody can tell."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from models.measures import CLICKS, Cell, CellWire
from models.windows import HOUR_MS, PANE_MS
from streams.kpis.buckets import Buckets
from tests.support.offline import NOON

deltas = st.lists(
    st.tuples(
        st.integers(-360, 0),  # panes before now
        st.sampled_from(["c1", "c2"]),
        st.sets(st.integers(1, 50), max_size=4),
    ),
    max_size=40,
)


def cell(users: set[int]) -> CellWire:
    made = Cell()
    made.sums[CLICKS] = len(users)
    made.visitors._hashes = set(users)
    return made.to_wire()


@settings(max_examples=60)
@given(deltas, st.integers(0, 39))
def test_frozen_and_thawed_buckets_hold_what_they_held(
    made: list[tuple[int, str, set[int]]], frozen_at: int
) -> None:
    plain, frozen = Buckets(), Buckets()
    for number, (panes_ago, campaign, users) in enumerate(made):
        panes = {NOON + panes_ago * PANE_MS: [(campaign, "search", cell(users))]}
        plain.apply(panes, undo={}, at_offset=number)
        frozen.apply(panes, undo={}, at_offset=number)
        if number == frozen_at:
            list(frozen.take_segments())
            for buckets in frozen._levels:
                for bucket in buckets.values():
                    bucket.freeze()
    for start in (NOON - 5 * 60_000, NOON - HOUR_MS):
        one, two = plain.totals(start, NOON + PANE_MS), frozen.totals(start, NOON + PANE_MS)
        assert {scope: total.to_wire()[0] for scope, total in one.items()} == {
            scope: total.to_wire()[0] for scope, total in two.items()
        }
        assert {scope: total.visitors.estimate for scope, total in one.items()} == {
            scope: total.visitors.estimate for scope, total in two.items()
        }


def test_what_is_over_is_frozen_once_it_was_stored() -> None:
    buckets = Buckets()
    buckets.apply({NOON: [("c1", "search", cell({1}))]}, undo={}, at_offset=1)
    buckets.expire(NOON + 10 * 60_000)
    assert not any(bucket.frozen for level in buckets._levels for bucket in level.values())
    list(buckets.take_segments())
    buckets.expire(NOON + 10 * 60_000)
    assert [next(iter(level.values())).frozen for level in buckets._levels] == [True, False, False]
    buckets.apply({NOON: [("c1", "search", cell({2}))]}, undo={}, at_offset=2)
    (total,) = [
        one for scope, one in buckets.totals(NOON, NOON + PANE_MS).items() if scope.kind == "all"
    ]
    assert total.visitors.estimate == 2
