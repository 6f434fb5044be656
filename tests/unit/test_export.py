"""What is exported: metrics and the live picture, from one view."""

from __future__ import annotations

import json
import pathlib
import re
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from models.kpi.catalogue import CATALOGUE
from models.kpi.definition import KpiValue
from models.kpi.formula import names_in
from models.kpi.measures import PLANNED
from models.kpi.user_catalogue import ExportRule, KpiBook
from models.scope import ALL, Scope
from models.scorecards.scorecard import ScorecardBook
from models.window import HOUR_MS, BusinessDay, Reference
from streams import config
from streams.engine.contracts import Position
from streams.engine.runtime.running_job import EngineStats
from streams.export.metrics.text_format import MetricsText
from streams.export.page.snapshot import live
from streams.export.report_queries import ReportQueries
from streams.export.worker_view import WorkerView
from streams.kpis.view import Comparison, Evaluation, KpiView
from streams.kpis.windows.comparisons import KINDS
from streams.operations import synthetic
from tests.support.customers import context
from tests.support.offline import NOON, Path, Record, ingest_job

ODDITIES = synthetic.Oddities(duplicates=0, late=0, broken=0)
UTC = BusinessDay(ZoneInfo("UTC"))
REFERENCES: tuple[Reference, ...] = ("previous", "last_week")
RETURNS = {
    Scope("channel", channel=f"c{number}"): {"roas": KpiValue(value, n=1_000)}
    for number, value in enumerate([1.0, 2.0, 3.0, 4.0, 5.0, 60.0])
}
"""Six channels; the median is 3.5, the distances 0.5 0.5 1.5 1.5 2.5 56.5, their median 1.5."""


def worker(kpis: KpiView | None) -> WorkerView:
    return WorkerView(
        worker="w",
        now_ms=NOON,
        phase="running",
        clock_skew_s=0.0,
        recovery=None,
        engine=EngineStats(),
        sources=3,
        kpis=kpis,
        alerts_delivered=0,
        delivery_failures=0,
    )


@pytest.fixture(scope="module")
def view() -> WorkerView:
    """A minute of the synthetic campaign, read whole."""
    feed = synthetic.Synthetic(seed=3, clicks_per_second=40, oddities=ODDITIES)
    path, customers = Path(now_ms=NOON), context()
    path.sources = {
        (kind, 0): ingest_job(kind, campaigns=synthetic.CAMPAIGNS, customers=customers)
        for kind in ("clicks", "orders", "campaigns")
    }
    for offset, record in enumerate(feed.records(NOON, NOON + 60_000)):
        path.sources[record.topic, 0].apply(
            [Record(offset, record.due_ms, record.key, record.value)]
        )
    path.report()
    path.now_ms = NOON + 20 * 60_000  # past a quarter of an hour, at which weeks close
    path.finish()
    path.kpis.tick(Position(caught_up_at_ms=None, behind=0), now_ms=path.now_ms + 60_000)
    return worker(path.kpis.view)


def metrics(view: WorkerView, exports: ReportQueries) -> str:
    return MetricsText(lambda: view, exports).answer(accept="", accept_encoding="").body.decode()


def test_every_kpi_of_the_catalogue_has_a_value_in_the_synthetic_campaign(view: WorkerView) -> None:
    text = metrics(view, ReportQueries(day=UTC, currency="CNY"))
    without = [
        kpi.name
        for kpi in CATALOGUE.values()
        if not kpi.looks_back  # there is no day before
        and PLANNED.keys().isdisjoint(names_in(kpi.parsed))  # of campaigns only
        and not re.search(rf'^{kpi.metric}{{[^}}]*scope="all"[^}}]*window="day"', text, re.M)
    ]
    assert not without


def test_a_file_says_what_is_exported_and_adds_kpis(
    view: WorkerView, repository: pathlib.Path
) -> None:
    book = config.load_kpis(repository / "config" / "kpis.yaml")
    text = metrics(view, ReportQueries(day=UTC, currency="CNY", kpis=book))
    assert not re.search(r'^kpi_ctr_ratio{[^}]*scope="region"', text, re.M)
    assert not re.search(r'^kpi_clicks_count{[^}]*scope="region"[^}]*window="1m"', text, re.M)
    assert re.search(r'^kpi_clicks_count{[^}]*region="east"[^}]*window="1h"', text, re.M)
    assert "# HELP kpi_items_per_order_ratio" in text


def test_the_limit_of_series_cuts_small_campaigns_and_says_so(view: WorkerView) -> None:
    text = metrics(view, ReportQueries(day=UTC, currency="CNY", largest_series_count=600))
    exported = float(re.findall(r"^kpi_monitor_series_exported (.*)$", text, re.M)[0])
    left_out = float(re.findall(r"^kpi_monitor_series_left_out (.*)$", text, re.M)[0])
    assert exported <= 600 < exported + left_out
    assert 'scope="all"' in text


def test_the_live_picture_is_json_with_scorecards_and_funnels(
    view: WorkerView, repository: pathlib.Path
) -> None:
    cards = config.load_scorecards(repository / "config" / "scorecards.yaml", catalogue=CATALOGUE)
    exports = ReportQueries(day=UTC, currency="CNY", scorecards=cards)
    picture = json.loads(json.dumps(live(view, exports)))
    assert {card["card"] for card in picture["scorecards"]} == {
        one.name for one in cards.scorecards
    }
    shop = next(one for one in picture["funnels"] if one["scope"] == "all")
    names = [step["name"] for step in shop["steps"]]
    assert names == ["click", "visit", "interest", "order", "repeat"]
    text = metrics(view, exports)
    assert re.search(r'^kpi_scorecard_points{campaign="618-main"', text, re.M)
    assert 'target="stretch"' in text


def test_the_live_picture_names_the_columns_of_the_page(view: WorkerView) -> None:
    picture = live(view, ReportQueries(day=UTC, currency="CNY"))
    assert {*picture["campaign_columns"], *picture["effect_kpis"]} <= CATALOGUE.keys()
    values = {one["campaign"]: one["windows"] for one in picture["campaigns"]}
    assert values["618-main"]["1h"].keys() >= {*picture["campaign_columns"]}


def half(value: int | float) -> int | float:
    """Money stays in whole units."""
    return value / 2 if isinstance(value, float) or value % 2 else value // 2


@pytest.fixture
def compared(view: WorkerView) -> WorkerView:
    """The same view, an hour of which is compared with others whose values were half as high."""
    assert view.kpis is not None
    now = view.kpis.latest["1h"]
    then = replace(
        now,
        start_ms=now.start_ms - HOUR_MS,
        end_ms=now.end_ms - HOUR_MS,
        values={
            scope: {
                name: msgspec.structs.replace(value, value=half(value.value))
                for name, value in values.items()
            }
            for scope, values in now.values.items()
            if scope.kind in KINDS
        },
    )
    comparisons = {
        ("1h", reference): Comparison(reference, now, then) for reference in reversed(REFERENCES)
    }
    return replace(view, kpis=replace(view.kpis, comparisons=comparisons))


def test_comparisons_are_exported_as_the_reference_the_change_and_whether_it_is_chance(
    compared: WorkerView,
) -> None:
    text = metrics(compared, ReportQueries(day=UTC, currency="CNY"))
    assert compared.kpis is not None
    orders = compared.kpis.latest["1h"].values[ALL]["orders"].value
    revenue = compared.kpis.latest["1h"].values[ALL]["revenue_gross"].value
    of_all = 'campaign="",channel="",kpi="{}",reference="{}",region="",scope="all",segment=""'
    for reference in REFERENCES:
        labels = of_all.format("orders", reference) + ',window="1h"'
        assert f"kpi_monitor_reference{{{labels}}} {orders / 2}\n" in text
        assert f"kpi_monitor_change_ratio{{{labels}}} 1.0\n" in text
        assert f"kpi_monitor_change_significant{{{labels}}} 1.0\n" in text
        labels = of_all.format("revenue_gross", reference) + ',window="1h"'
        assert f"kpi_monitor_reference{{{labels}}} {revenue / 2}\n" in text
        assert f"kpi_monitor_change_significant{{{labels}}}" not in text
    kinds = set(re.findall(r'^kpi_monitor_reference{[^}]*scope="(\w+)"', text, re.M))
    assert kinds == set(KINDS)


def test_the_live_picture_tells_what_everything_together_is_compared_with(
    compared: WorkerView,
) -> None:
    picture = json.loads(json.dumps(live(compared, ReportQueries(day=UTC, currency="CNY"))))
    assert compared.kpis is not None
    now = compared.kpis.latest["1h"]
    assert picture["comparisons"].keys() == {"1h"}
    assert tuple(picture["comparisons"]["1h"]) == REFERENCES
    before = picture["comparisons"]["1h"]["previous"]
    assert (before["start"], before["end"]) == (now.start_ms, now.end_ms)
    assert before["then_end"] == now.end_ms - HOUR_MS
    orders = now.values[ALL]["orders"].value
    assert before["kpis"]["orders"] == {
        "now": orders,
        "then": orders / 2,
        "ratio": 1.0,
        "significant": True,
    }
    assert {kpi["direction"] for kpi in picture["kpis"]} == {"more", "less", "neither"}
    units = {kpi["name"]: kpi["unit"] for kpi in picture["kpis"]}
    assert (units["roas_linear"], units["roi"]) == ("multiple", "ratio")


def test_comparisons_are_cut_before_kpis_and_go_by_what_is_exported(
    compared: WorkerView, view: WorkerView
) -> None:
    def count(view: WorkerView, exports: ReportQueries) -> tuple[int, int, float]:
        text = metrics(view, exports)
        own = len(re.findall(r"^kpi_(?!monitor|min_n|scorecard|funnel)\w+{", text, re.M))
        changes = len(re.findall(r"^kpi_monitor_(?:reference|change_\w+){", text, re.M))
        told = float(re.findall(r"^kpi_monitor_series_exported (.*)$", text, re.M)[0])
        return own, changes, told

    kpis, nothing, _ = count(view, ReportQueries(day=UTC, currency="CNY"))
    assert nothing == 0
    all_kpis, all_changes, told = count(compared, ReportQueries(day=UTC, currency="CNY"))
    assert (all_kpis, told) == (kpis, kpis + all_changes)
    limit = kpis + all_changes // 2
    cut = count(compared, ReportQueries(day=UTC, currency="CNY", largest_series_count=limit))
    assert cut[0] == kpis
    assert 0 < cut[1] <= all_changes // 2
    text = metrics(compared, ReportQueries(day=UTC, currency="CNY", largest_series_count=limit))
    assert f"kpi_monitor_comparison_series_left_out {all_changes - cut[1]:.1f}" in text
    assert "kpi_monitor_series_left_out 0.0" in text
    assert (
        count(compared, ReportQueries(day=UTC, currency="CNY", largest_series_count=kpis - 1))[1]
        == 0
    )
    book = KpiBook(export=(ExportRule(scopes=("all",), kpis=("orders",), windows=("1h", "day")),))
    chosen = metrics(compared, ReportQueries(day=UTC, currency="CNY", kpis=book))
    assert len(re.findall(r"^kpi_monitor_reference{", chosen, re.M)) == len(REFERENCES)


def test_scores_and_funnels_are_made_once_for_each_evaluation(
    view: WorkerView, repository: pathlib.Path
) -> None:
    cards = config.load_scorecards(repository / "config" / "scorecards.yaml", catalogue=CATALOGUE)
    exports = ReportQueries(day=UTC, currency="CNY", scorecards=cards)
    kpis = view.kpis
    assert kpis is not None
    later = replace(kpis, records_per_second=1.0)
    assert exports.scores(later) is exports.scores(kpis)
    assert exports.funnels(later) is exports.funnels(kpis)
    closed = replace(kpis, latest={**kpis.latest, "1h": replace(kpis.latest["1h"])})
    assert exports.funnels(closed) is not exports.funnels(kpis)


def test_differences_are_made_once_for_each_comparison(compared: WorkerView) -> None:
    exports = ReportQueries(day=UTC, currency="CNY")
    assert compared.kpis is not None
    made = exports.differences(compared.kpis)
    again = exports.differences(replace(compared.kpis, records_per_second=1.0))
    assert made.keys() == {("1h", reference) for reference in REFERENCES}
    assert all(again[key] is one for key, one in made.items())


def having(view: WorkerView, evaluation: Evaluation) -> WorkerView:
    """Return the view as if that had been evaluated last, and nothing else."""
    assert view.kpis is not None
    return worker(replace(view.kpis, latest={evaluation.window: evaluation}))


def test_outliers_among_peers_are_exported(view: WorkerView) -> None:
    shown = having(view, Evaluation("1h", 0, NOON, RETURNS))
    exports = ReportQueries(day=UTC, currency="CNY")
    text = metrics(shown, exports)
    (outlier,) = re.findall(r"^kpi_monitor_peer_z({.*}) (.*)$", text, re.M)
    assert outlier[0] == (
        '{campaign="",channel="c5",kpi="roas",region="",scope="channel",segment="",window="1h"}'
    )
    assert float(outlier[1]) == pytest.approx(0.6745 * (60 - 3.5) / 1.5)
    assert 'kpi_monitor_peer_outliers{window="1h"} 1.0' in text
    assert 'kpi_monitor_peer_outliers{window="day"}' not in text
    kpis = shown.kpis
    assert kpis is not None
    assert exports.outliers(kpis)["1h"] is exports.outliers(kpis)["1h"]


def test_outliers_are_in_the_live_picture(view: WorkerView) -> None:
    shown = having(view, Evaluation("1h", 0, NOON, RETURNS))
    picture = json.loads(json.dumps(live(shown, ReportQueries(day=UTC, currency="CNY"))))
    assert picture["peers"] == {
        "1h": {
            "count": 1,
            "outliers": [
                {
                    "kpi": "roas",
                    "scope": "channel=c5",
                    "value": 60.0,
                    "median": 3.5,
                    "z": pytest.approx(0.6745 * (60 - 3.5) / 1.5),
                    "peers": 6,
                    "better": True,
                }
            ],
        }
    }


@pytest.mark.parametrize(
    ("changed", "count"),
    [
        ({"complete": False}, None),
        ({"unsure": frozenset({"campaigns"})}, "0.0"),
        ({"unsure": frozenset({"clicks"})}, "1.0"),
        ({"window": "5m"}, None),
    ],
)
def test_peers_are_judged_on_everything_only(
    view: WorkerView, changed: dict[str, Any], count: str | None
) -> None:
    evaluation = replace(Evaluation("1h", 0, NOON, RETURNS), **changed)
    text = metrics(having(view, evaluation), ReportQueries(day=UTC, currency="CNY"))
    found = re.findall(r"^kpi_monitor_peer_outliers{.*} (.*)$", text, re.M)
    assert found == ([] if count is None else [count])


def test_campaigns_that_are_not_exported_are_no_peers(view: WorkerView) -> None:
    values = {Scope("campaign", scope.channel): of_scope for scope, of_scope in RETURNS.items()}
    evaluation = Evaluation("1h", 0, NOON, values, small=frozenset({"c0", "c1"}))
    text = metrics(having(view, evaluation), ReportQueries(day=UTC, currency="CNY"))
    assert 'kpi_monitor_peer_outliers{window="1h"} 0.0' in text


def test_the_farthest_outliers_are_exported_and_all_are_counted(view: WorkerView) -> None:
    values = {
        Scope("region", region=f"r{number}"): {"roas": KpiValue(value, n=1_000)}
        for number, value in enumerate([*range(200), *range(1_000, 1_060)])
    }
    shown = having(view, Evaluation("24h", 0, NOON, values))
    text = metrics(shown, ReportQueries(day=UTC, currency="CNY"))
    found = re.findall(r'^kpi_monitor_peer_z{.*region="r(.*)",scope="region"', text, re.M)
    assert sorted(map(int, found)) == [*range(210, 260)]
    assert 'kpi_monitor_peer_outliers{window="24h"} 60.0' in text


def test_a_worker_without_the_kpis_shows_itself_only() -> None:
    exports = ReportQueries(day=UTC, currency="CNY", kpis=KpiBook(), scorecards=ScorecardBook())
    picture = live(worker(None), exports)
    assert picture["owner"] is False
    assert "kpi_monitor_running 1.0" in metrics(worker(None), exports)
