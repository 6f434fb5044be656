"""The last verdict of each rule: why it fires or does not, and what would make it fire."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from models.campaigns.campaign import Campaign
from models.kpi.catalogue import CATALOGUE
from models.kpi.definition import KpiValue
from models.rule_status import NotJudged, RuleStatus, ScopeStatus, Why
from models.scope import Scope
from streams.alerting import rule_warnings
from streams.alerting.assumed_traffic import assumed_n, parse_traffic
from streams.alerting.judge import AlertJudge
from streams.alerting.rule_status import NEAREST_KEPT, nearness
from streams.alerting.rules.protocol import Verdict
from streams.alerting.rules.registry import RuleBook
from streams.alerting.rules.required_n import least_n, required_n
from streams.alerting.status_text import explain_status
from streams.alerting.window_judge import SCOPES_A_STEP
from streams.export.page.snapshot import live
from streams.export.rule_statuses import rule_statuses
from streams.export.web import WebServer
from streams.kpis.calculation.confidence_intervals import (
    compound,
    per_count,
    per_count_n,
    scaled_n,
    wilson,
    wilson_n,
)
from streams.kpis.view import Evaluation, Health, Silence
from tests.factories.views import queries, synthetic_view, worker
from tests.support.at_once import JudgeAtOnce
from tests.support.offline import NOON

HOUR_MS = 3_600_000
BROKEN = Scope("campaign", "broken")
GOOD = Scope("campaign", "good")
SHARES = st.floats(0.001, 0.999)


def book(**changed: Any) -> RuleBook:
    rule = {
        **{"name": "r", "kind": "threshold", "kpi": "conversion_rate", "window": "1h"},
        **{"scope": "campaign", "below": 0.01},
    }
    if "above" in changed or changed.get("kind") == "absence":
        del rule["below"]
    return RuleBook.model_validate({"rules": [{**rule, **changed}]})


def share(orders: float, clicks: int) -> KpiValue:
    return KpiValue(orders / clicks, *wilson(orders, clicks), clicks)


def window(
    values: Mapping[Scope, KpiValue | None],
    *,
    at_ms: int = NOON,
    kpi: str = "conversion_rate",
    **options: Any,
) -> Evaluation:
    found = {scope: {} if one is None else {kpi: one} for scope, one in values.items()}
    return Evaluation("1h", at_ms - HOUR_MS, at_ms, found, **options)


def judge(rules: RuleBook, **options: Any) -> JudgeAtOnce:
    return JudgeAtOnce(rules, lag_limit_s=30, **options)


def status_of(judged: AlertJudge, scope: Scope) -> ScopeStatus:
    (rule,) = judged.rule_statuses()
    return next(one for one in rule.scopes if one.scope == scope)


def words(judged: AlertJudge, rules: RuleBook, scope: Scope) -> str:
    rule = rules.rules[0]
    return explain_status(status_of(judged, scope), rule, CATALOGUE[rule.kpi]).en


@given(SHARES, SHARES)
def test_wilson_n(value: float, limit: float) -> None:
    """From that many trials on Wilson's interval excludes the limit, and with fewer it does not."""
    assume(abs(value - limit) > 0.01)
    n = wilson_n(value, limit)

    def excludes(trials: int) -> bool:
        low, high = wilson(value * trials, trials)
        return high < limit or low > limit

    assert excludes(n + 1)
    assert n < 3 or not excludes(n - 2)


@given(st.floats(0.01, 1e4), st.floats(0.01, 1e4))
def test_per_count_n(value: float, limit: float) -> None:
    """From that many events on the interval of a cost per event excludes the limit."""
    assume(abs(value / limit - 1) > 0.02)
    n = per_count_n(value, limit)

    def excludes(events: int) -> bool:
        low, high = per_count(value * events, events)
        return high < limit or low > limit

    assert excludes(n + 1)
    assert n < 3 or not excludes(n - 2)


@given(st.integers(1, 500), st.floats(1, 100), st.floats(0.5, 20), st.floats(1.01, 3))
def test_scaled_n(n: int, amount: float, quotient: float, beyond: float) -> None:
    """A compound sum of n alike amounts excludes the limit once it has that many."""
    limit = quotient * beyond

    def high(events: int) -> float:
        total = events * amount
        return compound(quotient, squares=events * amount**2, under=total / quotient)[1]

    needed = scaled_n(n, margin=high(n) - quotient, distance=limit - quotient)
    assert high(needed + 1) < limit
    assert needed < 3 or high(needed - 2) > limit


@given(st.integers(1, 400), st.integers(0, 400), SHARES, st.booleans(), st.integers(0, 900))
def test_required_n(n: int, part: int, limit: float, below: bool, min_n: int) -> None:
    """A rule is broken by a value from the required n on, and by none with fewer than the least."""
    side = {"below": limit} if below else {"above": limit}
    rule: Any = book(**side, min_n=min_n).rules[0]
    kpi = CATALOGUE[rule.kpi]
    value = share(min(part, n), n)
    needed = required_n(rule, kpi, value)
    broken = rule.compare(value) is Verdict.BROKEN
    if broken:
        assert n >= least_n(rule, kpi)
    if needed is None:
        assert not broken
        return
    assume(abs(value.value - limit) > 0.01)
    more = share(value.value * (needed + 1), needed + 1)
    assert rule.compare(more) is Verdict.BROKEN
    assert broken or n <= needed


def test_few_clicks() -> None:
    """A conversion of 0 % from 6 clicks is not significant, and would be from 381 on."""
    rules = book()
    judged = judge(rules)
    judged.closed(window({BROKEN: share(0, 6), GOOD: share(3, 30)}))
    assert status_of(judged, BROKEN).required_n == 381
    assert words(judged, rules, BROKEN) == (
        "not significant; some 380 clicks without orders would be needed"
    )
    assert words(judged, rules, GOOD) == "within the limit; below some 380 clicks it can't fire"
    (rule,) = judged.rule_statuses()
    assert rule.counts == {Why.NOT_SIGNIFICANT: 1, Why.WITHIN: 1}
    assert (rule.largest_n, rule.least_n, rule.not_judged) == (30, 381, None)


@pytest.mark.parametrize(
    ("rule", "value", "options", "why", "text"),
    [
        ({"min_n": 500}, share(0, 6), {}, Why.TOO_FEW, "too few: 6 of at least 500 clicks"),
        (
            {"min_n": 10},
            share(0, 6),
            {},
            Why.TOO_FEW,
            "too few: 6 of at least 10 clicks; some 380 clicks without orders would be needed",
        ),
        ({}, share(8, 999), {}, Why.NOT_SIGNIFICANT, None),
        ({}, share(30, 999), {}, Why.WITHIN, "within the limit"),
        ({}, share(0, 400), {}, Why.FIRING, "fires"),
        (
            {"for": 60},
            share(0, 400),
            {},
            Why.PENDING,
            "broken for 0 s; fires if it is for 1 min more",
        ),
        ({}, None, {}, Why.NO_VALUE, "the KPI has no value here in this window"),
        ({}, None, {"unmeasured": frozenset({"conversion_rate"})}, Why.NOT_MEASURED, None),
        ({}, None, {"unconnected": frozenset({"conversion_rate"})}, Why.NO_INPUT, None),
        (
            {"kpi": "clicks", "below": 20},
            KpiValue(3, n=3),
            {"observed_from_ms": NOON},
            Why.NOT_OBSERVED,
            "only a part of the window was observed",
        ),
        (
            {"kind": "absence", "kpi": "clicks", "match": {"campaign": ["broken"]}},
            KpiValue(3, n=3),
            {},
            Why.WITHIN,
            "there is traffic",
        ),
    ],
)
def test_why(
    rule: dict[str, Any], value: KpiValue | None, options: Any, why: Why, text: str | None
) -> None:
    """A rule has a reason for which it fires in a scope or does not, in both languages."""
    rules = book(**rule)
    judged = judge(rules)
    judged.closed(window({BROKEN: value}, kpi=rules.rules[0].kpi, **options))
    status = status_of(judged, BROKEN)
    assert status.why is why
    meaning = explain_status(status, rules.rules[0], CATALOGUE[rules.rules[0].kpi])
    assert text is None or meaning.en == text
    assert meaning.zh


def test_campaign_over() -> None:
    """A rule about too few says that the campaign does not run."""
    over = Campaign(
        id="broken", starts="2020-01-01T00:00:00+00:00", ends="2020-01-02T00:00:00+00:00"
    )
    judged = judge(book(kpi="clicks", below=20), campaign_of=lambda _: over)
    judged.closed(window({BROKEN: KpiValue(3, n=3)}, kpi="clicks"))
    assert status_of(judged, BROKEN).why is Why.CAMPAIGN_OFF


def test_for_passes() -> None:
    """A pending alert says for how long it is broken, and then since when it fires."""
    rules = book(**{"for": 90})
    judged = judge(rules)
    judged.closed(window({BROKEN: share(0, 400)}))
    judged.closed(window({BROKEN: share(0, 400)}, at_ms=NOON + 60_000))
    assert words(judged, rules, BROKEN) == "broken for 1 min; fires if it is for 30 s more"
    judged.closed(window({BROKEN: share(0, 400)}, at_ms=NOON + 120_000))
    status = status_of(judged, BROKEN)
    assert (status.why, status.since_ms) == (Why.FIRING, NOON + 120_000)


def test_not_judged() -> None:
    """Before a window, in an incomplete one and while a source is silent the rule says so."""
    judged = judge(book(**{"for": 90}))
    assert judged.rule_statuses()[0].not_judged is NotJudged.WAITING
    judged.closed(window({BROKEN: share(0, 400), GOOD: share(3, 30)}))
    silence = Silence(NOON, None)
    judged.closed(window({BROKEN: share(0, 400)}, at_ms=NOON + 60_000, unsure={"orders": silence}))
    (held,) = judged.rule_statuses()
    assert (held.not_judged, held.judged_ms) == (NotJudged.HELD, NOON)
    assert held.held is not None
    assert held.held.sources == ("orders",)
    assert held.counts[Why.PENDING] == 1
    judged.closed(window({BROKEN: share(0, 400)}, at_ms=NOON + 120_000, complete=False))
    (incomplete,) = judged.rule_statuses()
    assert incomplete.not_judged is NotJudged.INCOMPLETE
    assert incomplete.counts == {Why.INCOMPLETE: 1, Why.WITHIN: 1}
    late = Health(now_ms=NOON, expected=1, reporting=1, missing=(), read_up_to_ms=0, behind=9)
    for after_ms in (0, 30_000, 60_000):
        judged.health(replace(late, now_ms=NOON + after_ms))
    assert judged.held_back
    assert judged.rule_statuses()[0].not_judged is NotJudged.HELD_BACK


def test_restart() -> None:
    """After a restart what fires is shown until its window is judged again."""
    judged = judge(book())
    judged.closed(window({BROKEN: share(0, 400)}))
    again = judge(book())
    again.restore(judged.to_bytes())
    (rule,) = again.rule_statuses()
    assert rule.not_judged is NotJudged.WAITING
    assert status_of(again, BROKEN) == status_of(judged, BROKEN)


def test_nearest_first() -> None:
    """Scopes are in the order firing, pending, most of the required n, nearest to the limit."""
    rule = book().rules[0]
    statuses = [
        ScopeStatus(BROKEN, Why.FIRING, share(0, 400)),
        ScopeStatus(BROKEN, Why.PENDING, share(0, 400), left_ms=5),
        ScopeStatus(BROKEN, Why.PENDING, share(0, 400), left_ms=9),
        ScopeStatus(BROKEN, Why.NOT_SIGNIFICANT, share(0, 300), 381),
        ScopeStatus(BROKEN, Why.NOT_SIGNIFICANT, share(0, 6), 381),
        ScopeStatus(BROKEN, Why.WITHIN, share(2, 100)),
        ScopeStatus(BROKEN, Why.WITHIN, share(9, 100)),
        ScopeStatus(BROKEN, Why.NO_VALUE),
    ]
    keys = [nearness(one, rule) for one in statuses]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)


def test_many_scopes() -> None:
    """Of thousands of scopes all are counted, the nearest are kept, and each step has few."""
    judged = AlertJudge(book(), lag_limit_s=30)
    values = {Scope("campaign", f"c{n}"): share(0, 1 + n % 300) for n in range(5_000)}
    steps = sum(1 for _ in judged.closed(window(values), {}))
    (rule,) = judged.rule_statuses()
    assert rule.counts == {Why.NOT_SIGNIFICANT: 5_000}
    assert len(rule.scopes) == NEAREST_KEPT
    assert min(one.value.n for one in rule.scopes if one.value) > 250
    assert steps > 5_000 / SCOPES_A_STEP


def served(rules: RuleBook, statuses: tuple[RuleStatus, ...]) -> WebServer:
    kpis = synthetic_view().kpis
    assert kpis is not None
    view = worker(replace(kpis, rules=statuses))
    exports = queries(rules=rules)
    server = WebServer(lambda: view, host="127.0.0.1", port=0, exports=exports, share=None)
    server.start()
    return server


def test_api() -> None:
    """The API pages through the scopes of a rule; a wrong query is refused with a message."""
    rules = book()
    judged = judge(rules)
    judged.closed(window({Scope("campaign", f"c{n:02}"): share(0, 99 - n) for n in range(20)}))
    server = served(rules, tuple(judged.rule_statuses()))

    def scopes(query: str) -> list[str]:
        with urllib.request.urlopen(f"{server.url}api/rules{query}", timeout=10) as answer:
            found = json.loads(answer.read())
        return [one["campaign"] for rule in found["rules"] for one in rule["scopes"]]

    try:
        assert scopes("") == [f"c{n:02}" for n in range(5)]
        assert scopes("?rule=r&limit=3&offset=18") == ["c18", "c19"]
        for query, code, message in (
            ("?limit=101", 400, "limit: give a whole number from 0 to 100"),
            ("?offset=-1", 400, "offset: give a whole number from 0 to 500"),
            ("?rule=q", 404, "no rule 'q' is judged"),
        ):
            with pytest.raises(urllib.error.HTTPError) as refused:
                scopes(query)
            assert (refused.value.code, json.loads(refused.value.read())) == (
                code,
                {"error": message},
            )
    finally:
        server.stop()


def test_live_view() -> None:
    """The live view has the nearest scopes of each rule, and stays small with thousands of them."""
    rules = book()
    judged = judge(rules)
    judged.closed(window({Scope("campaign", f"c{n}"): share(0, 6) for n in range(3_000)}))
    kpis = synthetic_view().kpis
    assert kpis is not None
    shown = live(worker(replace(kpis, rules=judged.rule_statuses())), queries(rules=rules))
    (rule,) = shown["rules"]
    assert rule["counts"] == {"not_significant": 3_000}
    assert len(rule["scopes"]) == 5
    assert rule["limit_en"] == "below 1 %"
    assert rule["scopes"][0]["why_zh"].startswith("不显著")
    assert len(json.dumps(rule)) < 4_000


def test_removed_rule() -> None:
    """A status of a rule that the configuration does not have is left out."""
    assert rule_statuses([RuleStatus(rule="gone")], queries(rules=book())) == []


def warnings(rules: RuleBook, n: int | None) -> list[tuple[tuple[str | int, ...], str]]:
    found = rule_warnings.about_traffic(rules, CATALOGUE, largest_n=lambda _: n, found="so far")
    return [tuple(one) for one in found]


def test_cannot_fire() -> None:
    """A rule is warned about if its largest n is below the least with which it could fire."""
    ((place, text),) = warnings(book(), 29)
    assert place == ("rules", 0, "below")
    assert "r can't fire: below 0.01 with all of its 95 % interval takes 381 clicks in 1h" in text
    assert "no scope has more than 29 so far" in text
    assert warnings(book(), 381) == []
    assert warnings(book(), None) == []
    assert warnings(book(above=0.2), 1) == []
    ((place, text),) = warnings(book(above=0.2, min_n=500), 29)
    assert place == ("rules", 0, "min_n")
    assert "min_n takes 500 clicks" in text
    absence = {"kind": "absence", "kpi": "clicks", "match": {"campaign": ["c"]}}
    assert warnings(book(**absence), 0) == []


def test_assumed_traffic() -> None:
    """The n of a window follows from events an hour; what is not assumed is not known."""
    hourly = parse_traffic("clicks=30, orders=2")
    assert assumed_n(book().rules[0], CATALOGUE, hourly) == 30
    assert assumed_n(book(window="week").rules[0], CATALOGUE, hourly) == 30 * 24 * 7
    assert assumed_n(book(window="so_far").rules[0], CATALOGUE, hourly) is None
    assert assumed_n(book(kpi="ctr").rules[0], CATALOGUE, hourly) is None
    with pytest.raises(ValueError, match="nothing named 'click' is measured; did you mean clicks"):
        parse_traffic("click=3")
    with pytest.raises(ValueError, match="give events an hour"):
        parse_traffic("clicks=many")
