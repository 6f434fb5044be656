"""The catalogue: formulas, definitions, lint, and files of configuration."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from models.aggregates.cell import Cell
from models.aggregates.distinct_users import Distinct
from models.aggregates.histogram import bucket_of
from models.kpi.catalogue import CATALOGUE
from models.kpi.catalogue_customers import CUSTOMER_KPIS
from models.kpi.definition import Catalogue, Kpi, KpiValue
from models.kpi.formula import (
    LARGEST_FACTOR,
    FormulaError,
    Growth,
    Newest,
    Quantile,
    Quotient,
    Spread,
    Terms,
    Total,
    parse,
    previous,
)
from models.kpi.measures import (
    DISTRIBUTION_INDEX,
    FIRST_CUSTOM,
    LEVEL_INDEX,
    SET_INDEX,
    SUM_INDEX,
    UNIONS,
    CustomNames,
    stored_unit_of,
)
from models.kpi.user_catalogue import KpiBook
from streams import config
from streams.errors import ConfigError
from streams.kpis.calculation import confidence_intervals
from streams.kpis.calculation.kpi_calculator import KpiCalculator


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("orders", Total(((1, "orders"),))),
        (
            "revenue_gross - revenue_refunded",
            Total(((1, "revenue_gross"), (-1, "revenue_refunded"))),
        ),
        ("clicks / impressions", Quotient(((1, "clicks"),), ((1, "impressions"),))),
        ("1000 * spend/impressions", Quotient(((1, "spend"),), ((1, "impressions"),), 1000)),
        (
            "(revenue_gross - spend) / (spend + other_cost)",
            Quotient(((1, "revenue_gross"), (-1, "spend")), ((1, "spend"), (1, "other_cost"))),
        ),
        ("median(dwell_ms)", Quantile("dwell_ms", 0.5)),
        ("p90( order_amount )", Quantile("order_amount", 0.9)),
        ("newest(followers)", Newest("followers")),
        ("spread( orders_first, orders_last )", Spread(("orders_first", "orders_last"))),
        ("growth(awareness)", Growth("awareness")),
        ("visitors - previous( visitors )", Total(((1, "visitors"), (-1, "previous(visitors)")))),
        (
            "influence * (orders - previous(orders)) / previous(orders)",
            Quotient(
                ((1, "orders"), (-1, "previous(orders)")), ((1, "previous(orders)"),), "influence"
            ),
        ),
    ],
)
def test_a_formula_is_read(text: str, formula: object) -> None:
    assert parse(text) == formula


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "column 1: what is missing can't be read; write a sum like orders + leads"),
        ("clicks /", "column 9: what is missing can't be read"),
        ("clicks impressions", "column 8: 'impressions' can't be read; write"),
        ("clicks / impressions / orders", "'clicks / impressions' is no sum; a quotient is like"),
        ("orders - leads / clicks", "column 10: 'leads / clicks' is no sum"),
        ("clik / impressions", "column 1: 'clik' is not known here; did you mean clicks?"),
        ("median(orders)", "column 8: 'orders' is not known here; known: complaint_response_ms"),
        ("newest(dwell_ms)", "known: awareness"),
        ("medain(dwell_ms)", "'medain' is not known here; did you mean median?"),
        ("median(dwell_ms) / visits", "'median(dwell_ms)' stands alone"),
        ("spread(orders)", "two sums at least"),
        ("spread(orders, )", "two sums at least"),
        (
            "spread(orders, orders_first)",
            "mixes numbers (orders) with parts of orders (orders_first)",
        ),
        ("orders - orders_first", "mixes numbers (orders) with parts of orders (orders_first)"),
        ("revenue_gross - orders", "'revenue_gross - orders' mixes money (revenue_gross) with"),
        ("clicks / (spend + clicks)", "column 11: 'spend + clicks' mixes money (spend) with num"),
        ("orders + previous(spend)", "mixes numbers (orders) with money (previous(spend))"),
        ("budget - customers", "mixes money (budget) with numbers (customers)"),
        ("complaint_response_total_ms - orders", "mixes time (complaint_response_total_ms)"),
        ("orders - (leads - clicks)", "column 11: 'leads - clicks' is no name"),
        ("clicks ** 2", "column 8: '** 2' can't be read"),
        ("clicks // visits", "'clicks // visits' is no name"),
        ("previous(clicks", "column 9: '(clicks' can't be read"),
        ("orders - previous(clik)", "column 19: 'clik' is not known here; did you mean clicks?"),
        ("previous(budget)", "'previous(budget)' is not measured in a period"),
        ("luck * orders / clicks", "'luck * orders' is no sum"),
        ("1000 * orders", "'1000 * orders' is no sum; a quotient is like 2 * (a + b)"),
        ("1000000001 * orders / clicks", "'1000000001' is no factor, which is from 1 to"),
        ("0 * orders / clicks", "'0' is no factor, which is from 1 to"),
        ("-2 * orders / clicks", "'-2 * orders' is no sum"),
        ("True * orders / clicks", "can't be read"),
    ],
)
def test_a_formula_that_means_nothing_says_why(text: str, why: str) -> None:
    with pytest.raises(FormulaError) as error:
        parse(text)
    assert why in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        *("__import__('os').system('ls')", "orders.real", "orders[0]", "f()()", "orders()"),
        *("lambda: orders", "(orders := leads)", "orders if leads else clicks", "not orders"),
        *("yield orders", "await orders", "(orders for orders in leads)", "orders or leads"),
        *("orders, leads", "*orders", "spread(*orders, *leads)", "spread(**orders)", "median(x=1)"),
        *("9**9**9**9**9", "9" * 400 + "*orders/leads", "9" * 5000, "1e400 * orders / leads"),
        *("(" * 40 + "orders" + ")" * 39, "(" * 5000, "-" * 400 + "orders", "median(" * 49 + "x"),
        *("+".join(["orders"] * 5000), "a+" * 240 + "a", "orders " * 70, "x" * 500, "x" * 10**6),
        *("orders\0", "\0", "orders # leads", "orders\\", "'orders'", "f'{orders}'", "\ud800"),
        *("ｏｒｄｅｒｓ", "orders＋leads", "ordеrs", "p٩٠(dwell_ms)", "orders\u200b", "订单"),
    ],
)
def test_hostile_formula(text: str) -> None:
    """A hostile formula is refused, with a short message."""
    with pytest.raises(FormulaError) as error:
        parse(text)
    assert len(str(error.value)) < 2_500


names = st.sampled_from([*SUM_INDEX, *SET_INDEX, *UNIONS])
sums = st.lists(st.tuples(st.sampled_from([1, -1]), names, st.booleans()), min_size=1, max_size=6)
spaces = st.text(" \t\n\u3000", max_size=2)


@settings(deadline=None)
@given(over=sums, under=sums, times=st.integers(1, LARGEST_FACTOR), space=spaces)
def test_formula_round_trip(
    over: list[tuple[int, str, bool]], under: list[tuple[int, str, bool]], times: int, space: str
) -> None:
    """A formula that is written from its parts is parsed to the same parts."""

    def terms(signed: list[tuple[int, str, bool]]) -> Terms:
        return tuple((sign, previous(name) if back else name) for sign, name, back in signed)

    def text(signed: list[tuple[int, str, bool]]) -> str:
        return space.join(
            f"{'+' if sign > 0 else '-'}{space}{name}" for sign, name in terms(signed)
        )

    for one in (over, under):
        assume(len({stored_unit_of(name) for _, name, _ in one}) == 1)
    assume(len(text(over) + text(under)) < 400)
    assert parse(text(over)) == Total(terms(over))
    quotient = f"{times}{space}*{space}({text(over)}){space}/{space}({text(under)})"
    assert parse(quotient) == Quotient(terms(over), terms(under), times)


def test_built_in_catalogue_has_no_warnings() -> None:
    """The linter has no warnings about the built-in catalogue."""
    assert CATALOGUE.lint() == []


def kpi(**changed: object) -> Kpi:
    made = {
        "name": "made_up",
        "title_en": "Made up",
        "title_zh": "自造",
        "formula": "orders",
        "unit": "count",
        "outcome": "roi",
        "objective": "sales",
    }
    return Kpi.model_validate(made | changed)


@pytest.mark.parametrize(
    ("changed", "warning"),
    [
        ({"outcome": None}, "a volume without its outcome"),
        ({"objective": ""}, "serves no objective"),
        ({"outcome": "fame"}, "its outcome 'fame' is no KPI"),
        ({"formula": "orders / clicks", "unit": "ratio"}, "does not say what it rests on"),
        ({"formula": "spread(leads, orders)", "unit": "ratio"}, "does not say what it rests on"),
    ],
)
def test_lint_finds_what_is_questionable(changed: dict[str, object], warning: str) -> None:
    (found,) = CATALOGUE.with_more([kpi(**changed)]).lint()
    assert warning in found


def test_a_name_or_metric_that_is_taken_is_refused() -> None:
    with pytest.raises(ValueError, match="two KPIs have the name 'orders'"):
        CATALOGUE.with_more([kpi(name="orders")])
    with pytest.raises(ValueError, match="share a metric"):
        Catalogue([kpi(name="made"), kpi(name="made_count")])


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"formula": "orderz"}, "formula: column 1: 'orderz' is not known"),
        ({"needs": ["fame"]}, "needs: no sum named 'fame'"),
        ({"interval": "wilson"}, "wilson is for quotients"),
        (
            {"formula": "revenue_gross / spend", "n": "orders", "interval": "compound"},
            "squares: compound needs",
        ),
        ({"n": "orderz"}, "n: column 1: 'orderz' is not known"),
        ({"squares": "dwell_sm"}, "squares: column 1: 'dwell_sm' is not known"),
        ({"n": "previous(orders)"}, "n and squares are of the window"),
        ({"multiple": True}, "multiple: only ratios"),
        ({"formula": "spend", "unit": "money"}, "n: money and time are no number"),
        ({"formula": "orders / spend"}, "n: money and time are no number"),
        ({"formula": "orders", "unit": "money"}, "n: money and time are no number"),
        (
            {"formula": "spread(spend, other_cost)", "unit": "ratio"},
            "n: money and time are no number",
        ),
        (
            {"formula": "complaint_response_total_ms", "unit": "seconds"},
            "n: money and time are no number",
        ),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_definition_that_can_not_work_is_refused(changed: dict[str, object], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        kpi(**changed)


def test_a_file_adds_kpis_and_its_errors_name_the_line(tmp_path: Path) -> None:
    path = tmp_path / "kpis.yaml"
    path.write_text(
        "kpis:\n"
        "  - {name: upo, title_en: Items per order, title_zh: 件单数, unit: ratio,\n"
        "     formula: items / orders, n: orders, objective: sales}\n"
    )
    assert "upo" in config.load_kpis(path).catalogue
    path.write_text(path.read_text().replace("items /", "itemz /"))
    with pytest.raises(ConfigError, match=r"line 3: kpis\[0\].formula: .*did you mean items"):
        config.load_kpis(path)


def test_rules_may_be_about_kpis_of_the_file(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules:\n  - {name: r, kind: threshold, kpi: made_up, above: 1}\n")
    catalogue = CATALOGUE.with_more([kpi()])
    assert config.load_rules(rules, catalogue=catalogue).rules[0].kpi == "made_up"
    with pytest.raises(ConfigError, match="no KPI named"):
        config.load_rules(rules)


def test_default_exports_are_what_boards_show() -> None:
    """What the boards show is exported, unless the user's file chooses otherwise."""
    assert KpiBook().exports("ctr", "all", "month")
    assert KpiBook().exports("ctr", "campaign", "day")
    assert not KpiBook().exports("ctr", "campaign", "month")
    assert not KpiBook().exports("clicks", "campaign_region", "day")
    assert KpiBook().extras("roas", "channel", "month") == {"bounds", "comparisons"}
    assert KpiBook().extras("ctr", "all", "month") == {"n", "bounds", "comparisons"}
    book = KpiBook.model_validate({"export": [{"scopes": ["all"], "kpis": ["revenue_*"]}]})
    assert book.exports("revenue_net", "all", "1m")
    assert not book.exports("revenue_net", "campaign", "1m")
    assert not book.exports("orders", "all", "1m")


def cell(**sums: int) -> Cell:
    made = Cell()
    for name, value in sums.items():
        made.sums[SUM_INDEX[name]] = value
    return made


def values(cell: Cell) -> dict[str, KpiValue]:
    evaluator = KpiCalculator(CATALOGUE)
    return evaluator.evaluate(cell, inputs=evaluator.inputs_in(cell))


def test_roas_is_shown_as_a_multiple() -> None:
    """Returns on ad spend are shown as multiples, other ratios as percentages."""
    shown = {kpi.name: kpi.shown_unit for kpi in CATALOGUE.values() if kpi.unit == "ratio"}
    multiples = {name for name, unit in shown.items() if unit == "multiple"}
    roas = {name for name in shown if name.startswith("roas")}
    assert multiples == roas | {"revenue_cost_ratio"}
    assert kpi(unit="ratio", multiple=True).metric == "kpi_made_up_ratio"


def test_roi_and_roas_are_each_what_its_paper_says() -> None:
    made = values(cell(revenue_gross=3_000_000, spend=800_000, other_cost=200_000, spend_reports=1))
    assert made["roas"].value == 3.75
    assert made["revenue_cost_ratio"].value == 3.0
    assert made["roi"].value == 2.0
    assert made["cost"].value == 100


def test_parts_of_orders_are_shown_as_orders() -> None:
    made = values(
        cell(
            orders_attributed=1,
            orders_linear=12_500,
            revenue_linear=70_000,
            orders_first=20_000,
            revenue_first=90_000,
            spend=30_000,
            spend_reports=1,
        )
    )
    assert made["orders_linear"] == KpiValue(1.25, None, None, 1)
    assert made["orders_first_touch"] == KpiValue(2.0, None, None, 2)
    assert made["revenue_linear"] == KpiValue(7.0, None, None, 1)
    assert made["cpa_linear"] == KpiValue(2.4, None, None, 1, significant=False)
    assert made["roas_first_touch"] == KpiValue(3.0, None, None, 2, significant=False)
    # The score interval of a Poisson count of 2 is 0.5485 to 7.2930.
    cpa = made["cpa_first_touch"]
    assert (cpa.value, cpa.n) == (1.5, 2)
    assert (cpa.low, cpa.high) == pytest.approx((3 / 7.2930, 3 / 0.5485), rel=1e-4)


def test_interval_of_parts_of_orders() -> None:
    """The interval of a quotient of parts of orders is computed from whole orders."""
    share = kpi(formula="orders_first / orders_linear", unit="ratio", interval="wilson")
    plain = kpi(name="plain", formula="orders / clicks", unit="ratio", interval="wilson")
    made = cell(orders_first=30_000, orders_linear=80_000, orders=3, clicks=8)
    found = KpiCalculator(Catalogue([share, plain])).evaluate(made, inputs=0)
    assert found["made_up"] == found["plain"]


@pytest.mark.parametrize(
    ("formula", "unit", "value"),
    [
        ("revenue_gross / spend", "ratio", 20),
        ("revenue_gross / orders", "money", 100),
        ("orders / spend", "count", 0.2),
        ("1000 * orders / spend", "count", 200),
        ("orders_first / spend", "count", 0.05),
        ("spend / orders_first", "money", 20),
        ("orders_first / orders", "ratio", 0.25),
        ("complaint_response_total_ms / complaint_responses", "seconds", 30),
        ("complaint_responses / complaint_response_total_ms", "count", 2 / 60),
        ("spend / complaint_response_total_ms", "money", 50 / 60),
        ("own / orders", "money", 0.7),
        ("own", "money", 7),
        ("own / clicks", "ratio", 0.07),
    ],
)
def test_units(formula: str, unit: str, value: float) -> None:
    """Amounts are in the currency, times in seconds, in numerators as in denominators."""
    custom = CustomNames(sums=("own",))
    made = cell(
        **{"revenue_gross": 10_000_000, "spend": 500_000, "orders": 10, "clicks": 100},
        **{"orders_first": 25_000, "complaint_responses": 2, "complaint_response_total_ms": 60_000},
    )
    made.custom_sums = {FIRST_CUSTOM: 7}
    one = Kpi.model_validate(
        kpi(formula="orders").model_dump() | {"formula": formula, "unit": unit, "n": "orders"},
        context={"custom": custom},
    )
    found = KpiCalculator(Catalogue([one], custom=custom)).evaluate(made, inputs=0)
    assert found["made_up"].value == pytest.approx(value)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"formula": "revenue_gross", "n": "orders"}, "revenue_gross can't be shown as count; use"),
        ({"formula": "spend / clicks", "unit": "ratio"}, "as ratio; use money"),
        ({"formula": "orders / spend", "unit": "ratio"}, "as ratio; use count"),
        ({"formula": "orders / spend", "unit": "money"}, "as money; use count"),
        ({"formula": "revenue_gross / spend", "unit": "money"}, "as money; use count"),
        ({"formula": "orders", "unit": "money", "n": "orders"}, "as money; use count"),
        ({"formula": "orders / clicks", "unit": "money"}, "as money; use count"),
        ({"formula": "median(order_amount)", "unit": "seconds"}, "as seconds; use money"),
        ({"formula": "p90(dwell_ms)", "unit": "count"}, "as count; use seconds"),
        ({"formula": "orders_first", "unit": "ratio"}, "as ratio; use count"),
        ({"formula": "growth(followers)", "unit": "money"}, "as money; use count"),
        ({"n": "spend"}, "n: spend is money; n counts events or users"),
        (
            {"formula": "revenue_refunded / revenue_gross", "interval": "wilson"},
            "wilson is for shares of events or users",
        ),
        (
            {"formula": "revenue_gross / spend", "interval": "poisson"},
            "poisson is for quotients by a number",
        ),
        (
            {"formula": "clicks / orders", "interval": "mean", "squares": "order_amount"},
            "squares: order_amount is money, and the formula is about numbers",
        ),
    ],
)
def test_wrong_unit(changed: dict[str, object], why: str) -> None:
    """A unit, n or interval that does not fit what the formula counts is refused."""
    unit = "ratio" if "interval" in changed else "count"
    with pytest.raises(ValidationError, match=re.escape(why)):
        kpi(**{"unit": unit, "n": "orders"} | changed)


def test_attribution_that_agrees_has_no_spread() -> None:
    agreed, apart, none = (
        values(cell(orders_first=first, orders_last=last, orders_linear=linear))
        for first, last, linear in ((20_000, 20_000, 20_000), (0, 40_000, 10_000), (0, 0, 0))
    )
    assert agreed["attribution_spread"].value == 0
    assert apart["attribution_spread"] == KpiValue(1.0, None, None, 1, significant=False)
    assert "attribution_spread" not in none


def test_customers_are_absent_until_their_history_is_known() -> None:
    spent = {"orders": 2, "revenue_gross": 500_000, "spend": 100_000, "spend_reports": 1}
    customers = {kpi.name for kpi in CUSTOMER_KPIS}
    assert not customers & values(cell(**spent)).keys()
    known = values(
        cell(
            **spent,
            orders_attributed=2,
            first_orders=2,
            other_cost=60_000,
            lifetime_value=450_000,
            refunds_made=1,
            refund_outflow=50_000,
        )
    )
    assert known["new_customers"] == KpiValue(2, None, None, 2)
    assert known["cac"].value == 8.0
    assert known["clv"].value == 22.5
    assert known["refund_outflow"] == KpiValue(5.0, None, None, 1)


def test_repurchase_is_a_share_of_the_buyers() -> None:
    made = cell(orders_attributed=1)
    made.users[SET_INDEX["buyers"]] = Distinct({1, 2, 3, 4})
    made.users[SET_INDEX["returning"]] = Distinct({4})
    found = values(made)
    assert found["returning_buyers"].value == 1
    assert (found["repurchase_rate"].value, found["repurchase_rate"].n) == (0.25, 4)
    assert found["repurchase_rate"].low is not None


def test_insignificant_value_is_marked() -> None:
    """A value that rests on too few events is marked as not significant."""
    few, enough = values(cell(orders=3, clicks=99)), values(cell(orders=3, clicks=100))
    assert not few["conversion_rate"].significant
    assert enough["conversion_rate"].significant
    assert str(few["conversion_rate"]).endswith("(not significant, n=99)")


def test_distinct_users_are_united_over_what_they_did() -> None:
    made = cell(clicks=1, impressions=1)
    for name, hashes in {
        "reached": {1, 2, 3},
        "visitors_paid": {3, 4},
        "visitors_natural": {4, 5},
        "buyers": {5, 6},
        "engaged": {7},
    }.items():
        made.users[SET_INDEX[name]] = Distinct(hashes)
    found = values(made)
    assert found["unique_visitors"].value == 3
    assert found["active_users"].value == 7
    # 1 and 2 were only shown an advertisement; 3 to 7 took part, and so were reached.
    assert (found["participation_rate"].value, found["participation_rate"].n) == (5 / 7, 7)


def test_interval_of_equal_amounts() -> None:
    """If all amounts are equal, the mean is exact although the histogram rounds amounts."""
    made = cell(orders=40, revenue_gross=40 * 1_000_000)
    made.histograms[DISTRIBUTION_INDEX["order_amount"]] = {bucket_of(1_000_000): 40}
    aov = values(made)["aov"]
    assert (aov.value, aov.low, aov.high) == (100.0, 100.0, 100.0)


def test_cost_per_event_interval() -> None:
    """The interval of a cost per event follows from the Poisson interval of its count."""
    low, high = confidence_intervals.per_count(1_000.0, 10)
    # The score interval of a Poisson count of 10 is 5.43 to 18.41.
    assert (low, high) == pytest.approx((1_000 / 18.41, 1_000 / 5.43), rel=1e-3)


def test_credit_per_event_interval() -> None:
    """The lower bound of a negative cost per event is the lower number."""
    made = values(cell(spend=-1_000_000, spend_reports=1, orders=10))["cost_per_order"]
    assert made.value == -10
    assert (made.low, made.high) == pytest.approx((-100 / 5.43, -100 / 18.41), rel=1e-3)


def test_growth_is_against_the_period_before() -> None:
    then, now = Cell(), Cell()
    for cell, revenue, likes, visitors, awareness in ((then, 200, 4, 2, 40), (now, 250, 5, 5, 50)):
        cell.sums[SUM_INDEX["orders"]] = 2
        cell.sums[SUM_INDEX["revenue_gross"]] = revenue
        cell.sums[SUM_INDEX["visits"]] = cell.sums[SUM_INDEX["likes"]] = likes
        cell.users[SET_INDEX["visitors_paid"]] = Distinct(range(visitors))
        cell.levels[LEVEL_INDEX["awareness"]] = (1, awareness)
    evaluator = KpiCalculator(CATALOGUE, {"influence": 0.4})
    inputs = evaluator.inputs_in(now)
    values = evaluator.evaluate(now, inputs=inputs, before=then)
    assert values["visitors_change"] == KpiValue(3, None, None, 5, True)
    assert values["sales_growth"] == KpiValue(0.25, None, None, 2, False)
    assert values["engagement_growth"].value == 0.25
    assert values["awareness_growth"].value == 0.25
    # After nothing there is no growth, and before observation nobody knows.
    first = evaluator.evaluate(now, inputs=inputs, before=Cell())
    assert first["visitors_change"].value == 5
    assert {"sales_growth", "engagement_growth", "awareness_growth"}.isdisjoint(first)
    unknown = evaluator.evaluate(now, inputs=inputs)
    assert {"visitors_change", "sales_growth", "awareness_growth"}.isdisjoint(unknown)
    assert set(first) - set(unknown) == {"visitors_change"}


def test_without_its_coefficient_a_kpi_is_absent() -> None:
    """Revenue grew from 100 to 150 since the campaign's start; 40 % of that is marketing's."""
    figures = {"revenue_since_start": 150, "revenue_before_start": 100, "orders_since_start": 31}
    known = KpiCalculator(CATALOGUE, {"influence": 0.4})
    contribution = known.evaluate(Cell(), inputs=0, figures=figures)["sales_contribution"]
    assert contribution == KpiValue(pytest.approx(0.2), None, None, 31, True)
    unknown = KpiCalculator(CATALOGUE).evaluate(Cell(), inputs=0, figures=figures)
    assert "sales_contribution" not in unknown
    assert "sales_contribution" not in known.evaluate(Cell(), inputs=0)


def test_coefficient_is_read_from_the_file(tmp_path: Path) -> None:
    """A coefficient is read from the user's file; errors name its line."""
    path = tmp_path / "kpis.yaml"
    path.write_text("coefficients:\n  influence: 0.35\n")
    assert config.load_kpis(path).coefficients == {"influence": 0.35}
    path.write_text("coefficients:\n  influence: 35\n")
    with pytest.raises(ConfigError, match=r"line 2: coefficients\.influence"):
        config.load_kpis(path)
    path.write_text("coefficients:\n  luck: 0.35\n")
    with pytest.raises(ConfigError, match=r"line 2: coefficients"):
        config.load_kpis(path)
