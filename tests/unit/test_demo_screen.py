"""The demo's picture in the terminal, and the reasons of checks that fail."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from models.alerts import Alert, AlertState
from models.scope import ALL, Scope
from streams.embedded import demo_screen
from streams.embedded.demo_checks import Observed, alert_reason
from streams.export.page.snapshot import live
from streams.export.worker_view import WorkerView
from tests.factories.views import queries
from tests.support.offline import NOON

RULE = "conversion-drop"


def alert(state: AlertState, **changed: Any) -> Alert:
    made: dict[str, Any] = {
        "rule": RULE,
        "severity": "critical",
        "state": state,
        "scope": ALL,
        "kpi": "conversion_rate",
        "window": "1m",
        "value": 0.0132,
        "threshold": 0.05,
        "summary_en": "Fewer clicks become orders, which is told in very many words indeed",
        "active_since_ms": NOON,
        "updated_ms": NOON,
    }
    return Alert(**made | changed)


def with_alerts(view: WorkerView, *alerts: Alert) -> dict[str, Any]:
    """Return the live view of a worker with alerts."""
    assert view.kpis is not None
    return live(replace(view, kpis=replace(view.kpis, alerts=alerts)), queries())


def lines(picture: dict[str, Any], *, width: int) -> list[str]:
    """Return the lines of the picture in a terminal."""
    text = io.StringIO()
    Console(file=text, width=width).print(demo_screen.picture(picture))
    return text.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 120])
def test_fits(view: WorkerView, width: int) -> None:
    """Ten KPIs with units fit below the alerts, with nothing of a value cut off."""
    many = [alert(AlertState.RESOLVED, scope=Scope("campaign", f"c{n}")) for n in range(9)]
    shown = lines(with_alerts(view, *many, alert(AlertState.FIRING)), width=width)
    assert len(shown) <= 23
    assert all(len(line) <= width for line in shown)
    assert shown[1].startswith(f"firing   {RULE}: Fewer clicks become orders")
    assert shown[6] == "and 5 more on the page"
    table = "\n".join(shown[7:])
    assert "…" not in table
    for name in demo_screen.HEADLINES:
        assert sum(kpi["name"] == name for kpi in live(view, queries())["kpis"]) == 1
    for title, unit in (
        ("Conversion rate", "%"),
        ("Spend", "CNY"),
        ("Return on ad spend", "×"),
        ("Clicks", ""),
    ):
        assert re.search(
            rf"^ ?{title} +{re.escape(unit)} +[-\d,.]+ +[-\d,.]+ +[\d,.]+ +[\d,.]+ *$",
            table,
            re.MULTILINE,
        )


def test_alert_has_value_and_limit(view: WorkerView) -> None:
    """An alert is shown with its value and its limit, in the unit of its KPI."""
    picture = with_alerts(view, alert(AlertState.FIRING, summary_en="Fewer orders"))
    assert lines(picture, width=80)[1] == (f"firing   {RULE}: Fewer orders, 1.32 % (limit 5.00 %)")
    assert "no alerts" in lines(with_alerts(view), width=80)[1]


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.12345, "ratio", ("12.35", "%")),
        (1234.5, "money", ("1,234.50", "EUR")),
        (46.644409, "seconds", ("46.6", "s")),
        (1.02, "multiple", ("1.02", "×")),
        (12345, "count", ("12,345", "")),
        (0.5, None, ("0.50", "")),
    ],
)
def test_units(value: float, unit: str | None, text: tuple[str, str]) -> None:
    """Each unit has its format."""
    assert demo_screen.shown(value, unit, "EUR") == text


def test_changes_are_said_once(view: WorkerView) -> None:
    """The first firing and its end are a line each."""
    observed = Observed(live=with_alerts(view))
    assert observed.record(rule=RULE, elapsed_s=1.0) == ""
    observed.live = with_alerts(view, alert(AlertState.FIRING))
    assert observed.record(rule=RULE, elapsed_s=2.0) == f"2 s: the alert {RULE} fires"
    assert observed.record(rule=RULE, elapsed_s=3.0) == ""
    observed.live = with_alerts(view, alert(AlertState.RESOLVED))
    assert observed.record(rule=RULE, elapsed_s=4.0) == f"4 s: the alert {RULE} is resolved"
    assert observed.record(rule=RULE, elapsed_s=5.0) == ""
    assert (observed.firing_at_s, observed.resolved_at_s) == (2.0, 4.0)


def test_reasons(view: WorkerView) -> None:
    """A check of the alert that failed says why."""
    silent = alert(AlertState.FIRING, rule="data-silent", category="data_health", kpi="")
    observed = Observed(live=with_alerts(view, alert(AlertState.FIRING), silent))

    def reason(name: str, *, too_short: bool = False) -> str:
        return alert_reason(observed, rule=RULE, name=name, too_short=too_short)

    assert reason("resolved") == "it did not fire"
    observed.firing_at_s = 1.0
    assert reason("resolved", too_short=True) == (
        "it was firing at the end; held back while data-silent fires; --for is too short to see "
        "it end"
    )
    observed.live = with_alerts(view)
    assert reason("fired") == "no alert of the rule was open"
