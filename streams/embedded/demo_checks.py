"""The checks at the end of a demo of limited length, with a reason where one fails."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from streams.operations.synthetic import Truth


@dataclass(slots=True)
class Observed:
    """Observations of the monitor while the feed ran.

    Times are seconds of the clock since the demo started; None if it did not happen.
    """

    firing_at_s: float | None = None
    resolved_at_s: float | None = None
    first_kpi_at_s: float | None = None
    live: dict[str, Any] = field(default_factory=dict)

    def record(self, *, rule: str, elapsed_s: float) -> str:
        """Record what the live view shows of the rule; return a line if its alert changed."""
        if self.first_kpi_at_s is None and self.live["totals"].get("1m", {}).get("clicks"):
            self.first_kpi_at_s = elapsed_s
        states = {alert["state"] for alert in self.live["alerts"] if alert["rule"] == rule}
        if self.firing_at_s is None and "firing" in states:
            self.firing_at_s = elapsed_s
            return f"{elapsed_s:.0f} s: the alert {rule} fires"
        if self.firing_at_s is not None and self.resolved_at_s is None and states == {"resolved"}:
            self.resolved_at_s = elapsed_s
            return f"{elapsed_s:.0f} s: the alert {rule} is resolved"
        return ""


def findings(
    truth: Truth, observed: Observed, *, scenario: str, rule: str, url: str, too_short: bool
) -> dict[str, Any]:
    """Compare what was sent with what the monitor shows.

    Args:
        truth: what was sent.
        observed: what was seen of the monitor.
        scenario: the fault that was simulated.
        rule: the rule whose alert the fault causes.
        url: of the worker's web side.
        too_short: whether the feed was too short for the alert to resolve.

    Returns:
        A report for JSON; each check that failed has a reason.
    """
    health = observed.live.get("health", {})
    pairs = {
        "records read": (health.get("events"), truth.records),
        "events counted": (health.get("counted"), truth.counted),
        "duplicates": (health.get("duplicates"), truth.duplicates),
        "dead letters": (health.get("dead_letters"), truth.broken),
    }
    unread = health.get("events") != truth.records
    checks = [
        _check(name, seen == sent, seen=seen, expected=sent, reason=_count_reason(unread=unread))
        for name, (seen, sent) in pairs.items()
    ]
    series = _kpi_series(url)
    checks.append(
        _check(
            "KPI series exported", series > 0, seen=series, reason="/metrics has none, or no answer"
        )
    )
    for name, at_s in (("fired", observed.firing_at_s), ("resolved", observed.resolved_at_s)):
        reason = alert_reason(observed, rule=rule, name=name, too_short=too_short)
        checks.append(_check(f"{rule} {name}", at_s is not None, seen=at_s, reason=reason))
    return {
        "scenario": scenario,
        "first_kpi_after_s": observed.first_kpi_at_s,
        "revenue_sent": truth.revenue_units / 10_000,
        "sent": dict(truth.unique),
        "late": truth.late,
        "checks": checks,
    }


def alert_reason(observed: Observed, *, rule: str, name: str, too_short: bool) -> str:
    """Return why the alert of a rule did not fire, or did not resolve.

    Args:
        observed: what was seen of the monitor.
        rule: the rule.
        name: ``fired`` or ``resolved``.
        too_short: whether the feed was too short for the alert to resolve.
    """
    if name == "resolved" and observed.firing_at_s is None:
        return "it did not fire"
    alerts = observed.live.get("alerts", ())
    own = [alert for alert in alerts if alert["rule"] == rule and alert["state"] != "resolved"]
    data = [
        alert["rule"]
        for alert in alerts
        if alert["category"] == "data_health" and alert["state"] == "firing"
    ]
    state = f"it was {own[0]['state']} at the end" if own else "no alert of the rule was open"
    if data:
        state += f"; held back while {_and(data)} fires"
    if too_short:
        state += "; --for is too short to see it end"
    return state


def show(found: dict[str, Any], console: Console) -> None:
    """Print the checks of a report, and the reasons of those that failed."""
    table = Table("check", "seen", "expected", "")
    for check in found["checks"]:
        seen = check["seen"]
        text = f"{seen:.1f} s" if isinstance(seen, float) else "-" if seen is None else str(seen)
        table.add_row(
            check["check"], text, str(check.get("expected", "")), "ok" if check["ok"] else "FAILED"
        )
    console.print()
    console.print(table)
    for check in found["checks"]:
        if not check["ok"]:
            text = f"FAILED {check['check']}: {check['reason']}"
            console.print(text, highlight=False, soft_wrap=True)


def _check(name: str, ok: bool, *, reason: str, **values: object) -> dict[str, Any]:
    return {"check": name, "ok": ok, **values} | ({} if ok else {"reason": reason})


def _count_reason(*, unread: bool) -> str:
    if unread:
        return "the worker had not read everything when the demo stopped waiting; see its log"
    return "the worker has read everything, and counts otherwise than was sent"


def _and(names: Iterable[str]) -> str:
    return " and ".join(sorted(set(names)))


def _kpi_series(url: str) -> int:
    try:
        with urllib.request.urlopen(f"{url}metrics", timeout=10) as response:  # noqa: S310
            text = response.read().decode()
    except (OSError, urllib.error.URLError):
        return 0
    return sum(
        1
        for line in text.splitlines()
        if line.startswith("kpi_") and not line.startswith("kpi_monitor_")
    )
