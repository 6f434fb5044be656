"""Stages of campaigns so far: windows that begin at a moment of their own."""

from __future__ import annotations

import re
from operator import itemgetter

from hypothesis import given, settings
from hypothesis import strategies as st

from models.aggregates.ingest_report import FacetCell
from models.campaigns.campaign import Campaign
from models.kpi.user_catalogue import ExportRule, KpiBook
from models.scope import Scope
from models.window import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    PANE_MS,
    QUARTER_MS,
    whole_quarter,
)
from streams.export.page.snapshot import live
from streams.export.report_queries import ReportQueries
from streams.ingest.registry.campaign_index import CampaignIndex
from streams.kpis.storage.bucket_store import DAY_LEVEL, QUARTER_LEVEL, kept_ms
from streams.kpis.windows.campaign_timeline import CampaignTimeline
from tests.factories.campaigns import WatchedCampaigns, campaign
from tests.factories.cells import clicks_of, sums_and_users
from tests.factories.times import NEW_YORK
from tests.factories.times import NEW_YORK_DAY as DAY
from tests.factories.views import metrics, worker
from tests.support.at_once import BucketsAtOnce
from tests.support.offline import NOON

SATURDAY = 1_699_070_400_000
"""2023-11-04T00:00 in New York, the day before the clock is put back."""


def of_c1(buckets: BucketsAtOnce, start: int, end: int) -> dict[Scope, tuple[list[int], float]]:
    totals = buckets.totals_of({"c1"}, start, end)
    return {scope: (one.sums, one.users_in([0]).estimate) for scope, one in totals.items()}


def summed_of_c1(
    buckets: BucketsAtOnce, start: int, end: int
) -> dict[Scope, tuple[list[int], float]]:
    return {
        scope: both
        for scope, both in sums_and_users(buckets, start, end).items()
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
def test_window_from_a_pinned_day_stays_exact(
    made: list[tuple[int, int, set[int]]], moments: set[int], restarted_at: int
) -> None:
    """A window that begins within a pinned day is exact weeks later and after a restart."""
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
        panes = {pane: [FacetCell(*of[:2], clicks_of(users), of[2]) for of in named]}
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
        assert sums_and_users(expiring, start, end) == sums_and_users(everything, start, end)
        assert of_c1(expiring, start, end) == summed_of_c1(everything, start, end)


def test_day_without_quarters_is_not_pinned() -> None:
    """A day whose quarters have expired is not pinned, also if late data recreate some of them."""
    buckets = BucketsAtOnce(DAY)
    start, now = SATURDAY + 9 * HOUR_MS, SATURDAY + 20 * DAY_MS
    buckets.apply({start: [FacetCell("c1", "search", clicks_of({1}))]}, retracted={}, at_offset=1)
    buckets.expire(now)
    assert not buckets.pin({SATURDAY})
    buckets.apply({start: [FacetCell("c1", "search", clicks_of({2}))]}, retracted={}, at_offset=2)
    buckets.expire(now)
    assert buckets.pinned == []
    assert not buckets.holds(start, now)


def test_unpinned_quarters_expire() -> None:
    """Pinned quarters expire with their day, or when the day is no longer pinned."""
    buckets = BucketsAtOnce(DAY)
    for number, day in enumerate((SATURDAY, SATURDAY + 3 * DAY_MS)):
        panes = {day + 9 * HOUR_MS: [FacetCell("c1", "search", clicks_of({1}))]}
        buckets.apply(panes, retracted={}, at_offset=number)
    second = DAY.start_of(SATURDAY + 3 * DAY_MS + 9 * HOUR_MS)
    buckets.pin({SATURDAY, second})
    buckets.expire(SATURDAY + 30 * DAY_MS)
    assert len(buckets.levels[QUARTER_LEVEL]) == 2
    assert buckets.pin({SATURDAY})
    buckets.expire(SATURDAY + 30 * DAY_MS + QUARTER_MS)
    assert list(buckets.levels[QUARTER_LEVEL]) == [SATURDAY + 9 * HOUR_MS]
    buckets.expire(SATURDAY + kept_ms()[DAY_LEVEL] + DAY_MS)
    assert not buckets.levels[QUARTER_LEVEL]
    assert buckets.pinned == []


def test_start_of_a_stage_is_rounded_up() -> None:
    """The start of a stage is rounded up to a whole quarter of an hour."""
    assert whole_quarter(NOON) == NOON
    assert whole_quarter(NOON + 1) == whole_quarter(NOON + QUARTER_MS) == NOON + QUARTER_MS


def test_current_stage_of_a_campaign() -> None:
    """A campaign is in the last stage that began, until the campaign ends."""
    one = campaign(NOON, NOON + HOUR_MS, ends=NOON + 3 * HOUR_MS)
    index = CampaignIndex([one, campaign(NOON, name="c2"), Campaign(id="c3")])
    moments = CampaignTimeline(index, (), day=DAY)
    assert moments.stages(NOON) == {}
    assert moments.stages(NOON + MINUTE_MS) == {NOON: {"c1", "c2"}}
    assert moments.stages(NOON + 2 * HOUR_MS) == {NOON: {"c2"}, NOON + HOUR_MS: {"c1"}}
    assert moments.stages(NOON + 3 * HOUR_MS) == {NOON: {"c2"}}
    # And the day before the first campaign's first day.
    noon_day = DAY.start_of(NOON)
    assert moments.days(NOON - 2 * DAY_MS, NOON + DAY_MS) == {noon_day - DAY_MS, noon_day}
    assert moments.days(NOON + 2 * HOUR_MS, NOON + DAY_MS) == set()


START = NOON + 2 * HOUR_MS


def test_stage_counts_its_campaign_and_channels() -> None:
    """The `stage` window counts events of a campaign and its channels since the stage began."""
    watched = WatchedCampaigns(campaign(START + 1, START + 3 * HOUR_MS), campaign(START, name="c2"))
    watched.click(START + QUARTER_MS - 1, user="before")
    assert watched.stages(START + 5 * MINUTE_MS).keys() == {START}  # that of the other
    watched.click(START + QUARTER_MS, user="one")
    watched.click(START + HOUR_MS, user="two", channel="feed")
    watched.click(START + HOUR_MS, user="three", channel="feed", campaign_id="c2")
    stages = watched.stages(START + 2 * HOUR_MS)
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


def test_next_stage_starts_at_zero() -> None:
    """The next stage starts at zero, and a campaign that has ended has no current stage."""
    watched = WatchedCampaigns(campaign(START, START + HOUR_MS, ends=START + 2 * HOUR_MS))
    for hours in (0, 1):
        watched.click(START + hours * HOUR_MS + MINUTE_MS, user=f"u{hours}")
    assert watched.clicks(START + 70 * MINUTE_MS) == {START + HOUR_MS: 1}
    assert watched.clicks(START + 2 * HOUR_MS + 5 * MINUTE_MS) == {}


def test_stage_before_observation_is_absent() -> None:
    """A stage that began before observation did is absent."""
    watched = WatchedCampaigns(campaign(NOON - HOUR_MS), campaign(START, name="c2"))
    watched.click(START + HOUR_MS, user="one")
    watched.click(START + HOUR_MS, user="one", campaign_id="c2")
    assert watched.stages(START + 2 * HOUR_MS).keys() == {START}


def test_redefined_stage_counts_anew() -> None:
    """A stage that is defined again counts from its new start."""
    watched = WatchedCampaigns(campaign(START))
    for minutes in (1, 61, 121):
        watched.click(START + minutes * MINUTE_MS, user=f"u{minutes}")
    assert watched.clicks(START + 3 * HOUR_MS) == {START: 3}
    watched.index.define(campaign(START + HOUR_MS))
    assert watched.clicks(START + 3 * HOUR_MS + 5 * MINUTE_MS) == {START + HOUR_MS: 2}


def test_a_stage_counts_on_for_weeks_and_over_restarts() -> None:
    watched = WatchedCampaigns(campaign(START))
    watched.click(START + MINUTE_MS, user="first")
    for day in range(1, 25):
        watched.click(START + day * DAY_MS, user=f"u{day}")
        watched.stages(START + day * DAY_MS + HOUR_MS)
        if day in (1, 9, 20):
            watched.restart()
    assert watched.path.state.pinned == [START - 14 * HOUR_MS]
    assert watched.clicks(START + 24 * DAY_MS + 2 * HOUR_MS) == {START: 25}
    # What came on the first day before the moment is not in it.
    everything = watched.path.kpis.view
    assert everything is not None
    so_far = everything.latest["so_far"].values[Scope("campaign", "c1")]
    assert so_far["clicks"].value == 26


def test_a_stage_on_the_day_on_which_the_clock_is_put_back() -> None:
    sunday = SATURDAY + DAY_MS
    start = sunday + 90 * MINUTE_MS  # 01:30, the first time
    watched = WatchedCampaigns(campaign(start), zone=NEW_YORK, from_ms=SATURDAY)
    for minutes in (29, 31, 91):
        watched.click(sunday + HOUR_MS + minutes * MINUTE_MS, user=f"u{minutes}")
    watched.click(sunday + 4 * DAY_MS, user="later")
    assert watched.clicks(sunday + 4 * DAY_MS + HOUR_MS) == {start: 3}


def test_repeated_reports_change_nothing() -> None:
    """Reports that are delivered again change no stage."""
    watched = WatchedCampaigns(campaign(START))
    watched.click(START + MINUTE_MS, user="one")
    before = watched.stages(START + HOUR_MS)
    taken = [output for output in watched.path.outputs if output.topic == "partials"]
    watched.path.deliver(taken)
    assert {start: one.values for start, one in watched.stages(START + HOUR_MS).items()} == {
        start: one.values for start, one in before.items()
    }


def test_stages_are_exported_and_shown_but_not_published() -> None:
    watched = WatchedCampaigns(campaign(START))
    watched.click(START + MINUTE_MS, user="one")
    watched.stages(START + HOUR_MS)
    view = worker(watched.path.kpis.view)
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
    assert "stage" not in {window for window, *_ in watched.path.closed}
    assert "stage" in picture["windows"]
