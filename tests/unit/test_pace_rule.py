"""Rules about campaigns that are off their plan, or whose budget ends before they do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from models.alerts import Alert, AlertState
from models.campaigns.campaign import Campaign
from models.kpi.catalogue import CATALOGUE
from models.kpi.definition import Catalogue, Kpi, KpiValue
from models.money.amounts import UNITS_PER_CURRENCY
from models.money.exchange_rates import Rates
from models.rule_status import Why
from models.scope import Scope
from models.window import BEGINNING_MS, DAY_MS, HOUR_MS, BusinessDay
from streams.alerting.rule_text import explain
from streams.alerting.rules.pace import PaceRule
from streams.alerting.rules.protocol import Coverage, Finding, JudgeContext, Verdict
from streams.alerting.rules.registry import RuleBook
from streams.delivery.alertmanager import evidence
from streams.kpis.calculation.campaign_budgets import CampaignBudgets
from streams.kpis.view import Evaluation
from tests.support.at_once import JudgeAtOnce
from tests.support.offline import NOON, Path, event

SUMMER = Scope("campaign", "c1")


def campaign(**fields: Any) -> Campaign:
    """Return a campaign of ten days, four of which are over at noon, with a budget of 1,000."""
    given = {
        "id": "c1",
        "starts": at(NOON - 4 * DAY_MS),
        "ends": at(NOON + 6 * DAY_MS),
        "budget": {"amount": "1000", "currency": "CNY", "channels": {"feed": "500"}},
    }
    return Campaign.model_validate(given | fields)


def at(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat()


def rule(catalogue: Catalogue = CATALOGUE, **keys: Any) -> PaceRule:
    return PaceRule.model_validate(
        {"name": "r", "kind": "pace", **keys}, context={"catalogue": catalogue}
    )


def finding(
    tried: PaceRule,
    value: KpiValue | None,
    *,
    of: Campaign | None,
    scope: Scope = SUMMER,
    exhausted_ms: int | None = None,
    end_ms: int = NOON,
) -> Finding:
    """Return the finding on a value of all time up to noon."""
    return tried.judge(
        JudgeContext(
            scope=scope,
            kpi=CATALOGUE[tried.kpi],
            value=value,
            coverage=Coverage(BEGINNING_MS, end_ms, observed=True, measured=True, connected=True),
            present=value is not None,
            had_value=False,
            campaign=of,
            exhausted_ms=exhausted_ms,
        )
    )


@pytest.mark.parametrize(
    ("keys", "value", "limit", "verdict"),
    [
        ({"ahead_by": 0.2}, 1.21, 1.2, Verdict.BROKEN),
        ({"ahead_by": 0.2}, 1.2, 1.2, Verdict.HOLDS),
        ({"ahead_by": 0.2}, 0.1, 1.2, Verdict.HOLDS),
        ({"behind_by": 0.25}, 0.74, 0.75, Verdict.BROKEN),
        ({"behind_by": 0.25}, 0.75, 0.75, Verdict.HOLDS),
        ({"behind_by": 0.25}, 3.0, 0.75, Verdict.HOLDS),
        ({"behind_by": 0.25, "ahead_by": 1}, 0.74, 0.75, Verdict.BROKEN),
        ({"behind_by": 0.25, "ahead_by": 1}, 1.3, 0.75, Verdict.HOLDS),
        ({"behind_by": 0.25, "ahead_by": 1}, 2.1, 2.0, Verdict.BROKEN),
        # Of 500 orders 200 are due.
        ({"kpi": "orders", "target": 500, "behind_by": 0.1}, 179, 180, Verdict.BROKEN),
        ({"kpi": "orders", "target": 500, "behind_by": 0.1}, 180, 180, Verdict.HOLDS),
        ({"kpi": "orders", "target": 500, "ahead_by": 0.1}, 221, 220, Verdict.BROKEN),
    ],
)
def test_limit_follows_the_plan(
    keys: dict[str, Any], value: float, limit: float, verdict: Verdict
) -> None:
    """The limit is the plan to date, less or more by the share; an alert names the nearer one."""
    found = finding(rule(**keys), KpiValue(value, n=9), of=campaign())
    assert found.verdict is verdict
    assert found.evidence.limit == pytest.approx(limit)


@pytest.mark.parametrize(
    ("keys", "value", "why"),
    [
        ({}, KpiValue(2.0, n=4), Why.TOO_FEW),
        ({}, KpiValue(1.0, n=5), Why.WITHIN),
        ({"ahead_by": None, "exhausts_early_by": 0}, KpiValue(2.0, n=4), Why.TOO_FEW),
        ({"ahead_by": None, "exhausts_early_by": 0}, KpiValue(1.0, n=5), Why.WITHIN),
    ],
)
def test_too_few_reports(keys: dict[str, Any], value: KpiValue, why: Why) -> None:
    """A pace of few reports is not judged, if the rule says from how many on it is."""
    tried = rule(**{"ahead_by": 0.2, "min_n": 5, **keys})
    found = finding(tried, value, of=campaign(), exhausted_ms=None)
    assert found.why is why
    needed = tried.needed_n(CATALOGUE["budget_pace"], value, why, least_n=0)
    assert needed == (5 if why is Why.TOO_FEW else None)


ONLY_SPEND = {"ahead_by": 0.2}
ONLY_TARGET = {"kpi": "orders", "target": 500, "ahead_by": 0.2}
ONLY_END = {"exhausts_early_by": 3_600}


@pytest.mark.parametrize("keys", [ONLY_SPEND, ONLY_TARGET, ONLY_END])
@pytest.mark.parametrize(
    ("of", "why"),
    [
        (None, Why.NO_PLAN),
        (campaign(starts=None, ends=None), Why.NO_PLAN),
        (campaign(ends=None), Why.NO_PLAN),
        (campaign(starts=at(NOON - DAY_MS), ends=at(NOON + 20 * DAY_MS)), Why.TOO_EARLY),
    ],
)
def test_reasons_without_a_judgement(keys: dict[str, Any], of: Campaign | None, why: Why) -> None:
    """Without a plan, and early in a campaign, there is no judgement, with a value or without."""
    for value in (None, KpiValue(9.0, n=9)):
        found = finding(rule(**keys), value, of=of, exhausted_ms=NOON + HOUR_MS)
        assert (found.verdict, found.why) == (Verdict.NO_JUDGEMENT, why)
        assert found.evidence.limit is None


def test_campaign_without_a_budget() -> None:
    """A pace of the budget needs one, of the channel if it is about channels; a target does not."""
    without = campaign(budget=None)
    assert finding(rule(ahead_by=0.2), None, of=without).why is Why.NO_PLAN
    search, feed = (Scope("campaign_channel", "c1", name) for name in ("search", "feed"))
    of_channels = rule(ahead_by=0.2, scope="campaign_channel")
    assert finding(of_channels, None, of=campaign(), scope=search).why is Why.NO_PLAN
    found = finding(of_channels, KpiValue(1.5, n=9), of=campaign(), scope=feed)
    assert found.verdict is Verdict.BROKEN
    target = rule(**ONLY_TARGET)
    assert finding(target, KpiValue(900, n=900), of=without).verdict is Verdict.BROKEN


@pytest.mark.parametrize("keys", [ONLY_SPEND, ONLY_TARGET, ONLY_END, {"behind_by": 0.2}])
@pytest.mark.parametrize(
    "of",
    [
        campaign(starts=at(NOON + DAY_MS)),
        campaign(ends=at(NOON - HOUR_MS)),
        campaign(ended=at(NOON - HOUR_MS)),
    ],
)
def test_campaign_that_does_not_run(keys: dict[str, Any], of: Campaign) -> None:
    """The rule holds before the campaign's start and after its end, whatever its pace is."""
    for value in (None, KpiValue(0.0, n=9), KpiValue(900.0, n=9)):
        found = finding(rule(**keys), value, of=of, exhausted_ms=NOON - HOUR_MS)
        assert (found.verdict, found.why) == (Verdict.HOLDS, Why.CAMPAIGN_OFF)
        assert found.ended == "campaign_over"


def test_nothing_spent() -> None:
    """Where spend is expected and none came, the campaign is behind its plan, and not ahead."""
    named: dict[str, Any] = {"match": {"campaign": ["c1"]}}
    found = finding(rule(behind_by=0.2, **named), None, of=campaign())
    assert (found.verdict, found.evidence.value) == (Verdict.BROKEN, KpiValue(0))
    found = finding(rule(ahead_by=0.2, **named), None, of=campaign())
    assert (found.verdict, found.why) == (Verdict.NO_JUDGEMENT, Why.NO_VALUE)
    found = finding(rule(exhausts_early_by=0), KpiValue(0.0, n=2), of=campaign())
    assert (found.verdict, found.why) == (Verdict.HOLDS, Why.WITHIN)


@given(
    passed=st.integers(1 * HOUR_MS, 239 * HOUR_MS),
    early_s=st.integers(0, 9 * 86_400),
    spent=st.floats(1, 100_000),
)
def test_exhaustion_is_a_limit_of_the_pace(passed: int, early_s: int, spent: float) -> None:
    """The budget is exhausted too early just where the pace is above the limit in the alert."""
    of, end_ms = campaign(), NOON - 4 * DAY_MS + passed
    budgets = CampaignBudgets(
        {"c1": of}.get, rates=Rates("CNY", []), day=BusinessDay(ZoneInfo("UTC"))
    )
    due = budgets.at("c1", end_ms)
    assert due is not None
    pace = spent * UNITS_PER_CURRENCY / due.due
    exhausted_ms = budgets.exhausted_ms("c1", end_ms, spent=spent)
    tried = rule(exhausts_early_by=early_s, judged_from=0)
    found = finding(tried, KpiValue(pace, n=9), of=of, exhausted_ms=exhausted_ms, end_ms=end_ms)
    assert found.evidence.exhausted_ms == exhausted_ms
    limit = found.evidence.limit
    assert limit == pytest.approx(10 * 86_400 / (10 * 86_400 - early_s))
    # The moment is in whole ms, and the due part in whole units.
    assume(abs(pace / limit - 1) > 0.0001)
    assert (found.verdict is Verdict.BROKEN) == (pace > limit)


def test_campaign_that_is_shorter_than_the_tolerance() -> None:
    """A budget can't be exhausted earlier before the end than the campaign is long."""
    tried = rule(exhausts_early_by=11 * 86_400)
    found = finding(tried, KpiValue(99.0, n=9), of=campaign(), exhausted_ms=NOON - 3 * DAY_MS)
    assert (found.verdict, found.evidence.limit) == (Verdict.HOLDS, None)


def test_own_kpi_over_the_budget_due() -> None:
    """All costs may be compared with the plan, by a KPI of one's own."""
    kpi = Kpi(
        name="cost_pace",
        title_en="Cost pace",
        title_zh="成本进度",
        formula="(spend + other_cost) / budget_due",
        unit="ratio",
        n="spend_reports",
    )
    tried = rule(Catalogue([*CATALOGUE.values(), kpi]), kpi="cost_pace", ahead_by=0.2)
    context = JudgeContext(
        scope=SUMMER,
        kpi=kpi,
        value=KpiValue(1.3, n=3),
        coverage=Coverage(BEGINNING_MS, NOON, observed=True, measured=True, connected=True),
        present=True,
        had_value=True,
        campaign=campaign(),
    )
    assert tried.judge(context).verdict is Verdict.BROKEN


def test_sentences() -> None:
    kpi = CATALOGUE["budget_pace"]
    text = explain(rule(ahead_by=0.2, behind_by=0.3, min_n=5), kpi, currency="CNY")
    assert text.en.startswith(
        "fires when budget pace of any campaign over all time while it runs is more than 30 % "
        "behind or more than 20 % ahead of the plan to date (from at least 5 spend reports); "
        "resolves once it is off by less; "
    )
    assert text.zh.startswith(
        "当任一活动在投放期间累计至今的预算进度落后于计划进度 30% 以上或超前于计划进度 20% 以上"
        "（样本量至少 5）时触发；偏差回到限度以内后恢复；"
    )
    text = explain(rule(exhausts_early_by=0, **{"for": 900}), kpi, currency="CNY")
    assert text.en.startswith(
        "fires when the budget of any campaign will be exhausted before the planned end, at the "
        "pace to date, for 15 min; resolves once it is projected to last longer; "
    )
    assert text.zh.startswith("当任一活动的预算按当前进度将在计划结束前耗尽，持续 15 分钟时触发；")
    assert rule(exhausts_early_by=86_400).limit_text(kpi, currency="CNY") == (
        "exhausted more than 1 day before the planned end",
        "在计划结束前 1 天以上耗尽",
    )
    assert rule(ahead_by=0.2).limit_text(kpi, currency="CNY").zh == "超前于计划进度 20% 以上"
    assert list(rule(ahead_by=20).warnings(kpi)) == [("ahead_by", "20 is 2,000 %; 20 % is 0.2")]


def test_budget_that_is_removed() -> None:
    """An alert about a budget that is gone stays for a day, as without data, and ends."""
    now = {"c1": campaign()}
    judge = JudgeAtOnce(
        RuleBook(rules=(rule(ahead_by=0.2),)),
        lag_limit_s=30,
        campaign_of=now.get,
    )

    def close(end: int, value: KpiValue | None) -> Alert:
        kpis = {} if value is None else {"budget_pace": value}
        judge.closed(Evaluation("so_far", BEGINNING_MS, end, {SUMMER: kpis}))
        return judge.alerts()[0]

    assert close(NOON, KpiValue(2.0, n=9)).state is AlertState.FIRING
    now["c1"] = campaign(budget=None)
    assert close(NOON + HOUR_MS, None).state is AlertState.FIRING
    alert = close(NOON + 26 * HOUR_MS, None)
    assert (alert.state, alert.ended) == (AlertState.RESOLVED, "no_data")


def test_from_events() -> None:
    """Spend that is reported makes an alert with the moment at which the budget is exhausted."""
    book = RuleBook(rules=(rule(exhausts_early_by=86_400),))
    path = Path(rules=book, campaigns=[campaign()])
    spend = {"type": "spend_reported", "currency": "CNY", "channel": "feed", "campaign_id": "c1"}
    path.feed(
        [
            event(at=NOON + minutes * 60_000, event_id=f"s{minutes}", amount="20", **spend)
            for minutes in range(40)
        ],
        batch=2,
    )
    path.finish()
    told = [
        Alert.model_validate_json(output.value)
        for output in path.outputs
        if output.topic == "alerts"
    ]
    (alert,) = [one for one in told if one.rule == "r" and one.state is AlertState.FIRING]
    view = path.kpis.view
    assert view is not None
    # After 4 days and 30 minutes, 600 of 1,000 are spent: the budget lasts for 6 days 16 h 50 min.
    lasting_ms = (4 * DAY_MS + HOUR_MS // 2) * 10 // 6
    assert alert.exhausted_ms == NOON - 4 * DAY_MS + lasting_ms
    assert view.latest["so_far"].exhausted_ms == {"c1": alert.exhausted_ms}
    assert "budget exhausted at 2023-11-17T04:50:00.000+00:00 at this pace" in evidence(alert)
