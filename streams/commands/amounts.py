"""Values of KPIs and times as the tables of commands show them."""

from __future__ import annotations

from datetime import datetime, tzinfo

from models.kpi.definition import Kpi
from streams.alerting.words import amount

_DIGITS = {"ratio": 4, "money": 2, "multiple": 2, "seconds": 1}


def shown(value: float | None, kpi: Kpi | None, *, currency: str) -> str:
    """Return a value of a KPI, rounded, with its unit; - if there is none."""
    if value is None:
        return "-"
    if kpi is None:
        return f"{value:g}"
    return amount(_rounded(value, kpi.shown_unit), kpi, currency=currency).en


def interval(low: float | None, high: float | None, kpi: Kpi | None, *, currency: str) -> str:
    """Return an interval of a KPI; - if it has none."""
    if low is None:
        return "-"
    return f"{shown(low, kpi, currency=currency)} to {shown(high, kpi, currency=currency)}"


def clock(ms: int, zone: tzinfo) -> str:
    """Return a time in ms as a local time."""
    return f"{datetime.fromtimestamp(ms / 1000, zone):%Y-%m-%d %H:%M:%S %Z}"


def _rounded(value: float, unit: str) -> float:
    """Return a value rounded as people read it; what is not 0 stays so."""
    digits = _DIGITS.get(unit)
    if unit in {"count", "users"} and abs(value) >= 100:
        digits = 0
    rounded = float(f"{value:.6g}") if digits is None else round(value, digits)
    return float(f"{value:.2g}") if value and not rounded else rounded
