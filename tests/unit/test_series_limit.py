"""However many names come in, what is exported and shown is bounded, and the largest are there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.alerts import Alert
from models.campaigns.campaign import Campaign
from models.campaigns.campaign_change import Change
from models.kpi.definition import KpiValue
from models.kpi.user_catalogue import ExportRule, KpiBook, Largest
from models.scope import ALL, Scope, others_of
from models.scorecards.scorecard import ScorecardBook
from streams.export.importance import by_importance
from streams.export.metrics.collector import LARGEST_ALERT_COUNT
from streams.export.page.snapshot import CAMPAIGNS_SHOWN, live
from streams.export.worker_view import WorkerView
from streams.kpis.view import Effect, Evaluation
from tests.factories.views import metrics, queries, worker
from tests.support.offline import NOON, UNUSED_POSITION, Path, event, kpi_job

DIRTY = 3_000
"""Channels with a click each."""


def by_kind(text: str, metric: str) -> dict[str, float]:
    """Return the samples of a metric with the label ``scope``."""
    found = re.findall(rf'^{metric}{{scope="(\w+)"}} (.*)$', text, re.M)
    return {kind: float(value) for kind, value in found}


def names_of(text: str, metric: str, part: str, scope: str) -> set[str]:
    """Return the values of a label in the samples of a metric for a kind of scope."""
    labels = [
        dict(re.findall(r'(\w+)="([^"]*)"', one))
        for one in re.findall(rf"^{metric}{{.*}}", text, re.M)
    ]
    return {one[part] for one in labels if one["scope"] == scope}


def events() -> Iterator[dict[str, Any]]:
    """Yield clicks of 3,000 channels, and clicks and orders of campaigns and usual channels."""
    for number in range(DIRTY):
        yield event(at=NOON + number, event_id=f"d{number}", channel=f"dirty-{number}")
    for number in range(60):
        of = {"campaign_id": f"c{number % 3}", "channel": "search", "user_id": f"u{number}"}
        yield event(at=NOON + number, event_id=f"s{number}", **of)
        if number % 3 == 0:
            order = {"order_id": f"o{number}", "event_id": f"o{number}"}
            yield event("order_placed", at=NOON + number, **of, **order)
    for number in range(4):
        order = {"order_id": f"p{number}", "event_id": f"p{number}", "channel": f"dirty-{number}"}
        yield event("order_placed", at=NOON + number, **order)


def shown(path: Path) -> WorkerView:
    """Return the view once windows have closed after the quarter of an hour that ranks scopes."""
    path.now_ms += 20 * 60_000
    for _ in range(3):
        path.finish()
    path.kpis.tick(UNUSED_POSITION, now_ms=path.now_ms + 10_000)
    return worker(path.kpis.view)


@pytest.fixture(scope="module")
def dirty() -> WorkerView:
    """The view of a worker whose events name 3,000 channels."""
    path = Path(campaigns=[Campaign(id=f"c{number}") for number in range(3)])
    path.kpis = kpi_job(campaigns=path.campaigns, publish=False)
    path.feed(list(events()))
    return shown(path)


def test_dirty_channels_remove_no_campaign(dirty: WorkerView) -> None:
    """3,000 channels are the 50 largest and `other`; every campaign keeps all of its series."""
    text = metrics(dirty, queries())
    channels = names_of(text, "kpi_clicks_count", "channel", "channel")
    assert len(channels) == Largest().channel + 1
    assert {"search", "dirty-0", others_of("channel").channel} <= channels
    assert names_of(text, "kpi_clicks_count", "campaign", "campaign") == {"c0", "c1", "c2"}
    assert by_kind(text, "kpi_monitor_scopes_in_other")["channel"] == DIRTY + 1 - 50
    assert set(by_kind(text, "kpi_monitor_series_left_out").values()) == {0.0}


def test_others_have_their_own_ratio(dirty: WorkerView) -> None:
    """Clicks, orders and their ratio add up: of others they are those of their events."""
    assert dirty.kpis is not None
    day = dirty.kpis.latest["day"]
    shown = [
        values
        for scope, values in day.values.items()
        if scope.kind == "channel" and scope not in day.small
    ]
    other = day.other[others_of("channel")]
    for name in ("clicks", "orders"):
        parts = [*shown, other]
        assert sum(one[name].value for one in parts) == day.values[ALL][name].value
    assert other["conversion_rate"].value == other["orders"].value / other["clicks"].value
    text = metrics(dirty, queries())
    name = others_of("channel").channel
    ratio = re.findall(
        rf'^kpi_conversion_rate_ratio{{.*channel="{re.escape(name)}".*window="day"}} (.*)$',
        text,
        re.M,
    )
    assert [float(one) for one in ratio] == [other["conversion_rate"].value]


@pytest.mark.parametrize("kind", ["campaign", "channel", "region", "segment"])
def test_every_dimension_is_cut(kind: str) -> None:
    """Each kind of name has its own limit, and each pair of names another."""
    part = {"campaign": "campaign_id"}.get(kind, kind)
    campaigns = [Campaign(id=f"{kind}-{number}") for number in range(9)]
    largest = Largest.model_validate({kind: 2})
    path = Path(campaigns=[*campaigns, Campaign(id="c1")])
    path.kpis = kpi_job(campaigns=path.campaigns, largest=largest, publish=False)
    where = {"region": "east"} if kind == "campaign" else {}
    path.feed(
        [
            event(
                "order_placed",
                at=NOON + number,
                event_id=f"{number}-{again}",
                order_id=f"{number}-{again}",
                **where,
                **{part: f"{kind}-{number}"},
            )
            for number in range(9)
            for again in range(number + 1)
        ]
    )
    everything = KpiBook(export=(ExportRule(),), largest=largest)
    text = metrics(shown(path), queries(kpis=everything))
    names = {f"{kind}-8", f"{kind}-7"}
    other = others_of(kind).labels[kind]
    assert names_of(text, "kpi_orders_count", kind, kind) == names | {other}
    for pair in ("campaign_channel", "campaign_region"):
        if kind in pair:
            assert names_of(text, "kpi_orders_count", kind, pair) <= names | {other}
            assert other in names_of(text, "kpi_orders_count", kind, pair)


def alert(number: int, **changed: Any) -> Alert:
    """Return an alert that fires for a campaign."""
    made = {
        "rule": "r",
        "severity": "warning",
        "state": "firing",
        "scope": Scope("campaign", f"c{number}"),
        "active_since_ms": NOON,
        "updated_ms": NOON,
    }
    return Alert.model_validate({**made, **changed})


def test_alerts_are_cut() -> None:
    """Of very many open alerts those about the data, and those that fire, are exported."""
    path = Path()
    path.finish()
    assert path.kpis.view is not None
    many = LARGEST_ALERT_COUNT + 100
    alerts = [
        *(alert(number, state="pending", severity="critical") for number in range(many)),
        *(alert(number, rule="fires") for number in range(many)),
        alert(0, rule="over", state="resolved"),
    ]
    text = metrics(worker(replace(path.kpis.view, alerts=alerts)), queries())
    lines = re.findall(r"^kpi_monitor_alert_active{.*}", text, re.M)
    assert len(lines) == LARGEST_ALERT_COUNT
    assert all('rule="fires"' in line for line in lines)
    left_out = by_kind(text, "kpi_monitor_alerts_left_out")
    assert left_out["campaign"] == 2 * many - LARGEST_ALERT_COUNT
    assert left_out["channel"] == 0
    text = metrics(worker(replace(path.kpis.view, alerts=alerts[:9])), queries())
    assert len(re.findall(r"^kpi_monitor_alert_active{", text, re.M)) == 9
    assert set(by_kind(text, "kpi_monitor_alerts_left_out").values()) == {0.0}


def card(match: list[str]) -> ScorecardBook:
    indicator = {"kpi": "clicks", "base": 1, "stretch": 2, "direction": "more"}
    dimension = {"name": "d", "title_en": "D", "title_zh": "D", "weight": 1}
    made = {"name": "c", "title_en": "C", "title_zh": "C", "owner": "o", "scope": "channel"}
    return ScorecardBook.model_validate(
        {
            "scorecards": [
                made | {"match": match, "dimensions": [dimension | {"indicators": [indicator]}]}
            ]
        }
    )


def test_scorecards_and_funnels_are_cut(dirty: WorkerView) -> None:
    """Small channels have no card and no funnel; one that a card names outright has its card."""
    exports = queries(scorecards=card(["*", "dirty-2999"]))
    text = metrics(dirty, exports)
    channels = names_of(text, "kpi_scorecard_coverage_ratio", "channel", "channel")
    assert len(channels) == 51
    assert "dirty-2999" in channels
    assert dirty.kpis is not None
    (named,) = [one for one in exports.scores(dirty.kpis) if one.scope.channel == "dirty-2999"]
    assert named.points is not None
    assert len(exports.funnels(dirty.kpis)) <= 1 + 50 + 3


def test_scorecards_count_as_series(dirty: WorkerView) -> None:
    """The limit of series holds for scorecards too, of the same scopes as for KPIs."""
    exports = queries(scorecards=card(["*"]), largest_series_count=1_000)
    text = metrics(dirty, exports)
    assert float(re.findall(r"^kpi_monitor_series_exported (.*)$", text, re.M)[0]) <= 1_000
    cards = names_of(text, "kpi_scorecard_points", "channel", "channel")
    channels = names_of(text, "kpi_clicks_count", "channel", "channel")
    assert cards < channels
    # Without the card of the others, and of the last channel, if that did not fit.
    assert len(channels - cards) <= 2
    assert by_kind(text, "kpi_monitor_series_left_out")["channel"] > 0


def test_limit_is_shared(dirty: WorkerView) -> None:
    """If not all series fit, channels do not take the room of campaigns."""
    whole = re.findall(r"^kpi_monitor_series_exported (.*)$", metrics(dirty, queries()), re.M)
    text = metrics(dirty, queries(largest_series_count=int(float(whole[0])) // 2))
    assert names_of(text, "kpi_clicks_count", "campaign", "campaign") == {"c0", "c1", "c2"}
    left_out = by_kind(text, "kpi_monitor_series_left_out")
    assert left_out["channel"] > 0
    assert left_out["campaign"] == 0


def test_effects_of_small_campaigns_are_not_exported(dirty: WorkerView) -> None:
    """An effect is exported if its campaign is."""
    assert dirty.kpis is not None
    values = {"clicks": KpiValue(5, n=5)}
    effects = [
        Effect(
            Change(campaign=name, at_ms=NOON, what="bid", event_id=name),
            Scope("campaign", name),
            NOON,
            60_000,
            before=values,
            after=values,
        )
        for name in ("c0", "c1")
    ]
    so_far = dirty.kpis.latest["so_far"]
    latest = {
        **dirty.kpis.latest,
        "so_far": replace(so_far, small=so_far.small | {Scope("campaign", "c1")}),
    }
    text = metrics(worker(replace(dirty.kpis, effects=effects, latest=latest)), queries())
    assert set(re.findall(r'^kpi_monitor_effect{campaign="(\w+)"', text, re.M)) == {"c0"}


volumes = st.dictionaries(
    st.one_of(
        st.builds(lambda name: Scope("campaign", name), st.sampled_from("abcdef")),
        st.builds(lambda name: Scope("channel", channel=name), st.sampled_from("abcdef")),
    ),
    st.integers(0, 5),
)


@given(st.lists(volumes, min_size=1, max_size=3))
def test_importance(windows: list[dict[Scope, int]]) -> None:
    """The n largest of each kind in any window are among the first that are shown."""
    evaluations = [
        Evaluation("1h", 0, NOON, {scope: {"clicks": KpiValue(n)} for scope, n in one.items()})
        for one in windows
    ]
    order = by_importance(evaluations, lambda *_: True)
    assert sorted(order) == sorted({scope for one in windows for scope in one})
    for one in windows:
        for kind in ("campaign", "channel"):
            ranked = sorted(
                (scope for scope in one if scope.kind == kind and one[scope]),
                key=lambda scope: (-one[scope], scope),
            )
            for place, scope in enumerate(ranked):
                # Before it come at most as many of each kind and window as in its own place.
                assert order.index(scope) < (place + 1) * 2 * len(windows)
    assert by_importance(evaluations, lambda *_: True, most=3) == order[:3]


def test_page_has_the_largest(dirty: WorkerView) -> None:
    """Of 251 campaigns the page has the 200 largest, and says how many are not shown."""
    clicks = {Scope("campaign", f"k{number:03}"): number for number in range(251)}
    values = {scope: {"clicks": KpiValue(n, n=n)} for scope, n in clicks.items()}
    assert dirty.kpis is not None
    kpis = replace(dirty.kpis, latest={"1h": Evaluation("1h", 0, NOON, values)}, stages=())
    picture = live(worker(kpis), queries())
    names = [one["campaign"] for one in picture["campaigns"]]
    assert names == [f"k{number:03}" for number in range(250, 250 - CAMPAIGNS_SHOWN, -1)]
    assert picture["not_shown"]["campaigns"] == 51
