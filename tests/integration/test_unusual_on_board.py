"""What is usual, in a real Prometheus by the queries of the board, and on the page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from dashboards.queries import QUERIES, substitute
from models.kpi.definition import KpiValue
from models.scope import Scope
from models.window import DAY_MS, MINUTE_MS
from streams.alerting.judge import AlertJudge
from streams.alerting.rules.registry import RuleBook
from streams.engine.steps import at_once
from streams.kpis.calculation.confidence_intervals import wilson
from streams.kpis.view import Evaluation
from tests.factories.views import queries, served, synthetic_view
from tests.support import stack
from tests.support.needed import program
from tests.support.offline import NOON

pytestmark = pytest.mark.integration

FIVE_MS = 5 * MINUTE_MS
RULES = RuleBook.model_validate(
    {
        "rules": [
            {
                **{"name": "conversion-unusual", "kind": "anomaly", "kpi": "conversion_rate"},
                **{"scope": "campaign"},
            }
        ]
    }
)


def learned() -> AlertJudge:
    """Return a judge that learned six days of two campaigns, of which one converts badly since."""
    judge, chance = AlertJudge(RULES, lag_limit_s=30), np.random.default_rng(7)
    for end in range(NOON - 6 * DAY_MS, NOON + 3 * FIVE_MS, FIVE_MS):
        values = {}
        for name in ("618-main", "brand"):
            n = int(chance.poisson(500))
            over = int(chance.binomial(n, 0.15 if end > NOON and name == "618-main" else 0.3))
            value = KpiValue(over / n, *wilson(over, n), n)
            values[Scope("campaign", name)] = {"conversion_rate": value}
        at_once(judge.closed(Evaluation("5m", end - FIVE_MS, end, values), {}))
    return judge


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server with a rule that fires in one campaign of two."""
    judge, kpis = learned(), synthetic_view().kpis
    assert kpis is not None
    kpis = replace(kpis, rules=judge.rule_statuses(), alerts=tuple(judge.alerts()))
    with served(kpis, queries(rules=RULES)) as address:
        yield address


def test_board(url: str, tmp_path: Path) -> None:
    """Each query of the board finds the campaign that fires, and its value is below its band."""
    target = url.removeprefix("http://").rstrip("/")
    with stack.prometheus(program("prometheus"), tmp_path, target=target) as prometheus:
        found: dict[str, float] = {}
        for name in ("score", "value", "expected", "lower", "upper"):
            for rule in ((), ("conversion-unusual",)):
                expr = substitute(QUERIES[f"unusual.{name}"].expr, rule=rule)
                stack.until(
                    lambda expr=expr: stack.query(prometheus, expr),
                    timeout_s=30,
                    why=f"Prometheus answers {expr}",
                )
                for one in stack.query(prometheus, expr):
                    if one["metric"]["campaign"] == "618-main":
                        found[name] = float(one["value"][1])
                    else:
                        assert name == "score", "only the nearest to an alert has a band"
        verdicts = stack.query(prometheus, 'kpi_monitor_rule_scopes{rule="conversion-unusual"}')
    assert found["score"] >= 1
    assert found["value"] < found["lower"] < found["expected"] < found["upper"]
    assert {one["metric"]["verdict"]: one["value"][1] for one in verdicts} == {
        "firing": "1",
        "within": "1",
    }


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
def test_page(url: str, width: int, height: int) -> None:
    """The alert and the rule say what is usual, in both languages, on a phone too."""
    with stack.browser(
        program("chromedriver"), program("chromium"), width=width, height=height
    ) as chrome:
        chrome.get(url)
        wait = WebDriverWait(chrome, 30)

        def text(selector: str) -> str:
            return str(chrome.find_element(By.CSS_SELECTOR, selector).text)

        rule = '[data-rule="conversion-unusual"]'
        wait.until(lambda _: chrome.find_elements(By.CSS_SELECTOR, rule))
        chrome.find_element(By.CSS_SELECTOR, "#rules-box > summary").click()
        wait.until(lambda _: "conversion-unusual · 5 min" in text(rule))
        assert "1 firing · 1 within the limit" in text(rule)
        assert "% of what an alert needs" in text(rule)
        assert "usual 1" in text(rule)
        assert "% expected, " in text("#alerts")
        chrome.find_element(By.ID, "language").click()
        wait.until(lambda _: "常态" in text(rule))
        assert "预期 " in text("#alerts")
