"""docs/alert-rules.md: its examples are loaded as they stand there, and played."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import yaml
from pydantic import BaseModel

from models.campaigns.campaign import Campaign
from models.kpi.definition import KpiValue
from models.money.amounts import UNITS_PER_CURRENCY
from models.money.exchange_rates import Rates
from models.scope import ALL, Scope
from models.window import DAY_MS, HOUR_MS, WINDOWS, BusinessDay
from streams import config
from streams.alerting.rules.keys import Match
from streams.alerting.rules.registry import KINDS, AnyRule, RuleBook
from streams.alerting.rules.rule import Rule
from streams.kpis.calculation.campaign_budgets import CampaignBudgets
from streams.kpis.calculation.confidence_intervals import wilson
from streams.kpis.judging import EarlierPeriod
from streams.kpis.view import Evaluation
from tests.support.at_once import JudgeAtOnce
from tests.support.offline import NOON
from tools.rule_examples import EXAMPLES
from tools.rule_reference import rules_page


class Row(NamedTuple):
    """A line of the table below an example."""

    at: str
    name: str
    value: str
    interval: str
    n: str
    earlier: str
    earlier_interval: str
    state: str


CAMPAIGNS = {
    "618-main": Campaign.model_validate(
        {
            "id": "618-main",
            "starts": (NOON - 4 * DAY_MS) / 1000,
            "ends": (NOON + 6 * DAY_MS) / 1000,
            "budget": {"amount": "10000", "currency": "CNY"},
        }
    )
}
"""The campaign that the examples of budgets are about."""
BUDGETS = CampaignBudgets(CAMPAIGNS.get, rates=Rates("CNY", []), day=BusinessDay(ZoneInfo("UTC")))


def sections(page: str) -> dict[str, str]:
    """Return the examples of the page by their titles."""
    examples = page.split("## Examples")[1].split("## What is refused")[0]
    parts = re.split(r"\n### ", examples)[1:]
    return {part.split("\n")[0]: part for part in parts}


def rows(section: str) -> list[Row]:
    """Return the rows of an example's table."""
    head, _, *lines = [line for line in section.splitlines() if line.startswith("|")]
    names = [cell.strip() for cell in head.strip("|").split("|")]
    found = []
    for line in lines:
        cells = dict(zip(names, (cell.strip() for cell in line.strip("|").split("|")), strict=True))
        found.append(
            Row(
                cells["closes at"],
                cells.get("campaign", cells.get("channel", "")),
                cells["value"],
                cells["95 % interval"],
                cells["n"],
                cells.get("earlier", ""),
                cells.get("its interval", ""),
                cells["alert"],
            )
        )
    return found


def learn(judge: JudgeAtOnce, rule: AnyRule, section: str) -> None:
    """Let a rule learn the past that is named before the table, if there is any."""
    past = re.search(r"Before: (\d+) days of windows with about ([\d.]+) from (\d+) each", section)
    if past is None:
        return
    days, n = int(past[1]), int(past[3])
    (length_ms,) = (one.length_ms for one in WINDOWS if one.name == rule.window)
    assert length_ms is not None
    chance = np.random.default_rng(7)
    for end in range(NOON - days * DAY_MS, NOON, length_ms):
        if float(past[2]) < 1:
            over = int(chance.binomial(n, float(past[2])))
            value = KpiValue(over / n, *wilson(over, n), n)
        else:
            value = KpiValue(int(chance.poisson(n)))
        judge.closed(Evaluation(rule.window, end - length_ms, end, {ALL: {rule.kpi: value}}))


def played(rule: AnyRule, section: str) -> list[str]:
    """Return the state of the alert at each row of an example, as its windows close."""
    judge = JudgeAtOnce(RuleBook(rules=(rule,)), lag_limit_s=30, campaign_of=CAMPAIGNS.get)
    learn(judge, rule, section)
    series = rows(section)
    (window,) = (one for one in WINDOWS if one.name == rule.window)
    states: list[str] = []
    before: list[Evaluation] = []
    for at, group in groupby(series, key=lambda row: row.at):
        clock, _, later = at.partition(",")
        hours, minutes, seconds = map(int, clock.split(":"))
        end = NOON + ((hours - 12) * 3600 + minutes * 60 + seconds) * 1000
        end += DAY_MS if later else 0
        assert end % window.step_ms == 0, f"{rule.window} does not close at {at}"
        together = list(group)
        values = {
            scope_of(row, rule): value_of(row, rule) for row in together if row.value != "none"
        }
        start = end - (window.length_ms or DAY_MS)
        evaluation = Evaluation(
            rule.window, start, end, values, exhausted_ms=exhausted(values, end)
        )
        judge.closed(evaluation, earlier(rule, together, end) | windows_before(rule, before, start))
        before.insert(0, evaluation)
        for row in together:
            of_scope = [one for one in judge.alerts() if one.scope == scope_of(row, rule)]
            states.append(of_scope[0].state.value if of_scope else "-")
    return states


def scope_of(row: Row, rule: AnyRule) -> Scope:
    return Scope(rule.scope, **{rule.scope: row.name}) if row.name else ALL


def value_of(row: Row, rule: AnyRule) -> dict[str, KpiValue]:
    return {rule.kpi: kpi_value(row.value, row.interval, row.n)}


def kpi_value(value: str, interval: str, n: str) -> KpiValue:
    low, high = (None, None)
    if interval:
        low, high = map(float, interval.split(" to "))
    return KpiValue(float(value), low, high, int(n))


def exhausted(values: Mapping[Scope, dict[str, KpiValue]], end: int) -> dict[str, int]:
    """Return when campaigns will have spent their budgets, by their paces."""
    found = {}
    for scope, of_scope in values.items():
        planned = BUDGETS.at(scope.campaign, end)
        if "budget_pace" in of_scope and planned is not None:
            spent = of_scope["budget_pace"].value * planned.due / UNITS_PER_CURRENCY
            found[scope.campaign] = BUDGETS.exhausted_ms(scope.campaign, end, spent=spent)
    return found


def windows_before(
    rule: AnyRule, before: list[Evaluation], start: int
) -> dict[EarlierPeriod, Evaluation | None]:
    """Return the windows before one, the newest of the table first; before it nothing came."""
    nothing = Evaluation(rule.window, start, start, {})
    numbers = range(1, rule.windows_before + 1)
    return {number: (*before, *[nothing] * number)[number - 1] for number in numbers}


def earlier(rule: AnyRule, series: list[Row], end: int) -> dict[EarlierPeriod, Evaluation | None]:
    """Return the earlier period that a rule refers to, as the rows have it."""
    if rule.reference is None:
        return {}
    passed_ms = 7 * DAY_MS if rule.reference == "last_week" else HOUR_MS
    values = {
        scope_of(row, rule): {rule.kpi: kpi_value(row.earlier, row.earlier_interval, row.n)}
        for row in series
    }
    end -= passed_ms
    return {rule.reference: Evaluation(rule.window, end - HOUR_MS, end, values)}


def test_page_is_up_to_date(repository: Path) -> None:
    assert (repository / "docs" / "alert-rules.md").read_text() == rules_page()


@pytest.mark.parametrize("title", [example.title for example in EXAMPLES])
def test_example(title: str, repository: Path, tmp_path: Path) -> None:
    """An example is a valid entry of a file, and its alert does what the table says."""
    section = sections((repository / "docs" / "alert-rules.md").read_text())[title]
    (entry,) = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    path = tmp_path / "rules.yaml"
    path.write_text(f"rules:\n{entry}")
    (rule,) = config.load_rules(path).rules
    states = [row.state for row in rows(section)]
    assert played(rule, section) == states
    assert {"firing"} < set(states), "it fires, and there is a time when it does not"


def test_every_key_has_an_example() -> None:
    """Each kind, each key, and each key of `match` that has an example of its own, is in one."""
    given = [yaml.safe_load(example.rule) for example in EXAMPLES]
    assert {one["kind"] for one in given} == {
        kind.model_fields["kind"].annotation.__args__[0] for kind in KINDS
    }
    models: list[type[BaseModel]] = [Rule, *KINDS]
    keys = {field.alias or name for model in models for name, field in model.model_fields.items()}
    assert keys == {key for one in given for key in one}


def test_every_key_is_documented(repository: Path) -> None:
    text = (repository / "docs" / "alert-rules.md").read_text()
    models: list[type[BaseModel]] = [Rule, Match, *KINDS]
    for model in models:
        for name, field in model.model_fields.items():
            assert f"| `{field.alias or name}` | " in text
