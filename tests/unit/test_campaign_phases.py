"""Stages of campaigns so far: windows that begin at a moment of their own."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from models.aggregates.ingest_report import FacetCell
from models.campaigns.campaign import Campaign, Stage
from models.kpi.user_catalogue import ExportRule, KpiBook
from models.scope import Scope
from models.window import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    PANE_MS,
    QUARTER_MS,
    BusinessDay,
    whole_quarter,
)
from streams.engine.contracts import Snapshot
from streams.export.page.snapshot import live
from streams.export.report_queries import ReportQueries
from streams.ingest.registry.campaign_index import CampaignIndex
from streams.kpis.storage.bucket_store import DAY_LEVEL, KEPT_MS, QUARTER_LEVEL
from streams.kpis.view import Evaluation
from streams.kpis.windows.campaign_timeline import CampaignTimeline
from tests.support.at_once import BucketsAtOnce
from tests.support.offline import NOON, Path, event, kpi_job, saved_from
from tests.unit.test_bucket_store import cell, numbers
from tests.unit.test_export import metrics, worker

DAY = BusinessDay(ZoneInfo("America/New_York"))
SATURDAY = 1_699_070_400_000
"""2023-11-04T00:00 in New York, the day before the clock is put back."""


def at(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)


def campaign(*starts: int, name: str = "c1", ends: int | None = None) -> Campaign:
    stages = tuple(Stage(name=f"stage {n}", starts=at(start)) for n, start in enumerate(starts))
    first = at(starts[0]) if ends is not None else None
    return Campaign(id=name, stages=stages, starts=first, ends=None if ends is None else at(ends))


def of_c1(buckets: BucketsAtOnce, start: int, end: int) -> dict[Scope, tuple[list[int], float]]:
    totals = buckets.totals_of({"c1"}, start, end)
    return {scope: (one.sums, one.users_in([0]).estimate) for scope, one in totals.items()}


def summed_of_c1(
    buckets: BucketsAtOnce, start: int, end: int
) -> dict[Scope, tuple[list[int], float]]:
    return {
        scope: both
        for scope, both in numbers(buckets, start, end).items()
        if scope.campaign == "c1" and not scope.region
    }


@settings(max_examples=60, deadline=None)
@given(
    made=st.lists(
        st.tuples(
            st.integers(0, 24 * 30),  # hours after the start
            st.one_of(st.integers(0, 20), st.integers(0, 60 * 24 * 25)),  # minutes late
            st.sets(st.integers(1, 50), max_size=3),
        ),
        min_size=1,
        max_size=40,
    ),
    moments=st.sets(st.integers(0, 4 * 24 * 30), max_size=5),  # in quarters after the start
    restarted_at=st.integers(0, 39),
)
def test_a_window_from_a_pinned_moment_is_exact_weeks_later_and_after_a_restart(
    made: list[tuple[int, int, set[int]]], moments: set[int], restarted_at: int
) -> None:
    starts = [SATURDAY + quarter * QUARTER_MS for quarter in moments]
    days = {DAY.start_of(start) for start in starts}
    everything, expiring = BucketsAtOnce(DAY), BucketsAtOnce(DAY)
    store: dict[bytes, bytes | None] = {}
    for number, (hour, minutes_late, users) in enumerate(sorted(made, key=itemgetter(0))):
        now_ms = SATURDAY + hour * HOUR_MS
        expiring.pin({day for day in days if day <= now_ms})
        expiring.expire(now_ms)
        pane = now_ms + PANE_MS - minutes_late * MINUTE_MS
        facets = [("c1", "search", ""), ("c1", "feed", ""), ("c2", "feed", ""), ("c1", "", "east")]
        named = facets[number % 3 :]
        panes = {pane: [FacetCell(*of[:2], cell(users), of[2]) for of in named]}
        for buckets in (everything, expiring):
            buckets.apply(panes, retracted={}, at_offset=number)
        for start in starts:
            if start < now_ms and expiring.holds(start, now_ms):  # some of it was summed before
                assert of_c1(expiring, start, now_ms) == summed_of_c1(everything, start, now_ms)
        store.update(expiring.take_segments())
        if number == restarted_at:
            kept = {key: value for key, value in store.items() if value is not None}
            pinned, expiring = expiring.pinned, BucketsAtOnce(DAY)
            expiring.restore(kept, frontier_ms=now_ms, offset=number, pinned=pinned)
    end = SATURDAY + 31 * DAY_MS + 3 * MINUTE_MS
    expiring.pin(days)
    expiring.expire(end)
    for start in starts:
        assert expiring.holds(start, end)
        assert numbers(expiring, start, end) == numbers(everything, start, end)
        assert of_c1(expiring, start, end) == summed_of_c1(everything, start, end)


def test_a_day_whose_quarters_are_gone_is_not_pinned_whatever_comes_late() -> None:
    buckets = BucketsAtOnce(DAY)
    start, now = SATURDAY + 9 * HOUR_MS, SATURDAY + 20 * DAY_MS
    buckets.apply({start: [FacetCell("c1", "search", cell({1}))]}, retracted={}, at_offset=1)
    buckets.expire(now)
    assert not buckets.pin({SATURDAY})
    buckets.apply({start: [FacetCell("c1", "search", cell({2}))]}, retracted={}, at_offset=2)
    buckets.expire(now)
    assert buckets.pinned == []
    assert not buckets.holds(start, now)


def test_quarters_go_with_their_day_or_when_they_are_not_pinned_any_more() -> None:
    buckets = BucketsAtOnce(DAY)
    for number, day in enumerate((SATURDAY, SATURDAY + 3 * DAY_MS)):
        panes = {day + 9 * HOUR_MS: [FacetCell("c1", "search", cell({1}))]}
        buckets.apply(panes, retracted={}, at_offset=number)
    second = DAY.start_of(SATURDAY + 3 * DAY_MS + 9 * HOUR_MS)
    buckets.pin({SATURDAY, second})
    buckets.expire(SATURDAY + 30 * DAY_MS)
    assert len(buckets._levels[QUARTER_LEVEL]) == 2
    assert buckets.pin({SATURDAY})
    buckets.expire(SATURDAY + 30 * DAY_MS + QUARTER_MS)
    assert list(buckets._levels[QUARTER_LEVEL]) == [SATURDAY + 9 * HOUR_MS]
    buckets.expire(SATURDAY + KEPT_MS[DAY_LEVEL] + DAY_MS)
    assert not buckets._levels[QUARTER_LEVEL]
    assert buckets.pinned == []


def test_a_moment_is_rounded_up_to_a_whole_quarter_of_an_hour() -> None:
    assert whole_quarter(NOON) == NOON
    assert whole_quarter(NOON + 1) == whole_quarter(NOON + QUARTER_MS) == NOON + QUARTER_MS


def test_a_campaign_is_in_the_last_stage_that_began_until_it_ends() -> None:
    one = campaign(NOON, NOON + HOUR_MS, ends=NOON + 3 * HOUR_MS)
    moments = CampaignTimeline([one, campaign(NOON, name="c2"), Campaign(id="c3")], (), day=DAY)
    assert moments.stages(NOON) == {}
    assert moments.stages(NOON + MINUTE_MS) == {NOON: {"c1", "c2"}}
    assert moments.stages(NOON + 2 * HOUR_MS) == {NOON: {"c2"}, NOON + HOUR_MS: {"c1"}}
    assert moments.stages(NOON + 3 * HOUR_MS) == {NOON: {"c2"}}
    assert moments.days(NOON - DAY_MS, NOON + DAY_MS) == {DAY.start_of(NOON)}
    assert moments.days(NOON + 2 * HOUR_MS, NOON + DAY_MS) == set()


class _Saving(Path):
    """A path that can be restarted."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.snapshots: list[Snapshot] = []

    def _collect(self, snapshot: Snapshot) -> None:
        self.snapshots.append(snapshot)
        super()._collect(snapshot)


class Fed:
    """A path on which the monitor looks from noon on, and what it shows of stages."""

    def __init__(self, *campaigns: Campaign, zone: str = "UTC", from_ms: int = NOON) -> None:
        self.index = CampaignIndex(campaigns)
        self.path = _Saving(campaigns=campaigns, zone=zone, now_ms=from_ms)
        self.path.kpis = kpi_job(campaigns=self.index, zone=zone)
        self.click(from_ms, user="first")

    def click(self, time_ms: int, *, user: str, **body: Any) -> None:
        path = self.path
        path.now_ms = max(path.now_ms, time_ms)
        name = f"{user}-{time_ms}"
        path.feed([event("click", at=time_ms, event_id=name, user_id=user, **body)])

    def stages(self, until_ms: int) -> dict[int, Evaluation]:
        """Let time pass until then and return the stages by their starts."""
        if until_ms > self.path.now_ms:
            self.click(until_ms, user="nobody", campaign_id=None)  # nor is the source silent
        for _ in range(4):
            self.path.report()
        view = self.path.kpis.view
        assert view is not None
        return {one.start_ms: one for one in view.stages}

    def clicks(self, until_ms: int, *, name: str = "c1") -> dict[int, float]:
        return {
            start: one.values[Scope("campaign", name)]["clicks"].value
            for start, one in self.stages(until_ms).items()
            if Scope("campaign", name) in one.values
        }

    def restart(self) -> None:
        path = self.path
        saved = saved_from(path.snapshots, offset=path.reports_offset - 1)
        path.kpis = kpi_job(campaigns=self.index, saved=saved)


START = NOON + 2 * HOUR_MS


def test_a_stage_so_far_counts_what_came_since_it_began_of_its_campaign_and_channels() -> None:
    fed = Fed(campaign(START + 1, START + 3 * HOUR_MS), campaign(START, name="c2"))
    fed.click(START + QUARTER_MS - 1, user="before")
    assert fed.stages(START + 5 * MINUTE_MS).keys() == {START}  # that of the other
    fed.click(START + QUARTER_MS, user="one")
    fed.click(START + HOUR_MS, user="two", channel="feed")
    fed.click(START + HOUR_MS, user="three", channel="feed", campaign_id="c2")
    stages = fed.stages(START + 2 * HOUR_MS)
    shown = {
        (start, scope): values["clicks"].value
        for start, one in stages.items()
        for scope, values in one.values.items()
    }
    assert shown == {
        (START + QUARTER_MS, Scope("campaign", "c1")): 2,
        (START + QUARTER_MS, Scope("campaign_channel", "c1", "search")): 1,
        (START + QUARTER_MS, Scope("campaign_channel", "c1", "feed")): 1,
        (START, Scope("campaign", "c2")): 1,
        (START, Scope("campaign_channel", "c2", "feed")): 1,
    }
    assert all(one.complete and one.observed for one in stages.values())
    assert all(one.end_ms % MINUTE_MS == 0 for one in stages.values())


def test_the_next_stage_begins_from_nothing_and_the_end_of_the_campaign_ends_it() -> None:
    fed = Fed(campaign(START, START + HOUR_MS, ends=START + 2 * HOUR_MS))
    for hours in (0, 1):
        fed.click(START + hours * HOUR_MS + MINUTE_MS, user=f"u{hours}")
    assert fed.clicks(START + 70 * MINUTE_MS) == {START + HOUR_MS: 1}
    assert fed.clicks(START + 2 * HOUR_MS + 5 * MINUTE_MS) == {}


def test_what_began_before_observation_is_absent() -> None:
    fed = Fed(campaign(NOON - HOUR_MS), campaign(START, name="c2"))
    fed.click(START + HOUR_MS, user="one")
    fed.click(START + HOUR_MS, user="one", campaign_id="c2")
    assert fed.stages(START + 2 * HOUR_MS).keys() == {START}


def test_stages_that_are_redefined_count_from_their_other_start() -> None:
    fed = Fed(campaign(START))
    for minutes in (1, 61, 121):
        fed.click(START + minutes * MINUTE_MS, user=f"u{minutes}")
    assert fed.clicks(START + 3 * HOUR_MS) == {START: 3}
    fed.index.define(campaign(START + HOUR_MS))
    assert fed.clicks(START + 3 * HOUR_MS + 5 * MINUTE_MS) == {START + HOUR_MS: 2}


def test_a_stage_counts_on_for_weeks_and_over_restarts() -> None:
    fed = Fed(campaign(START))
    fed.click(START + MINUTE_MS, user="first")
    for day in range(1, 25):
        fed.click(START + day * DAY_MS, user=f"u{day}")
        fed.stages(START + day * DAY_MS + HOUR_MS)
        if day in (1, 9, 20):
            fed.restart()
    assert fed.path.kpis._buckets.pinned == [START - 14 * HOUR_MS]
    assert fed.clicks(START + 24 * DAY_MS + 2 * HOUR_MS) == {START: 25}
    # What came on the first day before the moment is not in it.
    everything = fed.path.kpis.view
    assert everything is not None
    so_far = everything.latest["so_far"].values[Scope("campaign", "c1")]
    assert so_far["clicks"].value == 26


def test_a_stage_on_the_day_on_which_the_clock_is_put_back() -> None:
    sunday = SATURDAY + DAY_MS
    start = sunday + 90 * MINUTE_MS  # 01:30, the first time
    fed = Fed(campaign(start), zone="America/New_York", from_ms=SATURDAY)
    for minutes in (29, 31, 91):
        fed.click(sunday + HOUR_MS + minutes * MINUTE_MS, user=f"u{minutes}")
    fed.click(sunday + 4 * DAY_MS, user="later")
    assert fed.clicks(sunday + 4 * DAY_MS + HOUR_MS) == {start: 3}


def test_reports_that_come_again_change_nothing() -> None:
    fed = Fed(campaign(START))
    fed.click(START + MINUTE_MS, user="one")
    before = fed.stages(START + HOUR_MS)
    taken = [output for output in fed.path.outputs if output.topic == "partials"]
    fed.path.deliver(taken)
    assert {start: one.values for start, one in fed.stages(START + HOUR_MS).items()} == {
        start: one.values for start, one in before.items()
    }


def test_stages_are_exported_and_shown_but_not_published() -> None:
    fed = Fed(campaign(START))
    fed.click(START + MINUTE_MS, user="one")
    fed.stages(START + HOUR_MS)
    view = worker(fed.path.kpis.view)
    everything = KpiBook(export=(ExportRule(),))
    text = metrics(view, ReportQueries(day=DAY, currency="CNY", kpis=everything))
    labels = 'campaign="c1",channel="",region="",scope="campaign",segment="",window="stage"'
    assert f"kpi_clicks_count{{{labels}}} 1.0" in text
    assert re.search(
        r'^kpi_clicks_count{.*scope="campaign_channel".*window="stage"} 1.0', text, re.M
    )
    assert 'kpi_monitor_window_complete{window="stage"} 1.0' in text
    picture = live(view, ReportQueries(day=DAY, currency="CNY"))
    (row,) = [one for one in picture["campaigns"] if one["campaign"] == "c1"]
    assert row["windows"]["stage"]["clicks"]["value"] == 1
    assert "stage" not in {window for window, *_ in fed.path.closed}
    assert "stage" in picture["windows"]
