"""Scorecards: what a file may say, and what the values come to."""

from __future__ import annotations

import math
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from models.kpi.catalogue import CATALOGUE
from models.kpi.definition import KpiValue
from models.scope import ALL, Scope
from models.scorecards.indicator import Better
from models.scorecards.scorecard import Scorecard, ScorecardBook
from streams.analysis.scorecard_points import (
    IndicatorScore,
    IndicatorState,
    Score,
    attainment_of,
    points_of,
    score,
    scores,
)

TODAY = date(2026, 6, 18)
MAIN, BEAUTY = Scope("campaign", "618-main"), Scope("campaign", "618-beauty")

Values = dict[str, KpiValue]


def indicator(kpi: str, base: float, stretch: float, **more: Any) -> dict[str, Any]:
    return {"kpi": kpi, "base": base, "stretch": stretch, **more}


def dimension(name: str, *indicators: dict[str, Any], **more: Any) -> dict[str, Any]:
    more = {"weight": 1, **more}
    return {"name": name, "title_en": name, "title_zh": name, "indicators": indicators, **more}


def raw(*dimensions: dict[str, Any], **more: Any) -> dict[str, Any]:
    named = {"name": "card", "title_en": "Card", "title_zh": "卡", "owner": "growth"}
    return {**named, "dimensions": dimensions, **more}


def card(*dimensions: dict[str, Any], **more: Any) -> Scorecard:
    return Scorecard.model_validate(raw(*dimensions, **more))


def scored(one: Scorecard, values: Values, *, today: date = TODAY) -> Score:
    one.check(CATALOGUE)
    return score(one, scope=MAIN, values=values, catalogue=CATALOGUE, today=today)


def only(one: dict[str, Any], value: KpiValue | None, *, today: date = TODAY) -> IndicatorScore:
    values = {} if value is None else {one["kpi"]: value}
    return scored(card(dimension("d", one)), values, today=today).dimensions[0].indicators[0]


ORDERS = indicator("orders", 100, 200)
CLICKS = indicator("clicks", 1_000, 2_000)
CPC = indicator("cpc", 2, 1)


@pytest.mark.parametrize(
    ("value", "points", "state"),
    [
        (0, 0, "below_base"),
        (50, 30, "below_base"),
        (99, 59.4, "below_base"),
        (100, 60, "base_met"),
        (150, 80, "base_met"),
        (200, 100, "stretch_met"),
        (225, 110, "stretch_met"),
        (10_000, 120, "stretch_met"),
    ],
)
def test_points_at_base_and_stretch(value: int, points: float, state: str) -> None:
    """An indicator has 60 points at its base and 100 at its stretch target."""
    found = only(ORDERS, KpiValue(value))
    assert found.points == pytest.approx(points)
    assert found.state == state
    assert found.attainment_base == pytest.approx(min(100, value / 100))
    assert found.attainment_stretch == pytest.approx(value / 200)


@pytest.mark.parametrize(
    ("value", "points", "state", "of_base", "of_stretch"),
    [
        (8.0, 15, "below_base", 0.25, 0.125),
        (2.0, 60, "base_met", 1, 0.5),
        (1.5, 80, "base_met", 4 / 3, 2 / 3),
        (1.0, 100, "stretch_met", 2, 1),
        (0.75, 110, "stretch_met", 8 / 3, 4 / 3),
        (0.0, 120, "stretch_met", 100, 100),
    ],
)
def test_a_lower_cost_gives_more_points(
    value: float, points: float, state: str, of_base: float, of_stretch: float
) -> None:
    found = only(CPC, KpiValue(value))
    assert found.points == pytest.approx(points)
    assert found.state == state
    assert found.attainment_base == pytest.approx(of_base)
    assert found.attainment_stretch == pytest.approx(of_stretch)


@pytest.mark.parametrize(
    ("base", "value", "points", "attained"),
    [(0.05, -0.3, 0, 0), (0, -0.3, 0, 0), (0, -0.1, 30, 0.5), (0, 0, 60, 1), (0, 0.1, 80, 1.5)],
)
def test_attainment_of_negatives_and_zero(
    base: float, value: float, points: float, attained: float
) -> None:
    """A negative value has no less than 0 points, and a base of 0 gives a finite attainment."""
    found = only(indicator("roi", base, 0.2), KpiValue(value))
    assert found.points == pytest.approx(points)
    assert found.attainment_base == pytest.approx(attained)


def test_a_stretch_of_0_is_met_by_0() -> None:
    found = only(indicator("refund_rate", 0.1, 0), KpiValue(0.0))
    assert (found.points, found.state, found.attainment_stretch) == (100, "stretch_met", 1)


def test_no_data_is_not_0() -> None:
    found = scored(card(dimension("d", ORDERS, CLICKS)), {"orders": KpiValue(200)})
    assert (found.points, found.coverage) == (100, 0.5)
    missing = found.dimensions[0].indicators[1]
    assert (missing.state, missing.points, missing.value) == (IndicatorState.NO_DATA, None, None)


def test_a_value_that_is_not_a_number_is_no_data() -> None:
    assert only(CPC, KpiValue(math.nan)).state is IndicatorState.NO_DATA


def test_insignificant_value_does_not_count() -> None:
    """A value that is not significant is shown, but has no points."""
    found = only(CPC, KpiValue(0.5, n=3, significant=False))
    assert (found.state, found.value, found.n) == (IndicatorState.NOT_SIGNIFICANT, 0.5, 3)
    assert (found.attainment_base, found.points) == (4, None)


def test_an_exemption_is_shown_and_ends_on_its_day() -> None:
    exempt = indicator("orders", 100, 200, exempt_until=TODAY, exempt_reason="emerging market")
    before = only(exempt, KpiValue(10), today=date(2026, 6, 17))
    assert (before.state, before.value, before.points) == (IndicatorState.EXEMPT, 10, None)
    assert (before.exempt_until, before.exempt_reason) == (TODAY, "emerging market")
    assert only(exempt, None, today=date(2026, 6, 17)).state is IndicatorState.EXEMPT
    on_the_day = only(exempt, KpiValue(10))
    assert (on_the_day.state, on_the_day.exempt_until) == (IndicatorState.BELOW_BASE, None)


def test_a_card_on_which_nothing_counts_has_no_score() -> None:
    found = scored(card(dimension("d", ORDERS)), {})
    assert (found.points, found.coverage, found.dimensions[0].points) == (None, 0, None)


def test_dimension_without_data() -> None:
    """A dimension without data leaves the score to the others."""
    found = scored(
        card(dimension("a", ORDERS, weight=3), dimension("b", CLICKS, weight=1)),
        {"clicks": KpiValue(1_000)},
    )
    assert (found.points, found.coverage) == (60, 0.25)
    assert [(one.weight, one.coverage) for one in found.dimensions] == [(0.75, 0), (0.25, 1)]


def test_dimensions_are_weighed_by_judgements() -> None:
    one = card(
        dimension("a", ORDERS, weight=None),
        dimension("b", CLICKS, weight=None),
        judgements={"a/b": 3},
    )
    assert one.weights == pytest.approx({"a": 0.75, "b": 0.25})
    assert one.priorities is not None
    found = scored(one, {"orders": KpiValue(200), "clicks": KpiValue(1_000)})
    assert found.points == pytest.approx(90)


def test_the_profile_of_the_lifecycle_replaces_the_weights() -> None:
    parts = (dimension("a", ORDERS), dimension("b", CLICKS))
    profiles = {"launch": {"b": 80, "a": 20}, "mature": {"a": 1, "b": 0}}
    launch = card(*parts, lifecycle="launch", profiles=profiles)
    assert list(launch.weights.items()) == [("a", 0.2), ("b", 0.8)]
    mature = scored(card(*parts, lifecycle="mature", profiles=profiles), {"clicks": KpiValue(9)})
    assert (mature.points, mature.coverage) == (None, 0)


def test_weights_are_normalised() -> None:
    """Weights that do not sum to 1 or 100 are normalised, and a note says so."""
    one = card(dimension("a", ORDERS, weight=30), dimension("b", CLICKS, weight=90))
    assert one.weights == {"a": 0.25, "b": 0.75}
    assert one.notes == (
        "the weights of the dimensions sum to 120, and not to 1 or 100; normalised",
    )
    assert scored(one, {}).notes == one.notes
    assert card(dimension("a", ORDERS, weight=100)).notes == ()


@pytest.mark.parametrize(
    ("change", "where", "why"),
    [
        ({"kpi": "ordrs"}, 3, "ordrs: there is no such KPI; did you mean orders"),
        ({"stretch": 50}, 3, "more of it is better, so the stretch value must be over the base"),
        ({"kpi": "cpc"}, 3, "less of it is better, so the stretch value must be under the base"),
        ({"kpi": "stock"}, 3, "give the indicator a direction, more or less"),
        ({"direction": "less", "stretch": 1}, 3, "orders: more of it is better, not less"),
        ({"kpi": "ctr", "base": 2, "stretch": 4}, 3, "write 5 % as 0.05"),
        ({"stretch": 100}, 3, "they must differ"),
        ({"exempt_until": "2026-12-01"}, 3, "both exempt_until and exempt_reason"),
        ({"base": math.inf}, 4, "finite"),
        ({"weight": 0}, 4, "greater than 0"),
        ({"bse": 1}, 4, "Extra inputs"),
    ],
)
def test_a_wrong_indicator_is_refused_in_its_place(
    change: dict[str, Any], where: int, why: str
) -> None:
    book = {"scorecards": [raw(dimension("d", CLICKS, ORDERS | change))]}
    with pytest.raises(ValidationError) as refused:
        ScorecardBook.model_validate(book, context={"catalogue": CATALOGUE})
    first = refused.value.errors()[0]
    assert first["loc"][:6] == ("scorecards", 0, "dimensions", 0, "indicators", 1)
    assert len(first["loc"]) == where + 3
    assert why in first["msg"]


def test_unknown_kpi_names_its_card() -> None:
    """The check of a card with an unknown KPI names the card, the dimension and the KPI."""
    book = ScorecardBook(scorecards=(card(dimension("d", indicator("revenu_net", 1, 2))),))
    with pytest.raises(ValueError, match=r"card: d: revenu_net: .*did you mean revenue_net"):
        book.check(CATALOGUE)


def test_a_direction_makes_a_neutral_kpi_an_indicator() -> None:
    found = only(indicator("stock", 100, 200, direction="more"), KpiValue(150))
    assert (found.direction, found.points) == ("more", 80)


TWO = (dimension("a", ORDERS, weight=None), dimension("b", CLICKS, weight=None))


@pytest.mark.parametrize(
    ("wrong", "where", "why"),
    [
        (raw(*TWO), (), "a: has no weight, and the card has no judgements"),
        (raw(dimension("a", ORDERS), judgements={"a/b": 2}), ("judgements",), "nothing named 'b'"),
        (raw(*TWO, judgements={"a/b": 10}), ("judgements", "a/b"), "from 1/9 to 9"),
        (
            raw(TWO[0], dimension("b", CLICKS), judgements={"a/b": 2}),
            (),
            "b: give judgements or a weight",
        ),
        (
            raw(*TWO, dimension("c", CPC, weight=None), judgements={"a/b": 2, "b/c": 2}),
            ("judgements",),
            "missing: a/c",
        ),
        (
            raw(
                *TWO,
                dimension("c", CPC, weight=None),
                judgements={"a/b": 5, "b/c": 5, "a/c": "1/5"},
            ),
            ("judgements",),
            "disagrees most with the others",
        ),
        (raw(dimension("a", ORDERS), lifecycle="launch"), ("lifecycle",), "no profile for launch"),
        (
            raw(dimension("a", ORDERS), profiles={"launch": {"aa": 1}}),
            ("profiles",),
            "launch: no dimension named 'aa'; did you mean a",
        ),
        (raw(dimension("a", ORDERS), profiles={"launch": {}}), ("profiles",), "a has no weight"),
        (raw(dimension("a", ORDERS), profiles={"launch": {"a": 0}}), ("profiles",), "over 0"),
        (raw(dimension("a", ORDERS, ORDERS)), ("dimensions", 0, "indicators"), "is there twice"),
        (
            raw(dimension("a", {**ORDERS, "weight": 1}, CLICKS)),
            ("dimensions", 0, "indicators"),
            "clicks: has no weight",
        ),
        (raw(dimension("a", ORDERS), dimension("a", ORDERS)), ("dimensions",), "is there twice"),
        (raw(dimension("a", ORDERS), scope="all", match=["x"]), (), "matches nothing else"),
        (raw(dimension("a", ORDERS), scope="segment"), ("scope",), "Input should be"),
        (raw(dimension("a", ORDERS), owner=""), ("owner",), "at least 1"),
        (raw(), ("dimensions",), "at least 1"),
    ],
)
def test_a_wrong_card_is_refused_in_its_place(
    wrong: dict[str, Any], where: tuple[str, ...], why: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        Scorecard.model_validate(wrong)
    first = refused.value.errors()[0]
    assert first["loc"] == where
    assert why in first["msg"]


def test_two_cards_of_one_name_are_refused() -> None:
    with pytest.raises(ValidationError, match="card: is there twice"):
        ScorecardBook.model_validate({"scorecards": [raw(dimension("a", ORDERS))] * 2})


@pytest.mark.parametrize(
    ("scope", "match", "expected"),
    [
        ("campaign", ["618-*"], [BEAUTY, MAIN]),
        ("campaign", ["*"], [BEAUTY, MAIN]),
        ("campaign", ["absent"], [Scope("campaign", "absent")]),
        ("campaign", ["(none)"], [Scope("campaign", "(none)")]),
        ("channel", ["s*"], [Scope("channel", "", "search")]),
        ("region", ["*"], []),
        ("all", None, [ALL]),
    ],
)
def test_which_scopes_have_a_card(
    scope: str, match: list[str] | None, expected: list[Scope]
) -> None:
    """Every matching scope has a card, and a named scope has one also without data."""
    present = [
        ALL,
        MAIN,
        BEAUTY,
        Scope("campaign", "(none)"),
        Scope("campaign", "(unknown)"),
        Scope("channel", "", "search"),
        Scope("campaign_channel", "618-main", "social"),
    ]
    more = {} if match is None else {"match": match}
    one = card(dimension("d", ORDERS), scope=scope, **more)
    evaluations = {"day": {place: {"orders": KpiValue(100)} for place in present}}
    found = scores(ScorecardBook(scorecards=(one,)), evaluations, catalogue=CATALOGUE, today=TODAY)
    assert [each.scope for each in found] == expected
    assert all(each.points == (60 if each.scope in present else None) for each in found)


def test_a_window_that_has_not_closed_gives_no_data() -> None:
    one = card(dimension("d", ORDERS), scope="all", window="1h")
    evaluations = {"day": {ALL: {"orders": KpiValue(100)}}}
    book = ScorecardBook(scorecards=(one,))
    [found] = scores(book, evaluations, catalogue=CATALOGUE, today=TODAY)
    assert (found.window, found.points, found.coverage) == ("1h", None, 0)


def test_the_example_loads_and_suits_the_catalogue(repository: Path) -> None:
    example = repository / "config" / "scorecards.yaml"
    data = yaml.safe_load(example.read_text(encoding="utf-8"))
    book = ScorecardBook.model_validate(data, context={"catalogue": CATALOGUE})
    book.check(CATALOGUE)
    balanced, five, members = book.scorecards
    assert balanced.priorities is not None
    assert 0 < balanced.priorities.consistency_ratio < 0.1
    assert list(balanced.weights) == ["financial", "customer", "process", "growth"]
    assert "sum to 110" in five.notes[0]
    assert members.weights == {"reach": 0.5, "acquisition": 0.4, "returns": 0.1}
    present = [MAIN, BEAUTY, Scope("campaign", "new-members")]
    found = scores(
        book,
        {"day": {place: {"orders": KpiValue(1)} for place in present}},
        catalogue=CATALOGUE,
        today=TODAY,
    )
    assert [(each.card, each.scope.campaign) for each in found] == [
        ("618-balanced", "618-beauty"),
        ("618-balanced", "618-main"),
        ("marketing-five", "618-main"),
        ("new-members", "new-members"),
    ]


amounts = st.floats(-1e6, 1e6).map(lambda value: round(value, 4))
spans = st.floats(0.001, 1e6)
directions = st.sampled_from(["more", "less"])


@settings(deadline=None)
@given(amounts, amounts, amounts, spans, directions)
def test_points_are_monotonic_and_bounded(
    one: float, other: float, base: float, span: float, direction: Better
) -> None:
    """A better value never has fewer points, and points are between 0 and 120."""
    sign = 1 if direction == "more" else -1
    worse, better = sorted([one, other], key=lambda value: sign * value)
    stretch = base + sign * span

    def points(value: float) -> float:
        return points_of(value, base=base, stretch=stretch, direction=direction)

    assert 0 <= points(worse) <= points(better) + 1e-9
    assert points(better) <= 120
    assert points(base) == 60
    assert points(stretch) == pytest.approx(100)
    for target in (base, stretch):

        def attained(value: float, target: float = target) -> float:
            return attainment_of(value, target=target, span=span, direction=direction)

        assert 0 <= attained(worse) <= attained(better) <= 100
        assert attained(target) == 1


POOL: dict[str, tuple[float, float]] = {
    "orders": (100, 200),
    "clicks": (1_000, 2_000),
    "cpc": (2, 1),
    "roi": (0, 0.2),
    "impressions": (1e4, 2e4),
}
weights = st.floats(0.01, 100)
observed = st.dictionaries(
    st.sampled_from(sorted(POOL)),
    st.builds(KpiValue, st.floats(-1, 1e5), significant=st.booleans()),
)


def by_weights(given_: dict[str, float], *, times: float = 1, without: str = "") -> Scorecard:
    """Return a card of two dimensions: clicks and cpc, and the others."""
    sides: dict[str, list[dict[str, Any]]] = {"paid": [], "rest": []}
    for kpi, weight in given_.items():
        if kpi != without:
            side = "paid" if kpi in {"clicks", "cpc"} else "rest"
            sides[side].append(indicator(kpi, *POOL[kpi], weight=weight * times))
    side_weights = {"paid": given_["clicks"] * times, "rest": given_["orders"] * times}
    return card(
        *(dimension(name, *found, weight=side_weights[name]) for name, found in sides.items())
    )


all_weights = st.fixed_dictionaries(dict.fromkeys(POOL, weights))


@settings(deadline=None)
@given(all_weights, st.floats(0.01, 1_000), observed)
def test_scaling_all_weights_changes_nothing(
    given_: dict[str, float], times: float, values: Values
) -> None:
    one, other = (scored(by_weights(given_, times=by), values) for by in (1, times))
    assert one.points == pytest.approx(other.points)
    assert one.coverage == pytest.approx(other.coverage)


@settings(deadline=None)
@given(all_weights, observed, st.sampled_from(sorted(POOL)))
def test_indicator_without_data(given_: dict[str, float], values: Values, missing: str) -> None:
    """A card with an indicator without data has the same score as without that indicator."""
    seen = {kpi: value for kpi, value in values.items() if kpi != missing}
    with_it = scored(by_weights(given_), seen)
    without_it = scored(by_weights(given_, without=missing), seen)
    assert with_it.points == pytest.approx(without_it.points)
    assert with_it.coverage <= without_it.coverage + 1e-9
    if without_it.coverage == pytest.approx(1):
        assert with_it.coverage < without_it.coverage


@settings(deadline=None)
@given(all_weights, observed)
def test_coverage_is_the_share_of_the_weight_that_counted(
    given_: dict[str, float], values: Values
) -> None:
    found = scored(by_weights(given_), values)
    counted = [
        part.weight * one.weight
        for part in found.dimensions
        for one in part.indicators
        if one.points is not None
    ]
    assert found.coverage == pytest.approx(sum(counted))
    assert (found.points is None) == (not counted)
    assert found.points is None or 0 <= found.points <= 120 + 1e-9
