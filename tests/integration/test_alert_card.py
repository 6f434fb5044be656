"""The live page in a browser: an alert says what it rests on, what to do, and why it waits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from models.alerts import Alert, AlertState, Held
from models.kpi.definition import KpiValue
from models.scope import ALL, Scope
from streams.alerting.links import Links
from streams.kpis.view import Evaluation
from tests.factories.views import queries, served, synthetic_view
from tests.support import stack
from tests.support.needed import program

pytestmark = pytest.mark.integration

MINUTE_MS = 60_000


def alerts(now_ms: int) -> list[Alert]:
    """Return a firing alert, a pending one that waits for a silent source, and 254 more."""
    common: dict[str, Any] = {
        "kpi": "conversion_rate",
        "window": "5m",
        "value": 0.0273,
        "low": 0.0221,
        "high": 0.0337,
        "n": 3072,
        "threshold": 0.05,
        "active_since_ms": now_ms - 10 * MINUTE_MS,
        "updated_ms": now_ms,
    }
    firing = Alert(
        rule="conversion-drop",
        severity="critical",
        state=AlertState.FIRING,
        scope=ALL,
        fired_at_ms=now_ms - 5 * MINUTE_MS,
        owner="checkout",
        summary_en="Fewer clicks become orders",
        summary_zh="转化下降",
        next_step="Check the checkout",
        next_step_zh="检查结算",
        runbook="https://wiki.example/checkout",
        **common,
    )
    held = Held(sources=("orders",), since_ms=now_ms - 3 * MINUTE_MS)
    waiting = Alert(
        rule="few-orders",
        severity="critical",
        state=AlertState.PENDING,
        scope=Scope("campaign", "618-main"),
        held=held,
        **common,
    )
    figures = [
        Alert(
            rule=rule,
            severity="critical",
            state=AlertState.FIRING,
            scope=scope,
            **{**common, "kpi": kpi, "window": window},
        )
        for rule, scope, kpi, window in (
            ("marked", Scope("campaign", "k250"), "clicks", "5m"),
            ("other-window", Scope("campaign", "k249"), "clicks", "1h"),
            ("other-scope", Scope("campaign_channel", "k248", "search"), "clicks", "5m"),
            ("no-column", Scope("campaign", "k247"), "visits", "5m"),
        )
    ]
    many = [
        Alert(
            rule="many",
            severity="info",
            state=AlertState.FIRING,
            scope=Scope("channel", channel=f"x{number}"),
            **common,
        )
        for number in range(250)
    ]
    return [firing, waiting, *figures, *many]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server with these alerts, in US dollars, and 251 campaigns."""
    kpis = synthetic_view().kpis
    assert kpis is not None
    clicks = {
        Scope("campaign", f"k{number:03}"): {"clicks": KpiValue(number, n=number)}
        for number in range(251)
    }
    five = kpis.latest["5m"]
    values = {ALL: {**five.values[ALL], "revenue_gross": KpiValue(12.5, n=1)}, **clicks}
    latest = {"5m": Evaluation("5m", five.start_ms, five.end_ms, values)}
    kpis = replace(kpis, alerts=alerts(kpis.frontier_ms), latest=latest, stages=())
    exports = replace(queries(links=Links(boards="https://grafana.example")), currency="USD")
    with served(kpis, exports) as address:
        yield address


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
def test_card(url: str, width: int, height: int) -> None:
    """The card has value, interval, n, limit, window, times, owner, next step and links."""
    with stack.browser(
        program("chromedriver"), program("chromium"), width=width, height=height
    ) as chrome:
        chrome.get(f"{url}#alert=few-orders%2Fcampaign%2F618-main%2F")
        wait = WebDriverWait(chrome, 30)

        def text(selector: str) -> str:
            return str(chrome.find_element(By.CSS_SELECTOR, selector).text)

        firing, waiting = (
            f'[data-alert="{one}"]'
            for one in ("conversion-drop/all//", "few-orders/campaign/618-main/")
        )
        wait.until(lambda _: chrome.find_elements(By.CSS_SELECTOR, f"{waiting}[data-sought]"))
        english = text(firing)
        for part in ("2.73%", "95% CI 2.21%", "3.37%", "5.00%", "n = 3,072", "5 min", "(10 min)"):
            assert part in english
        for part in ("Owner: checkout", "Next step: Check the checkout", "firing since"):
            assert part in english
        links = {
            one.get_attribute("href")
            for one in chrome.find_elements(By.CSS_SELECTOR, f"{firing} a[href]")
        }
        assert links == {
            "https://grafana.example/d/kpi-live?var-window=5m",
            "https://wiki.example/checkout",
        }
        assert "held: orders silent since" in text(waiting)
        assert "it waits" in text(waiting)
        assert text("#alerts-count") == "255 firing · 1 pending"
        assert text("#alerts-more") == "56 more open alerts, less severe, are not shown"
        assert "51 smaller ones are not shown" in text("#camp-note")
        rows = chrome.find_elements(By.CSS_SELECTOR, "#campaigns tbody tr")
        names = [row.get_attribute("data-campaign") for row in rows]
        assert names == [f"k{number:03}" for number in range(250, 50, -1)]
        assert text('[data-kpi="revenue_gross"] .value') == "$12.50"
        marked = chrome.find_elements(By.CSS_SELECTOR, "#campaigns [data-alert]")
        assert [one.get_attribute("data-col") for one in marked] == ["clicks"]
        assert chrome.find_elements(By.CSS_SELECTOR, '[data-campaign="k250"] [data-alert=critical]')
        leading = {
            str(card.get_attribute("data-alert")).split("/")[0]
            for card in chrome.find_elements(By.CSS_SELECTOR, "#alerts > li")
            if card.find_element(By.CSS_SELECTOR, ".go").is_displayed()
        }
        assert leading == {"conversion-drop", "marked", "other-window"}
        chrome.find_element(By.CSS_SELECTOR, f"{firing} .go").click()
        wait.until(
            lambda _: chrome.find_elements(
                By.CSS_SELECTOR, '[data-kpi="conversion_rate"][data-sought][data-alert=critical]'
            )
        )
        chrome.find_element(By.ID, "language").click()
        wait.until(lambda _: "转化下降" in text(firing))
        for part in ("负责人：checkout", "下一步：检查结算", "95% 区间"):
            assert part in text(firing)
        assert "暂停判断：订单数据自" in text(waiting)
        assert text("#alerts-more") == "另有 56 条级别较低的告警未显示"
        assert "另有 51 个较小的未显示" in text("#camp-note")
        assert chrome.execute_script("return document.documentElement.scrollWidth") <= max(
            width, 500
        )
