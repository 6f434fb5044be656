"""All traffic and sales during a campaign, against as many business days before."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import pytest

from models.campaigns.campaign import Campaign, Ending
from models.window import DAY_MS, HOUR_MS, MINUTE_MS, QUARTER_MS, BusinessDay
from streams.engine.steps import at_once
from streams.ingest.registry.campaign_index import CampaignIndex
from streams.kpis.coverage.gaps import Gap
from streams.kpis.windows.campaign_timeline import CAMPAIGNS_A_STEP, CampaignTimeline, RunDays
from tests.factories.times import UTC_DAY, at
from tests.support.offline import NOON, ClosedKey, Path, event, taken_over

TODAY = NOON - 12 * HOUR_MS


def visit(user: str, *, day: int, hour: float = 8.0, traffic: str = "natural") -> dict[str, Any]:
    at_ms = TODAY + day * DAY_MS + round(hour * HOUR_MS)
    number = f"v-{user}-{at_ms}"
    return event("visit", at=at_ms, event_id=number, user_id=user, traffic=traffic)


def order(amount: str, *, day: int, hour: float = 8.0) -> dict[str, Any]:
    at_ms = TODAY + day * DAY_MS + round(hour * HOUR_MS)
    number = f"o-{at_ms}"
    return event("order_placed", at=at_ms, event_id=number, order_id=number, amount=amount)


def so_far(
    events: list[dict[str, Any]], *campaigns: Campaign, until_ms: int = NOON, **state: Any
) -> dict[str, dict[str, Any]]:
    """Return the KPIs of each campaign at the end of the quarter of ``until_ms``.

    ``state`` are fields of the saved state to replace before the last event.
    """
    path = Path(now_ms=NOON + 100 * DAY_MS, campaigns=campaigns, coefficients={"influence": 0.5})
    begin = visit("nobody", day=-60)
    own = [
        event(at=until_ms + place, event_id=f"own-{one.id}", user_id="u", campaign_id=one.id)
        for place, one in enumerate(campaigns)
    ]
    onward = event("visit", at=until_ms + 2 * QUARTER_MS, event_id="on", user_id="u")
    listed = sorted([begin, *events, *own], key=lambda one: one["event_time"])
    path.feed(listed, batch=1)
    if state:
        path.kpis = taken_over(path, **state)
    path.feed([onward])
    path.finish()
    end = until_ms + QUARTER_MS
    return {one.id: path.closed[ClosedKey("so_far", end, "campaign", one.id)] for one in campaigns}


def test_uplift_is_of_all_traffic() -> None:
    """Since yesterday a, b and u came, in the two days before b and d; of a time of day alike."""
    campaign = Campaign(id="c1", starts=at(TODAY - DAY_MS + 20 * HOUR_MS))
    kpis = so_far(
        [
            visit("d", day=-3),
            visit("b", day=-2, hour=12.1, traffic="paid"),
            visit("late", day=-2, hour=12.3),  # later than today's time of day
            visit("a", day=-1, traffic="paid"),
            visit("b", day=0),
            order("30", day=-2, hour=9),
            order("40", day=-1, hour=9),
            order("50", day=0, hour=9),
        ],
        campaign,
    )["c1"]
    # u clicked through paid traffic; who ordered neither clicked nor visited.
    assert kpis["traffic_uplift"][:4] == [3 - 2, None, None, 3]
    assert kpis["traffic_uplift_paid"][0] == 2 - 1
    assert kpis["traffic_uplift_natural"][0] == 1 - 1
    assert kpis["sales_contribution"][0] == pytest.approx(0.5 * (90 - 30) / 30)
    assert (kpis["sales_contribution"][3], kpis["sales_contribution"][4]) == (2, False)


def test_a_long_campaign_keeps_the_day_before_it() -> None:
    """Weeks after the start the traffic before is still counted to the same time of day."""
    campaign = Campaign(id="c1", starts=at(TODAY - 20 * DAY_MS))
    early, late = visit("early", day=-21, hour=12.2), visit("late", day=-21, hour=12.3)
    events = [*(visit(f"d{day}", day=day) for day in range(-41, 0)), early, late]
    kpis = so_far(events, campaign)["c1"]
    # 21 days each: d-41 to d-21, with `early`; d-20 to d-1 and u.
    assert kpis["traffic_uplift"][0] == 21 - 22


def test_a_campaign_that_is_over_stays_as_it_was() -> None:
    """Its last business day counts whole, and nothing after it."""
    over = Campaign(
        id="c1", starts=at(TODAY - 3 * DAY_MS), ends=at(TODAY - 2 * DAY_MS + 12 * HOUR_MS)
    )
    events = [visit("b", day=-5), visit("d", day=-2, hour=23), visit("e", day=-1)]
    assert so_far(events, over)["c1"]["traffic_uplift"][0] == 1 - 1


@pytest.mark.parametrize("day", [-3, -1])
def test_silent_source(day: int) -> None:
    """Figures of a source that was silent before the campaign's start, or since, are absent."""
    campaign = Campaign(id="c1", starts=at(TODAY - DAY_MS))
    events = [order("30", day=-2), visit("b", day=-2), order("40", day=-1), visit("a", day=-1)]
    silence = Gap("orders", 0, TODAY + day * DAY_MS, TODAY + day * DAY_MS + 5 * HOUR_MS)
    short = Gap("orders", 0, silence.start_ms, silence.start_ms + HOUR_MS)
    expected = {"traffic_uplift", "sales_contribution"}
    assert so_far(events, campaign, silences=[short])["c1"].keys() >= expected
    kpis = so_far(events, campaign, silences=[silence])["c1"]
    assert expected & kpis.keys() == {"traffic_uplift"}


def test_absent_without_the_days_before() -> None:
    """A campaign without a start, or whose days before were not observed, has no uplift."""
    early = Campaign(id="c1", starts=at(TODAY - 40 * DAY_MS))
    found = so_far([visit("a", day=0)], early, Campaign(id="c2"))
    assert not any("traffic_uplift" in kpis for kpis in found.values())


def test_runs() -> None:
    """Campaigns with the same days share a run; one that is not begun has none."""
    campaigns = [
        Campaign(id="a", starts=at(TODAY + MINUTE_MS)),
        Campaign(id="b", starts=at(TODAY + HOUR_MS)),
        Campaign(id="c", starts=at(NOON)),
        Campaign(id="d", starts=at(TODAY - DAY_MS), ends=at(TODAY - HOUR_MS)),
        Campaign(id="e"),
    ]
    index = CampaignIndex(campaigns)
    timeline = CampaignTimeline(index, (), day=UTC_DAY)
    assert at_once(timeline.runs(NOON, from_ms=0)) == {
        RunDays(TODAY, NOON): ["a", "b"],
        RunDays(TODAY - DAY_MS, TODAY): ["d"],
    }
    assert [*at_once(timeline.runs(NOON, from_ms=TODAY))] == [RunDays(TODAY, NOON)]
    # What is defined or ended later is read, too.
    index.define(Campaign(id="f", starts=at(TODAY)))
    index.end(Ending(campaign="b", ended=at(TODAY + MINUTE_MS), starts=at(TODAY + HOUR_MS)))
    assert at_once(timeline.runs(NOON, from_ms=TODAY)) == {RunDays(TODAY, NOON): ["f", "a"]}


def test_many_campaigns() -> None:
    """Campaigns of years ago take no time once they are read, and no step is long."""
    first = TODAY - 2_000 * DAY_MS
    index = CampaignIndex(
        Campaign(id=f"c{n}", starts=at(first + n * 5 * HOUR_MS)) for n in range(3_000)
    )
    asked: list[int] = []

    class Day(BusinessDay):
        def start_of(self, time_ms: int) -> int:
            asked.append(time_ms)
            return super().start_of(time_ms)

    timeline = CampaignTimeline(index, (), day=Day(ZoneInfo("UTC")))
    steps = timeline.renew()
    assert sum(1 for _ in steps) >= 3_000 / CAMPAIGNS_A_STEP
    for ago in range(5):
        end = first + 600 * DAY_MS - ago * MINUTE_MS
        assert len(timeline.days(end - 10 * DAY_MS, end)) == 10
        runs = at_once(timeline.runs(end, from_ms=end - 10 * DAY_MS))
        assert sum(map(len, runs.values())) == 48
    assert len(asked) < 150
