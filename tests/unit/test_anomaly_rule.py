"""Rules of the kind anomaly: a value is not what is usual at that time of the week."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from models.alerts import Alert, AlertState
from models.calendar.special_day import SpecialDay
from models.campaigns.campaign import Campaign
from models.campaigns.campaign_change import Change
from models.kpi.catalogue import CATALOGUE
from models.kpi.definition import Catalogue, KpiValue
from models.rule_status import ScopeStatus, Why
from models.scope import ALL, Scope
from models.usual import Usual
from models.window import DAY_MS, HOUR_MS, MINUTE_MS, BusinessDay
from streams.alerting.rule_text import explain
from streams.alerting.rules.anomaly import AnomalyRule
from streams.alerting.rules.registry import RuleBook
from streams.alerting.status_text import explain_status
from streams.alerting.usual.local_clock import LocalClock
from streams.kpis.calculation.confidence_intervals import wilson
from streams.kpis.view import Evaluation
from tests.support.at_once import JudgeAtOnce
from tests.support.offline import NOON, Path, event, taken_over

C1 = Scope("campaign", "c1")
FIVE_MS = 5 * MINUTE_MS


def rule(**given: Any) -> AnomalyRule:
    return AnomalyRule.model_validate({"name": "r", "kind": "anomaly", "kpi": "clicks", **given})


def judge_of(*rules: AnomalyRule, **options: Any) -> JudgeAtOnce:
    return JudgeAtOnce(RuleBook(rules=rules), lag_limit_s=30, **options)


def share(over: int, n: int) -> KpiValue:
    return KpiValue(over / n, *wilson(over, n), n)


def close(
    judge: JudgeAtOnce, end: int, value: KpiValue | None, *, kpi: str = "clicks", **options: Any
) -> None:
    """Close a five-minute window of campaign c1."""
    values = {} if value is None else {C1: {kpi: value}}
    judge.closed(Evaluation("5m", end - FIVE_MS, end, values, **options))


def learn(judge: JudgeAtOnce, *, kpi: str = "clicks", days: float = 6) -> None:
    """Let a rule learn some days before noon: 400 clicks, or a conversion of 30 % of them."""
    chance = np.random.default_rng(1)
    for end in range(NOON - int(days * DAY_MS), NOON, FIVE_MS):
        n = int(chance.poisson(400))
        close(
            judge,
            end,
            KpiValue(n) if kpi == "clicks" else share(int(chance.binomial(n, 0.3)), n),
            kpi=kpi,
        )


def status(judge: JudgeAtOnce) -> ScopeStatus:
    (found,) = judge.rule_statuses()[0].scopes
    return found


def test_alert_says_what_is_usual() -> None:
    """The alert has the expected value and the band, whose end is its limit."""
    judge = judge_of(rule(scope="campaign"))
    learn(judge)
    close(judge, NOON, KpiValue(100))
    (alert,) = judge.alerts()
    assert (alert.state, alert.value) == (AlertState.FIRING, 100)
    usual = alert.usual
    assert usual is not None
    assert usual.expected == pytest.approx(400, rel=0.05)
    assert alert.threshold == usual.low
    assert usual.low is not None
    assert usual.high is not None
    assert 250 < usual.low < 350 < 450 < usual.high < 550
    assert Alert.model_validate_json(alert.model_dump_json()) == alert


def test_only_whole_windows_are_judged() -> None:
    """Windows that overlap with the last one are neither judged nor learned."""
    judge = judge_of(rule(scope="campaign"))
    learn(judge)
    before = judge.to_bytes()
    close(judge, NOON + 10_000, KpiValue(0))
    assert not judge.alerts()
    assert judge.to_bytes() == before


@pytest.mark.parametrize(
    ("kpi", "side", "fires"),
    [
        ("clicks", "worse", "lower"),
        ("clicks", "higher", "higher"),
        ("clicks", "both", "both"),
        ("cpc", "worse", "higher"),
        ("refund_rate", "worse", "higher"),
    ],
)
def test_side(kpi: str, side: str, fires: str) -> None:
    """Worse is lower of what is better if it is more, and higher of the rest."""
    assert rule(kpi=kpi, direction=side).side_of(CATALOGUE[kpi]) == fires


def test_better_does_not_fire() -> None:
    """More clicks than usual are no reason to alert, unless the rule asks for them."""
    for side, fires in (("worse", False), ("higher", True), ("both", True)):
        judge = judge_of(rule(scope="campaign", direction=side))
        learn(judge)
        close(judge, NOON, KpiValue(1_200))
        assert bool(judge.alerts()) is fires


def test_nothing_comes_any_more() -> None:
    """Where clicks came for days, none at all are 0, in window after window."""
    judge = judge_of(rule(scope="campaign"))
    learn(judge)
    for number in range(3):
        close(judge, NOON + number * FIVE_MS, None)
        (alert,) = judge.alerts()
        assert (alert.state, alert.value) == (AlertState.FIRING, 0)


def test_campaign_that_is_over() -> None:
    """A campaign that does not run teaches nothing, and no clicks are no reason to alert."""
    ends = datetime.fromtimestamp(NOON / 1000, UTC)
    campaign = Campaign(id="c1", starts=datetime(2020, 1, 1, tzinfo=UTC), ends=ends)
    judge = judge_of(rule(scope="campaign"), campaign_of={"c1": campaign}.get)
    learn(judge)
    close(judge, NOON, KpiValue(400))
    before = judge.to_bytes()
    close(judge, NOON + FIVE_MS, None)
    assert not judge.alerts()
    assert status(judge).why is Why.CAMPAIGN_OFF
    assert judge.to_bytes() == before


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"observed_from_ms": NOON}, Why.NOT_OBSERVED),
        ({"unmeasured": frozenset({"clicks"})}, Why.NOT_MEASURED),
        ({"unconnected": frozenset({"clicks"})}, Why.NO_INPUT),
    ],
)
def test_window_that_teaches_nothing(options: dict[str, Any], why: Why) -> None:
    """A window that was observed or measured in part is not learned."""
    judge = judge_of(rule(scope="campaign"))
    learn(judge)
    before = judge.to_bytes()
    close(judge, NOON, None, **options)
    assert status(judge).why is why
    assert judge.to_bytes() == before


@pytest.mark.parametrize("declared", [False, True])
def test_expected_shift(declared: bool) -> None:
    """A phase of the campaign begins, or a change is reported: its level is learned anew.

    For an hour there is no judgement, and then a fault is found at the new level.
    """
    stages = [{"name": "peak", "starts": datetime.fromtimestamp(NOON / 1000, UTC)}]
    campaign = Campaign.model_validate({"id": "c1", "stages": [] if declared else stages})
    changes = [Change(campaign="c1", event_id="e", at_ms=NOON, what="budget")]
    tried = rule(scope="campaign", direction="both")
    judge = judge_of(
        tried,
        campaign_of={"c1": campaign}.get,
        changes=changes if declared else (),
    )
    learn(judge)
    for number in range(1, 30):
        close(judge, NOON + number * FIVE_MS, KpiValue(1_200 + number % 3 * 20))
        found = status(judge)
        assert found.why is (Why.LEARNING if number <= 12 else Why.WITHIN)
        if number == 1:
            text = explain_status(found, tried, CATALOGUE["clicks"])
            assert "the campaign changed, and its level is learned anew" in text.en
    assert not judge.alerts()
    close(judge, NOON + 30 * FIVE_MS, KpiValue(400))
    assert status(judge).why is Why.FIRING


def test_unexpected_shift() -> None:
    """Without a change that is known, three times as many clicks fire."""
    judge = judge_of(rule(scope="campaign", direction="both"))
    learn(judge)
    close(judge, NOON + FIVE_MS, KpiValue(1_200))
    assert status(judge).why is Why.FIRING


def test_special_days() -> None:
    """A holiday has the time of a Sunday and a wider band, a working weekend that of a Wednesday.

    A festival is like no weekday, and an ordinary day is as it is.
    """
    days = {
        date(2026, 10, 1): SpecialDay("National Day", "国庆节", "holiday", 6),
        date(2026, 10, 10): SpecialDay("working Saturday", "调休", "workday", 2),
        date(2026, 11, 11): SpecialDay("Double 11", "双11", "festival", None),
    }
    clock = LocalClock(BusinessDay(ZoneInfo("Asia/Shanghai")), days.get)

    def at(day: int, month: int) -> tuple[int, float, str]:
        moment = datetime(2026, month, day, 20, 30, tzinfo=ZoneInfo("Asia/Shanghai"))
        found = clock.at(int(moment.timestamp() * 1000))
        since_thursday = found.clock_s / 86_400
        weekday = int(since_thursday + 3) % 7
        special = "" if found.special is None else found.special.name_en
        return weekday, round(since_thursday % 1 * 24, 6), special

    assert at(2, 10) == (4, 20.5, "")
    assert at(1, 10) == (6, 20.5, "National Day")
    assert at(10, 10) == (2, 20.5, "")
    assert at(11, 11) == (2, 20.5, "Double 11")


def test_no_value() -> None:
    """A share without a value is said to have none; with ``no_data: fire`` the rule fires then."""
    for no_data, why in (("keep", Why.NO_VALUE), ("fire", Why.FIRING)):
        judge = judge_of(rule(kpi="conversion_rate", scope="campaign", no_data=no_data))
        learn(judge, kpi="conversion_rate")
        close(judge, NOON, KpiValue(5), kpi="clicks")
        assert status(judge).why is why


def test_window_observed_in_part() -> None:
    """A window that was measured in part leaves an alert as it is."""
    judge = judge_of(rule(kpi="conversion_rate", scope="campaign"))
    learn(judge, kpi="conversion_rate")
    close(judge, NOON, share(10, 400), kpi="conversion_rate")
    close(
        judge,
        NOON + FIVE_MS,
        share(120, 400),
        kpi="conversion_rate",
        unmeasured=frozenset({"conversion_rate"}),
    )
    assert status(judge).why is Why.FIRING


def test_few_clicks_at_night() -> None:
    """A share of few is not judged: none of three clicks is no sign."""
    judge = judge_of(rule(kpi="conversion_rate", scope="campaign"))
    learn(judge, kpi="conversion_rate")
    close(judge, NOON, share(0, 3), kpi="conversion_rate")
    assert status(judge).why is Why.TOO_FEW
    close(judge, NOON + FIVE_MS, share(0, 400), kpi="conversion_rate")
    assert status(judge).why is Why.FIRING


def test_learning_is_said() -> None:
    """Before five days the status says how many were learned; there is no alert."""
    tried = rule(scope="campaign")
    judge = judge_of(tried)
    learn(judge, days=3)
    close(judge, NOON, KpiValue(0))
    found = status(judge)
    assert found.why is Why.LEARNING
    text = explain_status(found, tried, CATALOGUE["clicks"])
    assert text.en == "no judgement yet: 3.0 of 5 days learned"
    assert text.zh == "尚不能判断：已学习 3.0 天，需 5 天"
    assert not judge.alerts()


def test_evidence_is_said() -> None:
    """What does not fire says how near it is, and a special day that the band is wider."""
    tried = rule()
    usual = Usual(learned=1, expected=400, low=300, high=500, score=0.62)
    usual = usual.model_copy(update={"widened_by": "618 sale", "widened_by_zh": "618 大促"})
    near = ScopeStatus(ALL, Why.WITHIN, KpiValue(330), usual=usual)
    text = explain_status(near, tried, CATALOGUE["clicks"])
    assert text.en == "usual: 62 % of what an alert needs; the band is wider: 618 sale"
    assert text.zh == "正常：达到告警所需证据的 62%；特殊日，范围放宽：618 大促"
    assert tried.distance(near) == pytest.approx(0.38)


def test_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scope that is not learned, as there are too many, says so."""
    judge = judge_of(rule(scope="campaign"))
    monkeypatch.setattr("streams.alerting.usual.learned_series.LearnedSeries.observe", _no_room)
    close(judge, NOON, KpiValue(400))
    assert status(judge).why is Why.NOT_LEARNED


def _no_room(*_: object, **__: object) -> None:
    return None


def test_late_data_are_no_verdict() -> None:
    """Late data correct the value on which an alert fired; whether it holds is not known."""
    judge = judge_of(rule(scope="campaign"))
    learn(judge)
    close(judge, NOON, KpiValue(100))
    before = judge.to_bytes()
    values = {C1: {"clicks": KpiValue(390)}}
    judge.corrected(Evaluation("5m", NOON - FIVE_MS, NOON, values))
    (alert,) = judge.alerts()
    assert alert.correction is not None
    assert (alert.correction.value, alert.correction.holds) == (390, None)
    assert judge.to_bytes() != before, "the alert is written"


def test_late_data_of_others() -> None:
    """Late data of another campaign do not correct an alert that fired as nothing came."""
    judge = judge_of(rule(scope="campaign"))
    learn(judge)
    close(judge, NOON, None)
    (alert,) = judge.alerts()
    assert alert.fired_value == 0
    judge.corrected(Evaluation("5m", NOON - FIVE_MS, NOON, {}))
    assert judge.alerts() == [alert]


def test_wrong_side_is_not_near() -> None:
    """Far more clicks than usual are no evidence for a rule about fewer."""
    tried = rule(scope="campaign")
    judge = judge_of(tried)
    learn(judge)
    close(judge, NOON, KpiValue(1_200))
    found = status(judge)
    assert (found.why, tried.distance(found)) == (Why.WITHIN, 1)
    assert found.usual is not None
    assert found.usual.score == 0


def test_too_few_is_said() -> None:
    """Where fewer than five orders are expected, the status says so."""
    tried = rule(scope="campaign", kpi="conversion_rate")
    judge = judge_of(tried)
    chance = np.random.default_rng(2)
    for end in range(NOON - 6 * DAY_MS, NOON, FIVE_MS):
        close(judge, end, share(int(chance.binomial(40, 0.05)), 40), kpi="conversion_rate")
    found = status(judge)
    assert found.why is Why.TOO_FEW
    text = explain_status(found, tried, CATALOGUE["conversion_rate"])
    assert "events expected in a window, 5 are needed; use a longer window" in text.en
    assert "个；可改用更长的窗口" in text.zh


def test_kpi_defined_anew() -> None:
    """A KPI of one's own that has another formula now is learned anew."""
    judge = judge_of(rule(scope="campaign"))
    learn(judge)
    saved = judge.to_bytes()
    other = CATALOGUE["clicks"].model_copy(update={"formula": "visits"})
    catalogue = Catalogue(other if kpi.name == "clicks" else kpi for kpi in CATALOGUE.values())
    again = judge_of(rule(scope="campaign"), catalogue=catalogue)
    again.restore(saved)
    close(again, NOON, KpiValue(400))
    assert status(again).why is Why.LEARNING


def test_changed_rule_learns_anew() -> None:
    """A rule on another KPI does not use what it learned; one of another sensitivity does."""
    judge = judge_of(rule(scope="campaign"))
    learn(judge)
    saved = judge.to_bytes()
    for changed, why in (
        ({"once_in_weeks": 50.0}, Why.WITHIN),
        ({"kpi": "impressions"}, Why.LEARNING),
        ({"match": {"campaign": ["c2*"]}}, None),
    ):
        again = judge_of(rule(**{"scope": "campaign", **changed}))
        again.restore(saved)
        kpi = str(changed.get("kpi", "clicks"))
        close(again, NOON, KpiValue(400), kpi=kpi)
        scopes = again.rule_statuses()[0].scopes
        assert [one.why for one in scopes] == ([] if why is None else [why])


def test_sentence() -> None:
    """The rule in words, in both languages."""
    tried = rule(kpi="conversion_rate", scope="campaign", once_in_weeks=50, **{"for": 600})
    text = explain(tried, CATALOGUE["conversion_rate"], currency="CNY")
    assert text.en == (
        "fires when conversion rate of any campaign over 5 min is unusually low for the time of "
        "the week, by 10 % or more (by chance about once in 50 weeks), for 10 min; resolves once "
        "it is usual again; without data it stays as it is for up to a day; warning"
    )
    assert "相对一周中该时段异常偏低，偏离 10% 以上（偶然误报约每 50 周一次）" in text.zh


@pytest.mark.slow
def test_from_events() -> None:
    """Clicks of six days teach what is usual; a restart every day changes no alert."""
    whole, restarted = alerts_of_week(), alerts_of_week(restarts=True)
    fired = next(one for one in whole if one.rule == "r" and one.state is AlertState.FIRING)
    assert (fired.fired_at_ms, fired.value) == (NOON + HOUR_MS, 1)
    assert fired.usual is not None
    assert fired.usual.expected == pytest.approx(60, rel=0.1)
    assert restarted == whole


def alerts_of_week(*, restarts: bool = False) -> list[Alert]:
    """Return the alerts of six days with 60 clicks an hour, and of one with 1."""
    path = Path(rules=RuleBook(rules=(rule(window="1h"),)), now_ms=NOON + DAY_MS, publish=False)
    chance = np.random.default_rng(4)
    for day in range(6):
        times = np.sort(chance.integers(0, DAY_MS, 24 * 60)).tolist()
        path.feed(clicks(NOON + (day - 6) * DAY_MS, times), batch=400)
        if restarts:
            path.kpis = taken_over(path)
    path.feed(clicks(NOON, [HOUR_MS // 2, 2 * HOUR_MS]), batch=5)
    path.finish()
    found = [Alert.model_validate_json(one.value) for one in path.outputs if one.topic == "alerts"]
    return [one for one in found if one.category == "kpi"]


def clicks(start: int, times: list[int]) -> list[dict[str, Any]]:
    return [
        event(at=start + at, event_id=f"e{start + at}-{place}", user_id=f"u{place}")
        for place, at in enumerate(times)
    ]
