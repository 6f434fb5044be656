"""KPIs as the papers define them, by hand-computed values."""

from __future__ import annotations

import pathlib
from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.aggregates.cell import Cell
from models.aggregates.distinct_users import EXACT_LIMIT, Distinct
from models.aggregates.histogram import bucket_of
from models.kpi.catalogue import CATALOGUE
from models.kpi.definition import Catalogue, Kpi, KpiValue
from models.kpi.measures import DISTRIBUTION_INDEX, SET_INDEX, SUM_INDEX, UNIONS, USER_SETS
from models.scope import ALL
from models.window import HOUR_MS, MINUTE_MS
from streams import config
from streams.engine.steps import at_once
from streams.errors import ConfigError
from streams.export.page.snapshot import live
from streams.kpis.calculation.kpi_calculator import KpiCalculator
from streams.kpis.columnar.user_columns import NO_USERS, UserColumns, united
from streams.kpis.view import Evaluation
from tests.factories.views import metrics, queries, synthetic_view, worker
from tests.support.customers import context
from tests.support.offline import NOON, ClosedKey, Path, event

PAPERS = {
    "S0": {
        *("impressions", "page_views", "clicks", "unique_visitors", "registration_rate", "leads"),
        *("orders", "purchase_conversion_rate", "revenue_gross", "aov", "revenue_cost_ratio"),
        *("ad_cost_ratio", "csat", "social_engagement", "brand_searches", "mentions", "followers"),
        *("awareness", "cac", "repurchase_rate", "retention_rate", "lead_activity"),
    },
    "S2": {"revenue_gross", "sales_growth", "csat", "market_share", "awareness", "clv"},
    "S3": {
        *("impressions", "cpm", "leads", "lead_rate", "cpl", "lead_conversion_rate"),
        *("mql_to_sql_rate", "opportunities", "conversion_rate", "budget_used", "cost", "roi"),
        *("sales_contribution", "nps", "engagement_growth", "favourability", "market_share"),
        *("awareness", "awareness_growth", "complaint_response_time", "new_customers", "clv"),
        *("retention_rate", "budget_used_today"),
    },
}
"""What the papers name, read from them; S1 names most of the rest."""


def cell(**sums: int) -> Cell:
    made = Cell()
    for name, value in sums.items():
        made.sums[SUM_INDEX[name]] = value
    return made


def values(cell: Cell) -> dict[str, KpiValue]:
    evaluator = KpiCalculator(CATALOGUE)
    return evaluator.evaluate(cell, inputs=evaluator.inputs_in(cell))


@pytest.mark.parametrize("paper", PAPERS)
def test_sources(paper: str) -> None:
    """A KPI's source names each paper that has it."""
    named = {kpi.name for kpi in CATALOGUE.values() if paper in kpi.source.split(", ")}
    assert named == PAPERS[paper]


def test_cost_per_lead_is_of_all_costs() -> None:
    """1,500 for advertising and 900 for channels and labour, 20 leads."""
    made = values(cell(spend=15_000_000, other_cost=9_000_000, spend_reports=3, leads=20))
    assert (made["cpl"].value, made["cpl"].n) == (120.0, 20)
    assert made["cost_per_lead_ads"].value == 75.0


def test_response_time_is_a_mean() -> None:
    """Answers after 10, 20 and 60 s: 30 s on average; the variance is to within 1 %."""
    made = cell(complaint_responses=3, complaint_response_total_ms=90_000)
    made.histograms[DISTRIBUTION_INDEX["complaint_response_ms"]] = {
        bucket_of(ms): 1 for ms in (10_000, 20_000, 60_000)
    }
    mean = values(made)["complaint_response_time"]
    margin = 1.96 * sqrt(((20**2) + (10**2) + (30**2)) / 2 / 3)
    assert (mean.value, mean.n, mean.significant) == (30.0, 3, False)
    assert mean.low == pytest.approx(30 - margin, abs=0.6)
    assert mean.high == pytest.approx(30 + margin, abs=0.6)
    assert values(made)["complaint_response_time_p90"].value == pytest.approx(20, rel=0.01)


def test_times_are_shown_in_seconds() -> None:
    """A sum of times is in ms where it is counted, and in seconds where it is shown."""
    total = Kpi(
        name="own",
        title_en="Own",
        title_zh="自有",
        formula="complaint_response_total_ms",
        unit="seconds",
        n="complaint_responses",
    )
    evaluator = KpiCalculator(Catalogue([total]))
    made = cell(complaint_responses=3, complaint_response_total_ms=90_500)
    assert evaluator.evaluate(made, inputs=0)["own"].value == 90.5


def test_every_measured_answer_counts() -> None:
    """The mean is exact, from the measurement to the closed window."""
    path = Path(now_ms=NOON + HOUR_MS)
    path.feed(
        [
            event(
                "measurement",
                at=NOON + second * 1_000,
                event_id=f"m{second}",
                metric="complaint_response_s",
                value=value,
            )
            for second, value in ((1, "0.5"), (2, "1.25"), (3, "100"))
        ]
    )
    path.feed([event(at=NOON + 2 * MINUTE_MS)])
    path.finish()
    kpis = path.closed[ClosedKey("1m", NOON + 10_000)]
    assert kpis["complaint_response_time"][0] == pytest.approx(101.75 / 3, rel=1e-12)


def test_new_and_returning_money() -> None:
    """A customer's first order of 100, then orders of 30 and 50; another's first of 20."""
    path = Path(now_ms=NOON + HOUR_MS, customers=context())
    orders = [("a", 1, "100"), ("a", 2, "30"), ("a", 3, "50"), ("b", 4, "20")]
    path.feed(
        [
            event(
                "order_placed",
                at=NOON + second * 1_000,
                event_id=f"o{second}",
                order_id=f"o{second}",
                user_id=user,
                amount=amount,
            )
            for user, second, amount in orders
        ]
        + [event("visit", at=NOON + 5_000, event_id=user, user_id=user) for user in ("c", "d")]
    )
    path.feed([event(at=NOON + 2 * MINUTE_MS)])
    path.finish()
    kpis = path.closed[ClosedKey("1m", NOON + 10_000)]
    assert {name: kpis[name][0] for name in ("revenue_new", "revenue_returning")} == {
        **{"revenue_new": 120.0, "revenue_returning": 80.0}
    }
    assert (kpis["aov_new"][0], kpis["aov_returning"][0]) == (60.0, 40.0)
    assert (kpis["aov_new"][3], kpis["aov_returning"][3]) == (2, 2)
    # a and b bought, c and d only visited.
    assert (kpis["new_customer_conversion_rate"][0], kpis["purchase_conversion_rate"][0]) == (
        *(2 / 4, 2 / 4),
    )
    assert (kpis["returning_conversion_rate"][0], kpis["returning_conversion_rate"][3]) == (
        *(1 / 4, 4),
    )


SHARES = ("participation_rate", "purchase_conversion_rate", "returning_conversion_rate")


@given(st.lists(st.sets(st.integers(1, 9)), min_size=6, max_size=6))
def test_shares_of_users(sets: list[set[int]]) -> None:
    """A share of users is never above 100 %, whoever did what, and has an interval."""
    made = cell(impressions=1, clicks=1, visits=1, orders_attributed=1)
    for index, users in enumerate(sets):
        made.users[index] = Distinct(users)
    made.users[SET_INDEX["returning"]] = Distinct(
        sets[SET_INDEX["returning"]] & sets[SET_INDEX["buyers"]]
    )
    found = values(made)
    for name in SHARES:
        if name in found:
            assert found[name].value <= 1
            assert found[name].low is not None


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.integers(-5, 5))
def test_a_part_is_never_more_than_the_whole(seed: int, more: int) -> None:
    """Also where one is counted exactly and the other is estimated."""
    rnd = np.random.default_rng(seed)
    buyers = rnd.integers(0, 2**63, EXACT_LIMIT, dtype=np.uint64)
    others = rnd.integers(0, 2**63, 5 + more, dtype=np.uint64)
    hashes = np.append(buyers, others)
    sets = np.where(
        np.arange(len(hashes)) < len(buyers),
        1 << SET_INDEX["buyers"],
        1 << SET_INDEX["reached"],
    ).astype(np.uint8)
    rows = np.zeros(len(hashes), np.int32)
    users = united([UserColumns.of(hashes, rows, sets, NO_USERS.sketches, NO_USERS.registers)])
    counts = at_once(users.counts(height=1))[0].tolist()
    by_name = dict(zip([*(one.name for one in USER_SETS), *UNIONS], counts, strict=True))
    assert by_name["buyers"] == EXACT_LIMIT <= by_name["shoppers"] <= by_name["participants"]
    assert by_name["participants"] <= by_name["active"]
    as_cell = Cell()
    as_cell.users[SET_INDEX["buyers"]] = Distinct(buyers.tolist())
    as_cell.users[SET_INDEX["reached"]] = Distinct(others.tolist())
    assert list(as_cell.counts()) == counts


BENCHMARKS = """
benchmarks:
  conversion_rate: {value: 0.02, source: "A survey, 2026"}
  cpl: {value: 80, source: "B survey, 2026"}
"""


def test_benchmarks_are_shown_and_compared(tmp_path: pathlib.Path) -> None:
    """A benchmark of the file of KPIs is exported, shown with its source, and compared."""
    path = tmp_path / "kpis.yaml"
    path.write_text(BENCHMARKS)
    book = config.load_kpis(path)
    seen = synthetic_view()
    assert seen.kpis is not None
    kpis = replace(
        seen.kpis,
        latest={
            "1h": Evaluation(
                window="1h",
                start_ms=NOON - HOUR_MS,
                end_ms=NOON,
                values={
                    ALL: {
                        "conversion_rate": KpiValue(0.03, 0.021, 0.04, 1_000),
                        "cpl": KpiValue(60.0, 50.0, 90.0, 40),
                        "ctr": KpiValue(0.1, 0.09, 0.11, 1_000),
                    }
                },
            )
        },
    )
    exports = queries(kpis=book)
    assert 'kpi_benchmark{kpi="cpl"} 80.0' in metrics(worker(kpis), exports)
    picture = live(worker(kpis), exports)
    shown = {kpi["name"]: kpi["benchmark"] for kpi in picture["kpis"] if kpi["benchmark"]}
    assert shown == {
        "conversion_rate": {"value": 0.02, "source": "A survey, 2026"},
        "cpl": {"value": 80.0, "source": "B survey, 2026"},
    }
    values = picture["totals"]["1h"]
    assert values["conversion_rate"]["against_benchmark"] == {
        "ratio": pytest.approx(0.5),
        "significant": True,
    }
    assert values["cpl"]["against_benchmark"] == {"ratio": -0.25, "significant": False}
    assert "against_benchmark" not in values["ctr"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            "benchmarks:\n  cpll: {value: 1, source: A}",
            "benchmarks.cpll: there is no such KPI; did you mean cpl",
        ),
        (
            "benchmarks:\n  orders: {value: 1, source: A}",
            "benchmarks.orders: it grows with its window",
        ),
        ("benchmarks:\n  cpl: {value: 1}", r"line 2: benchmarks\.cpl\.source"),
        ("benchmarks:\n  cpl: {value: .nan, source: A}", r"line 2: benchmarks\.cpl\.value"),
    ],
)
def test_benchmarks_that_say_nothing(tmp_path: pathlib.Path, text: str, why: str) -> None:
    """A benchmark without a source, of a volume, or of no KPI is refused."""
    path = tmp_path / "kpis.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=why):
        config.load_kpis(path)
