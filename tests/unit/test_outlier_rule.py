"""Rules about scopes that are unusual among their peers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.alerts import Alert, AlertState
from models.kpi.catalogue import CATALOGUE
from models.kpi.definition import KpiValue
from models.rule_status import ScopeStatus, Why
from models.scope import Scope, ScopeKind
from models.window import HOUR_MS, MINUTE_MS
from streams.alerting.rules.outlier import OutlierRule
from streams.alerting.rules.registry import RuleBook
from streams.analysis import peer_outliers
from streams.analysis.peer_outliers import peer_group, peer_groups
from streams.delivery.alertmanager import evidence
from streams.engine.steps import at_once
from streams.kpis.calculation.confidence_intervals import wilson
from streams.kpis.calculation.kpi_calculator import KpiValues
from streams.kpis.view import Evaluation
from tests.support.at_once import JudgeAtOnce
from tests.support.offline import NOON, Path, event

Values = dict[Scope, KpiValues]


def rule(**keys: Any) -> OutlierRule:
    given = {"name": "r", "kind": "outlier", "kpi": "conversion_rate"}
    return OutlierRule.model_validate(given | keys, context={"catalogue": CATALOGUE})


def channels(kpi: str, *values: float | KpiValue, campaign: str = "") -> Values:
    """Return channels c0, c1 and so on, each with one KPI."""
    kind: ScopeKind = "campaign_channel" if campaign else "channel"
    return {
        Scope(kind, campaign, f"c{number}"): {
            kpi: value if isinstance(value, KpiValue) else KpiValue(value, n=1_000)
        }
        for number, value in enumerate(values)
    }


def closed(values: Values, end_ms: int = NOON) -> Evaluation:
    return Evaluation("1h", end_ms - HOUR_MS, end_ms, values)


def verdicts(tried: OutlierRule, values: Values) -> tuple[dict[str, Why], dict[str, Alert]]:
    """Return why the rule fires or does not, and its alerts, by scope."""
    judge = JudgeAtOnce(RuleBook(rules=(tried,)), lag_limit_s=30)
    judge.closed(closed(values))
    (status,) = judge.rule_statuses()
    return (
        {str(one.scope): one.why for one in status.scopes},
        {str(alert.scope): alert for alert in judge.alerts()},
    )


# The median is 0.03, the distances 0.001 0.001 0 0.002 and that of the last one: MAD is 0.001.
USUAL = (0.029, 0.031, 0.03, 0.032)
FAR = 3.5 / 0.6745 * 0.001
"""The distance from which on a value is an outlier: 0.0052."""


@pytest.mark.parametrize(
    ("keys", "value", "limit", "why"),
    [
        ({}, 0.0249, 0.03 - FAR, Why.WITHIN),
        ({}, 0.0247, 0.03 - FAR, Why.FIRING),
        ({"differs_by": 0.2}, 0.0241, 0.024, Why.WITHIN),
        ({"differs_by": 0.2}, 0.0239, 0.024, Why.FIRING),
        ({"by_at_least": 0.01}, 0.0201, 0.02, Why.WITHIN),
        ({"by_at_least": 0.01}, 0.0199, 0.02, Why.FIRING),
        ({"differs_by": 0, "by_at_least": 0.01}, 0.0199, 0.02, Why.FIRING),
        ({"differs_by": 0.5, "by_at_least": 0.01}, 0.0199, 0.015, Why.WITHIN),
        ({"direction": "lower"}, 0.02, 0.03 - FAR, Why.FIRING),
        ({"direction": "higher"}, 0.02, 0.03 + FAR, Why.WITHIN),
    ],
)
def test_limit(keys: dict[str, Any], value: float, limit: float, why: Why) -> None:
    """The largest of the three distances from the median decides."""
    found, alerts = verdicts(rule(**keys), channels("conversion_rate", *USUAL, value))
    assert found["channel=c4"] is why
    assert {*found.values()} - {why} <= {Why.WITHIN}
    if why is Why.FIRING:
        (alert,) = alerts.values()
        assert (alert.value, alert.median) == (value, 0.03)
        assert alert.threshold == pytest.approx(limit)


@pytest.mark.parametrize(
    ("kpi", "direction", "far", "fires"),
    [
        ("roas", "worse", 0.1, True),
        ("roas", "worse", 90.0, False),
        ("roas", "higher", 90.0, True),
        ("cpc", "worse", 90.0, True),
        ("cpc", "worse", 0.1, False),
        ("cpc", "lower", 0.1, True),
        ("attribution_spread", "higher", 90.0, True),
    ],
)
def test_worse_side(kpi: str, direction: str, far: float, fires: bool) -> None:
    """Less is worse of returns, and more is worse of costs."""
    _, alerts = verdicts(
        rule(kpi=kpi, direction=direction), channels(kpi, 10.0, 10.5, 11.0, 11.5, far)
    )
    assert bool(alerts) is fires


def test_uncertain_value() -> None:
    """A value whose interval includes the median may be like its peers."""
    for high, why in ((0.029, Why.FIRING), (0.031, Why.NOT_SIGNIFICANT)):
        value = KpiValue(0.01, 0.005, high, 1_000)
        found, _ = verdicts(rule(), channels("conversion_rate", *USUAL, value))
        assert found["channel=c4"] is why


def test_too_few() -> None:
    """A value that is not significant, or rests on fewer than ``min_n``, is neither judged nor a
    peer.
    """
    insignificant = KpiValue(0.001, n=3, significant=False)
    for few, tried in (
        (insignificant, rule()),
        (KpiValue(0.001, n=99), rule(min_n=100)),
    ):
        found, _ = verdicts(tried, channels("conversion_rate", *USUAL, 0.03, few))
        assert found.pop("channel=c5") is Why.TOO_FEW
        assert {*found.values()} == {Why.WITHIN}
        found, _ = verdicts(tried, channels("conversion_rate", *USUAL, few))
        assert {*found.values()} == {Why.NO_PEERS}


def test_words_of_too_few() -> None:
    """A verdict names the n from which on the value would be significant."""
    tried, kpi = rule(kpi="roas"), CATALOGUE["roas"]
    value = KpiValue(0.1, n=3, significant=False)
    needed = tried.needed_n(kpi, value, Why.TOO_FEW, least_n=0)
    assert needed == kpi.min_n
    status = ScopeStatus(Scope("channel", channel="c1"), Why.TOO_FEW, value, needed)
    text = tried.status_text(status, kpi)
    assert text is not None
    assert text.en == f"too few: 3 of at least {kpi.min_n} orders"


def test_groups() -> None:
    """Peers are of one kind; channels and regions of a campaign are compared within it."""
    regions = {
        Scope("campaign_region", campaign, region=f"r{number}"): {
            "conversion_rate": KpiValue(value, n=900)
        }
        for campaign, values in (("a", (*USUAL, 0.01)), ("b", (0.009, 0.011, 0.01, 0.012, 0.01)))
        for number, value in enumerate(values)
    }
    segments = {
        Scope("segment", segment=f"s{number}"): {"conversion_rate": KpiValue(value, n=900)}
        for number, value in enumerate((*USUAL, 0.01))
    }
    values = regions | segments | channels("conversion_rate", 0.9, 0.91, 0.92, 0.93, 0.001)
    for kind, expected in (
        ("campaign_region", ["campaign=a, region=r4"]),
        ("segment", ["segment=s4"]),
        ("channel", ["channel=c4"]),
    ):
        _, alerts = verdicts(rule(scope=kind), values)
        assert list(alerts) == expected


def test_all_are_peers_of_those_that_match() -> None:
    """``match`` says who is judged, and not who is a peer."""
    values = channels("conversion_rate", *USUAL, 0.01)
    found, alerts = verdicts(rule(match={"channel": ["c4"]}), values)
    assert list(found) == list(alerts) == ["channel=c4"]


def test_unnamed_scopes() -> None:
    """Events without a channel are of none, and so have no peers."""
    values = channels("conversion_rate", *USUAL, 0.03)
    for name in ("(none)", "(direct)"):
        values[Scope("channel", channel=name)] = {"conversion_rate": KpiValue(0.001, n=900)}
    found, alerts = verdicts(rule(), values)
    assert not alerts
    assert len(found) == 5


def test_alert_that_has_no_peers_any_more() -> None:
    """An alert without peers stays for a day, as without data, and ends."""
    judge = JudgeAtOnce(RuleBook(rules=(rule(),)), lag_limit_s=30)

    def close(end_ms: int, *values: float) -> Alert:
        judge.closed(closed(channels("conversion_rate", *values), end_ms))
        (alert,) = judge.alerts()
        return alert

    assert close(NOON, 0.01, *USUAL).state is AlertState.FIRING
    alert = close(NOON + HOUR_MS, 0.01, *USUAL[1:])
    assert (alert.state, alert.median) == (AlertState.FIRING, None)
    assert judge.rule_statuses()[0].counts == {Why.FIRING: 1, Why.NO_PEERS: 3}
    alert = close(NOON + 26 * HOUR_MS, 0.01, *USUAL[1:])
    assert (alert.state, alert.ended) == (AlertState.RESOLVED, "no_data")


def test_alert_resolves_among_its_peers() -> None:
    judge = JudgeAtOnce(RuleBook(rules=(rule(),)), lag_limit_s=30)
    judge.closed(closed(channels("conversion_rate", 0.01, *USUAL)))
    assert "median of its peers 0.03, window 1h" in evidence(judge.alerts()[0])
    judge.closed(closed(channels("conversion_rate", 0.0285, *USUAL), NOON + MINUTE_MS))
    (alert,) = judge.alerts()
    assert (alert.state, alert.ended) == (AlertState.RESOLVED, "recovered")


def test_late_data() -> None:
    """Late data correct the value that an alert fired on; it is compared with the peers of now."""
    judge = JudgeAtOnce(RuleBook(rules=(rule(),)), lag_limit_s=30)
    judge.closed(closed(channels("conversion_rate", 0.01, *USUAL)))
    for value, holds in ((0.011, False), (0.0285, True)):
        judge.corrected(closed(channels("conversion_rate", value, *USUAL)))
        (alert,) = judge.alerts()
        assert alert.correction is not None
        assert (alert.correction.value, alert.correction.holds) == (value, holds)


rates = st.integers(1, 400).map(lambda part: KpiValue(part / 400, *wilson(part, 400), 400))


@given(st.lists(rates, min_size=1, max_size=12))
def test_rule_and_page_agree(values: list[KpiValue]) -> None:
    """Without a least difference, a rule fires just where the page shows a worse outlier."""
    named = channels("conversion_rate", *values)
    shown = peer_outliers.outliers(named, [CATALOGUE["conversion_rate"]])
    _, alerts = verdicts(rule(differs_by=0, by_at_least=1e-12), named)
    assert {*alerts} == {str(one.scope) for one in shown if not one.better}


@given(st.lists(rates, min_size=1, max_size=12), st.floats(0.01, 0.9))
def test_larger_difference_fires_less(values: list[KpiValue], share: float) -> None:
    """What fires with a larger least difference fires with a smaller one, too."""
    named = channels("conversion_rate", *values)
    _, few = verdicts(rule(differs_by=share), named)
    _, more = verdicts(rule(differs_by=share / 2), named)
    assert few.keys() <= more.keys()
    assert all(alert.value < (1 - share) * alert.median for alert in few.values())


@given(st.lists(st.integers(0, 5), max_size=40))
def test_groups_are_those_of_each_campaign(sizes: list[int]) -> None:
    """Groups that are gathered in steps are those of each campaign by itself."""
    values: Values = {}
    for number, size in enumerate(sizes):
        values |= channels("ctr", *(0.1 * at for at in range(2 + size)), campaign=f"k{number}")
    found = at_once(peer_groups(values, "campaign_channel", "ctr", min_n=0))
    for scope in values:
        same = [of["ctr"].value for one, of in values.items() if one.campaign == scope.campaign]
        assert found.get(scope.campaign) == peer_group(same)


def test_from_events() -> None:
    """A channel whose clicks stop becoming orders is found among the others."""
    book = RuleBook(rules=(rule(differs_by=0.5, window="5m"),))
    path = Path(rules=book)
    made: list[dict[str, Any]] = []
    for channel in range(6):
        for number in range(400):
            at = NOON + number * 700
            user = f"u{channel}-{number}"
            made.append(event(at=at, event_id=f"c{user}", user_id=user, channel=f"ch{channel}"))
            if number % (10 + channel % 2) == 0 and channel != 3:
                made.append(
                    event(
                        "order_placed",
                        at=at + 1,
                        event_id=f"o{user}",
                        order_id=user,
                        user_id=user,
                        channel=f"ch{channel}",
                    )
                )
    path.feed(sorted(made, key=lambda one: one["event_time"]), batch=50)
    path.finish()
    fired = [
        alert
        for output in path.outputs
        if output.topic == "alerts"
        and (alert := Alert.model_validate_json(output.value)).rule == "r"
        and alert.state is AlertState.FIRING
    ]
    assert {alert.scope.channel for alert in fired} == {"ch3"}
    assert fired[0].median == pytest.approx(0.1, abs=0.02)
