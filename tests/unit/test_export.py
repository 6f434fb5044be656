"""What is exported: metrics and the live picture, from one view."""

from __future__ import annotations

import json
import pathlib
import re
from dataclasses import replace
from math import sqrt
from typing import Any

import msgspec
import pytest

from models.kpi.catalogue import CATALOGUE
from models.kpi.definition import KpiValue
from models.kpi.user_catalogue import ExportRule, KpiBook
from models.scope import ALL, Scope
from models.scorecards.scorecard import ScorecardBook
from models.window import HOUR_MS, Reference
from streams import config
from streams.export.page.snapshot import live
from streams.export.report_queries import ReportQueries
from streams.export.worker_view import WorkerView
from streams.kpis.view import Comparison, Evaluation, Silence
from streams.kpis.windows.comparisons import KINDS
from tests.factories.views import metrics, queries, worker
from tests.support.offline import NOON

REFERENCES: tuple[Reference, ...] = ("previous", "last_week")
RETURNS = {
    Scope("channel", channel=f"c{number}"): {"roas": KpiValue(value, n=1_000)}
    for number, value in enumerate([1.0, 2.0, 3.0, 4.0, 5.0, 60.0])
}
"""Six channels; the median is 3.5, the distances 0.5 0.5 1.5 1.5 2.5 56.5, their median 1.5."""


def test_synthetic_campaign_has_every_kpi(view: WorkerView) -> None:
    """Every KPI that needs no earlier day has a value in the synthetic campaign."""
    text = metrics(view, queries())
    without = [
        kpi.name
        for kpi in CATALOGUE.values()
        if not kpi.looks_back  # there is no day before
        and not kpi.figures  # of campaigns only, or of earlier days
        and not re.search(rf'^{kpi.metric}{{[^}}]*scope="all"[^}}]*window="day"', text, re.M)
    ]
    assert not without


def test_a_file_says_what_is_exported_and_adds_kpis(
    view: WorkerView, repository: pathlib.Path
) -> None:
    book = config.load_kpis(repository / "config" / "kpis.yaml")
    text = metrics(view, queries(kpis=book))
    assert not re.search(r'^kpi_ctr_ratio{[^}]*scope="region"', text, re.M)
    assert not re.search(r'^kpi_clicks_count{[^}]*scope="region"[^}]*window="1m"', text, re.M)
    assert re.search(r'^kpi_clicks_count{[^}]*region="east"[^}]*window="1h"', text, re.M)
    assert "# HELP kpi_items_per_order_ratio" in text


def by_kind(text: str, metric: str) -> dict[str, float]:
    """Return the samples of a metric with the label ``scope``."""
    found = re.findall(rf'^{metric}{{scope="(\w+)"}} (.*)$', text, re.M)
    return {kind: float(value) for kind, value in found}


def test_series_limit_drops_small_campaigns(view: WorkerView) -> None:
    """The limit of series drops small campaigns, and exports how many series it left out."""
    text = metrics(view, queries(largest_series_count=600))
    exported = float(re.findall(r"^kpi_monitor_series_exported (.*)$", text, re.M)[0])
    assert exported <= 600 < exported + sum(by_kind(text, "kpi_monitor_series_left_out").values())
    assert 'scope="all"' in text


def test_snapshot_has_scorecards_and_funnels(view: WorkerView, repository: pathlib.Path) -> None:
    """The snapshot of the live page is JSON and has scorecards and funnels."""
    cards = config.load_scorecards(repository / "config" / "scorecards.yaml", catalogue=CATALOGUE)
    exports = queries(scorecards=cards)
    picture = json.loads(json.dumps(live(view, exports)))
    assert {card["card"] for card in picture["scorecards"]} == {
        one.name for one in cards.scorecards
    }
    shop = next(one for one in picture["funnels"] if one["scope"] == "all")
    names = [step["name"] for step in shop["steps"]]
    assert names == ["click", "visit", "order", "repeat"]
    assert {"registration", "lead"} <= {branch["name"] for branch in shop["branches"]}
    text = metrics(view, exports)
    assert re.search(r'^kpi_scorecard_points{campaign="618-main"', text, re.M)
    assert 'target="stretch"' in text


def test_the_live_picture_names_the_columns_of_the_page(view: WorkerView) -> None:
    picture = live(view, queries())
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


def test_comparisons_are_exported(
    compared: WorkerView,
) -> None:
    """A comparison is exported as reference, change and significance."""
    text = metrics(compared, queries())
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


def test_snapshot_has_comparisons(
    compared: WorkerView,
) -> None:
    """The snapshot of the live page has the comparisons of the scope of everything."""
    picture = json.loads(json.dumps(live(compared, queries())))
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
        "low": pytest.approx(orders / 2 - 1.96 * sqrt(1.5 * orders), rel=1e-4),
        "high": pytest.approx(orders / 2 + 1.96 * sqrt(1.5 * orders), rel=1e-4),
        "significant": True,
    }
    assert {kpi["direction"] for kpi in picture["kpis"]} == {"more", "less", "neither"}
    units = {kpi["name"]: kpi["unit"] for kpi in picture["kpis"]}
    assert (units["roas_linear"], units["roi"]) == ("multiple", "ratio")


def test_series_limit_drops_comparisons_first(compared: WorkerView, view: WorkerView) -> None:
    """The limit of series drops comparisons first, and only exported KPIs are compared."""

    def count(view: WorkerView, exports: ReportQueries) -> tuple[int, int, float]:
        text = metrics(view, exports)
        own = len(re.findall(r"^kpi_(?:(?!monitor|min_n)\w+|monitor_peer_z){", text, re.M))
        changes = len(re.findall(r"^kpi_monitor_(?:reference|change_\w+){", text, re.M))
        told = float(re.findall(r"^kpi_monitor_series_exported (.*)$", text, re.M)[0])
        return own, changes, told

    kpis, nothing, _ = count(view, queries())
    assert nothing == 0
    all_kpis, all_changes, told = count(compared, queries())
    assert (all_kpis, told) == (kpis, kpis + all_changes)
    limit = kpis + all_changes // 2
    cut = count(compared, queries(largest_series_count=limit))
    assert cut[0] == kpis
    assert 0 < cut[1] <= all_changes // 2
    text = metrics(compared, queries(largest_series_count=limit))
    left_out = by_kind(text, "kpi_monitor_comparison_series_left_out")
    assert sum(left_out.values()) == all_changes - cut[1]
    assert set(by_kind(text, "kpi_monitor_series_left_out").values()) == {0.0}
    assert count(compared, queries(largest_series_count=kpis - 1))[1] == 0
    book = KpiBook(export=(ExportRule(scopes=("all",), kpis=("orders",), windows=("1h", "day")),))
    chosen = metrics(compared, queries(kpis=book))
    assert len(re.findall(r"^kpi_monitor_reference{", chosen, re.M)) == len(REFERENCES)


def test_scores_and_funnels_are_cached(view: WorkerView, repository: pathlib.Path) -> None:
    """Scores and funnels are computed once for each evaluation."""
    cards = config.load_scorecards(repository / "config" / "scorecards.yaml", catalogue=CATALOGUE)
    exports = queries(scorecards=cards)
    kpis = view.kpis
    assert kpis is not None
    later = replace(kpis, records_per_second=1.0)
    assert exports.scores(later) is exports.scores(kpis)
    assert exports.funnels(later) is exports.funnels(kpis)
    closed = replace(kpis, latest={**kpis.latest, "1h": replace(kpis.latest["1h"])})
    assert exports.funnels(closed) is not exports.funnels(kpis)


def test_differences_are_made_once_for_each_comparison(compared: WorkerView) -> None:
    exports = queries()
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
    exports = queries()
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
    picture = json.loads(json.dumps(live(shown, queries())))
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
        ({"unsure": {"campaigns": Silence(NOON, None)}}, "0.0"),
        ({"unsure": {"clicks": Silence(NOON, None)}}, "1.0"),
        ({"window": "5m"}, None),
    ],
)
def test_peers_are_judged_on_everything_only(
    view: WorkerView, changed: dict[str, Any], count: str | None
) -> None:
    evaluation = replace(Evaluation("1h", 0, NOON, RETURNS), **changed)
    text = metrics(having(view, evaluation), queries())
    found = re.findall(r"^kpi_monitor_peer_outliers{.*} (.*)$", text, re.M)
    assert found == ([] if count is None else [count])


def test_campaigns_that_are_not_exported_are_no_peers(view: WorkerView) -> None:
    values = {Scope("campaign", scope.channel): of_scope for scope, of_scope in RETURNS.items()}
    small = frozenset(Scope("campaign", name) for name in ("c0", "c1"))
    evaluation = Evaluation("1h", 0, NOON, values, small=small)
    text = metrics(having(view, evaluation), queries())
    assert 'kpi_monitor_peer_outliers{window="1h"} 0.0' in text


def test_exhausted_budgets_of_shown_campaigns(view: WorkerView) -> None:
    """The moments at which budgets are exhausted are exported of the campaigns that are shown."""
    small = frozenset({Scope("campaign", "c1")})
    moments = {"c0": NOON, "c1": NOON + 1_000}
    evaluation = Evaluation("so_far", 0, NOON, {}, small=small, exhausted_ms=moments)
    text = metrics(having(view, evaluation), queries())
    found = re.findall(r"^kpi_monitor_budget_exhausted_timestamp_seconds(.*) (.*)$", text, re.M)
    assert [(labels, float(value)) for labels, value in found] == [('{campaign="c0"}', NOON / 1000)]


def test_farthest_outliers_are_exported(view: WorkerView) -> None:
    """Only the farthest outliers are exported, but all are counted."""
    values = {
        Scope("region", region=f"r{number}"): {"roas": KpiValue(value, n=1_000)}
        for number, value in enumerate([*range(200), *range(1_000, 1_060)])
    }
    shown = having(view, Evaluation("24h", 0, NOON, values))
    text = metrics(shown, queries())
    found = re.findall(r'^kpi_monitor_peer_z{.*region="r(.*)",scope="region"', text, re.M)
    assert sorted(map(int, found)) == [*range(210, 260)]
    assert 'kpi_monitor_peer_outliers{window="24h"} 60.0' in text


def test_worker_without_kpis() -> None:
    """A worker without a view of KPIs shows only itself."""
    exports = queries(kpis=KpiBook(), scorecards=ScorecardBook())
    picture = live(worker(None), exports)
    assert picture["owner"] is False
    assert "kpi_monitor_running 1.0" in metrics(worker(None), exports)
