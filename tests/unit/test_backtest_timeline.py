"""The picture of a backtest: a row for each rule and scope, incidents as shading, local dates."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

import pytest

from models.scope import Scope
from models.window import DAY_MS, HOUR_MS, MINUTE_MS
from streams.backtest.incidents import Incident
from streams.backtest.result import Result
from streams.backtest.timeline import EDGE, LEAST, MOST_TICKS, WIDTH, ticks, timeline
from tests.unit.test_backtest_incidents import firing

UTC = ZoneInfo("UTC")
BERLIN = ZoneInfo("Europe/Berlin")
NOV_1 = 1_793_487_600_000
"""2026-11-01T00:00+01:00."""


def result(**others: Any) -> Result:
    """Return a result of 100 minutes."""
    return Result(from_ms=0, to_ms=100 * MINUTE_MS, rules=("orders-few", "quiet"), **others)


def parts(shown: str, style: str) -> list[dict[str, str]]:
    """Return the attributes of the rectangles of a style."""
    root = ElementTree.fromstring(shown)
    return [one.attrib for one in root.iter() if one.attrib.get("class") == style]


def test_rows() -> None:
    """A rule has a row for each scope in which it fired; one that never fired has one."""
    search = Scope("channel", channel="search & more")
    shown = timeline(result(firings=[firing(10, 20), firing(50, None, scope=search)]), zone=UTC)
    texts = ["".join(one.itertext()) for one in ElementTree.fromstring(shown).iter()]
    assert "1× orders-few · all" in texts
    assert "1× orders-few · channel=search & more" in texts
    assert "quiet · never fired" in texts
    assert len(parts(shown, "track")) == 3


def test_bars() -> None:
    """A bar is as long as its firing, but never too short to be seen."""
    shown = timeline(result(firings=[firing(10, 60), firing(70, 70.1)]), zone=UTC)
    long, short = parts(shown, "warning")
    inner = WIDTH - 2 * EDGE
    assert float(long["x"]) == pytest.approx(EDGE + inner * 0.1, abs=0.1)
    assert float(long["width"]) == pytest.approx(inner * 0.5, abs=0.1)
    assert float(short["width"]) == LEAST


def test_incident_beyond_the_end() -> None:
    """Of an incident that lasts longer than the events, the part within them is shaded."""
    incident = Incident.model_validate(
        {"name": "checkout", "from": "1970-01-01T01:30Z", "to": "1970-01-02T00:00Z"}
    )
    shown = timeline(result(firings=[], incidents=[incident]), zone=UTC)
    (shade,) = parts(shown, "incident")
    assert float(shade["x"]) + float(shade["width"]) == pytest.approx(WIDTH - EDGE, abs=0.2)
    assert "1 checkout, 1 Jan 01:30" in shown


def test_other_rules() -> None:
    """Firings of the other rules are thin bars in the same rows, or in rows of their own."""
    there = [firing(30, 40), firing(30, 40, rule="other")]
    shown = timeline(result(firings=[firing(10, 20)], against=there), zone=UTC)
    assert len(parts(shown, "other")) == 2
    assert "0× other · all" in shown
    assert "Thin bars" in shown


@pytest.mark.parametrize(
    ("days", "first", "last"),
    [
        (2, "1 Nov", "3 Nov"),
        (6, "2 Nov", "7 Nov"),
        (30, "2 Nov", "27 Nov"),
        (0.2, "1 Nov", "04:00"),
    ],
)
def test_ticks(days: float, first: str, last: str) -> None:
    """The axis has local midnights, or in a short span whole hours."""
    found = ticks(NOV_1, NOV_1 + round(days * DAY_MS), zone=BERLIN)
    assert (found[0][1], found[-1][1]) == (first, last)
    assert len(found) <= MOST_TICKS + 1


def test_ticks_with_a_long_day() -> None:
    """When clocks go back, midnights stay midnights."""
    found = ticks(NOV_1 - 10 * DAY_MS, NOV_1, zone=BERLIN)
    assert {at % DAY_MS for at, _ in found} == {22 * HOUR_MS, 23 * HOUR_MS}
