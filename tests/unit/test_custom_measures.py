"""Measurements that the file of KPIs declares count like built-in ones, and are kept by name."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.aggregates import ingest_report
from models.aggregates.cell import Cell, CellWire
from models.aggregates.distinct_users import Distinct
from models.aggregates.ingest_report import FacetCell
from models.dead_letters import Reason
from models.kpi.catalogue import CATALOGUE
from models.kpi.custom_measures import CustomMeasureBook
from models.kpi.definition import Catalogue
from models.kpi.measures import FIRST_CUSTOM, LEVELS, METRICS, SET_INDEX, WIDTH, CustomNames
from models.kpi.user_catalogue import KpiBook
from models.names import shortened
from models.scope import ALL, Scope
from models.window import BEGINNING_MS, DAY_MS, HOUR_MS, MINUTE_MS, PANE_MS
from streams import config
from streams.alerting.rules.registry import RuleBook
from streams.errors import ConfigError
from streams.ingest.events.pane_aggregation import FoldingCell
from streams.kpis.calculation.kpi_calculator import KpiCalculator
from streams.kpis.columnar.custom_index import SUM_PLACES, CustomIndex
from streams.kpis.coverage.observation import Observation
from tests.factories.reports import apply, letters, reported
from tests.factories.times import UTC_DAY
from tests.support.at_once import BucketsAtOnce, settled
from tests.support.offline import NOON, RULES, ClosedKey, Path, event, ingest_job


def book(**kinds: str) -> KpiBook:
    """Return a file of KPIs that declares measurements, with a KPI of the same name for each."""
    measurements = [
        {"name": name, "kind": kind, "title_en": name, "title_zh": name}
        for name, kind in kinds.items()
    ]
    kpis = [
        {
            **{"name": name, "title_en": name, "title_zh": name, "objective": "reach"},
            **({"outcome": "orders"} if kind == "sum" else {}),
            "formula": name if kind == "sum" else f"newest({name})",
            "unit": "ratio" if kind == "share" else "count",
        }
        for name, kind in kinds.items()
    ]
    custom = CustomMeasureBook.model_validate({"measurements": measurements}).custom
    content = {"measurements": measurements, "kpis": kpis}
    return KpiBook.model_validate(content, context={"custom": custom})


def measured(metric: str, value: object, *, at: int = NOON, campaign: str = "c1") -> dict[str, Any]:
    name = f"{metric[:20]}-{campaign}-{at}"
    return event(
        "measurement", at=at, event_id=name, campaign_id=campaign, metric=metric, value=value
    )


# What a file may declare.

FILE = """\
measurements:
  - {name: samples, kind: sum, title_en: Samples, title_zh: 样品}
  - {name: reach, kind: share, title_en: Reach, title_zh: 覆盖}
kpis:
  - {name: sampling, title_en: Sampling, title_zh: 派样, formula: samples / visitors, n: visitors,
     unit: ratio, objective: reach}
"""


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("kind: sum", "kind: sums", r"line 2: measurements\[0\]\.kind: Input should be 'sum', 'l"),
        (
            "name: samples",
            "name: orders",
            r"line 2: measurements\[0\]\.name: .*'orders' has",
        ),
        ("name: samples", "name: likes", "'likes' has a meaning in formulas or events"),
        ("name: samples", "name: median", "'median' has a meaning"),
        ("name: samples", "name: class", "'class' has a meaning"),
        ("name: samples", "name: complaint_response_s", "'complaint_response_s' has a meaning"),
        ("name: samples", "name: Samples", r"measurements\[0\]\.name: use small letters"),
        (
            "name: reach",
            "name: samples",
            r"line 3: measurements: name 'samples' is given",
        ),
        (", title_zh: 样品", "", r"line 2: measurements\[0\]\.title_zh: is missing"),
        ("title_zh: 样品", "title_zh: 样品, colour: red", r"line 2: measurements\[0\]\.colour"),
        ("formula: samples", "formula: sampels", r"line 5: kpis\[0\].*did you mean samples\?"),
        ("formula: samples", "formula: reach", r"line 5: kpis\[0\].*'reach' is not known here"),
        ("n: visitors", "n: sample", r"line 5: kpis\[0\].*n: column 1: .*did you mean samples\?"),
        ("n: visitors", "n: visitors, needs: [samles]", "needs: .*did you mean samples?"),
        ("samples / visitors", "newest(reech)", "did you mean reach?"),
        ("kpis:", "kpi:", "line 4: kpi: there is no such key; did you mean kpis"),
    ],
)
def test_wrong_declaration(tmp_path: pathlib.Path, old: str, new: str, why: str) -> None:
    """A wrong declaration is refused with its file, line and key, and the nearest name."""
    path = tmp_path / "kpis.yaml"
    path.write_text(FILE)
    assert config.load_kpis(path).catalogue["sampling"].needs == ("samples",)
    path.write_text(FILE.replace(old, new, 1))
    with pytest.raises(ConfigError, match=why):
        config.load_kpis(path)


def test_too_many() -> None:
    """A file declares 100 measurements at most, so that each has a place."""
    assert FIRST_CUSTOM + len(book(**{f"m{n}": "sum" for n in range(100)}).custom.sums) < SUM_PLACES
    with pytest.raises(ValueError, match="at most 100"):
        book(**{f"m{n}": "sum" for n in range(101)})


def test_room_for_built_in_measures() -> None:
    """Built-in measures are below the custom ones, and metrics have no name twice."""
    assert max(WIDTH, len(LEVELS)) < FIRST_CUSTOM
    assert not METRICS.keys() & {"samples", "reach"}


BENCHMARK = "benchmarks:\n  sampling: {value: 0.1, source: A survey}\n"


def test_benchmark_of_a_declared_measurement(tmp_path: pathlib.Path) -> None:
    """A KPI on a declared measurement can have a benchmark, and is still calculated."""
    path = tmp_path / "kpis.yaml"
    path.write_text(FILE + BENCHMARK)
    catalogue = config.load_kpis(path).catalogue
    assert catalogue.custom.sums == ("samples",)
    kpi = catalogue["sampling"]
    assert kpi.benchmark is not None
    assert kpi.benchmark.value == 0.1
    calculator = KpiCalculator(catalogue)
    cell = Cell()
    cell.custom_sums = {FIRST_CUSTOM: 3}
    cell.users[SET_INDEX["visitors_paid"]] = Distinct(range(4))
    values = calculator.evaluate(cell, inputs=calculator.inputs_in(cell))
    assert values["sampling"].value == 0.75


def test_benchmark_of_a_wrong_kpi(tmp_path: pathlib.Path) -> None:
    """A benchmark of a KPI that is wrong itself is not reported as well."""
    path = tmp_path / "kpis.yaml"
    path.write_text(FILE.replace("samples / visitors", "sample / visitors") + BENCHMARK)
    with pytest.raises(ConfigError, match="formula") as refused:
        config.load_kpis(path)
    assert "benchmarks" not in str(refused.value)


def test_other_files_name_its_kpis(tmp_path: pathlib.Path) -> None:
    """Rules and scorecards may be about KPIs on declared measurements."""
    rules, cards = tmp_path / "rules.yaml", tmp_path / "cards.yaml"
    rules.write_text("rules:\n  - {name: r, kind: threshold, kpi: samples, above: 50}\n")
    cards.write_text(
        "scorecards:\n"
        "  - {name: card, title_en: Card, title_zh: 卡, owner: growth, scope: all, dimensions: [\n"
        "      {name: reach, title_en: Reach, title_zh: 触达, weight: 1,\n"
        "       indicators: [{kpi: reach, base: 0.1, stretch: 0.2}]}]}\n"
    )
    catalogue = book(samples="sum", reach="share").catalogue
    assert config.load_rules(rules, catalogue=catalogue).rules[0].kpi == "samples"
    assert len(config.load_scorecards(cards, catalogue=catalogue).scorecards) == 1
    with pytest.raises(ConfigError, match="no KPI named"):
        config.load_rules(rules)
    rules.write_text("rules:\n  - {name: r, kind: threshold, kpi: reach, above: 1.5}\n")
    with pytest.raises(ConfigError, match=r"rules\[0\]\.above: reach is a share, and 1.5 is 150 %"):
        config.load_rules(rules, catalogue=catalogue)
    with pytest.raises(ConfigError, match="no such KPI"):
        config.load_scorecards(cards, catalogue=CATALOGUE)


# What ingest counts.


def custom_job(**kinds: str) -> Any:
    return ingest_job("campaigns", rules=replace(RULES, custom=book(**kinds).custom))


def test_reported_by_name() -> None:
    """A report has declared sums and levels by name, and says which sums were declared."""
    job = custom_job(samples="sum", reach="share", price="level")
    apply(
        job,
        measured("samples", 3),
        measured("samples", "4.0", at=NOON + 1),
        measured("reach", 0.25, at=NOON + 2),
        measured("reach", 0.2, at=NOON + 1),
        measured("price", "19.99", at=NOON + 2),
    )
    snapshot = settled(job.snapshot())
    (cell,) = [row.cell for row in reported(snapshot).panes[NOON]]
    assert cell.custom_sums == {"samples": 7}
    assert cell.custom_levels == {"reach": (NOON + 2, 2_500), "price": (NOON + 2, 199_900)}
    (output,) = snapshot.outputs
    assert ingest_report.decode(output.value).custom == ("samples",)


@pytest.mark.parametrize(
    ("metric", "value", "why"),
    [
        ("samples", 2.5, "samples are whole numbers"),
        ("samples", -1, "negative"),
        ("reach", 1.01, "reach is a share, from 0 to 1"),
        ("price", -0.01, "negative"),
        ("nobody_knows", "NaN", "not a finite number"),
    ],
)
def test_impossible_value(metric: str, value: object, why: str) -> None:
    """A declared measurement is validated by its kind, as the built-in ones are."""
    job = custom_job(samples="sum", reach="share", price="level")
    apply(job, measured(metric, value))
    (letter,) = letters(settled(job.snapshot()))
    assert (letter.reason, why in letter.detail) == (Reason.INVALID_AMOUNT, True)


def test_unknown_metric() -> None:
    """A metric that nobody knows is counted with a sample, whatever its value, and once."""
    job = custom_job(samples="sum")
    unknown = measured("temperature", -3.5)
    long = measured("x" * 300, 1)
    apply(job, unknown, unknown, measured("samples", 1), measured("likes", 1), long)
    stats = reported(settled(job.snapshot())).stats
    assert (stats.counted, stats.duplicates, stats.dead_letters) == (4, 1, {})
    assert stats.unknown == {"metric": 2}
    assert stats.unknown_samples == {"metric": ["temperature", shortened("x" * 300)]}


@pytest.mark.parametrize(
    ("kind", "body", "rounded"),
    [
        ("orders", event("order_placed", amount=182.45000000000002), 1),
        ("orders", event("order_placed", amount="182.450000"), 0),
        ("orders", event("order_placed", amount="0.00001", currency="CNY"), 1),
        ("orders", event("order_refunded", order_id="o", amount="1.00005", currency="CNY"), 1),
        ("campaigns", event("spend_reported", amount="99.99999", currency="CNY"), 1),
        ("campaigns", event("measurement", metric="awareness", value="0.123456"), 1),
        ("campaigns", event("measurement", metric="awareness", value="0.1234"), 0),
        (
            "campaigns",
            event("campaign_defined", name="C", budget={"amount": "9.00001", "currency": "CNY"}),
            1,
        ),
        *(
            (
                "campaigns",
                event(
                    "campaign_defined",
                    name="C",
                    budget={"amount": "9", "currency": "CNY"} | part,
                ),
                rounded,
            )
            for part, rounded in (
                ({"daily": "1.00001"}, 1),
                ({"channels": {"feed": "1.00001"}}, 1),
                ({"channels": {"feed": "1.5"}, "daily": "1.0001"}, 0),
            )
        ),
        ("campaigns", event("campaign_defined", name="C"), 0),
        ("orders", event("order_placed", amount=-1.00001), 0),  # a dead letter
        ("clicks", event("click"), 0),
    ],
)
def test_rounded_amounts(kind: Any, body: dict[str, Any], rounded: int) -> None:
    """Amounts and values of more than four decimals are counted, each once."""
    job = ingest_job(kind)
    apply(job, body, body)
    assert reported(settled(job.snapshot())).stats.rounded == rounded


def test_folding_cells_merge() -> None:
    """Cells of one facet are merged with their custom measures; the newest level is kept."""
    one, two = FoldingCell(), FoldingCell()
    one.add_custom_sum("samples", 2)
    one.add_custom_level("reach", (5, 1))
    two.add_custom_sum("samples", 3)
    two.add_custom_level("reach", (4, 9))
    whole = FoldingCell()
    whole.merge(one)
    whole.merge(two)
    assert whole.to_wire().custom_sums == {"samples": 5}
    assert whole.to_wire().custom_levels == {"reach": (5, 1)}
    assert one.to_wire().custom_sums == {"samples": 2}
    assert FoldingCell().to_wire().custom_sums == {}


# What the KPI stage keeps.

NAMES = ("samples", "vouchers", "leaflets")
LEVEL_NAMES = ("reach", "price")
declarations = st.builds(
    lambda sums, levels: CustomNames(tuple(sums), tuple(levels)),
    st.permutations(NAMES).flatmap(lambda names: st.integers(1, 3).map(lambda n: names[:n])),
    st.permutations(LEVEL_NAMES),
)
deltas = st.lists(
    st.tuples(
        st.integers(0, 24 * 90),  # hours after the beginning
        st.sampled_from(["c1", "c2"]),
        st.dictionaries(st.sampled_from(NAMES), st.integers(0, 9), max_size=3),
        st.dictionaries(st.sampled_from(LEVEL_NAMES), st.integers(0, 9), max_size=2),
        st.booleans(),  # whether another report replaces it, without custom measures
        st.none() | declarations,  # the measurements declared at a restart after it
    ),
    min_size=1,
    max_size=12,
).map(lambda made: sorted(made, key=itemgetter(0)))


@settings(max_examples=60, deadline=None)
@given(deltas, declarations, declarations)
def test_kept_by_name(made: Sequence[Any], first: CustomNames, last: CustomNames) -> None:
    """Values are kept by name over restarts with other declarations, in every form of storage.

    Panes, quarters, days, all time, running sums and sums of campaigns give what plain addition
    gives, whatever expired, was spilled, retracted or read again with other numbers.
    """
    declared = first
    buckets = BucketsAtOnce(UTC_DAY, custom=declared)
    store: dict[bytes, bytes] = {}
    frontier_ms, offset = NOON, 0
    kept: list[tuple[int, str, dict[str, int], dict[str, int]]] = []

    def reopened(custom: CustomNames) -> BucketsAtOnce:
        for key, value in buckets.take_segments():
            if value is None:
                store.pop(key, None)
            else:
                store[key] = value
        opened = BucketsAtOnce(UTC_DAY, custom=custom)
        opened.restore(dict(store), frontier_ms=frontier_ms, offset=offset)
        return opened

    for hour, campaign, sums, levels, replaced, restarted in made:
        pane = NOON + hour * HOUR_MS
        known = {name: (pane, value) for name, value in levels.items()}
        wire = {pane: [FacetCell(campaign, "none", CellWire([1], [], [], {}, dict(sums), known))]}
        offset += 1
        buckets.apply(wire, retracted={}, at_offset=offset)
        kept.append((pane, campaign, {} if replaced else sums, levels))
        if replaced:
            offset += 1
            other = {pane: [FacetCell(campaign, "none", CellWire([1]))]}
            buckets.apply(other, retracted=wire, at_offset=offset)
        frontier_ms = pane + HOUR_MS
        buckets.expire(frontier_ms)
        buckets.totals(BEGINNING_MS, frontier_ms)  # running sums are extended
        if restarted is not None:
            declared = restarted
            buckets = reopened(declared)
    buckets = reopened(last)
    today_ms = frontier_ms - frontier_ms % DAY_MS
    for start in (BEGINNING_MS, today_ms - 6 * DAY_MS, today_ms, frontier_ms - HOUR_MS):
        for _ in range(2):  # the second time from the running sums
            totals = buckets.totals(start, frontier_ms)
        for scope, campaigns in ((ALL, {"c1", "c2"}), (Scope("campaign", "c1"), {"c1"})):
            expected = _added(kept, start, campaigns, last)
            assert _content(totals.get(scope, Cell()), last) == expected
    of_campaign = buckets.totals_of(["c1"], today_ms, frontier_ms)
    found = _content(of_campaign.get(Scope("campaign", "c1"), Cell()), last)
    assert found == _added(kept, today_ms, {"c1"}, last)


def _added(
    kept: Sequence[tuple[int, str, Mapping[str, int], Mapping[str, int]]],
    start: int,
    campaigns: set[str],
    names: CustomNames,
) -> tuple[dict[str, int], dict[str, tuple[int, int]]]:
    sums: dict[str, int] = {}
    levels: dict[str, tuple[int, int]] = {}
    for pane, campaign, added, measured_levels in kept:
        if pane >= start and campaign in campaigns:
            for name, value in added.items():
                sums[name] = sums.get(name, 0) + value
            for name, value in measured_levels.items():
                levels[name] = max((pane, value), levels.get(name, (pane, value)))
    return (
        {name: sums[name] for name in names.sums if sums.get(name)},
        {name: levels[name] for name in names.levels if name in levels},
    )


def _content(cell: Cell, names: CustomNames) -> tuple[dict[str, int], dict[str, tuple[int, int]]]:
    sums = {name: cell.custom_sums.get(at, 0) for at, name in enumerate(names.sums, FIRST_CUSTOM)}
    levels = {name: cell.levels.get(at) for at, name in enumerate(names.levels, FIRST_CUSTOM)}
    return (
        {name: value for name, value in sums.items() if value},
        {name: level for name, level in levels.items() if level is not None},
    )


def test_more_names_than_places(caplog: pytest.LogCaptureFixture) -> None:
    """Sums of earlier files beyond the last place are dropped, which is logged once for each.

    Declared ones always have a place.
    """
    index = CustomIndex(CustomNames(("samples",)))
    places = [index.sum_at(f"old{n}") for n in range(SUM_PLACES)]
    assert places[0] == FIRST_CUSTOM + 1
    assert places[-1] is None
    lost = {f"old{n}" for n, place in enumerate(places) if place is None}
    assert index.sum_at("old1000") is None
    assert index.left_out == lost
    assert len(caplog.messages) == len(lost) == SUM_PLACES - (SUM_PLACES - FIRST_CUSTOM - 1)
    assert "'old1000' of an earlier file of KPIs is dropped: 512 such" in caplog.text
    assert index.sum_at("samples") == FIRST_CUSTOM
    assert index.level_at("reach") == index.level_at("reach") == FIRST_CUSTOM


def test_lacking() -> None:
    """A window lacks a sum until it begins after the last pane that was made without it."""
    observation = Observation(custom_from_ms={"samples": 0, "vouchers": 0})
    observation.pane_seen(PANE_MS, measures_version=1, custom=("samples",))
    observation.pane_seen(3 * PANE_MS, measures_version=1, custom=("samples", "vouchers"))
    lacking = [observation.measured_at(pane * PANE_MS).lacking for pane in range(4)]
    assert lacking == [{"vouchers"}, {"vouchers"}, frozenset(), frozenset()]


# From events to KPIs.


def path_with(catalogue: Catalogue, **others: Any) -> Path:
    return Path(now_ms=NOON + 5 * HOUR_MS, catalogue=catalogue, **others)


def closed(path: Path, window: str, minute: int, **scope: str) -> dict[str, list[Any]]:
    """Return the KPIs of the newest window that closed up to a minute after noon."""
    wanted = ClosedKey(window, 0, **scope)
    ends = [
        key.end
        for key in path.closed
        if key._replace(end=0) == wanted and key.end <= NOON + minute * MINUTE_MS
    ]
    return path.closed[wanted._replace(end=max(ends))]


def test_absent_until_measured() -> None:
    """A KPI on a declared sum is absent, not 0, until it was measured that day; then it is 0."""
    path = path_with(book(samples="sum", reach="share").catalogue)
    clicks = [event(at=NOON + n * MINUTE_MS, event_id=f"{n}") for n in range(8)]
    path.feed([*clicks[:4], measured("samples", 5, at=NOON + 200_000), *clicks[4:]], batch=1)
    path.finish()
    assert "samples" not in closed(path, "1m", 2)
    assert closed(path, "1m", 4)["samples"][0] == 5
    assert closed(path, "1m", 6)["samples"][0] == 0
    assert "reach" not in closed(path, "1m", 6)


@pytest.mark.parametrize("kind", ["absence", "threshold"])
def test_rule_on_a_new_declaration(kind: str) -> None:
    """A rule about nothing waits until a sum was declared for a whole window, then is judged."""
    before, after = book(samples="sum"), book(samples="sum", vouchers="sum")
    rule = {"name": "none", "kind": kind, "kpi": "vouchers", "window": "5m"}
    limit = {} if kind == "absence" else {"below": 5}
    rules = RuleBook.model_validate(
        {"rules": [rule | limit]}, context={"catalogue": after.catalogue}
    )
    path = path_with(before.catalogue)

    def minutes(start: int, end: int, *metrics: str) -> None:
        for at in range(start, end):
            each = [measured(one, 100, at=NOON + at * MINUTE_MS) for one in metrics]
            path.feed(each, batch=2)
            view = path.kpis.view
            seen.update(alert.state.value for alert in view.alerts if alert.category == "kpi")

    seen: set[str] = set()
    minutes(0, 10, "samples", "vouchers")
    path.rules = rules
    path.restart(after.catalogue)
    minutes(10, 25, "samples", "vouchers")
    assert seen == set()
    minutes(25, 40, "samples")
    assert seen == {"firing"}


def test_newest_of_all_campaigns() -> None:
    """Of a declared level the newest measurement counts, also across campaigns."""
    path = path_with(book(reach="share").catalogue)
    path.feed(
        [
            measured("reach", 0.3, at=NOON + 30_000, campaign="c2"),
            measured("reach", 0.2, at=NOON + 20_000),
            measured("reach", 0.1, at=NOON + 10_000, campaign="c2"),
        ]
    )
    path.finish()
    assert closed(path, "1m", 1)["reach"][0] == 0.3
    assert closed(path, "1m", 1, scope="campaign", campaign="c1")["reach"][0] == 0.2
    assert closed(path, "1m", 1, scope="campaign", campaign="c2")["reach"][0] == 0.3


def test_restart_with_another_declaration() -> None:
    """Values are found by name; a removed sum is ignored, an added one absent before."""
    before = book(samples="sum", exposures="sum", reach="share")
    after = book(vouchers="sum", reach="share", exposures="sum")
    path = path_with(before.catalogue)

    def minutes(first: int, end: int) -> list[dict[str, Any]]:
        return [
            measured(metric, value, at=NOON + minute * MINUTE_MS + 500)
            for minute in range(first, end)
            for metric, value in (("samples", 1), ("exposures", 10), ("vouchers", 100))
        ]

    path.feed([*minutes(0, 30), measured("reach", 0.4, at=NOON + 1_799_000)], batch=9)
    path.finish()
    assert closed(path, "5m", 20)["samples"][0] == 5
    path.restart(after.catalogue)
    path.feed(minutes(33, 120), batch=9)
    path.finish()
    assert closed(path, "1h", 60)["exposures"][0] == 10 * (30 + 27)
    assert closed(path, "1h", 60)["reach"][0] == 0.4
    assert closed(path, "so_far", 60)["exposures"][0] == 10 * (30 + 27)
    assert "samples" not in closed(path, "5m", 45)
    assert "vouchers" not in closed(path, "1h", 60)
    assert "vouchers" not in closed(path, "so_far", 60)
    assert closed(path, "5m", 45)["vouchers"][0] == 500
    assert closed(path, "1h", 100)["vouchers"][0] == 6_000
    path.restart(after.catalogue)
    path.feed(minutes(120, 130), batch=9)
    path.finish()
    assert "vouchers" not in closed(path, "so_far", 120)
    assert closed(path, "1h", 125)["vouchers"][0] == 6_000
    view = path.kpis.view
    assert view is not None
    assert set(view.unknown["metric"]) == {"vouchers", "samples"}
    assert view.total("unknown/metric") == 30 + 97


def test_declared_again() -> None:
    """A sum that was removed and declared again is absent in windows that begin before that."""
    with_it, without = book(samples="sum").catalogue, book(reach="share").catalogue
    path = path_with(with_it)
    path.feed([measured("samples", 1, at=NOON + n * MINUTE_MS) for n in range(10)], batch=2)
    path.restart(without)
    path.feed([measured("samples", 1, at=NOON + n * MINUTE_MS) for n in range(10, 20)], batch=2)
    path.restart(with_it)
    path.feed([measured("samples", 1, at=NOON + n * MINUTE_MS) for n in range(20, 90)], batch=2)
    path.finish()
    assert closed(path, "5m", 8)["samples"][0] == 5
    assert "samples" not in closed(path, "5m", 22)
    assert "samples" not in closed(path, "1h", 60)
    assert closed(path, "5m", 30)["samples"][0] == 5
    assert closed(path, "1h", 85)["samples"][0] == 60


def test_period_before() -> None:
    """A KPI that compares with the period before is absent until that has the sum, too."""
    declared = book(samples="sum")
    growth = {
        **{"name": "more_samples", "title_en": "More", "title_zh": "多", "unit": "count"},
        **{"formula": "samples - previous(samples)", "objective": "reach", "outcome": "orders"},
    }
    content = declared.model_dump() | {"kpis": [growth]}
    looking_back = KpiBook.model_validate(content, context={"custom": declared.custom})
    path = path_with(CATALOGUE)
    path.feed([measured("samples", 1, at=NOON + n * MINUTE_MS) for n in range(10)], batch=2)
    path.restart(looking_back.catalogue)
    path.feed([measured("samples", n, at=NOON + n * MINUTE_MS) for n in range(10, 40)], batch=2)
    path.finish()
    assert "more_samples" not in closed(path, "5m", 16)
    assert closed(path, "5m", 30)["more_samples"][0] == 25


def test_rule_fires(tmp_path: pathlib.Path) -> None:
    """An alert rule on a declared measurement fires."""
    catalogue = book(samples="sum").catalogue
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "rules:\n  - {name: many, kind: threshold, kpi: samples, window: 1m, above: 50}\n"
    )
    path = path_with(catalogue, rules=config.load_rules(rules, catalogue=catalogue))
    path.feed([measured("samples", 99, at=NOON + n * MINUTE_MS) for n in range(5)], batch=1)
    view = path.kpis.view
    assert view is not None
    assert [alert.rule for alert in view.alerts if alert.rule == "many"]
