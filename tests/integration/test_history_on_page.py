"""The live page in a browser: how far the reading of history came, and that it is read."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from models.window import BusinessDay
from streams.kpis.view import KpiView, Progress, history_progress
from tests.factories.views import queries, served, synthetic_view
from tests.support import stack
from tests.support.needed import program

pytestmark = pytest.mark.integration

BERLIN = BusinessDay(ZoneInfo("Europe/Berlin"))
MORNING = datetime(2026, 11, 25, 7, tzinfo=UTC)
"""The beginning of a history of three days."""


def ms(moment: datetime) -> int:
    """Return a moment in ms."""
    return round(moment.timestamp() * 1000)


def reading(*, unread: int) -> KpiView:
    """Return the view of a worker that has closed the windows up to noon of the second day."""
    kpis = synthetic_view().kpis
    assert kpis is not None
    closed_ms = ms(MORNING + timedelta(days=1, hours=4))
    history = history_progress(
        BERLIN,
        from_ms=ms(MORNING),
        closed_ms=closed_ms,
        newest_ms=closed_ms + 36 * 3_600_000,
        unread=unread,
        event_pace=3_240.0,
    )
    return replace(
        kpis,
        frontier_ms=closed_ms,
        behind={("clicks", 0): unread},
        health=replace(kpis.health, reading_history=True, behind=unread),
        progress=Progress(
            complete_ms=closed_ms,
            windows_waiting=9,
            windows_closed=3,
            windows_per_second=1.0,
            event_pace=3_240.0,
            history=history,
        ),
    )


@pytest.mark.parametrize(
    ("unread", "english", "chinese"),
    [
        (
            0,
            "reading history: Nov 26, day 2 of 3, 40 s left",
            "正在读取历史数据：11月26日，第 2 天，共 3 天，剩余 40 秒",
        ),
        (
            31_000,
            "reading history: Nov 26, day 2, 31,000 events to read",
            "正在读取历史数据：11月26日，第 2 天，还有 31,000 个事件待读取",
        ),
    ],
)
def test_history_on_page(unread: int, english: str, chinese: str) -> None:
    """The page says the day, of how many, and the time left; these are not known while it reads."""
    with (
        served(reading(unread=unread), queries()) as address,
        stack.browser(
            program("chromedriver"), program("chromium"), width=1280, height=900
        ) as chrome,
    ):
        chrome.get(address)
        wait = WebDriverWait(chrome, 30)

        def why() -> str:
            return str(chrome.find_element(By.ID, "comp-why").text)

        wait.until(lambda _: english in why())
        chrome.find_element(By.ID, "language").click()
        wait.until(lambda _: chinese in why())
