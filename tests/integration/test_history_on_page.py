"""The live page in a browser: how far the reading of history came, and that it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from models.window import HOUR_MS, BusinessDay
from streams.kpis.view import KpiView, Progress, history_progress
from tests.factories.views import queries, served, synthetic_view
from tests.support import stack
from tests.support.needed import program
from tests.support.offline import NOON

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
    with page(reading(unread=unread)) as why:
        why(english, chinese)


@pytest.mark.parametrize(
    ("pace", "english", "chinese"),
    [
        (1.0, "everything that was sent is read; it ends 12 h ago", "数据截止于 12 小时前"),
        (60.0, "reading history: Nov 26, day 2", "正在读取历史数据"),
    ],
)
def test_end_of_history_on_page(pace: float, english: str, chinese: str) -> None:
    """History that ended today is over once silence moves the frontier on at the clock's pace."""
    kpis = reading(unread=0)
    ended = replace(
        kpis,
        frontier_ms=NOON - 12 * HOUR_MS,
        health=replace(
            kpis.health, now_ms=NOON, read_up_to_ms=NOON, reading_history=False, behind=0
        ),
        progress=replace(kpis.progress, windows_waiting=0, event_pace=pace),
    )
    with page(ended) as why:
        why(english, chinese)


@contextmanager
def page(kpis: KpiView) -> Iterator[Callable[[str, str], None]]:
    """Open the page; yield a function that waits for what it says of the data, and translates."""
    with (
        served(kpis, queries()) as address,
        stack.browser(
            program("chromedriver"), program("chromium"), width=1280, height=900
        ) as chrome,
    ):
        chrome.get(address)
        wait = WebDriverWait(chrome, 30)

        def why(english: str, chinese: str) -> None:
            for text in (english, chinese):
                wait.until(lambda _, text=text: text in chrome.find_element(By.ID, "comp-why").text)
                chrome.find_element(By.ID, "language").click()

        yield why
