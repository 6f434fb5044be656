"""Rules that compare a value with an earlier period."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from models.alerts import Alert, AlertState
from models.campaigns.campaign import Campaign
from models.kpi.catalogue import CATALOGUE
from models.kpi.definition import KpiValue
from models.rule_status import ScopeStatus, Why
from models.scope import ALL, Scope
from models.window import DAY_MS, HOUR_MS, MINUTE_MS, QUARTER_MS
from streams.alerting.rules.change import ChangeRule
from streams.alerting.rules.protocol import Coverage, Earlier, Finding, JudgeContext, Verdict
from streams.alerting.rules.registry import RuleBook
from streams.kpis.calculation.confidence_intervals import wilson
from streams.kpis.view import Evaluation
from tests.support.at_once import JudgeAtOnce
from tests.support.offline import NOON, Path, event, taken_over

SUMMER = Scope("campaign", "c1")


def rule(**keys: Any) -> ChangeRule:
    given = {"name": "r", "kind": "change", "kpi": "orders", "against": "previous", "falls_by": 0.3}
    if "rises_by" in keys:
        del given["falls_by"]
    return ChangeRule.model_validate(given | keys, context={"catalogue": CATALOGUE})


def finding(
    tried: ChangeRule,
    now: KpiValue | None,
    then: KpiValue | None,
    *,
    campaign: Campaign | None = None,
    scope: Scope = ALL,
    known: bool = True,
) -> Finding:
    """Return the finding on a value of the hour up to noon, and one of the hour before."""
    hour = NOON - HOUR_MS
    return tried.judge(
        JudgeContext(
            scope=scope,
            kpi=CATALOGUE[tried.kpi],
            value=now,
            coverage=Coverage(hour, NOON, observed=True, measured=True, connected=True),
            present=now is not None,
            had_value=True,
            campaign=campaign,
            earlier=Earlier(hour - HOUR_MS, hour, then) if known else None,
        )
    )


def count(number: int) -> KpiValue:
    return KpiValue(number, n=number)


def share(part: int, whole: int) -> KpiValue:
    return KpiValue(part / whole, *wilson(part, whole), whole)


@pytest.mark.parametrize(
    ("keys", "then", "limit"),
    [
        ({}, 1_000, 700),
        ({"by_at_least": 400}, 1_000, 600),
        ({"falls_by": 0, "by_at_least": 400}, 1_000, 600),
        ({"rises_by": 0.5}, 1_000, 1_500),
        ({"rises_by": 0.5, "by_at_least": 900}, 1_000, 1_900),
        ({"rises_by": 0.5, "by_at_least": 900}, 0, 900),
    ],
)
def test_limit(keys: dict[str, Any], then: int, limit: float) -> None:
    """The larger of the share and ``by_at_least`` decides; surely beyond it is broken."""
    tried = rule(**keys)
    side = 1 if "rises_by" in keys else -1
    beyond = finding(tried, count(int(limit) + side * 300), count(then))
    assert (beyond.verdict, beyond.evidence.limit) == (Verdict.BROKEN, limit)
    assert beyond.evidence.earlier == then
    near = finding(tried, count(int(limit) + side * 3), count(then))
    assert (near.verdict, near.why) == (Verdict.BETWEEN, Why.NOT_SIGNIFICANT)
    inside = finding(tried, count(int(limit)), count(then))
    assert (inside.verdict, inside.why) == (Verdict.HOLDS, Why.WITHIN)


@pytest.mark.parametrize("kpi", ["orders", "conversion_rate"])
@pytest.mark.parametrize("side", ["falls_by", "rises_by"])
def test_chance_does_not_fire(kpi: str, side: str) -> None:
    """Of windows whose true change is the limit, about one in forty is broken, by chance."""
    tried = rule(kpi=kpi, **{side: 0.3})
    rnd = np.random.default_rng(5)
    factor = 0.7 if side == "falls_by" else 1.3
    broken = 0
    for _ in range(4_000):
        if kpi == "orders":
            now, then = count(rnd.poisson(400 * factor)), count(rnd.poisson(400))
        else:
            now = share(rnd.binomial(4_000, 0.1 * factor), 4_000)
            then = share(rnd.binomial(4_000, 0.1), 4_000)
        broken += finding(tried, now, then).verdict is Verdict.BROKEN
    assert 0.015 < broken / 4_000 < 0.036


def test_sums_of_money_are_compared_as_they_are() -> None:
    """A sum without an interval that counts nothing is beyond its limit, or is not."""
    tried = rule(kpi="revenue_gross", min_n=5)
    assert finding(tried, KpiValue(69.0, n=9), KpiValue(100.0, n=9)).verdict is Verdict.BROKEN
    assert finding(tried, KpiValue(70.0, n=9), KpiValue(100.0, n=9)).verdict is Verdict.HOLDS


@pytest.mark.parametrize(
    ("then", "known"), [(None, True), (count(4), True), (count(0), True), (None, False)]
)
def test_no_earlier_value(then: KpiValue | None, known: bool) -> None:
    """Without an earlier value, or one from too few, there is no judgement."""
    tried = rule(kpi="revenue_gross", min_n=5)
    found = finding(tried, KpiValue(1.0, n=9), then, known=known)
    assert (found.verdict, found.why) == (Verdict.NO_JUDGEMENT, Why.NO_EARLIER)
    assert found.evidence.limit is None


def test_campaign_that_did_not_run() -> None:
    """A campaign that began after the earlier period did is not judged."""
    started = Campaign(id="c1", starts=datetime.fromtimestamp((NOON - HOUR_MS) / 1000, UTC))
    tried = rule(scope="campaign")
    found = finding(tried, count(10), count(1_000), campaign=started, scope=SUMMER)
    assert found.why is Why.NO_EARLIER
    begun = datetime.fromtimestamp((NOON - DAY_MS) / 1000, UTC)
    ended = datetime.fromtimestamp((NOON - 2 * HOUR_MS) / 1000, UTC)
    over = Campaign(id="c1", starts=begun, ends=ended)
    found = finding(tried, None, None, campaign=over, scope=SUMMER)
    assert (found.verdict, found.ended) == (Verdict.HOLDS, "campaign_over")
    whole = started.model_copy(update={"starts": None})
    found = finding(tried, count(10), count(1_000), campaign=whole, scope=SUMMER)
    assert found.verdict is Verdict.BROKEN


def test_alert_without_an_earlier_value_ends() -> None:
    """An alert whose earlier period is not known stays for a day, as without data, and ends."""
    judge = JudgeAtOnce(RuleBook(rules=(rule(no_data="fire"),)), lag_limit_s=30)

    def close(end: int, orders: int, earlier: Evaluation | None) -> None:
        values = {ALL: {"orders": count(orders)}}
        judge.closed(Evaluation("1h", end - HOUR_MS, end, values), {"previous": earlier})

    before = Evaluation("1h", NOON - 2 * HOUR_MS, NOON - HOUR_MS, {ALL: {"orders": count(1_000)}})
    close(NOON, 10, before)
    (alert,) = judge.alerts()
    assert alert.state is AlertState.FIRING
    for hours in (1, 12, 24):
        close(NOON + hours * HOUR_MS, 10, None)
        assert judge.alerts()[0].state is AlertState.FIRING
    close(NOON + 26 * HOUR_MS, 10, None)
    (alert,) = judge.alerts()
    assert (alert.state, alert.ended) == (AlertState.RESOLVED, "no_data")


def test_nothing_comes_any_more() -> None:
    """Of a campaign that is named, nothing counts as 0: it fell by all that it was."""
    tried = rule(scope="campaign", match={"campaign": ["c1"]})
    found = finding(tried, None, count(1_000), scope=SUMMER)
    assert (found.verdict, found.evidence.value) == (Verdict.BROKEN, KpiValue(0))


def test_words_of_an_uncertain_change() -> None:
    """Without the n that would be needed, as both values are uncertain, none is named."""
    status = ScopeStatus(ALL, Why.NOT_SIGNIFICANT, count(695))
    text = rule().status_text(status, CATALOGUE["orders"])
    assert text == ("not significant", "不显著")


def test_week_is_judged_at_quarters() -> None:
    """Against last week a rule is judged at whole quarters of an hour, and keeps its verdicts."""
    judge = JudgeAtOnce(
        RuleBook(rules=(rule(name="week", against="last_week"), rule(name="hour"))), lag_limit_s=30
    )
    assert judge.references("1h", NOON) == {"last_week": {"all"}, "previous": {"all"}}
    assert judge.references("1h", NOON + MINUTE_MS) == {"previous": {"all"}}
    assert not judge.references("5m", NOON)

    def window(end: int, orders: int) -> Evaluation:
        return Evaluation("1h", end - HOUR_MS, end, {ALL: {"orders": count(orders)}})

    week = window(NOON - 7 * DAY_MS, 1_000)
    judge.closed(window(NOON, 10), {"last_week": week, "previous": None})
    judge.closed(window(NOON + MINUTE_MS, 1_000), {"previous": window(NOON, 900)})
    statuses = {one.rule: one for one in judge.rule_statuses()}
    assert statuses["week"].counts == {Why.FIRING: 1}
    assert statuses["week"].judged_ms == NOON
    assert statuses["hour"].counts == {Why.WITHIN: 1}
    assert [alert.earlier for alert in judge.alerts()] == [1_000.0]


def test_incomplete_earlier_period() -> None:
    """An earlier period that lacks records is no measure."""
    judge = JudgeAtOnce(RuleBook(rules=(rule(),)), lag_limit_s=30)
    values = {ALL: {"orders": count(1_000)}}
    lacking = Evaluation("1h", NOON - 2 * HOUR_MS, NOON - HOUR_MS, values, complete=False)
    judge.closed(
        Evaluation("1h", NOON - HOUR_MS, NOON, {ALL: {"orders": count(1)}}), {"previous": lacking}
    )
    assert judge.rule_statuses()[0].counts == {Why.NO_EARLIER: 1}


def orders(start: int, end: int, number: int, prefix: str) -> list[dict[str, Any]]:
    """Return orders of one each from many users, spread over [start, end)."""
    return [
        event(
            "order_placed",
            at=start + (end - start) * place // number,
            event_id=f"{prefix}{place}",
            user_id=f"u{prefix}{place}",
            order_id=f"{prefix}{place}",
        )
        for place in range(number)
    ]


@pytest.mark.parametrize("against", ["previous", "last_week"])
@pytest.mark.parametrize("restarted", [False, True])
def test_from_events(against: str, restarted: bool) -> None:
    """Events of the earlier period, restored or not, are what a later window is compared with."""
    book = RuleBook(rules=(rule(against=against),))
    noon = NOON - NOON % DAY_MS + 12 * HOUR_MS
    then = noon - (HOUR_MS if against == "previous" else 7 * DAY_MS)
    path = Path(rules=book, now_ms=noon + HOUR_MS)
    path.feed(orders(then - 2 * HOUR_MS, then, 400, "a"), batch=5)
    if restarted:
        path.kpis = taken_over(path)
    between = orders(then, noon - HOUR_MS, 50, "b") if against == "last_week" else []
    path.feed(
        [*between, *orders(noon - HOUR_MS, noon, 60, "c"), event(at=noon + QUARTER_MS)], batch=5
    )
    path.finish()
    told = [
        Alert.model_validate_json(output.value)
        for output in path.outputs
        if output.topic == "alerts"
    ]
    told = [one for one in told if one.rule == "r"]
    fired = [one for one in told if one.state is AlertState.FIRING]
    assert fired, "60 orders in an hour are surely over 30 % fewer than 200"
    (alert,) = fired
    assert alert.fired_at_ms is not None
    assert noon - HOUR_MS < alert.fired_at_ms <= noon
    assert (alert.earlier, alert.threshold) == (200, 140)
    assert alert.value is not None
    assert alert.value < 140
