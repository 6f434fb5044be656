"""A monitor at work, seen by Prometheus, Alertmanager and a browser."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from dashboards import model as board_model
from dashboards.queries import NEWEST_CURRENCY, substitute
from models.alerts import Alert, AlertState
from models.kpi.catalogue import CATALOGUE, KPIS
from models.scope import Scope
from streams.alerting.links import Links
from streams.delivery.alertmanager import payload
from streams.embedded.kafka import EmbeddedKafka
from streams.embedded.valkey import EmbeddedValkey
from streams.export.metrics import collector
from tests.support import stack
from tests.support.cluster import Cluster, Worker
from tests.support.needed import program
from tests.support.offline import event

pytestmark = pytest.mark.integration

RULES = """\
rules:
  - {name: clicks-flow, kind: threshold, kpi: clicks, window: 1m, above: 0, severity: critical,
     summary_en: Clicks flow, summary_zh: 有点击, next_step: look}
  - {name: clicks-absent, kind: absence, kpi: clicks, window: 1m, scope: campaign,
     match: {campaign: [forgotten]}}
"""
# The feed's channel feed is shown under another name, and email is unknown.
NAMES = """\
channels: [{name: search}, {name: News feed, aliases: [feed]}, {name: live}, {name: social}]
"""


@dataclass
class Running:
    """What the tests of this module look at."""

    cluster: Cluster
    worker: Worker
    alertmanager: str
    prometheus: str


@pytest.fixture(scope="module")
def running(
    kafka: EmbeddedKafka,
    valkey: EmbeddedValkey,
    repository: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("monitor")
    rules = folder / "rules.yaml"
    rules.write_text(RULES)
    names = folder / "names.yaml"
    names.write_text(NAMES)
    campaigns = folder / "campaigns.yaml"
    campaigns.write_text("campaigns: [{id: forgotten}]\n")
    with stack.alertmanager(program("prometheus-alertmanager"), folder / "am") as alertmanager:
        cluster = Cluster(
            kafka.address,
            folder,
            {
                "KPI_REDIS": valkey.url,
                "KPI_ALERTMANAGER": alertmanager,
                "KPI_RULES_FILE": str(rules),
                "KPI_CAMPAIGNS_FILE": str(campaigns),
                "KPI_NAMES_FILE": str(names),
                "KPI_SCORECARDS_FILE": str(repository / "config" / "scorecards.yaml"),
            },
        )
        worker = cluster.start()
        target = worker.url.removeprefix("http://").rstrip("/")
        with stack.prometheus(program("prometheus"), folder / "prom", target=target) as prometheus:
            feed = subprocess.Popen(
                [sys.executable, "-m", "streams", "feed", "--rate", "40", "--for", "600"],
                env=cluster.environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            try:
                cluster.until(
                    lambda live: (
                        live["totals"].get("1m", {}).get("roas")
                        and any(alert["state"] == "firing" for alert in live["alerts"])
                    ),
                    why="KPIs of all kinds and a firing alert",
                )
                yield Running(cluster, worker, alertmanager, prometheus)
            finally:
                feed.kill()
                feed.wait()
                cluster.stop()


def test_metrics_equal_the_snapshot(running: Running) -> None:
    """The metrics and the snapshot of the live page have the same values."""
    text = running.worker.get("metrics")
    for kpi in KPIS:
        assert f"# HELP {kpi.metric} {kpi.help}" in text
    assert re.search(
        r'kpi_conversion_rate_ratio\{campaign="618-main",channel="",region="",scope="campaign",'
        r'segment="",window="5m"\}'
        r" 0\.\d+",
        text,
    )
    assert re.search(r'kpi_conversion_rate_n\{campaign="",channel="",[^}]*scope="all"', text)
    assert re.search(r'kpi_revenue_gross_money\{[^}]*currency="CNY"', text)
    assert "kpi_monitor_sources_reporting 12.0" in text
    for spec in collector.SPECS:
        assert f"# HELP {spec.name}" in text
    assert "user_id" not in text


def test_names(running: Running) -> None:
    """Channels are shown as the file of names defines them; others are unknown, with samples."""
    text = running.worker.get("metrics")
    channels = set(re.findall(r'kpi_clicks_count\{campaign="",channel="([^"]+)"', text))
    assert {"News feed", "search", "email"} <= channels
    assert "feed" not in channels
    live = json.loads(running.worker.get("api/live"))
    assert live["unknown"]["channel"]["samples"] == ["email"]
    assert live["health"]["renamed"] > 0


def test_health_endpoints(running: Running) -> None:
    """The worker answers that it is alive and ready."""
    assert json.loads(running.worker.get("healthz")) == {"status": "alive"}
    ready = json.loads(running.worker.get("readyz"))
    assert ready == {"status": "running", "sources": 13, "kpis": True}


@pytest.mark.parametrize(("board", "window", "least"), [("live", "1m", 25), ("kpis", "day", 100)])
def test_every_query_of_every_panel_returns_data(
    running: Running, repository: Path, board: str, window: str, least: int
) -> None:
    path = repository / "dashboards" / "json" / f"{board}.json"
    queries = board_model.queries_of(json.loads(path.read_text(encoding="utf-8")))
    assert len(queries) > least
    # The last scrape may be older than what the live picture already shows.
    for expr in (
        "count_over_time(kpi_monitor_lag_seconds[1m]) > 5",
        'kpi_roas_ratio{scope="channel", window="1m"}',
        'kpi_monitor_alert_active{rule="clicks-flow"}',
        'kpi_nps_score_lower{scope="all", window="day"}',
        'kpi_complaint_response_time_seconds{scope="all", window="day"}',
    ):
        stack.until(
            lambda expr=expr: stack.query(running.prometheus, expr),
            timeout_s=150,
            why=f"Prometheus scraped {expr}",
        )
    compared = "|".join(kpi.metric for kpi in CATALOGUE.values() if kpi.looks_back or kpi.figures)
    empty = [
        (title, expr)
        for title, expr in queries
        # The funnel is there once a week has closed, at a quarter of an hour of the clock.
        # Yesterday, which some are compared with, was not seen; nor were the days from which
        # customers and open leads are counted, and those before a campaign.
        # Budgets are of everything so far, which closes then too.
        # Few KPIs have a benchmark, and nobody need order twice within minutes.
        # Nothing was changed, no whole period before was seen, no source is silent, and nobody need
        # be an outlier among its peers. What is usual takes days: see test_unusual_on_board.
        if not re.search(
            "kpi_funnel|kpi_benchmark|aov_returning|budget_|kpi_monitor_(effect|reference|change|alert_held|unusual|usual|judged)|peer_z",
            expr,
        )
        and not re.search(compared, expr)
        and not stack.query(running.prometheus, substitute(expr, window=window))
    ]
    assert not empty


def test_boards_find_the_currency(running: Running) -> None:
    """The variable of the boards is the reporting currency that the monitor exports."""
    stack.until(
        lambda: stack.query(running.prometheus, NEWEST_CURRENCY),
        timeout_s=60,
        why="Prometheus scraped the currency",
    )
    found = stack.query(running.prometheus, NEWEST_CURRENCY)
    assert [one["metric"]["currency"] for one in found] == ["CNY"]


def alerts(running: Running, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = stack.get(f"{running.alertmanager}/api/v2/alerts")
    return [one for one in found if one["labels"]["alertname"] == name]


def test_alertmanager_gets_what_fires(running: Running) -> None:
    stack.until(
        lambda: alerts(running, "clicks-flow"), timeout_s=30, why="the alert at Alertmanager"
    )
    (alert,) = alerts(running, "clicks-flow")
    assert alert["labels"]["severity"] == "critical"
    assert alert["annotations"]["evidence"].startswith("clicks ")
    assert alert["annotations"]["next_step"] == "look"
    assert alert["generatorURL"] == f"{running.worker.url}#alert=clicks-flow%2Fall%2F%2F"


def test_the_alerts_topic_keeps_every_change(running: Running) -> None:
    changes = [json.loads(record.value) for record in running.cluster.read("alerts")]
    assert {"clicks-flow"} <= {change["rule"] for change in changes}


def test_a_resolved_alert_ends_at_alertmanager(tmp_path: Path) -> None:
    with stack.alertmanager(program("prometheus-alertmanager"), tmp_path) as url:
        now_ms = 1_700_000_000_000
        alert = Alert(
            rule="r",
            severity="warning",
            state=AlertState.FIRING,
            scope=Scope("campaign", "c1"),
            active_since_ms=now_ms,
            fired_at_ms=now_ms,
            updated_ms=now_ms,
        )
        now_ms = int(time.time() * 1000)

        def post(one: Alert) -> None:
            body = json.dumps(
                [payload(one, now_ms=now_ms, links=Links(page="http://page"))]
            ).encode()
            request = urllib.request.Request(
                f"{url}/api/v2/alerts", data=body, headers={"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(request, timeout=5) as answer:
                assert answer.status == 200

        post(alert)
        assert len(stack.get(f"{url}/api/v2/alerts")) == 1
        post(alert.model_copy(update={"state": AlertState.RESOLVED, "resolved_at_ms": now_ms - 1}))
        assert stack.get(f"{url}/api/v2/alerts") == []


def test_other_worker_shows_the_owners_view(running: Running) -> None:
    """A worker that does not own the KPIs shows the owner's view."""
    # Static membership gives the one partition of reports to one of the two.
    second = running.cluster.start()
    stack.until(
        lambda: (
            second.live()["totals"].get("1m")
            and running.worker.live()["totals"].get("1m")
            and sum(worker.live()["owner"] for worker in running.cluster.workers) == 1
        ),
        timeout_s=60,
        why="both workers show the KPIs, one of them owns them",
    )


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
def test_the_page_lives_in_a_browser(running: Running, width: int, height: int) -> None:
    driver, chromium = program("chromedriver"), program("chromium")
    url = running.worker.url
    with stack.browser(driver, chromium, width=width, height=height) as chrome:
        chrome.get(url)
        wait = WebDriverWait(chrome, 30)

        def text(selector: str) -> str:
            return str(chrome.find_element(By.CSS_SELECTOR, selector).text)

        def values() -> list[str]:
            script = (
                "return [...document.querySelectorAll('[data-kpi] .value')]"
                ".map(one => one.textContent)"
            )
            return list(chrome.execute_script(script))

        # The windows come with the first view.
        wait.until(lambda _: chrome.find_elements(By.CSS_SELECTOR, "#window-select [value='1m']"))
        Select(chrome.find_element(By.ID, "window-select")).select_by_value("1m")
        wait.until(lambda _: re.search(r"\d", text('[data-kpi="clicks"] .value')))
        # A steady feed gives the same number of clicks for minutes: any value may show life.
        before = values()
        wait.until(lambda _: values() != before)
        wait.until(lambda _: "618-main" in text("#campaigns"))
        assert "clicks-flow" in text("#alerts") or "Clicks flow" in text("#alerts")
        title = text('[data-kpi="clicks"]')
        chrome.find_element(By.ID, "language").click()
        wait.until(lambda _: text('[data-kpi="clicks"]').split("\n")[0] != title.split("\n")[0])
        page = chrome.execute_script("return document.documentElement.scrollWidth")
        assert page <= max(width, 500)
        severe = [row for row in chrome.get_log("browser") if row["level"] == "SEVERE"]
        assert not [row for row in severe if "favicon" not in row["message"]]


def test_ended_campaign_fires_no_absence(running: Running) -> None:
    """No alert about too few events fires for a campaign that has ended."""

    def called() -> bool:
        return bool(alerts(running, "clicks-absent"))

    stack.until(called, timeout_s=90, why="the campaign has no clicks")
    over = event(
        "campaign_ended", at=int(time.time() * 1000), event_id="over", campaign_id="forgotten"
    )
    running.cluster.send("campaigns", [("forgotten", over)])
    stack.until(lambda: not called(), timeout_s=60, why="the campaign is over")
