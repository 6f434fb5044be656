"""Alerting: verdicts, states, inhibition, and what is delivered."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.alerts import Alert, AlertState, Correction, Held
from models.campaigns.campaign import Campaign
from models.kpi.definition import KpiValue
from models.scope import ALL, Scope
from models.window import DAY_MS, HOUR_MS
from streams.alerting.links import Links
from streams.alerting.machine import Standing, pause, step
from streams.alerting.rules.health import HEALTH_RULES
from streams.alerting.rules.protocol import Verdict
from streams.alerting.rules.registry import RuleBook
from streams.delivery.alertmanager import REPEAT_S, AlertmanagerDelivery, payload
from streams.kpis.view import Evaluation, Health, Progress, Silence
from tests.support.at_once import JudgeAtOnce
from tests.support.offline import NOON

SILENT = Silence(NOON - 60_000, None)
B, H, M, N = Verdict.BROKEN, Verdict.HOLDS, Verdict.BETWEEN, Verdict.NO_JUDGEMENT
C1 = Scope("campaign", "c1")


def book(**changed: Any) -> RuleBook:
    rule = {"name": "r", "kind": "threshold", "kpi": "clicks", "window": "1m", "below": 10}
    if changed.get("kind") == "absence" or "above" in changed:
        del rule["below"]
    return RuleBook.model_validate({"rules": [{**rule, **changed}]})


CHANGE = {"kpi": "visitors_change"}
"""Of a KPI that can be negative."""


def verdict(value: KpiValue | None, **changed: Any) -> Verdict:
    return book(**changed).rules[0].compare(value)


@pytest.mark.parametrize(
    ("value", "rule", "expected"),
    [
        (KpiValue(9, n=9), {}, B),
        (KpiValue(10, n=10), {}, H),
        (None, {}, N),
        (KpiValue(9, n=9), {"min_n": 10, "kpi": "roas"}, N),
        (KpiValue(10.5, n=10), {"hysteresis": 0.1}, M),
        (KpiValue(11, n=10), {"hysteresis": 0.1}, H),
        (KpiValue(11, n=10), {"above": 10}, B),
        (KpiValue(9.5, n=10), {"above": 10, "hysteresis": 0.1}, M),
        (KpiValue(-9.5, n=10), {**CHANGE, "below": -10, "hysteresis": 0.1}, M),
        (KpiValue(-9, n=10), {**CHANGE, "below": -10, "hysteresis": 0.1}, H),
        (KpiValue(-10.5, n=10), {**CHANGE, "above": -10, "hysteresis": 0.1}, M),
        (KpiValue(9, 7, 9.9, 9), {}, B),
        (KpiValue(9, 7, 10.1, 9), {}, M),
        (KpiValue(11, 9.9, 12, 9), {"above": 10}, M),
        (KpiValue(11, 10.1, 12, 9), {"above": 10}, B),
    ],
)
def test_interval_decides_on_a_limit(
    value: KpiValue | None, rule: dict[str, Any], expected: Verdict
) -> None:
    """A limit is broken only if the confidence interval excludes it."""
    assert verdict(value, **rule) is expected


@pytest.mark.parametrize(
    ("verdicts", "states"),
    [
        ("B", "p"),
        ("BB", "pp"),
        ("BBB", "ppf"),
        ("BHB", "p-p"),
        ("BNB", "p-p"),
        ("BMB", "ppf"),
        ("BBBHBH", "ppffff"),
        ("BBBHH", "ppffr"),
        ("BBBHHB", "ppffrp"),
        ("BBBNNN", "ppffff"),
        ("BBBMMM", "ppffff"),
        ("HHH", "---"),
    ],
)
def test_alert_states_follow_verdicts(verdicts: str, states: str) -> None:
    """Verdicts ten seconds apart give these states, with `for` 20 s and `keep_firing_for` 10 s."""
    standing: Standing | None = None
    seen = ""
    for number, letter in enumerate(verdicts):
        standing = step(
            standing,
            {"B": B, "H": H, "M": M, "N": N}[letter],
            at_ms=number * 10_000,
            for_ms=20_000,
            keep_firing_for_ms=10_000,
        )
        seen += "-" if standing is None else standing.state.value[0]
    assert seen == states


@given(st.lists(st.sampled_from(list(Verdict)), max_size=40), st.integers(0, 3), st.integers(0, 3))
def test_alert_waits_for_its_durations(
    verdicts: list[Verdict], for_steps: int, keep_steps: int
) -> None:
    """An alert never fires before `for` is over, nor resolves before `keep_firing_for` is."""
    standing: Standing | None = None
    for at, one in enumerate(verdicts):
        before = standing
        standing = step(before, one, at_ms=at, for_ms=for_steps, keep_firing_for_ms=keep_steps)
        if standing is None:
            continue
        if standing.state is AlertState.FIRING and standing.fired_at_ms == at:
            assert one is B
            assert at - standing.active_since_ms >= for_steps
        if standing.state is AlertState.RESOLVED:
            assert before is not None
            assert before.state is AlertState.FIRING
            assert all(v is H for v in verdicts[at - keep_steps : at + 1])


@given(
    st.lists(st.sampled_from([*Verdict, None]), max_size=40),
    st.integers(0, 3),
    st.integers(0, 3),
)
def test_pauses_do_not_count(
    verdicts: list[Verdict | None], for_steps: int, keep_steps: int
) -> None:
    """With pauses (None) an alert takes the states that it has without them, only later."""

    def states_at(ends: list[tuple[int, Verdict | None]]) -> list[str]:
        standing: Standing | None = None
        judged, seen = 0, []
        for at, one in ends:
            if one is None:
                standing = standing and pause(standing, judged_ms=judged)
                continue
            standing = step(
                standing, one, at_ms=at, for_ms=for_steps, keep_firing_for_ms=keep_steps
            )
            if standing is not None and standing.state is AlertState.RESOLVED:
                standing = None
            judged = at
            seen.append("-" if standing is None else standing.state.value)
        return seen

    real = [(at, one) for at, one in enumerate(verdicts)]
    # A pause takes the place of the steps after the last verdict before it.
    squeezed, skipped, paused = [], 0, False
    for at, one in real:
        if one is None:
            skipped += 1
            paused = True
        else:
            skipped += 1 if paused else 0
            paused = False
            squeezed.append((at - skipped, one))
    assert states_at(real) == states_at(squeezed)


def closed(
    value: KpiValue | None, *, end: int, scope: Scope = ALL, kpi: str = "clicks"
) -> Evaluation:
    return Evaluation("1m", end - 60_000, end, {scope: {} if value is None else {kpi: value}})


def healthy(now_ms: int = NOON, *, lag_ms: int = 1_000, reporting: int = 3) -> Health:
    return Health(
        now_ms=now_ms,
        expected=3,
        reporting=reporting,
        missing=[],
        read_up_to_ms=now_ms - lag_ms,
        behind=0,
    )


def states(judge: JudgeAtOnce) -> dict[str, str]:
    return {alert.id: alert.state.value for alert in judge.alerts()}


def test_there_is_one_alert_for_each_rule_and_scope() -> None:
    judge = JudgeAtOnce(book(scope="campaign"), lag_limit_s=30)
    for end in (NOON, NOON + 10_000):
        judge.closed(
            Evaluation(
                "1m",
                end - 60_000,
                end,
                {
                    scope: {"clicks": KpiValue(1, n=1)}
                    for scope in (ALL, C1, Scope("campaign", "c2"))
                },
            )
        )
    assert states(judge) == {"r/campaign/c1/": "firing", "r/campaign/c2/": "firing"}
    changes = [change.state.value for change in judge.take_changes()]
    assert changes == ["firing", "firing"]
    assert not judge.take_changes()


def test_absence_rule() -> None:
    """An absence rule fires for a campaign without events, and resolves when events return."""
    judge = JudgeAtOnce(
        book(kind="absence", scope="campaign", match={"campaign": ["c1"]}), lag_limit_s=30
    )
    judge.closed(closed(None, end=NOON))
    judge.closed(closed(None, end=NOON + 10_000))
    assert states(judge) == {"r/campaign/c1/": "firing"}
    judge.closed(closed(KpiValue(3, n=3), end=NOON + 20_000, scope=C1))
    assert states(judge) == {"r/campaign/c1/": "resolved"}


def test_absence_needs_a_whole_window() -> None:
    """Absence is not judged in a window that began before observation did."""
    judge = JudgeAtOnce(
        book(kind="absence", scope="campaign", match={"campaign": ["c1"]}), lag_limit_s=30
    )
    judge.closed(Evaluation("1m", NOON - 60_000, NOON, {}, observed_from_ms=NOON - 10_000))
    assert not judge.alerts()
    judge.closed(Evaluation("1m", NOON - 10_000, NOON + 50_000, {}, observed_from_ms=NOON - 10_000))
    assert states(judge) == {"r/campaign/c1/": "firing"}


def test_money_is_judged_in_the_currency() -> None:
    judge = JudgeAtOnce(book(kpi="spend", above=100), lag_limit_s=30)
    judge.closed(closed(KpiValue(99.0, n=1), end=NOON, kpi="spend"))
    assert not judge.alerts()
    judge.closed(closed(KpiValue(101.0, n=1), end=NOON + 10_000, kpi="spend"))
    assert [(alert.value, alert.threshold) for alert in judge.alerts()] == [(101.0, 100.0)]


def test_lag_is_one_alert_and_inhibits_the_rest() -> None:
    judge = JudgeAtOnce(book(), lag_limit_s=30)
    judge.closed(closed(KpiValue(1, n=1), end=NOON))
    judge.closed(closed(KpiValue(1, n=1), end=NOON + 10_000))
    assert states(judge) == {"r/all//": "firing"}
    judge.health(healthy(lag_ms=60_000))
    judge.health(healthy(NOON + 1_000, lag_ms=60_000))
    judge.closed(closed(KpiValue(99, n=99), end=NOON + 20_000))
    shown = {alert.rule: (alert.state.value, alert.inhibited) for alert in judge.alerts()}
    assert shown == {"data-lagging": ("firing", False), "r": ("firing", True)}
    for later in (2_000, 3_000, 9_000):
        judge.health(healthy(NOON + later))
    judge.closed(closed(KpiValue(99, n=99), end=NOON + 30_000))
    assert set(states(judge).values()) == {"resolved"}


def test_history_is_no_lag() -> None:
    """While history is read reports wait for windows: nobody is told until that is over."""
    judge = JudgeAtOnce(book(), lag_limit_s=30)
    for later in (0, 1_000, 60_000):
        judge.health(replace(healthy(NOON + later, lag_ms=60_000), reading_history=True))
    assert not judge.alerts()
    judge.health(healthy(NOON + 61_000, lag_ms=60_000))
    assert [alert.rule for alert in judge.alerts()] == ["data-lagging"]


@pytest.mark.parametrize(
    ("event_pace", "age_ms", "before", "reads"),
    [
        (1.0, 90 * DAY_MS, False, False),
        (500.0, 90 * DAY_MS, False, True),
        (500.0, HOUR_MS, False, False),
        # The history that is read ends today.
        (500.0, HOUR_MS, True, True),
        (1.0, HOUR_MS, True, False),
        # The pace is not known yet.
        (None, 90 * DAY_MS, False, True),
        (None, HOUR_MS, False, False),
        (None, NOON, False, False),
    ],
)
def test_reads_history(event_pace: float | None, age_ms: int, before: bool, reads: bool) -> None:
    """History is what is days old and goes by quickly, not what catches up after an outage."""
    progress = Progress(
        complete_ms=NOON,
        windows_waiting=0,
        windows_closed=0,
        windows_per_second=0.0,
        event_pace=event_pace or 0.0,
    )
    found = progress.reads_history(
        closed_ms=NOON - age_ms,
        now_ms=NOON,
        before=before,
        is_measured=event_pace is not None,
    )
    assert found == reads


def test_no_rule_is_judged_while_sources_are_missing() -> None:
    judge = JudgeAtOnce(book(), lag_limit_s=30)
    judge.health(healthy(reporting=2))
    judge.health(healthy(NOON + 30_000, reporting=2))
    judge.health(healthy(NOON + 31_000, reporting=2))
    judge.closed(closed(KpiValue(1, n=1), end=NOON))
    assert states(judge) == {"data-incomplete/all//": "firing"}


def test_too_little_of_a_gone_scope() -> None:
    """A campaign without a click on a new day has 0 clicks: its alert fires until clicks return."""
    judge = JudgeAtOnce(book(scope="campaign", **{"for": 30}), lag_limit_s=30)
    judge.closed(closed(KpiValue(1, n=1), end=NOON, scope=C1))
    for step_ms in (10_000, 20_000, 30_000):
        judge.closed(closed(None, end=NOON + step_ms))
    (alert,) = judge.alerts()
    assert (alert.state, alert.value, alert.fired_at_ms) == (AlertState.FIRING, 0, NOON + 30_000)
    judge.closed(closed(None, end=NOON + DAY_MS))
    assert states(judge) == {"r/campaign/c1/": "firing"}
    judge.closed(closed(KpiValue(99, n=99), end=NOON + DAY_MS + 10_000, scope=C1))
    assert states(judge) == {"r/campaign/c1/": "resolved"}


def test_orders_stop_while_clicks_go_on() -> None:
    """On a new day without an order, an open alert about too few orders has 0 orders."""
    judge = JudgeAtOnce(book(kpi="orders", scope="campaign"), lag_limit_s=30)
    judge.closed(closed(KpiValue(1, n=1), end=NOON, scope=C1, kpi="orders"))
    for end in (NOON + DAY_MS, NOON + 2 * DAY_MS + 10_000):
        values = {C1: {"clicks": KpiValue(50, n=50)}}
        judge.closed(Evaluation("1m", end - 60_000, end, values))
        (alert,) = judge.alerts()
        assert (alert.state, alert.value) == (AlertState.FIRING, 0)


@pytest.mark.parametrize(
    ("rule", "defined", "states_after_a_day"),
    [
        ({}, False, "resolved"),
        ({}, True, "firing"),
        ({"match": {"campaign": ["c1"]}}, False, "firing"),
    ],
)
def test_gone_for_long(rule: dict[str, Any], defined: bool, states_after_a_day: str) -> None:
    """A scope that nobody defined or named may be gone for ever: its alert resolves after a day."""
    campaign = Campaign(id="c1") if defined else None
    judge = JudgeAtOnce(
        book(scope="campaign", **rule), lag_limit_s=30, campaign_of=lambda _: campaign
    )
    judge.closed(closed(KpiValue(1, n=1), end=NOON, scope=C1))
    for end in (NOON + 10_000, NOON + 10_000 + DAY_MS):
        assert states(judge) == {"r/campaign/c1/": "firing"}
        judge.closed(closed(None, end=end))
    assert states(judge) == {"r/campaign/c1/": states_after_a_day}
    late = closed(None, end=NOON + 10_000)
    judge.corrected(late)
    assert all(alert.correction is None for alert in judge.alerts())


def test_no_data_fires_only_where_events_are_due() -> None:
    """A rule that fires without data does not fire for an ended campaign, or at the first start."""
    over = Campaign(
        id="c1", ends=datetime.fromtimestamp(1, UTC), starts=datetime.fromtimestamp(0, UTC)
    )
    rule = {"kpi": "conversion_rate", "below": 0.02, "no_data": "fire", "scope": "campaign"}
    judge = JudgeAtOnce(book(**rule), lag_limit_s=30, campaign_of=lambda _: over)
    judge.closed(closed(None, end=NOON, scope=C1))
    first = JudgeAtOnce(book(**rule), lag_limit_s=30)
    values: dict[Scope, Any] = {C1: {}}
    first.closed(Evaluation("1m", NOON - 60_000, NOON, values, observed_from_ms=NOON - 10_000))
    assert not judge.alerts()
    assert not first.alerts()


def test_ends_are_sent_before_beginnings() -> None:
    """Of an end and a new alert with the same labels the end is sent first, or not at all."""
    delivery = AlertmanagerDelivery("http://x", links=Links, alerts=list, now_ms=lambda: 0)
    before = alert(AlertState.FIRING)
    delivery.record_sent([before], now_s=0.0)
    ended = before.model_copy(update={"state": AlertState.RESOLVED, "resolved_at_ms": NOON + 5})
    again = before.model_copy(update={"active_since_ms": NOON + 9})
    assert delivery.due([again, ended], now_s=1.0) == [ended, again]
    removed = ended.model_copy(update={"active_since_ms": 5, "ended": "rule_removed"})
    assert delivery.due([again, removed], now_s=1.0) == [again]


def test_gone_scope_of_an_ended_campaign() -> None:
    """The alert of a campaign that is over resolves, and says why."""
    over = Campaign(
        id="c1",
        starts=datetime.fromtimestamp(0, UTC),
        ends=datetime.fromtimestamp(NOON / 1000 + 5, UTC),
    )
    judge = JudgeAtOnce(book(scope="campaign"), lag_limit_s=30, campaign_of=lambda _: over)
    judge.closed(closed(KpiValue(1, n=1), end=NOON, scope=C1))
    assert states(judge) == {"r/campaign/c1/": "firing"}
    judge.closed(closed(None, end=NOON + 10_000))
    (alert,) = judge.alerts()
    assert (alert.state, alert.ended) == (AlertState.RESOLVED, "campaign_over")


@pytest.mark.parametrize(
    ("no_data", "after_10_s", "after_a_day"),
    [
        ("keep", ("firing", None), ("resolved", "no_data")),
        ("resolve", ("resolved", "no_data"), ("resolved", "no_data")),
        ("fire", ("firing", None), ("firing", None)),
    ],
)
@pytest.mark.parametrize("value", [None, KpiValue(0.5, n=3)])
def test_no_data(
    value: KpiValue | None,
    no_data: str,
    after_10_s: tuple[str, str | None],
    after_a_day: tuple[str, str | None],
) -> None:
    """Without a value, or with too small an n, the rule says what becomes of the alert."""
    rule = {"kpi": "conversion_rate", "below": 0.02, "min_n": 10, "no_data": no_data}
    judge = JudgeAtOnce(book(**rule), lag_limit_s=30)
    judge.closed(closed(KpiValue(0.01, n=99), end=NOON, kpi="conversion_rate"))
    for end, expected in ((NOON + 10_000, after_10_s), (NOON + 10_000 + DAY_MS, after_a_day)):
        judge.closed(closed(value, end=end, kpi="conversion_rate"))
        (alert,) = judge.alerts()
        assert (alert.state.value, alert.ended) == expected
        assert alert.no_data_since_ms == NOON + 10_000
    if alert.state is AlertState.FIRING:
        judge.closed(closed(KpiValue(0.01, n=99), end=NOON + 2 * DAY_MS, kpi="conversion_rate"))
        assert judge.alerts()[0].no_data_since_ms is None


def test_no_data_of_a_named_scope() -> None:
    """A rule that fires without data fires for a named campaign that nothing was heard of."""
    rule = {"kpi": "conversion_rate", "below": 0.02, "no_data": "fire", "scope": "campaign"}
    judge = JudgeAtOnce(book(**rule, match={"campaign": ["c1", "d*"]}), lag_limit_s=30)
    judge.closed(closed(None, end=NOON))
    assert states(judge) == {"r/campaign/c1/": "firing"}


@pytest.mark.parametrize(
    "rule",
    [
        {"kind": "absence"},
        {"below": 10},
        {"below": 0.5, "kpi": "roas", "no_data": "fire"},
    ],
)
def test_not_measured_yet(rule: dict[str, Any]) -> None:
    """No value of what was not measured in all of the window is no sign that nothing came."""
    kpi = str(rule.get("kpi", "clicks"))
    judge = JudgeAtOnce(book(**rule), lag_limit_s=30)
    lacking = replace(closed(None, end=NOON), unmeasured=frozenset({kpi}))
    judge.closed(lacking)
    assert not judge.alerts()
    judge.closed(closed(None, end=NOON + 10_000))
    assert states(judge) == {"r/all//": "firing"}


def test_not_measured_resolves() -> None:
    """An alert whose KPI is not measured any more resolves after a day, as without data."""
    judge = JudgeAtOnce(book(kind="absence"), lag_limit_s=30)
    judge.closed(closed(None, end=NOON))
    for end, state in ((NOON + 10_000, "firing"), (NOON + 10_000 + DAY_MS, "resolved")):
        judge.closed(replace(closed(None, end=end), unmeasured=frozenset({"clicks"})))
        assert states(judge) == {"r/all//": state}


@pytest.mark.parametrize(
    ("match", "values", "fires"),
    [
        ({"campaign": ["c1"]}, {C1: {"clicks": KpiValue(50, n=50)}}, True),
        ({"campaign": ["c1"]}, {}, True),
        ({"campaign": ["c*"]}, {C1: {"clicks": KpiValue(50, n=50)}}, False),
    ],
)
def test_nothing_of_a_named_scope(
    match: dict[str, list[str]], values: dict[Scope, Any], fires: bool
) -> None:
    """No impressions that day are 0 where the rule names the scope; a pattern expects none.

    If no impression ever came from anywhere, nothing says that any is due.
    """
    judge = JudgeAtOnce(book(kpi="impressions", scope="campaign", match=match), lag_limit_s=30)
    evaluation = Evaluation("1m", NOON - 60_000, NOON, values)
    judge.closed(replace(evaluation, unconnected=frozenset({"impressions"})))
    assert not judge.alerts()
    judge.closed(evaluation)
    assert states(judge) == ({"r/campaign/c1/": "firing"} if fires else {})


@pytest.mark.parametrize("values", [{C1: {"clicks": KpiValue(50, n=50)}}, {}])
@pytest.mark.parametrize("interrupted", [False, True])
def test_nothing_after_something(values: dict[Scope, Any], interrupted: bool) -> None:
    """A count that is not seen on a new day is 0 in a scope that had it the window before.

    That is so also if a window that lacks records ended the pending alert.
    """
    judge = JudgeAtOnce(book(kpi="impressions", scope="campaign", **{"for": 20}), lag_limit_s=30)
    judge.closed(closed(KpiValue(20, n=20), end=NOON, scope=C1, kpi="impressions"))
    nothing = Evaluation("1m", NOON - 50_000, NOON + 10_000, values)
    judge.closed(nothing)
    assert states(judge) == {"r/campaign/c1/": "pending"}
    if interrupted:
        judge.closed(replace(nothing, end_ms=NOON + 20_000, complete=False))
        assert not judge.alerts()
        judge.closed(replace(nothing, end_ms=NOON + 30_000))
    judge.closed(replace(nothing, end_ms=NOON + 50_000))
    (alert,) = judge.alerts()
    assert (alert.state, alert.value) == (AlertState.FIRING, 0)


def test_unknown_period_before_is_not_nothing() -> None:
    """A change that has no value, as the period before is not known, is not 0."""
    judge = JudgeAtOnce(book(**CHANGE, below=10), lag_limit_s=30)
    judge.closed(closed(None, end=NOON, kpi="visitors_change"))
    assert not judge.alerts()


@pytest.mark.parametrize("complete", [True, False])
def test_no_data_while_not_judged(complete: bool) -> None:
    """Time in which a rule is not judged does not count for the day without data."""
    rules = book(kpi="refund_rate", above=0.2, min_n=30)
    judge = JudgeAtOnce(rules, lag_limit_s=30)
    few = KpiValue(0.3, n=5)
    judge.closed(closed(KpiValue(0.3, n=50), end=NOON, kpi="refund_rate"))
    judge.closed(closed(few, end=NOON + 60_000, kpi="refund_rate"))
    end = NOON + 120_000
    while end < NOON + DAY_MS + 60_000:
        unsure = {} if not complete else {"orders": SILENT}
        silent = Evaluation("1m", end - 60_000, end, {ALL: {}}, complete=complete, unsure=unsure)
        judge.closed(silent)
        end += HOUR_MS
    judge = restarted(judge, rules)
    judge.closed(closed(few, end=end, kpi="refund_rate"))
    (alert,) = judge.alerts()
    assert (alert.state, alert.no_data_since_ms) == (AlertState.FIRING, NOON + 60_000)
    judge.closed(closed(few, end=end + DAY_MS - 120_000, kpi="refund_rate"))
    assert states(judge) == {"r/all//": "firing"}
    judge.closed(closed(few, end=end + DAY_MS, kpi="refund_rate"))
    assert states(judge) == {"r/all//": "resolved"}


def test_incomplete_windows_do_not_count_as_held() -> None:
    """Incomplete windows stop the clock of `keep_firing_for`."""
    judge = JudgeAtOnce(book(keep_firing_for=60), lag_limit_s=30)
    judge.closed(closed(KpiValue(1, n=1), end=NOON))
    judge.closed(closed(KpiValue(99, n=99), end=NOON + 10_000))
    for end in range(NOON + 20_000, NOON + 200_000, 10_000):
        judge.closed(Evaluation("1m", end - 60_000, end, {ALL: {}}, complete=False))
    judge.closed(closed(KpiValue(99, n=99), end=NOON + 200_000))
    assert states(judge) == {"r/all//": "firing"}
    judge.closed(closed(KpiValue(99, n=99), end=NOON + 260_000))
    assert states(judge) == {"r/all//": "resolved"}


def test_end_of_a_pending_alert() -> None:
    """A pending alert that ends is told: it did not last, or its window could not be judged."""
    judge = JudgeAtOnce(book(**{"for": 30}), lag_limit_s=30)
    incomplete = Evaluation("1m", NOON - 20_000, NOON + 40_000, {}, complete=False)
    for evaluation in (
        closed(KpiValue(1, n=1), end=NOON),
        closed(KpiValue(99, n=99), end=NOON + 10_000),
        closed(KpiValue(1, n=1), end=NOON + 20_000),
        incomplete,
    ):
        judge.closed(evaluation)
    told = [(one.state.value, one.ended, one.fired_at_ms) for one in judge.take_changes()]
    assert told == [
        ("pending", None, None),
        ("resolved", "not_long_enough", None),
        ("pending", None, None),
        ("resolved", "not_judged", None),
    ]
    assert not judge.alerts()


RULE: dict[str, Any] = {"scope": "campaign", "match": {"campaign": ["c*"]}}


@pytest.mark.parametrize(
    ("changed", "ended"),
    [
        ({}, None),
        ({"below": 5}, None),
        ({"for": 600}, None),
        ({"severity": "info"}, None),
        ({"keep_firing_for": 60}, None),
        ({"match": {"campaign": ["c1"]}}, None),
        ({"match": {"campaign": ["c2"]}}, "rule_changed"),
        ({"scope": "campaign_channel"}, "rule_changed"),
        ({"kpi": "visits"}, "rule_changed"),
        ({"window": "5m"}, "rule_changed"),
        ({"name": "another"}, "rule_removed"),
    ],
)
@pytest.mark.parametrize("for_s", [0, 30])
def test_restart(for_s: int, changed: dict[str, Any], ended: str | None) -> None:
    """What an alert becomes when its rule changed while no worker ran: the table of docs/alerts.md.

    An end is told with its reason, also of a pending alert, and is delivered if the alert fired.
    """
    judge = JudgeAtOnce(book(**RULE, **{"for": for_s}), lag_limit_s=30)
    judge.closed(closed(KpiValue(1, n=1), end=NOON, scope=C1))
    judge.take_changes()
    again = JudgeAtOnce(book(**{**RULE, "for": for_s, **changed}), lag_limit_s=30)
    assert again.restore(judge.to_bytes()) is (ended is not None)
    told = [(one.id, one.state.value, one.ended) for one in again.take_changes()]
    if ended is None:
        assert told == []
        assert states(again) == states(judge)
        return
    assert told == [("r/campaign/c1/", "resolved", ended)]
    shown = list(again.alerts())
    assert len(shown) == (for_s == 0)
    for alert in shown:
        assert due_states([(0.0, alert), (1.0, alert)]) == ["resolved", "-"]
        assert payload(alert, now_ms=NOON, links=Links())["annotations"]["ended"] == ended


def test_alerts_survive_a_restart() -> None:
    judge = JudgeAtOnce(book(**{"for": 10}), lag_limit_s=30)
    judge.closed(closed(KpiValue(1, n=1), end=NOON))
    again = JudgeAtOnce(book(**{"for": 10}), lag_limit_s=30)
    again.restore(judge.to_bytes())
    again.closed(closed(KpiValue(1, n=1), end=NOON + 10_000))
    (alert,) = again.alerts()
    assert (alert.state, alert.active_since_ms) == (AlertState.FIRING, NOON)


def test_silent_source_suspends_judgement() -> None:
    """A KPI is not judged while one of its sources is silent or its window is incomplete."""
    rules = RuleBook.model_validate(
        {
            "rules": [
                {"name": kpi, "kind": "threshold", "kpi": kpi, "window": "1m", "below": 10}
                for kpi in ("clicks", "orders", "aov")
            ]
        }
    )
    judge = JudgeAtOnce(rules, lag_limit_s=30)
    values = {ALL: {kpi: KpiValue(1, n=1) for kpi in ("clicks", "orders", "aov")}}
    judge.closed(Evaluation("1m", NOON - 60_000, NOON, values, unsure={"orders": SILENT}))
    assert states(judge) == {"clicks/all//": "firing"}
    judge.closed(Evaluation("1m", NOON - 50_000, NOON + 10_000, values, complete=False))
    assert states(judge) == {"clicks/all//": "firing"}
    judge.closed(Evaluation("1m", NOON - 40_000, NOON + 20_000, values))
    assert set(states(judge)) == {"clicks/all//", "orders/all//", "aov/all//"}


def test_incomplete_window_restarts_for() -> None:
    """An incomplete window makes `for` start again."""
    judge = JudgeAtOnce(book(**{"for": 20}), lag_limit_s=30)
    values = {ALL: {"clicks": KpiValue(1, n=1)}}

    def close(end: int, *, complete: bool) -> None:
        judge.closed(Evaluation("1m", end - 60_000, end, values, complete=complete))

    close(NOON, complete=True)
    assert states(judge) == {"r/all//": "pending"}
    close(NOON + 10_000, complete=False)
    assert not judge.alerts()
    close(NOON + 30_000, complete=True)
    assert states(judge) == {"r/all//": "pending"}


def silence(end: int, *, until_ms: int | None = None) -> Evaluation:
    """Return a window in which clicks are silent for 10 s before its end, or were until then."""
    values = {ALL: {"clicks": KpiValue(1, n=1)}}
    unsure = {"clicks": Silence(NOON + 25_000, until_ms)}
    return Evaluation("1m", end - 60_000, end, values, unsure=unsure)


def restarted(judge: JudgeAtOnce, rules: RuleBook) -> JudgeAtOnce:
    """Return a judge with the saved state of another."""
    again = JudgeAtOnce(rules, lag_limit_s=30)
    assert not again.restore(judge.to_bytes())
    return again


@pytest.mark.parametrize("restarts", [False, True])
def test_pending_waits_for_a_silent_source(restarts: bool) -> None:
    """A pending alert is held while a source is silent, and `for` goes on afterwards."""
    rules = book(**{"for": 60})
    judge = JudgeAtOnce(rules, lag_limit_s=30)
    for end in (NOON, NOON + 30_000):
        judge.closed(closed(KpiValue(1, n=1), end=end))
    judge.closed(silence(NOON + 40_000))
    judge.closed(silence(NOON + 50_000))
    if restarts:
        judge = restarted(judge, rules)
    (alert,) = judge.alerts()
    assert alert.state is AlertState.PENDING
    assert alert.held == Held(sources=("clicks",), since_ms=NOON + 25_000)
    for end in (NOON + 600_000, NOON + 620_000):
        judge.closed(closed(KpiValue(1, n=1), end=end))
        (alert,) = judge.alerts()
        assert (alert.state, alert.held) == (AlertState.PENDING, None)
    judge.closed(closed(KpiValue(1, n=1), end=NOON + 630_000))
    (alert,) = judge.alerts()
    assert (alert.state, alert.active_since_ms) == (AlertState.FIRING, NOON)


def test_pending_ends_after_a_silence() -> None:
    """A held alert whose rule holds once the source speaks ends without having fired."""
    judge = JudgeAtOnce(book(**{"for": 60}), lag_limit_s=30)
    judge.closed(closed(KpiValue(1, n=1), end=NOON))
    judge.closed(silence(NOON + 40_000))
    judge.take_changes()
    judge.closed(closed(KpiValue(99, n=99), end=NOON + 300_000))
    (change,) = judge.take_changes()
    assert (change.state, change.ended) == (AlertState.RESOLVED, "not_long_enough")
    assert (change.held, change.fired_at_ms) == (None, None)


def test_firing_is_held() -> None:
    """A firing alert is marked while its source is silent; each change is told once."""
    judge = JudgeAtOnce(book(), lag_limit_s=30)
    judge.closed(closed(KpiValue(1, n=1), end=NOON))
    judge.take_changes()
    told: list[Alert] = []
    for end in (NOON + 40_000, NOON + 50_000):
        judge.closed(silence(end))
        told += judge.take_changes()
    judge.closed(silence(NOON + 60_000, until_ms=NOON + 55_000))
    judge.closed(closed(KpiValue(2, n=2), end=NOON + 120_000))
    told += judge.take_changes()
    assert {change.state for change in told} == {AlertState.FIRING}
    held = Held(sources=("clicks",), since_ms=NOON + 25_000)
    ended = held.model_copy(update={"until_ms": NOON + 55_000})
    assert [change.held for change in told] == [held, ended, None]
    assert [change.value for change in told] == [1.0, 1.0, 2.0]
    texts = [payload(one, now_ms=NOON, links=Links())["annotations"].get("held") for one in told]
    assert texts == [
        "clicks silent since 2023-11-14T12:00:25.000+00:00 (event time); not judged meanwhile",
        "clicks silent from 2023-11-14T12:00:25.000+00:00 to 2023-11-14T12:00:55.000+00:00"
        " (event time); not judged meanwhile",
        None,
    ]
    # Alertmanager is told at once that it is held, and that it is not any more.
    sent = [(0.0, told[-1]), (1.0, told[0]), (2.0, told[0]), (3.0, told[-1])]
    assert due_states(sent) == ["firing", "firing", "-", "firing"]


def test_firing_is_held_after_a_restart() -> None:
    """A worker that starts while a source is silent has the alert as it was: firing and held."""
    judge = JudgeAtOnce(book(keep_firing_for=60), lag_limit_s=30)
    judge.closed(closed(KpiValue(1, n=1), end=NOON))
    judge.closed(closed(KpiValue(99, n=99), end=NOON + 30_000))
    judge.closed(silence(NOON + 40_000))
    again = restarted(judge, book(keep_firing_for=60))
    assert again.alerts() == judge.alerts()
    assert not again.take_changes()
    for end, state in ((600_000, "firing"), (650_000, "firing"), (660_000, "resolved")):
        again.closed(closed(KpiValue(99, n=99), end=NOON + end))
        assert states(again) == {"r/all//": state}


def test_no_alert_begins_in_a_silence() -> None:
    """A rule without an alert is not judged in a window in which its source is silent."""
    judge = JudgeAtOnce(book(), lag_limit_s=30)
    judge.closed(silence(NOON + 40_000))
    assert not judge.alerts()
    judge.closed(closed(KpiValue(1, n=1), end=NOON + 120_000))
    assert states(judge) == {"r/all//": "firing"}


def test_silence_is_no_recovery() -> None:
    """Time in which a source is silent does not count for `keep_firing_for`."""
    judge = JudgeAtOnce(book(keep_firing_for=60), lag_limit_s=30)
    judge.closed(closed(KpiValue(1, n=1), end=NOON))
    judge.closed(closed(KpiValue(99, n=99), end=NOON + 30_000))
    judge.closed(silence(NOON + 40_000))
    for end, state in ((600_000, "firing"), (650_000, "firing"), (660_000, "resolved")):
        judge.closed(closed(KpiValue(99, n=99), end=NOON + end))
        assert states(judge) == {"r/all//": state}


def test_time_held_back_does_not_count() -> None:
    """While no window is judged, such as while data lag, `for` stands still."""
    rules = book(**{"for": 60})
    judge = JudgeAtOnce(rules, lag_limit_s=30)
    for end in (NOON, NOON + 30_000):
        judge.closed(closed(KpiValue(1, n=1), end=end))
    judge.health(healthy(NOON + 31_000, lag_ms=60_000))
    assert judge.held_back
    judge = restarted(judge, rules)
    for later in (600_000, 603_000, 606_000):
        judge.health(healthy(NOON + later))
    for end, state in ((600_000, "pending"), (620_000, "pending"), (630_000, "firing")):
        judge.closed(closed(KpiValue(1, n=1), end=NOON + end))
        assert states(judge)["r/all//"] == state


def test_partly_observed_window_is_not_too_low() -> None:
    """A window that was observed only in part is not judged as too low, but may be too high."""
    judge = JudgeAtOnce(book(), lag_limit_s=30)
    values = {ALL: {"clicks": KpiValue(1, n=1)}}
    judge.closed(Evaluation("1m", NOON - 60_000, NOON, values, observed_from_ms=NOON - 10_000))
    assert not judge.alerts()
    flood = JudgeAtOnce(book(above=0), lag_limit_s=30)
    flood.closed(Evaluation("1m", NOON - 60_000, NOON, values, observed_from_ms=NOON - 10_000))
    assert states(flood) == {"r/all//": "firing"}


def test_an_alert_says_that_late_data_changed_its_evidence() -> None:
    judge = JudgeAtOnce(book(keep_firing_for=600), lag_limit_s=30)
    judge.closed(closed(KpiValue(4, n=4), end=NOON))
    judge.closed(closed(KpiValue(6, n=6), end=NOON + 10_000))
    judge.take_changes()
    assert judge.awaits_correction("1m", NOON)
    assert not judge.awaits_correction("1m", NOON + 10_000)
    assert not judge.awaits_correction("5m", NOON)
    judge.corrected(closed(KpiValue(4, n=4), end=NOON))
    assert not judge.take_changes()
    judge.corrected(closed(KpiValue(12, n=12), end=NOON))
    (change,) = judge.take_changes()
    assert change.state is AlertState.FIRING
    assert change.fired_value == 4.0
    assert change.correction is not None
    assert (change.correction.value, change.correction.n, change.correction.holds) == (12, 12, True)
    judge.corrected(closed(KpiValue(12, n=12), end=NOON))
    assert not judge.take_changes()
    judge.closed(closed(KpiValue(99, n=99), end=NOON + 20_000))
    (shown,) = judge.alerts()
    assert (shown.value, shown.fired_value, shown.correction) == (99.0, 4.0, change.correction)
    text = payload(shown, now_ms=NOON, links=Links())["annotations"]["corrected"]
    assert text == "late data changed the value it fired on from 4 to 12: the rule would have held"


def test_correction_after_resolution() -> None:
    """A correction of an alert's evidence is shown after it resolved, also after a restart."""
    judge = JudgeAtOnce(book(), lag_limit_s=30)
    judge.closed(closed(KpiValue(4, n=4), end=NOON))
    judge.closed(closed(KpiValue(99, n=99), end=NOON + 10_000))
    judge.corrected(closed(KpiValue(9, n=9), end=NOON))
    again = JudgeAtOnce(book(), lag_limit_s=30)
    again.restore(judge.to_bytes())
    (shown,) = again.alerts()
    assert shown.state is AlertState.RESOLVED
    assert shown.correction is not None
    assert not shown.correction.holds


def test_resolved_alert_keeps_its_sentence() -> None:
    """A resolved alert has the sentence of its rule of then, also if the name has another rule."""
    judge = JudgeAtOnce(book(above=100), lag_limit_s=30)
    for value in (150, 50):
        judge.closed(closed(KpiValue(value, n=value), end=NOON + value))
    again = JudgeAtOnce(book(kpi="orders", window="1h"), lag_limit_s=30)
    again.restore(judge.to_bytes())
    (shown,) = again.alerts()
    assert shown.meaning_en.startswith("fires when clicks over 1 min are above 100; ")


def test_correction_that_can_not_be_judged() -> None:
    """A corrected value with too small an n is neither a reason to alert, nor none."""
    judge = JudgeAtOnce(book(kpi="aov", above=9, min_n=10), lag_limit_s=30)
    judge.closed(closed(KpiValue(20.0, n=10), end=NOON, kpi="aov"))
    judge.corrected(closed(KpiValue(21.0, n=5), end=NOON, kpi="aov"))
    (shown,) = judge.alerts()
    assert shown.correction == Correction(value=21.0, n=5, holds=None)
    text = payload(shown, now_ms=NOON, links=Links())["annotations"]["corrected"]
    assert text.endswith(": the rule can no longer be judged")


def test_a_corrected_alert_is_delivered_again() -> None:
    firing = alert(AlertState.FIRING)
    fixed = firing.model_copy(update={"correction": Correction(value=11.0, n=11, holds=True)})
    assert due_states([(0.0, firing), (1.0, fixed), (2.0, fixed)]) == ["firing", "firing", "-"]


@pytest.mark.parametrize(
    ("rule", "odd"),
    [
        ("data-silent", {"silent": [("orders", -1)]}),
        ("data-gap", {"gaps": 1}),
        ("data-dead-letters", {"dead_letter_share": 0.06}),
        ("data-mis-keyed", {"mis_keyed_share": 0.06}),
        ("data-late", {"late_share": 0.21}),
        ("data-duplicates", {"duplicate_share": 0.21}),
        ("data-unjoined", {"orders_with_touch": KpiValue(0.0, 0.0, 0.03, 101)}),
    ],
)
def test_data_health_alert(rule: str, odd: dict[str, Any]) -> None:
    """A fault of the data is one alert, which resolves when the data are healthy again."""
    judge = JudgeAtOnce(book(), lag_limit_s=30)
    for second in range(62):
        judge.health(replace(healthy(NOON + second * 1_000), **odd))
    assert states(judge) == {f"{rule}/all//": "firing"}
    for second in range(62, 70):
        judge.health(healthy(NOON + second * 1_000))
    assert states(judge) == {f"{rule}/all//": "resolved"}


@pytest.mark.parametrize(
    "share", [KpiValue(0.0, 0.0, 0.1, 100), KpiValue(0.001, 0.0, 0.1, 1_000), None]
)
def test_few_orders_without_a_touch_are_no_fault(share: KpiValue | None) -> None:
    judge = JudgeAtOnce(book(), lag_limit_s=30)
    for second in range(70):
        judge.health(replace(healthy(NOON + second * 1_000), orders_with_touch=share))
    assert states(judge) == {}


def alert(state: AlertState, **changed: Any) -> Alert:
    made: dict[str, Any] = {
        "rule": "r",
        "severity": "critical",
        "state": state,
        "scope": C1,
        "kpi": "clicks",
        "window": "1m",
        "value": 1.0,
        "n": 1,
        "threshold": 10.0,
        "active_since_ms": NOON,
        "fired_at_ms": NOON + 1_000,
        "updated_ms": NOON,
    }
    return Alert(**made | changed)


def due_states(sequence: list[tuple[float, Alert]]) -> list[str]:
    delivery = AlertmanagerDelivery("http://x", links=Links, alerts=list, now_ms=lambda: 0)
    sent: list[str] = []
    for now_s, one in sequence:
        due = delivery.due([one], now_s=now_s)
        delivery.record_sent(due, now_s=now_s)
        sent.append(due[0].state.value if due else "-")
    return sent


def test_when_alerts_are_sent() -> None:
    """An alert is sent when it fires, again after `REPEAT_S`, and when it resolves."""
    pending, firing = alert(AlertState.PENDING), alert(AlertState.FIRING)
    resolved = alert(AlertState.RESOLVED, resolved_at_ms=NOON + 9_000)
    sequence = [
        (0.0, pending),
        (1.0, firing),
        (2.0, firing),
        (1.0 + REPEAT_S, firing),
        (30.0, alert(AlertState.FIRING, inhibited=True)),
        (40.0, resolved),
        (99.0, resolved),
    ]
    assert due_states(sequence) == ["-", "firing", "-", "firing", "-", "resolved", "-"]


def test_forgotten() -> None:
    """What was sent of an alert is known as long as the alert is in view, and no longer."""
    delivery = AlertmanagerDelivery("http://x", links=Links, alerts=list, now_ms=lambda: 0)
    firing = alert(AlertState.FIRING)
    delivery.record_sent([firing], now_s=0.0)
    delivery.forget(in_view=[firing])
    assert not delivery.due([firing], now_s=1.0)
    delivery.forget(in_view=[])
    assert delivery.due([firing], now_s=1.0) == [firing]


def test_inhibited_alert_is_kept() -> None:
    """An alert goes on being sent while it is inhibited."""
    firing = alert(AlertState.FIRING)
    held = firing.model_copy(update={"inhibited": True})
    minutes = [(60.0 * minute, held) for minute in range(1, 4)]
    assert due_states([(0.0, firing), *minutes, (200.0, firing)]) == ["firing"] * 5
    # A worker before this one may have sent it.
    assert due_states([(0.0, held), (60.0, held)]) == ["firing", "firing"]


def test_unsent_alert_is_not_sent_when_resolved() -> None:
    """An alert that was never sent is not sent when it resolves."""
    assert due_states([(0.0, alert(AlertState.RESOLVED, resolved_at_ms=NOON))]) == ["-"]


def test_payload_has_evidence_and_an_end() -> None:
    """The payload for Alertmanager has the evidence, and an end in case no more is sent."""
    body = payload(alert(AlertState.FIRING), now_ms=NOON, links=Links(page="http://page"))
    assert body["labels"]["alertname"] == "r"
    assert body["labels"]["campaign"] == "c1"
    assert "channel" not in body["labels"]
    assert body["annotations"]["evidence"] == "clicks 1, limit 10, window 1m, n=1"
    assert body["startsAt"] < body["endsAt"]
    assert body["generatorURL"] == "http://page/#alert=r%2Fcampaign%2Fc1%2F"


def test_links() -> None:
    """An alert links to its card, to the board with its choices, and to what is to be done."""
    links = Links(page="https://kpi/", boards="https://grafana", runbooks="https://wiki/kpi")
    one = alert(AlertState.FIRING, scope=Scope("campaign_channel", "6 & 8", "feed"))
    body = payload(one, now_ms=NOON, links=links)
    assert body["generatorURL"] == "https://kpi/#alert=r%2Fcampaign_channel%2F6%20%26%208%2Ffeed"
    assert body["annotations"]["board_url"] == (
        "https://grafana/d/kpi-live?var-window=1m&var-campaign=6+%26+8&var-channel=feed"
    )
    assert "runbook_url" not in body["annotations"]
    own = one.model_copy(update={"runbook": "https://wiki/checkout"})
    assert links.runbook_of(own) == "https://wiki/checkout"
    lagging = alert(AlertState.FIRING, rule="data-lagging", category="data_health", scope=ALL)
    assert links.runbook_of(lagging) == "https://wiki/kpi#data-lagging"
    assert (Links().page_of(one), Links().board_of(one), Links().runbook_of(lagging)) == (
        "",
        "",
        "",
    )


@pytest.mark.parametrize(
    ("scope", "board"),
    [
        (ALL, "kpi-live?var-window=1m"),
        (Scope("region", region="east"), "kpi-catalogue?var-scope=region&var-window=1m"),
        (Scope("segment", segment="new"), "kpi-catalogue?var-scope=segment&var-window=1m"),
        (
            Scope("campaign_region", "c1", region="east"),
            "kpi-catalogue?var-scope=campaign_region&var-window=1m&var-campaign=c1",
        ),
    ],
)
def test_board_of_a_scope(scope: Scope, board: str, repository: Path) -> None:
    """The board of an alert shows its scope, and has the variables that the link chooses."""
    one = alert(AlertState.FIRING, scope=scope)
    assert Links(boards="https://grafana").board_of(one) == f"https://grafana/d/{board}"
    uid, _, query = board.partition("?")
    boards = [
        json.loads(path.read_text()) for path in (repository / "dashboards" / "json").iterdir()
    ]
    (found,) = (board for board in boards if board["uid"] == uid)
    variables = {one["name"] for one in found["templating"]["list"]}
    assert {key.removeprefix("var-") for key in parse_qs(query)} <= variables


@pytest.mark.parametrize("runbook", ["javascript:alert(1)", "wiki/x", "https://a b"])
def test_runbook_is_a_link(runbook: str) -> None:
    """A rule's runbook is a URL of the web, as the page makes a link of it."""
    with pytest.raises(ValueError, match="runbook"):
        book(runbook=runbook)


def test_data_health_speaks_both_languages() -> None:
    """Every rule about the data says in both languages what is wrong and what to do."""
    for rule in HEALTH_RULES:
        assert all((rule.summary_en, rule.summary_zh, rule.next_step, rule.next_step_zh))
        assert not rule.next_step_zh.isascii()


def test_sentence_of_an_alert() -> None:
    """An alert has the sentence of its rule, also as its summary if the rule has none.

    After a restart it is the one by which the alert was last judged, beside the limit of then.
    """
    judge = JudgeAtOnce(book(), lag_limit_s=30, currency="USD")
    judge.closed(closed(KpiValue(1, n=1), end=NOON))
    (shown,) = judge.alerts()
    assert shown.meaning_en.startswith("fires when clicks over 1 min are below 10; ")
    assert (shown.summary_en, shown.summary_zh) == (shown.meaning_en, shown.meaning_zh)
    assert payload(shown, now_ms=NOON, links=Links())["annotations"]["rule"] == shown.meaning_en
    again = JudgeAtOnce(book(below=5), lag_limit_s=30)
    again.restore(judge.to_bytes())
    assert list(again.alerts()) == [shown]
    again.closed(closed(KpiValue(1, n=1), end=NOON + 10_000))
    (judged,) = again.alerts()
    assert judged.threshold == 5
    assert judged.meaning_en.startswith("fires when clicks over 1 min are below 5; ")
    assert judged.summary_en == judged.meaning_en
    money = book(kpi="spend", above=100, summary_en="Too dear")
    judge = JudgeAtOnce(money, lag_limit_s=30, currency="USD")
    judge.closed(closed(KpiValue(101.0, n=1), end=NOON, kpi="spend"))
    (shown,) = judge.alerts()
    assert "above 100 USD" in shown.meaning_en
    assert shown.summary_en == "Too dear"
