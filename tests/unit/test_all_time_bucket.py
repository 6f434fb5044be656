"""Everything so far: days that expire go into the era, once."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from models.aggregates.ingest_report import FacetCell
from models.kpi.measures import SUM_INDEX
from models.scope import ALL
from models.window import (
    BEGINNING_MS,
    DAY_MS,
    HOUR_MS,
    QUARTER_MS,
    WINDOWS,
    first_end_after,
)
from streams.engine.steps import at_once
from streams.kpis import state as saved_states
from streams.kpis.coverage.gaps import Gap
from streams.kpis.coverage.observation import Observation
from streams.kpis.job import KpiJob
from streams.kpis.storage.bucket_store import DAY_LEVEL, kept_ms
from tests.factories.cells import clicks_of, sums_and_users
from tests.factories.times import NEW_YORK_DAY as DAY
from tests.support.at_once import BucketsAtOnce
from tests.support.offline import NOON, Path, event

SO_FAR = WINDOWS[-1]

Delta = tuple[int, int, set[int]]
"""Hours after the start, how many minutes before that, and who clicked."""

deltas = st.lists(
    st.tuples(
        st.integers(0, 24 * 150),
        st.one_of(st.just(0), st.integers(0, 60 * 24 * 120)),
        st.sets(st.integers(1, 50), max_size=3),
    ),
    min_size=1,
    max_size=30,
)


def take(buckets: BucketsAtOnce, delta: Delta, *, at_offset: int) -> int:
    """Apply a delta and let time pass; return the frontier."""
    hour, minutes_late, users = delta
    now_ms = NOON + hour * HOUR_MS
    panes = {now_ms - minutes_late * 60_000: [FacetCell("c1", "search", clicks_of(users))]}
    buckets.apply(panes, retracted={}, at_offset=at_offset)
    frontier_ms = now_ms + QUARTER_MS
    buckets.expire(frontier_ms)
    return frontier_ms


def so_far(buckets: BucketsAtOnce, frontier_ms: int) -> Any:
    assert buckets.holds(BEGINNING_MS, frontier_ms)
    return sums_and_users(buckets, BEGINNING_MS, frontier_ms)


@settings(max_examples=40, deadline=None)
@given(deltas)
def test_all_time_is_the_sum_of_all_panes(made: list[Delta]) -> None:
    """The all-time window is the sum of all panes, whichever days have expired."""
    everything, expiring = BucketsAtOnce(DAY), BucketsAtOnce(DAY)
    frontier_ms = 0
    for number, delta in enumerate(sorted(made, key=lambda one: one[0])):
        frontier_ms = take(expiring, delta, at_offset=number)
        hour, minutes_late, users = delta
        pane = NOON + hour * HOUR_MS - minutes_late * 60_000
        everything.apply(
            {pane: [FacetCell("c1", "search", clicks_of(users))]}, retracted={}, at_offset=number
        )
        assert so_far(expiring, frontier_ms) == so_far(everything, frontier_ms)
    later_ms = frontier_ms + 2 * kept_ms()[DAY_LEVEL]
    expiring.expire(later_ms)
    assert len(expiring) == 0
    assert so_far(expiring, later_ms) == so_far(everything, frontier_ms)


@settings(max_examples=150, deadline=None)
@given(deltas, st.data())
def test_crash_before_the_head_adds_no_day_twice(made: list[Delta], data: st.DataObject) -> None:
    """A crash between the write of segments and that of the head adds no day to all time twice."""
    arrivals = list(enumerate(sorted(made, key=lambda one: one[0])))
    at_head = data.draw(st.integers(0, len(arrivals) - 1))
    crashed = data.draw(st.integers(at_head, len(arrivals) - 1))
    straight, before = BucketsAtOnce(DAY), BucketsAtOnce(DAY)
    store: dict[bytes, bytes] = {}
    head_ms = frontier_ms = 0
    for number, delta in arrivals:
        frontier_ms = take(straight, delta, at_offset=number)
        if number <= crashed:
            now_ms = take(before, delta, at_offset=number)
        if number == at_head:
            head_ms = now_ms
            for key, value in before.take_segments():
                if value is None:
                    store.pop(key, None)
                else:
                    store[key] = value
    # Of what is newer than the head some was written; removals come after the head.
    newer = [(key, value) for key, value in before.take_segments() if value is not None]
    written = data.draw(st.integers(0, len(newer)))
    store.update(newer[:written])
    resumed = BucketsAtOnce(DAY)
    resumed.restore(store, frontier_ms=head_ms, offset=at_head)
    for number, delta in arrivals[at_head + 1 :]:
        take(resumed, delta, at_offset=number)
    assert so_far(resumed, frontier_ms) == so_far(straight, frontier_ms)


def test_leftover_quarters_add_no_day_twice() -> None:
    """A day in all time is not added again from its quarters.

    The bucket of all time was written, and the crash came before the quarters of its last day
    were removed.
    """
    before, store = BucketsAtOnce(DAY), dict[bytes, bytes | None]()
    take(before, (0, 0, {1}), at_offset=0)
    store.update(before.take_segments())
    much_later = kept_ms()[DAY_LEVEL] // HOUR_MS - 7
    take(before, (much_later, 136, {2}), at_offset=1)
    store.update((key, value) for key, value in before.take_segments() if value is not None)
    resumed = BucketsAtOnce(DAY)
    kept = {key: value for key, value in store.items() if value is not None}
    resumed.restore(kept, frontier_ms=NOON + QUARTER_MS, offset=0)
    frontier_ms = take(resumed, (much_later, 136, {2}), at_offset=1)
    assert so_far(resumed, frontier_ms) == so_far(before, frontier_ms)


def test_all_time_bucket_is_one_segment() -> None:
    """The bucket of all time is stored in one segment."""
    buckets = BucketsAtOnce(DAY)
    store: dict[bytes, bytes | None] = {}
    for day in range(100):
        take(buckets, (24 * day, 0, {day}), at_offset=day)
        store.update(buckets.take_segments())
    eras = [key for key, value in store.items() if key.startswith(b"bucket/4/") and value]
    assert len(eras) == 1
    total = buckets.totals(BEGINNING_MS, NOON + 100 * DAY_MS)[ALL]
    assert total.sums[SUM_INDEX["clicks"]] == 100


def fed(days: int) -> Path:
    path = Path(now_ms=NOON + 200 * DAY_MS)
    for day in range(0, days, 5):
        path.feed([event(at=NOON + day * DAY_MS, event_id=f"e{day}", user_id=f"u{day}")])
    path.finish()
    return path


def evaluated(job: KpiJob) -> tuple[int, bool, int]:
    """Return from when on everything so far counts, whether that is all, and the clicks."""
    frontier_ms = saved_states.decode(job.snapshot().state).frontier_ms
    end = first_end_after(frontier_ms, step_ms=QUARTER_MS)
    evaluation = at_once(job.windows.evaluate(SO_FAR, end))
    clicks = int(evaluation.values[ALL]["clicks"].value)
    return evaluation.observed_from_ms, evaluation.observed, clicks


def test_dropped_gap_still_counts_for_all_time() -> None:
    """A gap that is no longer listed still makes the all-time window incomplete."""
    observation = Observation(gaps=[Gap("clicks", 0, NOON, NOON + DAY_MS)])
    assert not observation.complete(BEGINNING_MS, NOON + 90 * DAY_MS)
    observation.expire(NOON + 2 * DAY_MS)
    assert observation.gaps == []
    assert not observation.complete(BEGINNING_MS, NOON + 90 * DAY_MS)
    assert observation.complete(NOON + 3 * DAY_MS, NOON + 90 * DAY_MS)
