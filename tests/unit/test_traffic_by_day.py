"""Sums of all traffic over stretches of days, which many campaigns ask for."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.aggregates.ingest_report import FacetCell
from models.kpi.measures import UNIONS
from models.scope import ALL
from models.window import DAY_MS, HOUR_MS, MINUTE_MS, QUARTER_MS
from streams.engine.steps import at_once
from streams.kpis.storage.bucket import Bucket
from tests.factories.cells import clicks_of
from tests.factories.times import UTC_DAY
from tests.support.at_once import BucketsAtOnce
from tests.support.offline import NOON

TODAY = NOON - 12 * HOUR_MS
DAYS = 24


class Watched(BucketsAtOnce):
    """A bucket store that counts how many buckets are read."""

    read = 0

    def cover(self, start: int, end: int) -> Iterator[Bucket]:
        """Yield the buckets of a stretch of time."""
        for bucket in super().cover(start, end):
            self.read += 1
            yield bucket


def click(buckets: BucketsAtOnce, day: int, users: set[int], *, number: int, hour: int = 8) -> None:
    pane = TODAY + day * DAY_MS + hour * HOUR_MS
    panes = {pane: [FacetCell("c1", "search", clicks_of(users))]}
    buckets.apply(panes, retracted={}, at_offset=number)


def visitors(buckets: BucketsAtOnce, start: int, end: int, *, at_ms: int) -> int:
    return at_once(buckets.traffic(start, end, at_ms=at_ms))["visitors"]


def of_everything(buckets: BucketsAtOnce, start: int, end: int) -> int:
    totals = buckets.totals(start, end)
    if ALL not in totals:
        return 0
    return totals[ALL].counts()[list(UNIONS).index("visitors") - len(UNIONS)]


days = st.integers(-DAYS, 0)
asked = st.tuples(days, days, st.sampled_from([0, HOUR_MS, 9 * HOUR_MS, 9 * HOUR_MS + QUARTER_MS]))
clicks = st.tuples(days, st.sets(st.integers(1, 9), min_size=1, max_size=3))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(asked, clicks), max_size=30))
def test_as_summed_up(steps: list[tuple[int, int, int] | tuple[int, set[int]]]) -> None:
    """Whatever was asked before, and whatever came late, counts are those of the buckets."""
    buckets = BucketsAtOnce(UTC_DAY)
    for number, step in enumerate([(-DAYS, {1}), *steps]):
        if len(step) == 2:
            click(buckets, step[0], step[1], number=number)
        else:
            first, last = sorted(step[:2])
            start, end = TODAY + first * DAY_MS, TODAY + last * DAY_MS + step[2]
            if start < end:
                found = visitors(buckets, start, end, at_ms=TODAY + DAY_MS)
                assert found == of_everything(buckets, start, end)


def test_many_stretches() -> None:
    """Each day is read once for all campaigns, and nothing again for those that are over."""
    buckets = Watched(UTC_DAY)
    for day in range(-DAYS, 0):
        click(buckets, day, {day % 7}, number=day + DAYS)
    over = [
        (TODAY + first * DAY_MS, TODAY + last * DAY_MS)
        for first, last in combinations(range(-DAYS, 1), 2)
    ]
    assert len(over) == 300
    in_order = sorted(over, key=lambda one: (one[1], -one[0]))
    assert [visitors(buckets, *one, at_ms=NOON) for one in in_order] == [
        min(7, (end - start) // DAY_MS) for start, end in in_order
    ]
    assert buckets.read == DAYS
    steps = [sum(1 for _ in buckets.traffic(*one, at_ms=NOON)) for one in in_order]
    assert sum(steps) == 0
    assert buckets.read == DAYS
    # Late data change the stretches that contain them, and no others.
    click(buckets, -DAYS, {99}, number=DAYS)
    assert visitors(buckets, TODAY - DAYS * DAY_MS, TODAY, at_ms=NOON) == 8
    assert visitors(buckets, TODAY - (DAYS - 1) * DAY_MS, TODAY, at_ms=NOON) == 7


@pytest.mark.parametrize("minutes", [30, 45])
def test_a_day_to_date(minutes: int) -> None:
    """The beginning of a day is extended from what was summed up before."""
    buckets = Watched(UTC_DAY)
    for hour in range(12):
        click(buckets, 0, {hour}, number=hour, hour=hour)
    assert visitors(buckets, TODAY, NOON, at_ms=NOON) == 12
    before = buckets.read
    end = NOON + minutes * MINUTE_MS
    assert visitors(buckets, TODAY, end, at_ms=end) == 12
    assert buckets.read - before <= 4
