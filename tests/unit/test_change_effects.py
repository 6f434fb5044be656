"""Changes of campaigns, and their KPIs before and after."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import date
from decimal import Decimal
from types import SimpleNamespace

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.aggregates import ingest_report
from models.campaigns.campaign import Campaign
from models.campaigns.campaign_change import KEPT, Change, Changes
from models.events import SOURCE_KINDS
from models.kpi.catalogue import CATALOGUE
from models.kpi.definition import KpiValue
from models.money.exchange_rates import Rate, Rates
from models.names import NameBook, shortened
from models.scope import Scope
from models.window import DAY_MS, HOUR_MS, MINUTE_MS, QUARTER_MS
from streams.analysis.differences import difference_between
from streams.engine.steps import Steps, at_once
from streams.export.page.snapshot import live
from streams.ingest.registry.campaign_index import CampaignIndex
from streams.kpis.calculation.confidence_intervals import wilson
from streams.kpis.view import Effect
from streams.kpis.windows.change_effects import SHOWN
from streams.kpis.windows.round_robin import RoundRobin
from streams.operations import synthetic
from tests.chaos import truth
from tests.factories.campaigns import WatchedCampaigns, campaign, change, read_registry
from tests.factories.reports import letters
from tests.factories.times import at
from tests.factories.views import metrics, queries, synthetic_view, worker
from tests.support.at_once import settled
from tests.support.offline import (
    NOON,
    Record,
    event,
    ingest_job,
    record,
)

MOMENT = NOON + 30 * HOUR_MS


def test_equal_times_around_a_change() -> None:
    """The complete time after a change is compared with as much time before it."""
    watched = WatchedCampaigns(Campaign(id="c1"), changes=(change(MOMENT - 1),))
    for minutes in (-61, -44, -1, 0, 44, 45):
        watched.click(MOMENT + minutes * MINUTE_MS, user=f"u{minutes}")
    assert watched.clicks_beside_changes(MOMENT + 46 * MINUTE_MS) == [(MOMENT, 45, 2, 2)]
    assert watched.clicks_beside_changes(MOMENT + 91 * MINUTE_MS) == [(MOMENT, 90, 3, 3)]


def test_when_a_change_is_shown() -> None:
    """A change is shown when a quarter of an hour after it is complete, and then for a week."""
    watched = WatchedCampaigns(Campaign(id="c1"), changes=(change(MOMENT),))
    watched.click(MOMENT - MINUTE_MS, user="before")
    assert watched.effects(MOMENT + 14 * MINUTE_MS) == []
    assert watched.clicks_beside_changes(MOMENT + 16 * MINUTE_MS) == [(MOMENT, 15, 1, 0)]
    watched.click(MOMENT + 23 * HOUR_MS, user="after")
    watched.click(MOMENT + 24 * HOUR_MS, user="too late")
    assert watched.clicks_beside_changes(MOMENT + 25 * HOUR_MS) == [(MOMENT, 24 * 60, 1, 1)]
    for days in (3, 6):
        watched.click(MOMENT + days * DAY_MS, user="much later")
        assert watched.clicks_beside_changes(MOMENT + days * DAY_MS + HOUR_MS) == [
            (MOMENT, 24 * 60, 1, 1)
        ]
    assert watched.clicks_beside_changes(MOMENT + 7 * DAY_MS - MINUTE_MS) == [
        (MOMENT, 24 * 60, 1, 1)
    ]
    assert watched.effects(MOMENT + 7 * DAY_MS + QUARTER_MS) == []


def test_change_without_an_observed_past() -> None:
    """A change has no values if the time before it was not observed."""
    watched = WatchedCampaigns(Campaign(id="c1"), changes=(change(NOON + 2 * HOUR_MS),))
    watched.click(NOON + 150 * MINUTE_MS, user="after")
    assert watched.clicks_beside_changes(NOON + 3 * HOUR_MS + MINUTE_MS) == [
        (NOON + 2 * HOUR_MS, 60, 0, 1)
    ]
    assert watched.clicks_beside_changes(NOON + 5 * HOUR_MS + MINUTE_MS) == [
        (NOON + 2 * HOUR_MS, 180, None, None)
    ]


def test_the_start_of_a_campaign_is_a_change() -> None:
    started = Campaign(id="c1", starts=at(MOMENT), owner="growth")
    watched = WatchedCampaigns(started)
    watched.click(MOMENT + MINUTE_MS, user="one")
    (effect,) = watched.effects(MOMENT + HOUR_MS)
    assert (effect.change.what, effect.change.who) == ("start", "growth")
    assert (effect.before["clicks"].value, effect.after["clicks"].value) == (0, 1)


def test_the_start_of_a_campaign_is_compared_on_everything() -> None:
    """Before its start a campaign has no events: all traffic is compared."""
    started = Campaign(id="c1", starts=at(MOMENT))
    watched = WatchedCampaigns(started, Campaign(id="c2"), changes=(change(MOMENT),))
    for minutes, of in ((-9, "c2"), (-8, "c2"), (5, "c1"), (6, "c2"), (7, "c2"), (8, "c2")):
        watched.click(MOMENT + minutes * MINUTE_MS, user=f"u{minutes}", campaign_id=of)
    for _ in range(3):
        effects = watched.effects(MOMENT + HOUR_MS)
    clicks = {
        (one.change.what, str(one.scope)): (one.before["clicks"].value, one.after["clicks"].value)
        for one in effects
    }
    assert clicks == {("start", "all"): (2, 4), ("budget", "campaign=c1"): (0, 1)}


def test_conversion_lift() -> None:
    """Conversion rose from 20 of 1,000 to 35 of 1,000, orders from 20 to 35, both significantly.

    Of 30 of 1,000 the interval of the difference is -0.4 to 2.4 points: not significant.
    """
    before = {
        "conversion_rate": KpiValue(0.02, *wilson(20, 1_000), 1_000),
        "orders": KpiValue(20, n=20),
        "revenue_gross": KpiValue(900.0, n=20),
    }
    after = {
        "conversion_rate": KpiValue(0.035, *wilson(35, 1_000), 1_000),
        "orders": KpiValue(35, n=35),
        "revenue_gross": KpiValue(1_200.0, n=35),
    }
    seen = synthetic_view()
    assert seen.kpis is not None
    effect = Effect(change(MOMENT), Scope("campaign", "c1"), MOMENT, HOUR_MS, before, after)
    view, exports = worker(replace(seen.kpis, effects=(effect,))), queries()
    (shown,) = live(view, exports)["effects"]
    lift = shown["differences"]["conversion_rate"]
    assert lift["difference"] == pytest.approx(0.015)
    assert (lift["low"], lift["high"]) == pytest.approx((0.0006, 0.0300), abs=1e-4)
    assert (lift["significant"], lift["ratio"]) == (True, pytest.approx(0.75))
    orders = shown["differences"]["orders"]
    assert (orders["low"], orders["high"]) == pytest.approx((15 - 14.535, 15 + 14.535), abs=1e-3)
    money = shown["differences"]["revenue_gross"]
    assert (money["difference"], money["low"], money["significant"]) == (300.0, None, None)
    text = metrics(view, exports)
    labels = 'campaign="c1",change="2023-11-15T18:00Z",kpi="conversion_rate",what="budget"'
    assert f"kpi_monitor_effect_significant{{{labels}}} 1.0" in text
    assert re.search(
        f"^kpi_monitor_effect_difference{re.escape(f'{{{labels}}}')} 0.015", text, re.MULTILINE
    )
    less = KpiValue(0.03, *wilson(30, 1_000), 1_000)
    one = difference_between(CATALOGUE["conversion_rate"], less, before["conversion_rate"])
    assert (one.low, one.high) == pytest.approx((-0.0040, 0.0243), abs=1e-4)
    assert one.significant is False


def test_newest_changes_are_shown_first() -> None:
    """The newest changes are shown, the newest first."""
    changes = tuple(change(MOMENT + n * MINUTE_MS, number=n) for n in range(SHOWN + 5))
    watched = WatchedCampaigns(Campaign(id="c1"), changes=changes)
    for _ in range(6):
        shown = watched.effects(MOMENT + HOUR_MS)
    assert [one.change.event_id for one in shown] == [f"e{n}" for n in range(24, 4, -1)]


def test_after_a_restart_the_same_is_shown() -> None:
    watched = WatchedCampaigns(Campaign(id="c1"), changes=(change(MOMENT),))
    for minutes in (-5, 5, 6):
        watched.click(MOMENT + minutes * MINUTE_MS, user=f"u{minutes}")
    before = watched.clicks_beside_changes(MOMENT + HOUR_MS + MINUTE_MS)
    watched.restart()
    assert (
        watched.clicks_beside_changes(MOMENT + HOUR_MS + 2 * MINUTE_MS)
        == before
        == [(MOMENT, 60, 1, 2)]
    )


def test_change_has_a_registry_key() -> None:
    """A change is written to the registry with its campaign and event id as the key."""
    job = ingest_job("campaigns")
    told = {"what": "bid", "from": "1.0", "to": "1.5", "who": "Li"}
    made = event("campaign_changed", event_id="e7", campaign_id="c1", **told)
    job.apply([record(made, offset=0), record(made, offset=1)])
    (output,) = settled(job.snapshot()).early_outputs
    assert (output.topic, output.key) == ("registry", b"change/c1/e7")
    assert json.loads(output.value) == {
        **{"campaign": "c1", "event_id": "e7", "at_ms": NOON, "what": "bid"},
        **{"from_value": "1.0", "to_value": "1.5", "who": "Li"},
    }
    again = ingest_job("campaigns")
    again.apply([record(made, offset=0)])
    assert settled(again.snapshot()).early_outputs == [output]


def test_registry_records_by_kind() -> None:
    """The registry reader applies campaigns, changes and rates by their keys."""
    campaigns, changes, rates = CampaignIndex(), Changes(), Rates("CNY")
    told = (Campaign(id="c1"), change(NOON), Rate(currency="EUR", date=date(2023, 11, 1), rate=8))
    keys = (b"c1", b"change/c1/e0", b"rate/EUR/2023-11-01")
    values = [one.model_dump_json().encode() for one in told]
    pairs = list(zip(keys, values, strict=True)) * 2
    read_registry(*pairs, campaigns=campaigns, changes=changes, rates=rates)
    assert list(campaigns) == [told[0]]
    assert list(changes) == [told[1]]
    assert rates.to_units(Decimal(1), "EUR", on=date(2023, 11, 14)) == 80_000


def test_channels_follow_the_newest_names() -> None:
    """A budget's channel is shown by the names of today, also if it was defined with older ones."""
    job = ingest_job("campaigns")
    budget = {"amount": "100", "currency": "CNY", "channels": {"SEM": "60"}}
    defined = event("campaign_defined", campaign_id="c1", name="C", channels=["SEM"], budget=budget)
    job.apply([record(defined, offset=0)])
    assert shown_channels(job.campaigns) == (("sem",), ["sem"])
    (output,) = settled(job.snapshot()).early_outputs
    assert output.key is not None
    names = NameBook.model_validate({"channels": [{"name": "search", "aliases": ["SEM"]}]})
    later = CampaignIndex(as_shown=names.as_shown)
    read_registry((output.key, output.value), campaigns=later)
    assert shown_channels(later) == (("search",), ["search"])


def shown_channels(index: CampaignIndex) -> tuple[tuple[str, ...], list[str]]:
    """Return the channels of campaign c1, and those of its budget."""
    campaign = index.get("c1")
    assert campaign is not None
    assert campaign.budget is not None
    return campaign.channels, list(campaign.budget.channels)


def test_long_names_of_a_plan() -> None:
    """Long names of channels and phases are shortened where they are shown, and refuse nothing."""
    long = "x" * 101
    budget = {"amount": "100", "currency": "CNY", "channels": {long: "60"}}
    stages = [{"name": long, "starts": NOON}]
    job = ingest_job("campaigns")
    defined = event("campaign_defined", campaign_id="c1", name="C", budget=budget, stages=stages)
    job.apply([record(defined, offset=0)])
    assert not letters(settled(job.snapshot()))
    assert shown_channels(job.campaigns) == ((), [shortened(long)])
    exports = queries(campaign_of=job.campaigns.get)
    assert exports.phase_of("c1", SimpleNamespace(frontier_ms=NOON)) == shortened(long)


def test_a_change_of_an_unknown_campaign_is_counted_as_such() -> None:
    job = ingest_job("campaigns")
    job.apply([record(event("campaign_changed", campaign_id="c9", what="bid"), offset=0)])
    snapshot = settled(job.snapshot())
    (report,) = ingest_report.decode(snapshot.outputs[0].value).reports
    assert snapshot.early_outputs == []
    assert (report.stats.counted, report.stats.unknown_samples) == (1, {"campaign": ["c9"]})


@given(st.permutations(range(KEPT + 10)), st.lists(st.integers(0, KEPT + 9)))
def test_newest_changes_are_kept(order: list[int], again: list[int]) -> None:
    """The newest changes are kept, in any order of arrival and with repetitions."""
    changes = Changes()
    for number in (*order, *again):
        changes.record(change(NOON + number, number=number))
    assert [one.at_ms - NOON for one in changes] == list(range(10, KEPT + 10))


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 400), st.sets(st.integers(0, 5))), max_size=60))
def test_round_robin_order(
    ticks: list[tuple[int, set[int]]],
) -> None:
    """Each turn computes at most one value, and drops those that are no longer due."""
    there: set[int] = set()

    def make(key: int, end: int) -> Steps[tuple[int, int] | None]:
        yield
        return key, end

    turns: RoundRobin[int, tuple[int, int]] = RoundRobin(
        step_ms=100, due=lambda _: sorted(there), make=make
    )
    now_ms = 0
    for passed_ms, there in ticks:  # noqa: B007 - read by what is due
        now_ms += passed_ms
        known = dict(turns.latest)
        at_once(turns.compute_next(now_ms))
        made = dict(turns.latest)
        assert len({*made.items()} - {*known.items()}) <= 1
    for _ in range(6):
        at_once(turns.compute_next(now_ms + 100))
    assert dict(turns.latest) == dict.fromkeys(sorted(there), (now_ms + 100) // 100 * 100)


def test_effects_are_exported_and_shown() -> None:
    watched = WatchedCampaigns(campaign(), changes=(change(MOMENT), change(MOMENT - 5, number=1)))
    watched.path.feed([event("order_placed", at=NOON, event_id="o", campaign_id="c2")])
    watched.click(MOMENT - MINUTE_MS, user="before")
    watched.effects(MOMENT + HOUR_MS + MINUTE_MS)
    view, exports = worker(watched.path.kpis.view), queries()
    text = metrics(view, exports)
    labels = 'campaign="c1",change="2023-11-15T18:00Z",kpi="clicks",period="before",what="budget"'
    assert f"kpi_monitor_effect{{{labels}}} 1.0" in text
    assert len(re.findall(r'^kpi_monitor_effect{.*kpi="clicks"', text, re.M)) == 2
    first, second = json.loads(json.dumps(live(view, exports)))["effects"]
    assert first["id"] != second["id"]
    assert (first["campaign"], first["from"], first["to"], first["who"]) == (
        *("c1", "100", "200", "Li"),
    )
    assert first["length"] == HOUR_MS
    assert first["before"]["orders"]["value"] == 0


def test_synthetic_campaign_has_stages_and_changes() -> None:
    """The synthetic campaign has stages, and a change every 20 minutes."""
    first, *others = synthetic.staged(NOON + 1)
    stage = first.stage_at(NOON + 2 * HOUR_MS)
    assert stage == first.stages[1]
    assert stage.starts == at(NOON + QUARTER_MS + HOUR_MS)
    assert not any(one.stages for one in others)
    feed = synthetic.Synthetic(seed=1, clicks_per_second=0.1)
    job = ingest_job("campaigns", campaigns=synthetic.CAMPAIGNS)
    job.apply(
        [
            Record(offset, one.due_ms, one.key, one.value)
            for offset, one in enumerate(feed.records(NOON, NOON + 41 * MINUTE_MS))
            if one.topic == "campaigns"
        ]
    )
    told = [
        Change.model_validate_json(output.value)
        for output in settled(job.snapshot()).early_outputs
        if output.topic == "registry"
    ]
    assert [(one.campaign, one.at_ms - NOON, one.what) for one in told] == [
        ("618-main", 0, "budget"),
        ("618-main", 20 * MINUTE_MS, "creative"),
        ("618-main", 40 * MINUTE_MS, "landing page"),
    ]
    assert all(one.from_value and one.to_value and one.from_value != one.to_value for one in told)


def test_expected_counts_include_changes() -> None:
    """The expected results of the fault harness count changes as events without rows.

    The costs of five minutes are reported, two of them twice: the oracle gets the last report.
    """
    feed = synthetic.Synthetic(seed=1, clicks_per_second=5)
    sent = list(feed.records(NOON, NOON + 6 * MINUTE_MS))
    found = truth.of([one.value for one in sent if one.topic == name] for name in SOURCE_KINDS)
    assert (found.counted, found.broken) == (feed.truth.counted, feed.truth.broken)
    assert len(found.rows) + len(found.costs_of_periods) == found.counted - 1
    costs = found.events.filter(pl.col("until_ms").is_not_null())
    assert (len(found.costs_of_periods), len(costs)) == (3 * (5 + 2), 3 * 5)
