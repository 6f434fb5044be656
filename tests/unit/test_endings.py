"""Campaigns that are over: by their plan, or because somebody ended them before."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.campaigns.campaign import Campaign, Ending
from models.kpi.definition import KpiValue
from models.money.exchange_rates import Rates
from models.scope import Scope
from models.window import DAY_MS, HOUR_MS, MINUTE_MS
from streams.alerting.rules.registry import RuleBook
from streams.export.page.snapshot import live
from streams.ingest.registry.campaign_index import CampaignIndex
from streams.kpis.calculation.campaign_budgets import CampaignBudget, CampaignBudgets
from streams.kpis.view import Evaluation
from streams.kpis.windows.campaign_timeline import CampaignTimeline
from tests.factories.campaigns import WatchedCampaigns, campaign, ended, ending, read_registry
from tests.factories.times import UTC_DAY, at
from tests.factories.views import queries, worker
from tests.support.at_once import JudgeAtOnce, settled
from tests.support.offline import NOON, event, ingest_job, record

C1 = Scope("campaign", "c1")
START = NOON + 2 * HOUR_MS
PLANNED = {
    "id": "c1",
    "budget": {"amount": 1000, "currency": "CNY"},
    "starts": at(NOON - 2 * DAY_MS),
    "ends": at(NOON + 8 * DAY_MS),
}
"""A fifth of ten days is over at NOON."""


def registry_of(*events: dict[str, Any], campaigns: tuple[Campaign, ...]) -> list[Any]:
    """Return what ingest tells the registry of events: keys and values."""
    job = ingest_job("campaigns", campaigns=campaigns)
    job.apply([record(one, offset=offset) for offset, one in enumerate(events)])
    return [(one.key, json.loads(one.value)) for one in settled(job.snapshot()).early_outputs]


def test_end_has_a_registry_key() -> None:
    """The registry key of an end has the campaign's id, also if the event has its name."""
    known = (Campaign(id="c1", name="First"),)
    told = [(b"end/c1/None/None", {"campaign": "c1", "ended": "2023-11-14T12:00:00Z"})]
    assert registry_of(ended(NOON), campaigns=known) == told
    assert registry_of(ended(NOON) | {"campaign_id": "first"}, campaigns=known) == told
    assert registry_of(ended(NOON) | {"campaign_id": "c9"}, campaigns=known) == []


def test_first_of_several_ends_counts() -> None:
    """Of several ends the first counts, and the registry keeps that one."""
    told = registry_of(ended(NOON), ended(NOON + 5), campaigns=(Campaign(id="c1"),))
    assert [value["ended"] for _, value in told] == ["2023-11-14T12:00:00Z"] * 2


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=5), st.data())
def test_ends_may_come_in_whatever_order_and_again(moments: list[int], data: Any) -> None:
    index = CampaignIndex([Campaign(id="c1")])
    again = data.draw(st.permutations([*moments, *moments]))
    for moment in again:
        index.end(ending(NOON + moment))
    assert index.get("c1") == Campaign(id="c1", ended=at(NOON + min(moments)))


def test_other_times_continue_a_campaign() -> None:
    """A campaign goes on after its end if it is defined with other times, not with the same."""
    index = CampaignIndex([Campaign(id="c1")])
    index.end(ending(NOON))
    index.define(Campaign(id="c1", name="First"))
    assert index.get("c1") == Campaign(id="c1", name="First", ended=at(NOON))
    again = Campaign(id="c1", starts=at(NOON + DAY_MS))
    index.define(again)
    assert index.get("c1") == again
    index.end(ending(NOON))  # the old one, once more
    assert index.get("c1") == again
    index.end(ending(NOON, name="c9"))
    assert len(index) == 1


@given(st.permutations([None, None, NOON, NOON + 5, NOON + 9, NOON + 20]))
def test_definition_and_ends_in_any_order(order: list[int | None]) -> None:
    """The order in which a definition and ends arrive makes no difference."""
    this_year = {"starts": at(NOON - DAY_MS), "ends": at(NOON + DAY_MS)}
    index = CampaignIndex()
    for moment in order:
        if moment is None:
            index.define(Campaign.model_validate({"id": "c1"} | this_year))
        elif moment == NOON:
            index.end(ending(NOON))  # of another run
        else:
            index.end(Ending.model_validate({"campaign": "c1", "ended": at(moment)} | this_year))
    assert list(index) == [Campaign.model_validate({"id": "c1", "ended": at(NOON + 5)} | this_year)]


@pytest.mark.parametrize("name", ["end", "rate", "change", "end of year", "618/main"])
def test_a_campaign_may_have_whatever_id(name: str) -> None:
    index = CampaignIndex()
    value = Campaign(id=name).model_dump_json(exclude_defaults=True).encode()
    read_registry((name.encode(), value), campaigns=index)
    assert index.get(name) == Campaign(id=name)


def test_campaign_cancelled_before_its_start() -> None:
    """A campaign that is ended before its start has no start."""
    cancelled = Campaign.model_validate(PLANNED | {"ended": at(NOON - 3 * DAY_MS)})
    found = CampaignTimeline(CampaignIndex([cancelled]), [], day=UTC_DAY).changes(
        NOON - 7 * DAY_MS, NOON
    )
    assert [change.what for change in found] == ["end"]


def test_an_effect_of_a_start_and_one_of_an_end_are_two() -> None:
    over = NOON + 30 * HOUR_MS
    plan = {"id": "c1", "starts": at(over - HOUR_MS), "ends": at(over)}
    watched = WatchedCampaigns(Campaign.model_validate(plan))
    watched.click(over + MINUTE_MS, user="one")
    watched.effects(over + HOUR_MS)
    shown = live(worker(watched.path.kpis.view), queries())["effects"]
    assert len({one["id"] for one in shown}) == len(shown) == 2


def test_registry_records_of_other_versions() -> None:
    """The registry reader applies ends, and ignores fields and kinds of later versions."""
    index = CampaignIndex()
    defined = event("campaign_defined", campaign_id="c7", name="Seventh")
    told = registry_of(defined, ended(NOON) | {"campaign_id": "c7"}, campaigns=())
    assert told[0] == (b"c7", {"id": "c7", "name": "Seventh"})
    told[0][1]["colour"] = "red"
    told += [(b"segment/s1", {"id": "s1", "rule": "of a later version"})]
    records = [(key, json.dumps(value).encode()) for key, value in told]
    read_registry(*records, campaigns=index)
    assert list(index) == [Campaign(id="c7", name="Seventh", ended=at(NOON))]


@pytest.mark.parametrize(
    ("times", "over"),
    [
        ({}, None),
        ({"starts": at(5_000), "ends": at(9_000)}, 9_000),
        ({"starts": at(5_000), "ends": at(9_000), "ended": at(7_000)}, 7_000),
        ({"starts": at(5_000), "ends": at(9_000), "ended": at(11_000)}, 9_000),
        ({"ended": at(7_000)}, 7_000),
    ],
)
def test_when_a_campaign_is_over(times: dict[str, Any], over: int | None) -> None:
    """A campaign is over at its planned end, or when it was ended before that."""
    one = Campaign.model_validate({"id": "c1"} | times)
    assert one.over_ms == over
    assert one.runs(5_000, over or 9_000)
    assert one.runs(5_000, (over or 9_000) + 1) is (over is None)
    assert one.runs(4_999, 6_000) is (one.starts is None)
    assert one.runs(0, 6_000)  # so far
    assert one.runs(0, 5_000) is (one.starts is None)


def test_ended_campaign_has_a_frozen_plan() -> None:
    """The budget plan of a campaign is frozen when the campaign is ended."""
    one = Campaign.model_validate(PLANNED | {"ended": at(NOON)})
    plans = CampaignBudgets({"c1": one}.get, rates=Rates("CNY"), day=UTC_DAY)
    assert plans.at("c1", NOON - DAY_MS) == CampaignBudget(10_000_000, 1_000_000)
    assert (
        plans.at("c1", NOON)
        == plans.at("c1", NOON + 9 * DAY_MS)
        == CampaignBudget(10_000_000, 2_000_000)
    )
    assert plans.exhausted_ms("c1", NOON - MINUTE_MS, spent=1_000_000) is not None
    assert plans.exhausted_ms("c1", NOON, spent=1_000_000) is None
    cancelled = Campaign.model_validate(PLANNED | {"ended": at(NOON - 3 * DAY_MS)})
    plans = CampaignBudgets({"c1": cancelled}.get, rates=Rates("CNY"), day=UTC_DAY)
    assert plans.at("c1", NOON) == CampaignBudget(10_000_000, 0)


def test_ended_campaign_has_no_stage() -> None:
    """A campaign that was ended has no current stage."""
    watched = WatchedCampaigns(campaign(START))
    watched.click(START + MINUTE_MS, user="one")
    assert watched.clicks(START + HOUR_MS) == {START: 1}
    watched.index.end(ending(START + HOUR_MS))
    assert watched.clicks(START + HOUR_MS + 2 * MINUTE_MS) == {}


@pytest.mark.parametrize("told", [{"ended": at(NOON + 30 * HOUR_MS)}, {}])
def test_the_end_of_a_campaign_is_a_change(told: dict[str, Any]) -> None:
    over = NOON + 30 * HOUR_MS
    plan = {"starts": at(NOON), "ends": at(over if not told else over + DAY_MS), "owner": "growth"}
    watched = WatchedCampaigns(Campaign.model_validate({"id": "c1"} | plan | told))
    watched.click(over - MINUTE_MS, user="one")
    watched.click(over + MINUTE_MS, user="one")
    watched.click(over + 2 * MINUTE_MS, user="two")
    last, _ = watched.effects(over + HOUR_MS)
    assert (last.change.what, last.change.who, last.moment_ms) == ("end", "", over)
    assert (last.before["clicks"].value, last.after["clicks"].value) == (1, 2)


def test_a_campaign_that_goes_on_has_no_end() -> None:
    one = Campaign.model_validate(PLANNED)
    found = CampaignTimeline(CampaignIndex([one]), [], day=UTC_DAY).changes(NOON - 7 * DAY_MS, NOON)
    assert [change.what for change in found] == ["start"]


TOO_FEW = {"name": "few", "kind": "threshold", "kpi": "clicks", "below": 10}
NONE = {"name": "none", "kind": "absence", "kpi": "clicks", "match": {"campaign": ["c1"]}}
TOO_MANY = {"name": "many", "kind": "threshold", "kpi": "clicks", "above": 2}
SLOW = {"name": "slow", "kind": "threshold", "kpi": "conversion_rate", "below": 0.5}


def fires(rule: dict[str, Any], *, clicks: int, campaign: Campaign, end: int = NOON) -> list[str]:
    """Return the states of the alerts after two windows of a minute that end ten seconds apart."""
    rules = RuleBook.model_validate({"rules": [rule | {"scope": "campaign", "window": "1m"}]})
    judge = JudgeAtOnce(rules, lag_limit_s=30, campaign_of={"c1": campaign}.get)
    kpis = {"clicks": KpiValue(clicks, n=clicks), "conversion_rate": KpiValue(0.1, n=clicks)}
    for one in (end - 10_000, end):
        judge.closed(Evaluation("1m", one - MINUTE_MS, one, {C1: kpis} if clicks else {}))
    return [alert.state.value for alert in judge.alerts()]


@pytest.mark.parametrize(
    ("rule", "clicks", "while_over"),
    [(NONE, 0, []), (TOO_FEW, 3, []), (TOO_MANY, 3, ["firing"]), (SLOW, 3, ["firing"])],
)
def test_low_rules_need_a_running_campaign(
    rule: dict[str, Any], clicks: int, while_over: list[str]
) -> None:
    """Rules about too few events are evaluated only for campaigns that run."""
    runs = Campaign.model_validate(PLANNED)
    assert fires(rule, clicks=clicks, campaign=runs) == ["firing"]
    over = Campaign.model_validate(PLANNED | {"ended": at(NOON - 20_000)})
    assert fires(rule, clicks=clicks, campaign=over) == while_over
    starting = Campaign.model_validate(PLANNED | {"starts": at(NOON - 30_000)})
    assert fires(rule, clicks=clicks, campaign=starting) == while_over


def test_low_alert_resolves_at_the_end() -> None:
    """An alert about too few events resolves when its campaign ends."""
    index = CampaignIndex([Campaign(id="c1")])
    rules = RuleBook.model_validate({"rules": [NONE | {"scope": "campaign", "window": "1m"}]})
    judge = JudgeAtOnce(rules, lag_limit_s=30, campaign_of=index.get)
    states = []
    for number, end in enumerate(range(NOON, NOON + 50_000, 10_000)):
        if number == 3:
            index.end(ending(end - 5_000))
        judge.closed(Evaluation("1m", end - MINUTE_MS, end, {}))
        states.append([alert.state.value for alert in judge.alerts()])
    assert states == [["firing"]] * 3 + [["resolved"]] * 2
