"""Rules of the kind persistent: a value is beyond a limit in several of the last windows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.alerts import Alert, AlertState
from models.campaigns.campaign import Campaign
from models.kpi.catalogue import CATALOGUE
from models.kpi.definition import KpiValue
from models.rule_status import Why
from models.scope import ALL, Scope
from models.window import DAY_MS, HOUR_MS, MINUTE_MS, BusinessDay
from streams.alerting.rules.persistent import PersistentRule
from streams.alerting.rules.protocol import Coverage, Earlier, Finding, JudgeContext, Verdict
from streams.alerting.rules.registry import RuleBook
from streams.alerting.status_text import explain_status
from streams.kpis.judging import EarlierPeriod
from streams.kpis.view import Evaluation
from tests.factories.times import NEW_YORK_DAY, UTC_DAY
from tests.support.at_once import JudgeAtOnce
from tests.support.offline import NOON, Path, event, taken_over

C1 = Scope("campaign", "c1")
UNKNOWN = object()


def rule(**given: Any) -> PersistentRule:
    keys = {"name": "r", "kind": "persistent", "kpi": "orders", "below": 5, "window": "1h"}
    return PersistentRule.model_validate({**keys, "at_least": 2, "of_last": 3, **given})


def count(orders: int) -> KpiValue:
    return KpiValue(orders, n=orders)


def finding(
    tried: PersistentRule,
    now: int | None,
    *before: object,
    campaign: Campaign | None = None,
    scope: Scope = ALL,
) -> Finding:
    """Return the finding on an hour and those before it, the newest first."""
    past = [
        None
        if one is UNKNOWN
        else Earlier(
            NOON - (number + 1) * HOUR_MS,
            NOON - number * HOUR_MS,
            count(one) if isinstance(one, int) else None,
        )
        for number, one in enumerate(before, 1)
    ]
    context = JudgeContext(
        scope=scope,
        kpi=CATALOGUE[tried.kpi],
        value=None if now is None else count(now),
        coverage=Coverage(NOON - HOUR_MS, NOON, observed=True, measured=True, connected=True),
        present=True,
        had_value=True,
        campaign=campaign,
        past=past,
    )
    return tried.judge(context)


@given(st.lists(st.one_of(st.integers(0, 9), st.just(UNKNOWN)), min_size=3, max_size=3))
def test_counts(values: list[object]) -> None:
    """It fires if enough windows are beyond the limit, and holds if they can't be."""
    now, *before = values
    if now is UNKNOWN:
        return
    assert isinstance(now, int)
    broken = sum(isinstance(one, int) and one < 5 for one in values)
    unknown = sum(one is UNKNOWN for one in before)
    found = finding(rule(), now, *before)
    assert found.evidence.windows_broken == broken
    if broken >= 2:
        assert found.verdict is Verdict.BROKEN
    elif broken + unknown < 2:
        assert (found.verdict, found.why) == (Verdict.HOLDS, Why.WITHIN)
    else:
        assert (found.verdict, found.why) == (Verdict.NO_JUDGEMENT, Why.NO_EARLIER)


def test_absent_value_does_not_count() -> None:
    """A window without a value is not beyond a limit; a share of few is neither."""
    assert finding(rule(), 4, None, 9).evidence.windows_broken == 1
    share = rule(kpi="aov", below=5, min_n=10)
    assert finding(share, 4, 4, 4).evidence.windows_broken == 0


def test_campaign_that_did_not_run() -> None:
    """Hours before a campaign's start do not count."""
    starts = datetime.fromtimestamp((NOON - 2 * HOUR_MS) / 1000, UTC)
    campaign = Campaign(id="c1", starts=starts)
    tried = rule(scope="campaign", at_least=3)
    assert finding(tried, 0, 0, 0, campaign=campaign, scope=C1).evidence.windows_broken == 2
    whole = campaign.model_copy(update={"starts": None})
    assert finding(tried, 0, 0, 0, campaign=whole, scope=C1).verdict is Verdict.BROKEN


@pytest.mark.parametrize(
    ("day", "ends"), [(UTC_DAY, NOON + 12 * HOUR_MS), (NEW_YORK_DAY, NOON + 17 * HOUR_MS)]
)
def test_days_are_business_days(day: BusinessDay, ends: int) -> None:
    """It is judged once a business day is over, in the worker's time zone."""
    tried = rule(window="day")
    assert tried.is_judged_at(ends, day)
    assert not tried.is_judged_at(ends - MINUTE_MS, day)
    assert not tried.is_judged_at(ends + HOUR_MS, day)
    assert rule().is_judged_at(NOON, day)
    assert not rule().is_judged_at(NOON + MINUTE_MS, day)


def test_status() -> None:
    """What does not fire says how many of the windows are beyond the limit."""
    tried = rule()
    judge = JudgeAtOnce(RuleBook(rules=(tried,)), lag_limit_s=30)
    assert judge.references("1h", NOON) == {1: {"all"}, 2: {"all"}}
    assert not judge.references("1h", NOON + MINUTE_MS)

    def hour(end: int, orders: int) -> Evaluation:
        return Evaluation("1h", end - HOUR_MS, end, {ALL: {"orders": count(orders)}})

    earlier: dict[EarlierPeriod, Evaluation | None] = {
        1: hour(NOON - HOUR_MS, 9),
        2: hour(NOON - 2 * HOUR_MS, 9),
    }
    judge.closed(hour(NOON, 2), earlier)
    (status,) = judge.rule_statuses()[0].scopes
    text = explain_status(status, tried, CATALOGUE["orders"])
    assert text.en == "1 of the last 3; fires from 2 on"
    assert text.zh == "最近 3 个窗口中有 1 个超限；2 个起触发"
    assert tried.distance(status) == 0.5
    judge.closed(hour(NOON + HOUR_MS, 3), {1: hour(NOON, 2), 2: hour(NOON - HOUR_MS, 9)})
    (alert,) = judge.alerts()
    assert (alert.state, alert.windows_broken, alert.threshold) == (AlertState.FIRING, 2, 5)


def orders(start: int, length_ms: int, number: int) -> list[dict[str, Any]]:
    """Return orders of one each from many users, spread over a stretch of time."""
    return [
        event(
            "order_placed",
            at=start + length_ms * place // number,
            event_id=f"{start}-{place}",
            user_id=f"u{start}-{place}",
            order_id=f"{start}-{place}",
        )
        for place in range(number)
    ]


@pytest.mark.parametrize(("window", "length_ms"), [("1h", HOUR_MS), ("day", DAY_MS)])
@pytest.mark.parametrize("restarted", [False, True])
def test_from_events(window: str, length_ms: int, restarted: bool) -> None:
    """Whole hours or days of events are counted, restored or not."""
    book = RuleBook(rules=(rule(window=window),))
    midnight = NOON - NOON % DAY_MS
    path = Path(rules=book, now_ms=midnight + 9 * DAY_MS, publish=False)
    for number, many in enumerate((9, 3, 9, 4, 9, 9)):
        path.feed(orders(midnight + number * length_ms, length_ms, many), batch=3)
        if restarted:
            path.kpis = taken_over(path)
    path.finish()
    found = [Alert.model_validate_json(one.value) for one in path.outputs if one.topic == "alerts"]
    changes = [
        (one.state, (one.updated_ms - midnight) // length_ms, one.windows_broken)
        for one in found
        if one.rule == "r"
    ]
    assert changes == [(AlertState.FIRING, 4, 2), (AlertState.RESOLVED, 5, 1)]
