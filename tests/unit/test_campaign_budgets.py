"""Budgets: what was planned by now, and when the money will be gone."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from models.aggregates.cell import Cell
from models.campaigns.campaign import Campaign
from models.kpi.definition import Catalogue, Kpi, KpiValue
from models.kpi.measures import SUM_INDEX
from models.money.exchange_rates import Rate, Rates
from models.names import NameBook
from models.scope import Scope
from models.window import DAY_MS, MINUTE_MS, BusinessDay
from streams.ingest.registry.campaign_index import CampaignIndex
from streams.kpis.calculation.campaign_budgets import (
    CampaignBudget,
    CampaignBudgets,
    CampaignFigures,
)
from streams.kpis.calculation.kpi_calculator import KpiCalculator
from tests.support.offline import NOON, Path, event

STARTS, ENDS = "2023-11-10T12:00:00Z", "2023-11-20T12:00:00Z"
"""Ten days, four of which are over at NOON."""


def plans(**fields: Any) -> CampaignBudgets:
    campaign = Campaign.model_validate({"id": "c1"} | fields)
    rates = Rates(
        "CNY", [Rate.model_validate({"currency": "USD", "date": "2023-11-01", "rate": 7})]
    )
    return CampaignBudgets({"c1": campaign}.get, rates=rates, day=BusinessDay(ZoneInfo("UTC")))


def budget(amount: str, currency: str = "CNY") -> dict[str, str]:
    return {"amount": amount, "currency": currency}


BUDGET = budget("1000")


def test_a_plan_is_due_as_time_goes() -> None:
    made = plans(budget=budget("1000"), starts=STARTS, ends=ENDS)
    assert made.at("c1", NOON) == CampaignBudget(10_000_000, 4_000_000)
    assert made.at("c1", NOON - 30 * DAY_MS) == CampaignBudget(10_000_000, 0)
    assert made.at("c1", NOON + 30 * DAY_MS) == CampaignBudget(10_000_000, 10_000_000)


def test_budget_uses_the_rate_at_the_start() -> None:
    """A budget is converted at the exchange rate of the campaign's start."""
    assert plans(budget=budget("10", "USD")).at("c1", NOON) == CampaignBudget(700_000, 0)
    assert plans(budget=budget("10", "EUR"), starts=STARTS, ends=ENDS).at("c1", NOON) is None


def test_without_a_budget_there_is_no_plan() -> None:
    assert plans(starts=STARTS, ends=ENDS).at("c1", NOON) is None
    assert plans(budget=budget("10")).at("c2", NOON) is None


@pytest.mark.parametrize(
    ("spent", "days_after_start"), [(400, 10), (800, 5), (1000, 4), (0, None), (0.01, None)]
)
def test_budget_exhaustion_follows_the_pace(spent: float, days_after_start: int | None) -> None:
    """The time at which a budget is exhausted is extrapolated from its spend to date."""
    made = plans(budget=budget("1000"), starts=STARTS, ends=ENDS)
    expected = None if days_after_start is None else NOON + (days_after_start - 4) * DAY_MS
    assert made.exhausted_ms("c1", NOON, spent=spent) == expected


def test_a_campaign_that_has_not_started_has_no_pace() -> None:
    made = plans(budget=budget("1000"), starts=STARTS, ends=ENDS)
    assert made.exhausted_ms("c1", NOON - 5 * DAY_MS, spent=5) is None


@pytest.mark.parametrize(
    ("formula", "fields", "value"),
    [
        ("budget - spend", {"budget": BUDGET}, 999.95),
        ("budget", {"budget": BUDGET}, 1000),
        ("budget - spend", {}, None),
        ("spend / budget_due", {"budget": BUDGET}, None),
        ("budget_due - spend", {"budget": BUDGET, "starts": STARTS, "ends": ENDS}, 399.95),
    ],
)
def test_formulas_of_plans_are_absent_without_a_plan(
    formula: str, fields: dict[str, Any], value: float | None
) -> None:
    kpi = Kpi(
        name="left",
        title_en="Left",
        title_zh="剩余",
        formula=formula,
        unit="ratio" if "/" in formula else "money",
        n="spend_reports",
    )
    cell = Cell()
    cell.sums[SUM_INDEX["spend"]] = 500
    figures = CampaignFigures(plans(**fields), "so_far", NOON, {}).of(Scope("campaign", "c1"))
    values = KpiCalculator(Catalogue([kpi])).evaluate(cell, inputs=0, figures=figures)
    assert {name: one.value for name, one in values.items()} == (
        {} if value is None else {"left": value}
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"starts": "9999-12-31T00:00:00Z"},
        {"starts": "0001-01-01T00:00:00Z"},
        {"starts": STARTS, "ends": "2023-11-10T12:00:00.0001Z"},
        {"stages": [{"name": "peak", "starts": "9999-12-31T00:00:00Z"}]},
    ],
)
def test_a_campaign_that_no_calendar_holds_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        plans(budget=BUDGET, **fields)


def test_budget_is_compared_with_all_spend() -> None:
    """A campaign's budget is compared with its spend of all time."""
    campaign = Campaign.model_validate(
        {"id": "c1", "budget": budget("1000"), "starts": STARTS, "ends": ENDS}
    )
    path = Path(campaigns=[campaign, Campaign(id="c2")])
    path.feed(
        [
            event("spend_reported", at=NOON + minute * MINUTE_MS, event_id=f"{of}{minute}", **more)
            for minute in range(40)
            for of in ("c1", "c2")
            for more in [{"campaign_id": of, "amount": "20", "currency": "CNY", "channel": "feed"}]
        ],
        batch=2,
    )
    path.finish()
    view = path.kpis.view
    assert view is not None
    so_far, hour = view.latest["so_far"], view.latest["1h"]
    shares = {
        scope: (kpis["budget_used"], kpis["budget_pace"])
        for scope, kpis in so_far.values.items()
        if "budget_used" in kpis
    }
    # Of 1,000 all is due in ten days, 400 and a bit by the end of the window.
    assert so_far.end_ms == NOON + 30 * MINUTE_MS
    due = 4_000_000 + 30 * MINUTE_MS * 10_000_000 // (10 * DAY_MS)
    spent = KpiValue(0.6, None, None, 30), KpiValue(6_000_000 / due, None, None, 30)
    assert shares == {Scope("campaign", "c1"): spent}
    assert not any("budget_used" in kpis for kpis in hour.values.values())
    pace_ms = (4 * DAY_MS + 30 * MINUTE_MS) * 10 // 6
    assert so_far.exhausted_ms == {"c1": NOON - 4 * DAY_MS + pace_ms}


def test_budgets_of_channels_and_days() -> None:
    """A channel is compared with its own budget, a business day with the daily one."""
    planned = budget("1000") | {"channels": {"feed": "250.5"}, "daily": "80"}
    campaign = Campaign.model_validate(
        {"id": "c1", "budget": planned, "starts": STARTS, "ends": ENDS}
    )
    path = Path(campaigns=[campaign])
    path.feed(
        [
            event(
                "spend_reported",
                at=NOON + minute * MINUTE_MS,
                event_id=f"{channel}{minute}",
                amount="1",
                currency="CNY",
                channel=channel,
            )
            for minute in range(40)
            for channel in ("feed", "search")
        ],
        batch=2,
    )
    path.finish()
    view = path.kpis.view
    assert view is not None
    used = {
        scope: (window, name, kpis[name].value)
        for window, name in (("so_far", "budget_used"), ("day", "budget_used_today"))
        for scope, kpis in view.latest[window].values.items()
        if name in kpis and (window, scope.kind) != ("so_far", "campaign")
    }
    # Up to 12:30 each channel has spent 30, up to 12:38 each 38.
    assert used == {
        Scope("campaign_channel", "c1", "feed"): ("so_far", "budget_used", 30 / 250.5),
        Scope("campaign", "c1"): ("day", "budget_used_today", 76 / 80),
    }


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ({"channels": {"feed": "600", "search": "500"}}, "their budgets exceed the whole budget"),
        ({"daily": "1001"}, "exceeds the whole budget"),
        ({"daily": "0"}, "greater than 0"),
    ],
)
def test_parts_beyond_the_budget(parts: dict[str, Any], why: str) -> None:
    """Parts of a budget that can't be right are refused."""
    with pytest.raises(ValidationError, match=why):
        plans(budget=BUDGET | parts)


def test_channels_are_compared_as_names_are() -> None:
    """A channel's budget counts for the channel as it is shown; two spellings are added up."""
    channels = {"Paid Search": "300", "SEM": "20", "E%2DMail": "5"}
    told = Campaign.model_validate({"id": "c1", "budget": BUDGET | {"channels": channels}})
    names = NameBook.model_validate({"channels": [{"name": "Paid search", "aliases": ["sem"]}]})
    index = CampaignIndex([told], as_shown=names.as_shown)
    made = CampaignBudgets(index.get, rates=Rates("CNY"), day=BusinessDay(ZoneInfo("UTC")))
    assert made.at("c1", NOON, channel="Paid search") == CampaignBudget(3_200_000, 0)
    assert made.at("c1", NOON, channel="e-mail") == CampaignBudget(50_000, 0)
    assert made.at("c1", NOON, channel="feed") is None


def test_days_of_a_campaign_that_does_not_run() -> None:
    """There is no daily budget before the first day of a campaign and after its last one."""
    made = plans(budget=BUDGET | {"daily": "80"}, starts=STARTS, ends=ENDS)
    days = {
        day: (found := made.at("c1", NOON + day * DAY_MS)) is not None and found.today
        for day in (-5, -4, 0, 6, 7)
    }
    assert days == {-5: 0, -4: 800_000, 0: 800_000, 6: 800_000, 7: 0}
