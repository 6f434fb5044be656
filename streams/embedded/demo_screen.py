"""The demo's picture in the terminal: alerts, and the headline KPIs with their units."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

HEADLINES = (
    "clicks",
    "unique_visitors",
    "orders",
    "conversion_rate",
    "revenue_gross",
    "aov",
    "refund_rate",
    "spend",
    "cpc",
    "roas",
)
WINDOWS = {"1m": "1 min", "5m": "5 min", "1h": "1 hour", "day": "day"}
ALERTS_SHOWN = 5
_STATES = {"firing": "bold red", "pending": "yellow", "resolved": "green"}
"""The states of alerts in the order of the list, with their styles."""


def picture(live: dict[str, Any]) -> RenderableType:
    """Return the picture of a live view; 80 columns and 24 lines are enough for it."""
    health = live["health"]
    head = (
        f"{live['phase']} · {health.get('events', 0):,} events · "
        f"{health.get('lag_seconds') or 0:.1f} s behind"
    )
    return Group(Text(head, style="bold"), *_alerts(live), _table(live))


def shown(value: float, unit: str | None, currency: str) -> tuple[str, str]:
    """Return a value and its unit as text.

    Args:
        value: in the unit.
        unit: of the KPI; None for a value without one.
        currency: the unit of money.
    """
    if unit == "ratio":
        return f"{value * 100:,.2f}", "%"
    if unit == "money":
        return f"{value:,.2f}", currency
    if unit == "multiple":
        return f"{value:,.2f}", "×"
    if unit == "seconds":
        return f"{value:,.1f}", "s"
    return (f"{value:,.0f}" if value == round(value) else f"{value:,.2f}"), ""


def _alerts(live: dict[str, Any]) -> list[Text]:
    order = list(_STATES)
    alerts = sorted(live["alerts"], key=lambda alert: order.index(alert["state"]))
    lines = [_alert(alert, live["currency"]) for alert in alerts[:ALERTS_SHOWN]]
    if len(alerts) > ALERTS_SHOWN:
        lines.append(Text(f"and {len(alerts) - ALERTS_SHOWN} more on the page"))
    return lines or [Text("no alerts", style="green")]


def _alert(alert: dict[str, Any], currency: str) -> Text:
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(f"{alert['state']:8} ", style=_STATES[alert["state"]])
    line.append(f"{alert['rule']}: {alert['summary_en']}")
    value, limit = alert["value"], alert["threshold"]
    if value is not None:
        line.append(f", {' '.join(shown(value, alert['unit'], currency)).rstrip()}")
        if limit is not None:
            line.append(f" (limit {' '.join(shown(limit, alert['unit'], currency)).rstrip()})")
    return line


def _table(live: dict[str, Any]) -> Table:
    kpis = {kpi["name"]: kpi for kpi in live["kpis"]}
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("KPI", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    for title in WINDOWS.values():
        table.add_column(title, justify="right", no_wrap=True)
    for name in HEADLINES:
        if name not in kpis:
            continue
        kpi = kpis[name]
        cells = [live["totals"].get(window, {}).get(name) for window in WINDOWS]
        texts = [
            "-" if cell is None else shown(cell["value"], kpi["unit"], live["currency"])[0]
            for cell in cells
        ]
        table.add_row(kpi["title_en"], shown(0, kpi["unit"], live["currency"])[1], *texts)
    return table
