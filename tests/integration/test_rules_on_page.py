"""The live page in a browser: each rule says why it fires or does not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from models.kpi.definition import KpiValue
from models.scope import Scope
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


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server with a rule on 302 campaigns, of which one fires and 301 do not."""
    rules = RuleBook.model_validate(
        {
            "rules": [
                {
                    **{"name": "conversion-low", "kind": "threshold", "kpi": "conversion_rate"},
                    **{"scope": "campaign", "window": "1h", "below": 0.01},
                }
            ]
        }
    )
    counts = {"stopped": (0, 900), "broken": (0, 6), **{f"c{n}": (50, 100) for n in range(300)}}
    values = {
        Scope("campaign", name): {"conversion_rate": KpiValue(over / n, *wilson(over, n), n)}
        for name, (over, n) in counts.items()
    }
    judge = AlertJudge(rules, lag_limit_s=30)
    at_once(judge.closed(Evaluation("1h", NOON - 3_600_000, NOON, values), {}))
    kpis = synthetic_view().kpis
    assert kpis is not None
    kpis = replace(kpis, rules=judge.rule_statuses())
    exports = queries(rules=rules)
    with served(kpis, exports) as address:
        yield address


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
def test_rules_on_page(url: str, width: int, height: int) -> None:
    """A rule has its verdicts, and the scopes nearest to firing with value, interval, n and why."""
    with stack.browser(
        program("chromedriver"), program("chromium"), width=width, height=height
    ) as chrome:
        chrome.get(url)
        wait = WebDriverWait(chrome, 30)

        def text(selector: str) -> str:
            return str(chrome.find_element(By.CSS_SELECTOR, selector).text)

        rule = '[data-rule="conversion-low"]'
        wait.until(lambda _: chrome.find_elements(By.CSS_SELECTOR, rule))
        chrome.find_element(By.CSS_SELECTOR, "#rules-box > summary").click()
        wait.until(lambda _: "conversion-low · 1 hour" in text(rule))
        assert text("#rules-box > summary") == "Why rules fire or do not (1)"
        english = text(rule)
        for part in (
            "fires when conversion rate of any campaign over 1 h is surely below 1 %",
            "1 firing · 1 not significant · 300 within the limit",
            "0.00% · 95% CI 0.00%",
            "n = 6 · below 1 %",
            "not significant; some 380 clicks without orders would be needed",
        ):
            assert part in english
        assert "since" in text(f"{rule} li[data-status=firing]")
        scopes = chrome.find_elements(By.CSS_SELECTOR, f"{rule} li")
        assert [one.get_attribute("data-status") for one in scopes] == [
            *("firing", "not_significant", "within", "within", "within")
        ]
        chrome.find_element(By.ID, "language").click()
        wait.until(lambda _: "不显著；数值仍为 0 时样本量需约 380" in text(rule))
        for part in ("1 个告警中", "300 个未超限", "低于 1%"):
            assert part in text(rule)
        assert chrome.execute_script("return document.documentElement.scrollWidth") <= max(
            width, 500
        )
