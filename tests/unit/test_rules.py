"""Rules of rules: what is refused, what is warned about, and how rules are explained."""

from __future__ import annotations

import contextlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from typer.testing import CliRunner

from models.aggregates.cell import Cell
from models.aggregates.distinct_users import Distinct
from models.campaigns.campaign import Campaign
from models.kpi.catalogue import CATALOGUE
from models.kpi.definition import Catalogue, Kpi
from models.kpi.formula import Newest
from models.kpi.measures import FIGURES, STOCKS, SUMS, USER_SETS, CustomNames
from models.kpi.user_catalogue import KpiBook
from models.kpi.value_range import range_of, why_absent
from models.names import NameBook
from models.patterns import matches, overlap
from models.scorecards.scorecard import ScorecardBook
from streams import config
from streams.alerting import rule_warnings
from streams.alerting.rule_text import explain
from streams.alerting.rule_warnings import Known
from streams.alerting.rules.registry import AnyRule, RuleBook
from streams.alerting.words import amount, duration
from streams.assembly.names import as_shown_by
from streams.cli import cli
from streams.errors import ConfigError
from streams.ingest.registry.campaign_index import CampaignIndex
from streams.kpis.calculation.kpi_calculator import KpiCalculator

CAMPAIGN: dict[str, Any] = {"scope": "campaign", "match": {"campaign": ["c1"]}}
CONTRIBUTION = {"kpi": "sales_contribution", "scope": "campaign", "window": "so_far"}


def book(*rules: dict[str, Any]) -> RuleBook:
    """Return a book of threshold rules on clicks, or what else they say."""
    named = [
        {"name": f"r{at}", "kind": "threshold", "kpi": "clicks", **rule}
        for at, rule in enumerate(rules)
    ]
    return RuleBook.model_validate({"rules": named})


def written(rule: dict[str, Any]) -> str:
    """Return a file with one rule, of which each key is on a line of its own."""
    whole = {"name": "r", "kind": "threshold", **rule}
    lines = [f"    {key}: {json.dumps(value)}" for key, value in whole.items()]
    return "rules:\n  -\n" + "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("rule", "key", "why"),
    [
        # Limits: each unit, each side.
        ({"kpi": "repurchase_rate", "below": 2}, "below", "2 is 200 %; give a fraction, such as 0"),
        ({"kpi": "repurchase_rate", "above": 90}, "above", "such as 0.9 for 90 %"),
        ({"kpi": "returning_conversion_rate", "above": 1}, "above", "never above 1"),
        ({"kpi": "new_customer_conversion_rate", "above": 1}, "above", "never above 1"),
        ({"kpi": "awareness", "above": 1}, "above", "from 0 to 1, never above 1"),
        ({"kpi": "repurchase_rate", "above": 1}, "above", "from 0 to 1, never above 1"),
        ({"kpi": "attribution_spread", "above": 1.5}, "above", "is a share"),
        ({"kpi": "clicks", "below": 9, "window": "so_far"}, "window", "of all time only grows"),
        ({"kpi": "clicks", "below": 9, "window": "day"}, "window", "below the limit every night"),
        ({"kpi": "revenue_net", "below": 9, "window": "week"}, "window", "every night"),
        ({"kpi": "clicks", "below": 0}, "below", "0 or more, never below 0.* a higher limit"),
        ({"kpi": "unique_visitors", "below": -5}, "below", "never below -5"),
        ({"kpi": "revenue_gross", "below": 0}, "below", "never below 0"),
        ({"kpi": "dwell_time", "below": 0}, "below", "never below 0"),
        ({"kpi": "followers", "below": 0}, "below", "never below 0"),
        ({"kpi": "roas", "below": 0}, "below", "never below 0"),
        ({"kpi": "clicks", "above": -1}, "above", "always above -1.* a higher limit"),
        ({"kpi": "sales_growth", "below": -1}, "below", "-1 or more, never below -1"),
        ({"kpi": "roi", "below": -1.5}, "below", "-1 or more, never below -1.5"),
        ({"kpi": "nps", "below": -100}, "below", "from -100 to 100, never below -100"),
        ({"kpi": "nps", "above": 100}, "above", "from -100 to 100, never above 100"),
        ({"kpi": "csat", "below": 1}, "below", "from 1 to 5, never below 1"),
        ({"kpi": "csat", "below": 6}, "below", "always below 6.* a lower limit"),
        ({"kpi": "clicks", "above": 10**16}, "above", "no value gets so far"),
        ({"kpi": "clicks", "above": "2%"}, "above", "give a number, without"),
        ({"kpi": "clicks", "above": "1e3"}, "above", "without quotes, unit or exponent"),
        ({"kpi": "clicks", "above": True}, "above", "give a number, without"),
        ({"kpi": "clicks"}, "below", "exactly one of below and above"),
        # Hysteresis: the wrong side, a percentage, of nothing, beyond what is possible.
        ({"kpi": "clicks", "above": 9, "hysteresis": -0.1}, "hysteresis", "from 0 to below 1"),
        ({"kpi": "clicks", "above": 9, "hysteresis": 10}, "hysteresis", "0.1 for 10 %"),
        ({"kpi": "clicks", "above": 0, "hysteresis": 0.1}, "hysteresis", "every fraction is 0"),
        ({"kpi": "csat", "below": 4.8, "hysteresis": 0.1}, "hysteresis", "resolve at 5.28"),
        ({"kpi": "roi", "above": -0.95, "hysteresis": 0.1}, "hysteresis", "-1 or more"),
        # What a value rests on.
        ({"kpi": "clicks", "below": 9, "min_n": 10}, "min_n", "the n of clicks is its value"),
        ({"kpi": "orders", "above": 9, "min_n": 1}, "min_n", "leave it out"),
        ({"kpi": "followers", "above": 9, "min_n": 2}, "min_n", "rests on one measurement"),
        ({"kpi": "awareness_growth", "above": 0.1, "min_n": 2}, "min_n", "one measurement"),
        ({"kpi": "roas", "above": 9, "min_n": -1}, "min_n", "greater than or equal to 0"),
        ({"kpi": "roas", "above": 9, "min_n": True}, "min_n", "whole number"),
        ({"kpi": "roas", "above": 9, "min_n": "5%"}, "min_n", "without quotes and unit"),
        # Durations.
        ({"kpi": "clicks", "above": 9, "for": "5m"}, "for", "300 for 5 min"),
        ({"kpi": "clicks", "above": 9, "for": True}, "for", "300 for 5 min"),
        ({"kpi": "clicks", "above": 9, "for": 1.5}, "for", "whole seconds"),
        ({"kpi": "clicks", "above": 9, "keep_firing_for": -1}, "keep_firing_for", "0 or more"),
        ({"kpi": "clicks", "above": 9, "for": 92 * 86_400 + 1}, "for", "are 92 days"),
        ({"kpi": "clicks", "above": 9, "keep_firing_for": 10**23}, "keep_firing_for", "92 days"),
        ({"kpi": "roas", "above": 9, "window": "day", "for": 86400}, "for", "begins anew"),
        # Windows and scopes in which a KPI has no value.
        ({"kpi": "sales_growth", "below": -0.5, "window": "so_far"}, "window", "period before"),
        ({"kpi": "visitors_change", "above": 5, "window": "so_far"}, "window", "period before"),
        ({"kpi": "awareness_growth", "above": 5, "window": "so_far"}, "window", "period before"),
        ({"kpi": "budget_used", "above": 1, "window": "so_far"}, "scope", "their channels only"),
        ({"kpi": "budget_used_today", "above": 1, "window": "day"}, "scope", "campaigns only"),
        ({"kpi": "budget_used_today", "above": 1, **CAMPAIGN}, "window", "window: day"),
        ({"kpi": "traffic_uplift", "above": 5, "window": "so_far"}, "scope", "campaigns only"),
        ({"kpi": "traffic_uplift", "above": 5, **CAMPAIGN}, "window", "all time only"),
        ({"kpi": "retention_rate", "below": 0.5, "window": "1h"}, "window", "day, week or month"),
        ({"kpi": "leads_open", "above": 5, "window": "so_far"}, "window", "day, week or month"),
        ({"kpi": "budget_pace", "above": 1, **CAMPAIGN}, "window", "all time only"),
        ({"kpi": "cpc", "above": 1, "scope": "region"}, "scope", "name no region"),
        ({"kpi": "roas_last_touch", "below": 1, "scope": "segment"}, "scope", "name no segment"),
        ({"kpi": "followers", "below": 1, "scope": "campaign_region"}, "scope", "name no region"),
        ({"kpi": "mentions", "above": 9, "scope": "channel"}, "scope", "scope: all or campaign"),
        ({"kpi": "mentions", "above": 9, "scope": "region"}, "scope", "scope: all or campaign"),
        ({"kpi": "stock", "below": 9, "scope": "campaign_channel"}, "scope", "name no channel"),
        # Scopes and names.
        (
            {"kpi": "clicks", "above": 9, "match": {"campaign": ["c"]}},
            "match.campaign",
            "scope all",
        ),
        ({"kpi": "clicks", "above": 9, "match": {"campain": ["c"]}}, "match.campain", "campaign?"),
        (
            {**CAMPAIGN, "kpi": "clicks", "above": 9, "match": {"campaign": []}},
            "match.campaign",
            "*",
        ),
        (
            {**CAMPAIGN, "kpi": "clicks", "above": 9, "match": {"campaign": [""]}},
            "match.campaign",
            "*",
        ),
        ({"kpi": "cliks", "above": 9}, "kpi", "did you mean clicks?"),
        ({"kpi": "clicks", "above": 9, "tresh": 4}, "tresh", "no such key"),
        (
            {"kpi": "clicks", "above": 9, "kind": None},
            "kind",
            "absence, anomaly, change, outlier, pace, persistent, range, threshold",
        ),
        ({**CAMPAIGN, "kpi": "clicks", "above": 9, "name": "Clicks"}, "name", "small letters"),
        (
            {**CAMPAIGN, "kpi": "clicks", "above": 9, "match": {"campaign": "c1"}},
            "match.campaign",
            "give a list, such as [a, b]",
        ),
        (
            {**CAMPAIGN, "kpi": "clicks", "above": 9, "match": {"campaign": [618]}},
            "match.campaign[0]",
            "a number, a date, yes and no need quotes",
        ),
        ({"kpi": "clicks", "above": 9, "match": ["c1"]}, "match", "give keys with values"),
        ({"kpi": "clicks", "above": 9, "runbook": "wiki/a"}, "runbook", "begins with http"),
        ({"kpi": "clicks", "above": 9, "kind": "absense"}, "kind", "did you mean absence?"),
        ({"kpi": "clicks", "above": 9, "window": "2h"}, "window", "'1h'"),
        # Rules of the monitor itself.
        ({**CAMPAIGN, "kpi": "clicks", "above": 9, "name": "data-late"}, "name", "another name"),
        # Absence.
        ({"kind": "absence", "kpi": "roas"}, "kpi", "no_data: fire"),
        ({"kind": "absence", "kpi": "visitors_change"}, "kpi", "be 0, while events come"),
        ({"kind": "absence", "kpi": "repeat_orders"}, "kpi", "be 0, while events come"),
        ({"kind": "absence", "kpi": "stock"}, "kpi", "use a count"),
        ({"kind": "absence", "kpi": "clicks", "window": "so_far"}, "window", "never absent again"),
        ({"kind": "absence", "kpi": "clicks", "below": 5}, "below", "no such key"),
        ({"kind": "absence", "kpi": "clicks", "no_data": "fire"}, "no_data", "leave it out"),
        ({"kind": "absence", "kpi": "spend", "scope": "region"}, "scope", "name no region"),
    ],
)
def test_refused(rule: dict[str, Any], key: str, why: str, tmp_path: Path) -> None:
    """A rule that can't mean anything is refused with its file, line and key, and what to do."""
    path = tmp_path / "rules.yaml"
    path.write_text(written(rule))
    with pytest.raises(ConfigError) as caught:
        config.load_rules(path)
    lines = path.read_text().splitlines()
    first = key.split(".")[0]
    given = [at for at, line in enumerate(lines, start=1) if line.startswith(f"    {first}: ")]
    # A key that is missing is told at the rule.
    where = f"line {given[0] if given and first else 3}: rules[0]{'.' if key else ''}{key}"
    assert (caught.value.source, caught.value.where.startswith(where)) == (str(path), True), (
        caught.value
    )
    assert all(part in caught.value.why for part in why.split(".*")), caught.value.why


@pytest.mark.parametrize(
    "rule",
    [
        {"kpi": "conversion_rate", "below": 1},
        {"kpi": "conversion_rate", "above": 1},
        {"kpi": "lead_conversion_rate", "above": 1.5},
        {"kpi": "registration_rate", "above": 1.2},
        {"kpi": "clicks", "above": 9, "for": 92 * 86_400},
        {"kpi": "mentions", "above": 9, "scope": "campaign"},
        {"kpi": "clicks", "above": 0},
        {"kpi": "clicks", "below": 1, "hysteresis": 0.5},
        {"kpi": "sales_growth", "above": 3},
        {"kpi": "visitors_change", "below": -50, "hysteresis": 0.2},
        {"kpi": "ad_cost_ratio", "above": 2},
        {"kpi": "budget_used", "above": 1.2, "scope": "campaign", "window": "so_far"},
        {"kpi": "roas", "below": 1, "window": "day", "for": 86_390},
        {"kpi": "sales_growth", "below": -0.5, "window": "week"},
        {"kpi": "spend", "below": -5},
        {"kpi": "revenue_net", "below": 0},
        {"kpi": "revenue_net", "below": 0, "window": "day"},
        {"kpi": "visitors_change", "below": -100, "window": "day"},
        {"kpi": "spend", "below": 0, "window": "month"},
        {"kpi": "traffic_uplift", "below": 100, "window": "so_far", "scope": "campaign"},
        {"kpi": "traffic_uplift", "below": -5, "window": "so_far", "scope": "campaign"},
        {"kpi": "revenue_net", "below": 9, "window": "so_far"},
        {"kpi": "revenue_gross", "below": 100, "min_n": 5},
        {"kpi": "nps", "below": -99},
        {"kind": "absence", "kpi": "spend"},
        {"kind": "absence", "kpi": "orders", "scope": "region", "match": {"region": ["east"]}},
    ],
)
def test_accepted(rule: dict[str, Any]) -> None:
    """Odd rules that mean something are accepted."""
    assert book(rule).rules


@pytest.mark.parametrize(
    ("first", "second", "refused"),
    [
        ({}, {}, True),
        ({"summary_en": "a"}, {"summary_en": "b"}, True),
        ({"match": {"campaign": ["618-*"]}}, {"match": {"campaign": ["618-main"]}}, True),
        ({"match": {"campaign": ["618-*"]}}, {"match": {"campaign": ["*-main"]}}, True),
        ({"match": {"campaign": ["a", "b"]}}, {"match": {"campaign": ["c", "b"]}}, True),
        ({"match": {"campaign": ["a*"]}}, {"match": {"campaign": ["b*"]}}, False),
        ({}, {"above": 10}, False),
        ({}, {"severity": "critical"}, False),
        ({}, {"for": 60}, False),
        ({}, {"owner": "growth"}, False),
        ({}, {"window": "1h"}, False),
        ({}, {"scope": "channel"}, False),
    ],
)
def test_same_alert_twice(first: dict[str, Any], second: dict[str, Any], refused: bool) -> None:
    """Two rules that raise the same alerts of some scope are refused."""
    common = {"above": 9, "scope": "campaign"}
    why = "match: rule 'r0' raises the same alerts"
    with pytest.raises(ValueError, match=why) if refused else contextlib.nullcontext():
        book({**common, **first}, {**common, **second})


@given(st.text("ab*?", max_size=6), st.text("ab*?", max_size=6), st.text("ab", max_size=5))
def test_overlap(one: str, other: str, name: str) -> None:
    """Patterns overlap if, and only if, some name is matched by both."""
    assert overlap(one, other) is overlap(other, one)
    if matches(name, [one]) and matches(name, [other]):
        assert overlap(one, other)


@given(st.text("ab*?", max_size=3), st.text("ab*?", max_size=3))
def test_overlap_has_a_name(one: str, other: str) -> None:
    """Of short patterns that overlap, a short name is matched by both."""
    names = [""]
    for _ in range(6):
        names += {name + char for name in names for char in "ab"} - set(names)
    assert overlap(one, other) is any(
        matches(name, [one]) and matches(name, [other]) for name in names
    )


COUNT = st.integers(0, 1_000)
USERS = st.sets(st.integers(0, 20), max_size=12)
EVALUATOR = KpiCalculator(CATALOGUE, {"influence": 0.4})


@st.composite
def cells(draw: st.DrawFn) -> Cell:
    """A cell whose parts are not larger than their wholes, as events make it."""
    sums = {measure.name: draw(COUNT) for measure in SUMS}
    sums["nps_promoters"] = draw(st.integers(0, sums["nps_answers"]))
    sums["nps_detractors"] = draw(st.integers(0, sums["nps_answers"] - sums["nps_promoters"]))
    answers = sums["csat_answers"]
    sums["csat_score"] = draw(st.integers(answers, 5 * answers))
    users = {measure.name: draw(USERS) for measure in USER_SETS}
    users["returning"] &= users["buyers"]
    most = min(sums["orders_attributed"], len(users["buyers"]))
    sums["first_orders"] = draw(st.integers(0, most))
    cell = Cell([sums[measure.name] for measure in SUMS])
    for at, measure in enumerate(USER_SETS):
        if users[measure.name]:
            cell.users[at] = Distinct(users[measure.name])
    return cell


@st.composite
def available(draw: st.DrawFn) -> dict[str, int]:
    """Figures whose parts are not larger than their wholes."""
    figures = {name: draw(COUNT) for name in FIGURES}
    figures["customers_new"] = draw(st.integers(0, figures["customers"]))
    kept = figures["customers"] - figures["customers_new"]
    figures["customers_before"] = kept + draw(COUNT)
    figures["leads_active"] = draw(st.integers(0, figures["leads_open"]))
    return figures


@given(cells(), cells(), available())
def test_range_holds(cell: Cell, before: Cell, figures: dict[str, int]) -> None:
    """No KPI of events has a value outside of its range."""
    everything = EVALUATOR.inputs_in(cell) | (1 << len(EVALUATOR.needed)) - 1
    values = EVALUATOR.evaluate(cell, inputs=everything, before=before, figures=figures)
    assume(len(values) > 10)
    for name, value in values.items():
        low, high = range_of(CATALOGUE[name])
        assert low - 1e-9 <= value.value <= high + 1e-9, name


@pytest.mark.parametrize(
    ("formula", "unit", "low", "high"),
    [
        ("clicks_paid / clicks", "ratio", 0, 1),
        ("visitors_paid / visitors", "ratio", 0, 1),
        ("visitors / active", "ratio", 0, 1),
        ("(clicks - clicks_paid) / clicks", "ratio", 0, 1),
        ("100 * (clicks - visits) / (clicks + visits)", "score", -100, 100),
        ("clicks - clicks_paid", "count", 0, math.inf),
        ("clicks_paid - clicks", "count", -math.inf, math.inf),
        ("orders - refunds", "count", -math.inf, math.inf),
        ("(spend - other_cost) / clicks", "money", -math.inf, math.inf),
        ("influence * (clicks - previous(clicks)) / previous(clicks)", "ratio", -1, math.inf),
        ("clicks / (orders - refunds)", "ratio", 0, math.inf),
        ("p90(order_amount)", "money", 0, math.inf),
        ("spread(orders, visits)", "ratio", 0, 1),
        ("(customers - customers_new) / customers_before", "ratio", 0, 1),
        ("(customers - customers_new) / visitors", "ratio", 0, math.inf),
        ("(customers - customers_before) / customers_before", "ratio", -1, math.inf),
        ("leads_open - leads_active", "users", 0, math.inf),
        ("visitors_paid_since_start / visitors_since_start", "ratio", 0, 1),
        ("visitors_since_start - visitors_before_start", "users", -math.inf, math.inf),
        ("budget_due / budget", "ratio", 0, 1),
        ("revenue_new / revenue_gross", "ratio", 0, 1),
        ("complaint_response_total_ms / complaint_responses", "seconds", 0, math.inf),
        ("buyers / shoppers", "ratio", 0, 1),
        ("returning / participants", "ratio", 0, 1),
        ("first_orders / buyers", "ratio", 0, 1),
        ("first_orders / visitors", "ratio", 0, math.inf),
        ("(clicks - clicks_paid) / impressions", "ratio", 0, math.inf),
        ("spread(spend, revenue_gross)", "ratio", -math.inf, math.inf),
    ],
)
def test_range_of_formula(formula: str, unit: str, low: float, high: float) -> None:
    """The range of a KPI of one's own follows from its formula."""
    own = {"name": "own", "title_en": "Own", "title_zh": "自有", "n": "orders"}
    kpi = Kpi.model_validate(own | {"formula": formula, "unit": unit})
    assert range_of(kpi) == (low, high)


@pytest.mark.parametrize(
    ("formula", "low", "high"),
    [
        ("samples", 0, math.inf),
        ("samples / visitors", 0, math.inf),
        ("newest(reach)", 0, 1),
        ("newest(depth)", 0, math.inf),
        ("spread(samples, orders)", 0, 1),
    ],
)
def test_range_of_custom_measures(formula: str, low: float, high: float) -> None:
    """Declared sums and levels are not negative, and shares are 1 at most."""
    custom = CustomNames(("samples",), ("reach", "depth"), frozenset({"reach"}))
    told = {"name": "own", "title_en": "Own", "title_zh": "自有", "unit": "ratio"}
    kpi = Kpi.model_validate(told | {"formula": formula}, context={"custom": custom})
    assert range_of(kpi) == (low, high)


def test_every_kpi_can_be_judged_somewhere() -> None:
    """Each KPI has a scope and a window in which rules about it are accepted."""
    for kpi in CATALOGUE.values():
        assert any(
            why_absent(kpi, scope=scope, window=window) is None
            for scope in ("all", "campaign")
            for window in ("5m", "day", "so_far")
        )
        low, high = range_of(kpi)
        middle = max(low, -5.0) / 2 + min(high, 5.0) / 2
        assert low < middle < high
        if not isinstance(kpi.parsed, Newest):
            stock = not kpi.figures.isdisjoint(STOCKS)
            assert kpi.has_n or kpi.additive or kpi.looks_back or stock


SENTENCES = [
    (
        {
            "kpi": "conversion_rate",
            "scope": "campaign",
            "match": {"campaign": ["618-main"]},
            "below": 0.02,
            "min_n": 500,
            "hysteresis": 0.1,
            "for": 60,
            "keep_firing_for": 90,
            "severity": "critical",
            "owner": "growth",
        },
        "fires when conversion rate of campaign 618-main over 5 min is surely below 2 % (from at "
        "least 500 clicks), for 1 min; resolves once it is 2.2 % or more, for 1 min 30 s; without "
        "data it stays as it is for up to a day; critical, for growth",
        "当活动 618-main 在最近 5 分钟的转化率确定低于 2%（样本量至少 500），持续 1 分钟时触发；"
        "回到 2.2%或以上，持续 1 分钟 30 秒后恢复；无数据时告警最多保持 1 天不变；"
        "级别严重，负责人 growth",
    ),
    (
        {"kpi": "clicks", "above": 6000, "window": "1m", "severity": "info"},
        "fires when clicks over 1 min are above 6,000; resolves once they are 6,000 or less; "
        "without data it stays as it is for up to a day; info",
        "当全部数据最近 1 分钟的点击次数高于 6,000 时触发；回到 6,000 或以下后恢复；"
        "无数据时告警最多保持 1 天不变；级别提示",
    ),
    (
        {
            "kpi": "orders",
            "below": 1,
            "window": "1h",
            "scope": "campaign_channel",
            "match": {"campaign": ["c1", "618-*"], "channel": ["search", "feed"]},
            "no_data": "resolve",
        },
        "fires when orders of channel search or feed in campaign c1, or any campaign like 618-* "
        "over 1 h while it runs are below 1; resolves once they are 1 or more; nothing at all "
        "counts as 0; resolves without data; warning",
        "当活动 c1 或名称形如 618-* 的活动渠道 search、feed 在投放期间最近 1 小时的订单数量低于 1 "
        "时触发；回到 1 或以上后恢复；没有任何事件时按 0 计；无数据时恢复；级别警告",
    ),
    (
        {"kpi": "complaint_response_time", "above": 5400, "window": "24h", "no_data": "fire"},
        "fires when complaint response time over 24 h is surely above 1 h 30 min; resolves once it "
        "is 1 h 30 min or less; fires without data, too; warning",
        "当全部数据最近 24 小时的负面舆情处理时效确定高于 1 小时 30 分钟时触发；"
        "回到 1 小时 30 分钟或以下后恢复；无数据时同样触发；级别警告",
    ),
    (
        {"kind": "absence", "scope": "region", "match": {"region": ["east"]}, "for": 3600},
        "fires when there are no clicks of region east over 5 min, for 1 h; resolves once there "
        "are some; warning",
        "当地区 east 在最近 5 分钟的点击次数为 0，持续 1 小时时触发；不再为 0 后恢复；级别警告",
    ),
]


@pytest.mark.parametrize(("rule", "en", "zh"), SENTENCES)
def test_sentence(rule: dict[str, Any], en: str, zh: str) -> None:
    """A rule is one sentence in words, in both languages."""
    (read,) = book(rule).rules
    meaning = explain(read, CATALOGUE[read.kpi], currency="USD")
    assert meaning.en == en
    assert meaning.zh == zh


@pytest.mark.parametrize(
    ("kpi", "part"),
    [
        ("change of unique visitors", "change of unique visitors over 5 min is"),
        ("Status", "status over 5 min is"),
        ("Access", "access over 5 min is"),
        ("iOS clicks", "iOS clicks over 5 min are"),
        ("Visitors from search", "visitors from search over 5 min are"),
    ],
)
def test_verb(kpi: str, part: str) -> None:
    """The verb of a sentence is that of the title's first noun."""
    own = Kpi(name="own", title_en=kpi, title_zh="自有", formula="clicks", unit="count")
    rule = {"name": "r", "kind": "threshold", "kpi": "own", "above": 3}
    (read,) = RuleBook.model_validate(
        {"rules": [rule]}, context={"catalogue": Catalogue([own])}
    ).rules
    assert f"fires when {part} above 3;" in explain(read, own, currency="CNY").en


@pytest.mark.parametrize(
    ("rule", "part"),
    [
        ({"kind": "absence", "kpi": "revenue_gross"}, "there is no revenue, gross over 5 min; res"),
        ({"kind": "absence", "kpi": "revenue_gross"}, "resolves once there is some;"),
        ({"kpi": "aov_returning", "below": 9, "min_n": 3}, "3 orders of known customers without f"),
        ({"kpi": "repeat_orders", "below": 9}, "repeat orders over 5 min are below 9;"),
        ({"kpi": "purchase_conversion_rate", "below": 0.1, "min_n": 3}, "3 visitors and buyers)"),
        ({"kpi": "favourability", "below": 0.1, "min_n": 3}, "3 favourable mentions, neutral ment"),
    ],
)
def test_grammar(rule: dict[str, Any], part: str) -> None:
    """Sums of money are singular, and what a value rests on has words."""
    (read,) = book(rule).rules
    assert part in explain(read, CATALOGUE[read.kpi], currency="CNY").en


def test_absence_of_the_period_before() -> None:
    """Nothing in the period before is no absence of traffic, and may be unknown."""
    told = {"name": "own", "title_en": "Own", "title_zh": "自有", "unit": "count"}
    catalogue = Catalogue([Kpi.model_validate(told | {"formula": "previous(clicks)"})])
    rule = {"name": "r", "kind": "absence", "kpi": "own", "window": "1h"}
    with pytest.raises(ValueError, match="kpi: own may have no value"):
        RuleBook.model_validate({"rules": [rule]}, context={"catalogue": catalogue})


def test_sentence_names_a_declared_measurement() -> None:
    """What a value rests on may be a measurement that the file of KPIs declares."""
    told = {"name": "cpe", "title_en": "Cost per exposure", "title_zh": "成本", "unit": "money"}
    kpi = Kpi.model_validate(
        told | {"formula": "spend / media_exposures", "n": "media_exposures"},
        context={"custom": CustomNames(("media_exposures",))},
    )
    rule = {"name": "r", "kind": "threshold", "kpi": "cpe", "above": 3, "min_n": 10}
    (read,) = RuleBook.model_validate(
        {"rules": [rule]}, context={"catalogue": Catalogue([kpi])}
    ).rules
    assert "(from at least 10 media exposures)" in explain(read, kpi, currency="CNY").en


@pytest.mark.parametrize(
    ("kpi", "value", "en", "zh"),
    [
        ("conversion_rate", 0.0235, "2.35 %", "2.35%"),
        ("conversion_rate", 0.07, "7 %", "7%"),
        ("roas", 1.5, "1.5×", "1.5 倍"),
        ("spend", 12_500.5, "12,500.5 USD", "12,500.5 USD"),
        ("buyers", 1_000, "1,000 users", "1,000 人"),
        ("clicks", 1e15, "1,000,000,000,000,000", "1,000,000,000,000,000"),
        ("nps", -10, "-10 points", "-10 分"),
        ("dwell_time", 90.5, "1 min 30.5 s", "1 分钟 30.5 秒"),
        ("sales_growth", -0.000001, "-0.0001 %", "-0.0001%"),
    ],
)
def test_amounts(kpi: str, value: float, en: str, zh: str) -> None:
    """A limit is told in the unit that people read."""
    assert amount(value, CATALOGUE[kpi], currency="USD") == (en, zh)


@pytest.mark.parametrize(
    ("seconds", "en"),
    [
        (0, "0 s"),
        (0.5, "0.5 s"),
        (60, "1 min"),
        (86_400, "1 day"),
        (2 * 86_400 + 61, "2 days 1 min 1 s"),
    ],
)
def test_durations(seconds: float, en: str) -> None:
    """A duration is told in its largest units."""
    assert duration(seconds).en == en


@given(
    st.sampled_from(sorted(CATALOGUE)),
    st.floats(-1e15, 1e15, allow_nan=False),
    st.sampled_from(["below", "above"]),
    st.integers(0, 10**7),
    st.sampled_from(["all", "campaign", "channel", "campaign_channel", "segment"]),
)
def test_every_valid_rule_has_a_sentence(
    kpi: str, limit: float, side: str, for_s: int, scope: str
) -> None:
    """Any rule that is accepted is explained in one line, in both languages."""
    try:
        (rule,) = book({"kpi": kpi, side: limit, "for": for_s, "scope": scope}).rules
    except ValueError:
        return
    meaning = explain(rule, CATALOGUE[kpi], currency="CNY")
    assert meaning.en.startswith("fires when ")
    assert "\n" not in meaning.en + meaning.zh


NAMES = NameBook.model_validate(
    {"channels": [{"name": "email", "aliases": ["EDM"]}], "regions": [{"name": "east"}]}
)
DEFINED = CampaignIndex(
    [
        Campaign(id="618-main", name="618 主会场", aliases=("618 Main",), channels=("search",)),
        Campaign(id="beauty", channels=("feed", "live")),
    ]
)


REGISTERED = [Campaign(id="late", name="Late one")]
"""The campaigns of the registry topic only."""


def known(**changed: Any) -> Known:
    """Return what is known: two campaigns of a file, one of the registry topic, and names."""
    made: dict[str, Any] = {
        "campaigns": CampaignIndex([*DEFINED, *REGISTERED]),
        "as_shown": as_shown_by(NAMES, DEFINED),
        "names": NAMES,
    }
    return Known(**{**made, **changed})


def warned(rule: AnyRule, **changed: Any) -> list[tuple[tuple[str | int, ...], str]]:
    return list(rule_warnings.about_rules(RuleBook(rules=(rule,)), known(**changed)))


def test_warnings_about_plans() -> None:
    """A campaign or channel that a rule about its plan names, and that has none, is told."""
    times = {"starts": "2026-06-01T00:00:00Z", "ends": "2026-06-18T00:00:00Z"}
    budget = {"amount": "9", "currency": "CNY", "channels": {"email": "5"}}
    given = [{"id": "a"}, {"id": "b", **times}, {"id": "c", "budget": budget, **times}]
    campaigns = CampaignIndex(map(Campaign.model_validate, given))

    def texts(**keys: Any) -> list[str]:
        (rule,) = book({"kind": "pace", "ahead_by": 0.2, "kpi": "budget_pace", **keys}).rules
        found = warned(rule, campaigns=campaigns, as_shown=as_shown_by(NAMES, campaigns))
        return [
            text.partition(", so the rule never judges it; ")[0]
            for place, text in found
            if place == ("rules", 0, "match", "campaign")
        ]

    match = {"campaign": ["a", "b", "c"]}
    lacking = ["campaign a has no planned start and end", "campaign=b has no budget"]
    assert texts(scope="campaign", match=match) == lacking
    assert texts(scope="campaign", match={"campaign": ["*"]}) == []
    assert texts(scope="campaign", match=match, kpi="orders", target=9) == lacking[:1]
    channels = {"campaign": ["c"], "channel": ["EDM", "search"]}
    assert texts(scope="campaign_channel", match=channels) == [
        "campaign=c, channel=search has no budget"
    ]


@pytest.mark.parametrize(
    ("rule", "place", "text"),
    [
        ({"match": {"campaign": ["618-mian"]}}, "match.campaign", "did you mean 618-main?"),
        ({"match": {"campaign": ["618 Main", "６１８ 主会场", "618-MAIN"]}}, "", ""),
        ({"match": {"campaign": ["late", "LATE", "la*"]}}, "", ""),
        ({"match": {"campaign": ["Late one"]}}, "match.campaign", "a name of campaign late, which"),
        ({"match": {"campaign": ["none"]}}, "match.campaign", "did you mean (none)?"),
        ({"match": {"campaign": ["x*"]}}, "match.campaign", "'x*' matches no campaign"),
        ({"match": {"campaign": ["zz"]}}, "match.campaign", "no campaign 'zz' is known"),
        ({"match": {"campaign": ["618-*", "(unknown)", "(none)", "*"]}}, "", ""),
        (
            {"scope": "campaign_channel", "match": {"channel": ["serch", "live"]}},
            "match.channel",
            "no channel 'serch' is known; did you mean search?",
        ),
        (
            {"scope": "channel", "match": {"channel": ["(direct)", "(none)", "FEED", "EDM", "e*"]}},
            "",
            "",
        ),
        ({"scope": "region", "match": {"region": ["west"]}}, "match.region", "mean east?"),
        ({"scope": "segment", "match": {"segment": ["nobody knows"]}}, "", ""),
        ({"kpi": "sales_growth", "above": 20}, "above", "20 is 2,000 %; 20 % is 0.2"),
        ({"kpi": "roas", "above": 20}, "", ""),
        ({"kpi": "conversion_rate", "below": 2}, "below", "2 is 200 %; 2 % is 0.02"),
        ({"kpi": "conversion_rate", "below": 1}, "", ""),
        ({"kpi": "revenue_gross", "below": 20, "min_n": 5}, "min_n", "silent when least comes"),
        ({"window": "24h", "for": 60}, "for", "closes every 15 min, so 1 min acts as 15 min"),
        ({"window": "1h", "keep_firing_for": 90}, "keep_firing_for", "1 min 30 s acts as 2 min"),
        ({"window": "1h", "for": 120}, "", ""),
        ({"window": "so_far"}, "window", "the alert never resolves"),
        (CONTRIBUTION | {"above": 0.2}, "kpi", "the coefficient influence"),
    ],
)
def test_warnings(rule: dict[str, Any], place: str, text: str) -> None:
    """A rule that is valid and probably not meant so has a warning with its place."""
    limit = {} if "below" in rule else {"above": 9}
    (read,) = book({"scope": "campaign", **limit, **rule}).rules
    found = [(".".join(map(str, where[2:])), what) for where, what in warned(read)]
    assert [where for where, _ in found] == ([place] if place else [])
    assert all(text in what for _, what in found)


def test_known_elsewhere() -> None:
    """What is configured is not warned about; without campaigns no name of one is."""
    (rule,) = book({"kpi": "new_customers", "above": 9, "scope": "campaign"}).rules
    assert not warned(rule)
    ((_, text),) = warned(rule, customers=False)
    assert "first_orders, which is not measured while no customers are stored" in text
    (rule,) = book(CONTRIBUTION | {"above": 0.1}).rules
    assert not warned(rule, kpis=KpiBook(coefficients={"influence": 0.5}))
    (rule,) = book({"above": 9, **CAMPAIGN}).rules
    assert warned(rule)
    assert not warned(rule, campaigns=CampaignIndex())


@pytest.mark.parametrize(
    ("kpi", "lacking"),
    [
        ("cac", True),
        ("clv", True),
        ("cpa_first_touch", True),
        ("attribution_spread", True),
        ("order_changes", True),
        ("refund_outflow", False),
        ("customers", False),
        ("roas", False),
    ],
)
def test_customers_are_not_stored(kpi: str, lacking: bool) -> None:
    """What only stored customers give is warned about, where it is needed or divided by, too."""
    (rule,) = book({"kpi": kpi, "above": 0.5, "window": "day"}).rules
    assert [place for place, _ in warned(rule, customers=False)] == [("rules", 0, "kpi")] * lacking


@pytest.mark.parametrize(("days", "warns"), [(None, False), (29, True), (30, False)])
def test_customers_of_too_few_days(days: int | None, warns: bool) -> None:
    """A window of more business days than customers are counted from never has a value."""
    (rule,) = book({"kpi": "retention_rate", "below": 0.3, "window": "month"}).rules
    found = warned(rule, customer_days=days)
    assert [place for place, _ in found] == [("rules", 0, "window")] * warns
    assert all("set KPI_CUSTOMER_DAYS to 30 or more" in text for _, text in found)


def test_same_alert_by_an_alias(tmp_path: Path) -> None:
    """Rules that name one channel by two of its names raise the same alerts."""
    rules, names = tmp_path / "rules.yaml", tmp_path / "names.yaml"
    rules.write_text(
        "rules:\n"
        "  - {name: a, kind: threshold, kpi: clicks, scope: channel, below: 5,"
        " match: {channel: [SEM]}}\n"
        "  - {name: b, kind: threshold, kpi: clicks, scope: channel, below: 5,"
        " match: {channel: [search]}}\n"
    )
    arguments = ["check", "--offline", "--rules", str(rules), "--names", str(names)]
    names.write_text("channels: [{name: search, aliases: [Paid search]}]\n")
    assert CliRunner().invoke(cli, arguments).exit_code == 0
    names.write_text("channels: [{name: search, aliases: [SEM]}]\n")
    done = CliRunner().invoke(cli, arguments)
    assert isinstance(done.exception, ConfigError)
    assert f"{rules}: line 3: rules[1].match: rule 'a' raises" in str(done.exception)


@pytest.mark.parametrize("number", ["1:30", "010", "1_000", "0x10", "1:30.5"])
def test_numbers_are_plain(number: str, tmp_path: Path) -> None:
    """What YAML takes for another number than it shows is refused."""
    path = tmp_path / "rules.yaml"
    path.write_text(f"rules: [{{name: r, kind: threshold, kpi: clicks, above: {number}}}]\n")
    with pytest.raises(ConfigError, match="give a number, without quotes"):
        config.load_rules(path)
    path.write_text(path.read_text().replace(number, "1.5e3").replace("name: r", "name: 007"))
    (rule,) = config.load_rules(path).rules
    assert (rule.name, getattr(rule, "above", None)) == ("007", 1500)


@pytest.mark.parametrize(
    ("kpi", "value", "why"),
    [
        ("ctr", "3", "line 2: benchmarks.ctr.value: ctr is from 0 to 1, so 3 .* 3 % is 0.03"),
        ("roas", "-1", "roas is 0 or more, so -1 can't be usual; ratios are"),
        ("dwell_time", "-1", "dwell_time is 0 or more, so -1 can't be usual"),
        ("nps", "120", "nps is from -100 to 100"),
        ("orders", "5", "line 2: benchmarks.orders: it grows with its window"),
        ("cttr", "0.1", "line 2: benchmarks.cttr: there is no such KPI; did you mean ctr"),
        ("ctr", "0.03", None),
        ("roas", "4", None),
        ("traffic_uplift", "100", None),
    ],
)
def test_benchmark(kpi: str, value: str, why: str | None, tmp_path: Path) -> None:
    """A benchmark is a value that the KPI can have."""
    path = tmp_path / "kpis.yaml"
    path.write_text(f"benchmarks:\n  {kpi}: {{value: {value}, source: a survey}}\n")
    if why is None:
        benchmark = config.load_kpis(path).catalogue[kpi].benchmark
        assert benchmark is not None
        assert benchmark.value == float(value)
        return
    with pytest.raises(ConfigError, match=why):
        config.load_kpis(path)


def test_benchmark_of_an_own_kpi(tmp_path: Path) -> None:
    """So is one that a KPI of one's own has in its definition."""
    path = tmp_path / "kpis.yaml"
    path.write_text(
        "kpis:\n  - {name: paid, title_en: Paid, title_zh: 付费, formula: clicks_paid / clicks,\n"
        "     unit: ratio, n: clicks, benchmark: {value: 40, source: a survey}}\n"
    )
    with pytest.raises(ConfigError, match=r"kpis\[0\].benchmark.value: paid is from 0 to 1, so 40"):
        config.load_kpis(path)


def test_other_files() -> None:
    """Names in scorecards and exports that nobody knows have warnings, too."""
    dimension = {
        "name": "d",
        "title_en": "D",
        "title_zh": "维",
        "weight": 1,
        "indicators": [{"kpi": "roas", "base": 1, "stretch": 2}],
    }
    card = {"name": "c", "title_en": "C", "title_zh": "卡", "owner": "o", "dimensions": [dimension]}
    cards = ScorecardBook.model_validate({"scorecards": [{**card, "match": ["618-mian"]}]})
    ((where, text),) = rule_warnings.about_scorecards(cards, known())
    assert (where, "did you mean 618-main?" in text) == (("scorecards", 0, "match"), True)
    exports = KpiBook.model_validate({"export": [{"kpis": ["clicks", "cliks", "x*"]}]})
    first, second = rule_warnings.about_kpis(exports)
    assert first == (("export", 0, "kpis"), "no KPI 'cliks' is known; did you mean clicks?")
    assert second.text == "'x*' matches no KPI that is known"
    assert not list(rule_warnings.about_kpis(KpiBook()))
    own = {"name": "own", "title_en": "Own", "title_zh": "自有", "formula": "orders"}
    odd = KpiBook.model_validate({"kpis": [{**own, "unit": "count", "outcome": "raos"}]})
    ((where, text),) = rule_warnings.about_kpis(odd)
    assert (where, text) == (("kpis", 0, "outcome"), "no KPI 'raos' is known; did you mean roas?")


def test_check_explains_and_warns(tmp_path: Path, repository: Path) -> None:
    """`check` explains each rule; warnings have file, line and key, and count with --strict."""
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "rules:\n  - name: few\n    kind: threshold\n    kpi: clicks\n    scope: campaign\n"
        "    match: {campaign: [618-mian]}\n    below: 5\n"
    )
    arguments = ["check", "--offline", "--rules", str(rules)]
    arguments += ["--campaigns", str(repository / "config" / "campaigns.yaml")]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0
    assert "few: fires when clicks of campaign 618-mian over 5 min while it runs are" in done.stdout
    assert "当活动 618-mian 在投放期间" in done.stdout
    warning = f"warning: {rules}: line 6: rules[0].match.campaign: no campaign '618-mian' is known"
    assert warning in done.stderr
    assert CliRunner().invoke(cli, [*arguments, "--strict"]).exit_code == 1
    rules.write_text(rules.read_text().replace("mian", "main"))
    assert CliRunner().invoke(cli, [*arguments, "--strict"]).exit_code == 0
    assert "no campaign is defined here" in CliRunner().invoke(cli, arguments[:4]).stderr
