"""Buckets that are seldom looked at are bytes, and nobody can tell."""

from __future__ import annotations

from operator import itemgetter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.aggregates.cell import Cell
from models.aggregates.ingest_report import FacetCell, PanesWire
from models.kpi.measures import SUM_INDEX
from models.scope import ALL, Scope
from models.window import (
    DAY_MS,
    HOUR_MS,
    PANE_MS,
    QUARTER_MS,
    WINDOWS,
    align_down,
    start_of_window,
)
from streams.engine.steps import at_once
from streams.kpis.columnar import small_windows
from streams.kpis.storage.bucket_store import DAY_LEVEL
from tests.factories.cells import clicks_of, sums_and_users
from tests.factories.times import NEW_YORK_DAY as DAY
from tests.support.at_once import BucketsAtOnce
from tests.support.offline import NOON

deltas = st.lists(
    st.tuples(
        st.integers(-360, 0),  # panes before now
        st.sampled_from(["c1", "c2"]),
        st.sets(st.integers(1, 50), max_size=4),
    ),
    max_size=40,
)


SMALL = (Scope("campaign", "c1"), Scope("campaign", "c3"))


def counted(total: Cell) -> tuple[list[int], list[int]]:
    return total.sums, list(total.counts())


@settings(max_examples=60, deadline=None)
@given(deltas, st.integers(0, 39))
def test_spilled_buckets_keep_their_cells(
    made: list[tuple[int, str, set[int]]], frozen_at: int
) -> None:
    """Buckets that are spilled and loaded again have the same cells."""
    loaded, spilled = BucketsAtOnce(DAY), BucketsAtOnce(DAY)
    for number, (panes_ago, campaign, users) in enumerate(made):
        panes = {NOON + panes_ago * PANE_MS: [FacetCell(campaign, "search", clicks_of(users))]}
        loaded.apply(panes, retracted={}, at_offset=number)
        spilled.apply(panes, retracted={}, at_offset=number)
        if number == frozen_at:
            list(spilled.take_segments())
            for buckets in spilled.levels:
                for bucket in buckets.values():
                    bucket.spill()
    for start in (NOON - 5 * 60_000, NOON - HOUR_MS):
        one, two = loaded.totals(start, NOON + PANE_MS), spilled.totals(start, NOON + PANE_MS)
        assert {scope: total.sums for scope, total in one.items()} == {
            scope: total.sums for scope, total in two.items()
        }
        assert {scope: total.users_in([0]).estimate for scope, total in one.items()} == {
            scope: total.users_in([0]).estimate for scope, total in two.items()
        }


def test_stored_buckets_are_spilled() -> None:
    """A bucket whose time is over is spilled once it was stored."""
    buckets = BucketsAtOnce(DAY)
    buckets.apply({NOON: [FacetCell("c1", "search", clicks_of({1}))]}, retracted={}, at_offset=1)
    buckets.expire(NOON + 10 * 60_000)
    assert not any(bucket.spilled for level in buckets.levels for bucket in level.values())
    list(buckets.take_segments())
    buckets.expire(NOON + 11 * 60_000)
    assert [next(iter(level.values())).spilled for level in buckets.levels[:DAY_LEVEL]] == [
        *(True, True, False)
    ]
    buckets.apply({NOON: [FacetCell("c1", "search", clicks_of({2}))]}, retracted={}, at_offset=2)
    total = buckets.totals(NOON, NOON + PANE_MS)[ALL]
    assert total.users_in([0]).estimate == 2


@pytest.mark.parametrize("few", [0, small_windows.FEW])
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    made=st.lists(
        st.tuples(
            st.integers(0, 60),  # the hour in which it comes
            st.integers(-120, 0),  # of how many minutes ago
            st.sampled_from(["c1", "c2", "c3"]),
            st.sets(st.integers(1, 50), max_size=3),
            st.booleans(),  # whether it comes in place of what came last
        ),
        max_size=60,
    )
)
def test_running_sums_equal_a_fresh_sum(
    made: list[tuple[int, int, str, set[int], bool]], few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long window that is read every hour equals the same window read once from its buckets."""
    # Two days around the end of daylight saving time, asked every hour, with late deltas.
    start = 1_699_070_400_000  # 2023-11-04T00:00 in New York
    asked = BucketsAtOnce(DAY)
    last: PanesWire = {}
    for hour in range(4, 61):
        end = start + hour * HOUR_MS
        arrivals = [delta for delta in made if delta[0] == hour]
        for number, (_, minutes_ago, campaign, users, instead) in enumerate(arrivals):
            pane = end + minutes_ago * 60_000
            panes = {pane: [FacetCell(campaign, "search", clicks_of(users))]}
            retracted = last if instead else {}
            asked.apply(panes, retracted=retracted, at_offset=hour * 1_000 + number)
            last = panes
        fresh = BucketsAtOnce(DAY)
        list(asked.take_segments())
        fresh.restore({key: value for level in range(4) for key, value in _stored(asked, level)})
        with monkeypatch.context() as patched:
            patched.setattr(small_windows, "FEW", few)
            one = asked.totals(start, end)
            small = at_once(one.together([SMALL]))[0]
        two = fresh.totals(start, end)
        assert counted(small) == counted(at_once(two.together([SMALL]))[0])
        assert {scope: counted(total) for scope, total in one.items()} == {
            scope: counted(total) for scope, total in two.items()
        }
        assert {scope: total.users_in([0]).estimate for scope, total in one.items()} == {
            scope: total.users_in([0]).estimate for scope, total in two.items()
        }
        asked.expire(end)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 90),  # hours after the start
            st.one_of(st.integers(0, 20), st.integers(0, 60 * 24 * 12)),  # minutes late
            st.sets(st.integers(1, 50), max_size=3),
        ),
        max_size=40,
    )
)
def test_any_order_of_panes_gives_the_same_long_windows(
    made: list[tuple[int, int, set[int]]],
) -> None:
    # Four days around the end of daylight saving time.
    start = 1_699_070_400_000  # 2023-11-04T00:00 in New York
    everything, expiring = BucketsAtOnce(DAY), BucketsAtOnce(DAY)
    frontier_ms = start + 91 * HOUR_MS + 3 * PANE_MS
    for number, (hour, minutes_late, users) in enumerate(sorted(made, key=itemgetter(0))):
        now_ms = start + hour * HOUR_MS
        expiring.expire(now_ms)
        pane = now_ms + PANE_MS - minutes_late * 60_000
        panes = {pane: [FacetCell("c1", "search", clicks_of(users))]}
        for buckets in (everything, expiring):
            buckets.apply(panes, retracted={}, at_offset=number)
    expiring.expire(frontier_ms)
    midnights = [DAY.start_before(frontier_ms, days=days) for days in range(5)]
    for window in WINDOWS:
        latest = align_down(frontier_ms, step_ms=window.step_ms)
        for end in (latest, *(midnights if window.days else ())):
            begin = start_of_window(window, end, day=DAY)
            held = expiring.holds(begin, end)
            assert held or (end != latest and window.name == "month")
            assert not held or sums_and_users(expiring, begin, end) == sums_and_users(
                everything, begin, end
            )


def test_which_past_windows_are_held() -> None:
    """A past window is held if buckets fine enough for its edges are still kept."""
    buckets = BucketsAtOnce(DAY)
    now = DAY.end_of(NOON) + 12 * HOUR_MS
    buckets.expire(now)
    assert buckets.holds(now - 5 * 60_000, now)
    assert buckets.holds(now - 20 * 60_000 - PANE_MS, now)
    assert not buckets.holds(now - HOUR_MS - PANE_MS, now)
    assert buckets.holds(now - HOUR_MS - 60_000, now)
    assert not buckets.holds(now - 27 * HOUR_MS - 60_000, now)
    assert buckets.holds(now - 27 * HOUR_MS, now)
    assert buckets.holds(DAY.start_of(NOON), DAY.end_of(NOON))
    assert not buckets.holds(now - 60 * HOUR_MS + 60_000, now - 59 * HOUR_MS)
    assert buckets.holds(now - 7 * DAY_MS - HOUR_MS, now - 7 * DAY_MS)
    assert buckets.holds(now - 8 * DAY_MS - HOUR_MS, now - 7 * DAY_MS - HOUR_MS)
    assert not buckets.holds(now - 9 * DAY_MS, now - 8 * DAY_MS)
    assert not buckets.holds(NOON - 70 * DAY_MS, now)


def test_quarters_of_last_week_are_held() -> None:
    """Quarters of last week are held."""
    kept = BucketsAtOnce(DAY)
    week_ago = NOON + QUARTER_MS
    kept.apply({NOON: [FacetCell("c1", "search", clicks_of({1, 2}))]}, retracted={}, at_offset=1)
    kept.expire(week_ago + 7 * DAY_MS)
    assert kept.holds(week_ago - DAY_MS, week_ago)
    assert kept.totals(week_ago - HOUR_MS, week_ago)[ALL].users_in([0]).estimate == 2


def _stored(buckets: BucketsAtOnce, level: int) -> list[tuple[bytes, bytes]]:
    return [
        (b"bucket/%d/%d" % (level, start), bucket.to_bytes())
        for start, bucket in buckets.levels[level].items()
    ]


def test_day_is_built_once_settled() -> None:
    """The bucket of a day is built from its quarters once the day is settled."""
    buckets = BucketsAtOnce(DAY)
    for number, hours in enumerate((-13, -2, 1)):  # two of November 14th, one of the 15th
        panes = {
            NOON + 17 * HOUR_MS + hours * HOUR_MS: [FacetCell("c1", "search", clicks_of({number}))]
        }
        buckets.apply(panes, retracted={}, at_offset=number)
    day, after = DAY.start_of(NOON), DAY.end_of(NOON)
    whole = buckets.totals(day, after)[ALL].sums
    buckets.expire(after + QUARTER_MS)
    assert not buckets.levels[DAY_LEVEL]
    buckets.expire(after + 2 * QUARTER_MS)
    assert list(buckets.levels[DAY_LEVEL]) == [day]
    assert buckets.totals(day, after)[ALL].sums == whole
    assert [key for key, _ in buckets.take_segments() if key.startswith(b"bucket/3")]
    # Once the quarters are gone, too, and with what replaces a report of that day.
    buckets.expire(after + DAY_MS)
    again = {day: [FacetCell("c1", "search", clicks_of({7}))]}
    buckets.apply(again, retracted={}, at_offset=9)
    buckets.apply(again, retracted={}, at_offset=9)
    assert buckets.totals(day, after + DAY_MS)[ALL].sums[SUM_INDEX["clicks"]] == 4
