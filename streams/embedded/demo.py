"""The demo: Kafka, Valkey, a worker and a feed on this machine, with a scripted incident.

Event time begins in the past and runs `SPEED` times as fast as the clock until it has caught
up. A scenario of `streams.operations.synthetic` breaks something, so that an alert fires and
resolves. A demo of limited length ends with checks: every record must have been counted as
it was sent, KPIs must be exported, and the alert must have fired and resolved.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from models.window import DAY_MS, QUARTER_MS, align_down
from streams.broker import Broker
from streams.embedded import processes, services
from streams.embedded.kafka import EmbeddedKafka
from streams.embedded.processes import Child
from streams.embedded.valkey import EmbeddedValkey
from streams.errors import MonitorError
from streams.operations import producer
from streams.operations.synthetic import SCENARIOS, Recurring, Scenario, Synthetic, staged

SPEED = 4.0
"""Seconds of event time per second of the clock; an alert so fires and resolves sooner."""
HISTORY_S = 600
"""Seconds of event time that are sent at once before the feed, so that windows start full."""
CLICKS_PER_SECOND = 40.0
STAGE_AFTER_S = 60.0
"""Seconds of event time from the start of the feed to the first phase of the campaign."""
SCENARIO_AFTER_S = 30.0
"""Seconds of the clock from the start of the feed to the scenario."""
SCENARIO_LENGTH_S = 15.0
"""Seconds of the clock that a scenario lasts."""
AGAIN_EVERY_S = 1_200.0
"""Seconds of event time between two scenarios of an endless demo."""
HEAD_START_S = 1_200.0
"""Seconds of the clock after which the event time of an endless demo has caught up with it."""
WITHOUT_END_DAYS = 30
RETENTION_BYTES = 256 << 20
"""Bytes kept of each partition (some hours), so that an endless demo does not fill the disk."""
DRAIN_S = 60.0
"""Seconds of the clock that the worker gets to read the rest and to resolve the alert."""
_RULE_OF = {
    "checkout-outage": "conversion-drop",
    "traffic-spike": "click-flood",
    "tracking-lost": "clicks-absent",
    "budget-burn": "cost-per-click-high",
}


def seconds_of(text: str) -> float:
    """Read a duration like 90s, 5m or 1h; a number without a unit is seconds.

    Raises:
        MonitorError: the text is not a duration.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h)?", text)
    if match is None:
        raise MonitorError(f"duration {text!r}: use seconds, or 90s, 5m, 1h")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600, None: 1}[match[2]]


@dataclass(slots=True)
class Observed:
    """Observations of the monitor while the feed ran.

    Times are seconds of the clock since the demo started; None if it did not happen.
    """

    firing_at_s: float | None = None
    resolved_at_s: float | None = None
    first_kpi_at_s: float | None = None
    live: dict[str, Any] = field(default_factory=dict)


def run(*, seconds: float, report: Path | None, port: int, scenario: str, console: Console) -> bool:
    """Run the demo and return whether all checks passed.

    Args:
        seconds: of the clock that the feed runs; 0 feeds until Ctrl-C and checks nothing.
        report: file for the findings as JSON; with it no live table is shown.
        port: of the live page; 0 for any.
        scenario: the incident to play.
        console: prints addresses, the live table and the findings.

    Raises:
        MonitorError: the scenario is not known.
    """
    if scenario not in _RULE_OF:
        raise MonitorError(f"no scenario {scenario!r}; known: {', '.join(_RULE_OF)}")
    started = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="kpi-monitor-demo-") as folder,
        contextlib.ExitStack() as stack,
    ):
        home = Path(folder)
        broker = EmbeddedKafka(home / "kafka", retention_bytes=RETENTION_BYTES)
        kafka = stack.enter_context(services.started(broker, console))
        valkey = stack.enter_context(EmbeddedValkey(home / "valkey"))
        worker, url = _worker(home, kafka=kafka, valkey=valkey, port=port)
        stack.callback(worker.stop)
        console.print(f"\nlive page  {url}\nmetrics    {url}metrics\nKafka      {kafka.address}")
        console.print(f"Valkey     {valkey.url}\nworker log {worker.log_file}\n")
        console.print(
            f"Event time begins in the past and runs {SPEED:.0f}× as fast as the clock until it "
            f"has caught up. {scenario} begins {SCENARIO_AFTER_S:.0f} s after the feed and lasts "
            f"{SCENARIO_LENGTH_S:.0f} s."
        )
        if not seconds:
            console.print("Ctrl-C ends the demo; until then something goes wrong now and then.")
        made = Synthetic(seed=1, clicks_per_second=CLICKS_PER_SECOND)
        observed = Observed()
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(
                _play(
                    made,
                    kafka=kafka.address,
                    url=url,
                    worker=worker,
                    seconds=seconds,
                    scenario=scenario,
                    observed=observed,
                    started=started,
                    live_console=None if report else console,
                )
            )
        if not seconds:
            return True
        findings = _findings(made, observed, scenario=scenario, url=url)
    _show(findings, console)
    if report is not None:
        report.write_text(json.dumps(findings, indent=2, ensure_ascii=False) + "\n")
    return all(check["ok"] for check in findings["checks"])


def _example(name: str) -> Traversable:
    """Return an example file: from the wheel, or from ``config/`` in a checkout."""
    root = resources.files("streams")
    packed = root.joinpath("example_config", name)
    return packed if packed.is_file() else root.joinpath("../config", name)


def _worker(
    home: Path, *, kafka: EmbeddedKafka, valkey: EmbeddedValkey, port: int
) -> tuple[Child, str]:
    ready = home / "web-url"
    child = processes.start(
        "worker",
        [sys.executable, "-m", "streams", "worker"],
        log_file=Path(tempfile.gettempdir()) / "kpi-monitor-demo-worker.log",
        env={
            **os.environ,
            "KPI_APP_ID": "kpi-demo",
            "KPI_KAFKA": kafka.address,
            "KPI_REDIS": valkey.url,
            "KPI_DATA_DIR": str(home / "data"),
            "KPI_RULES_FILE": str(_example("demo-rules.yaml")),
            "KPI_SCORECARDS_FILE": str(_example("scorecards.yaml")),
            "KPI_WEB_PORT": str(port),
            "KPI_WEB_READY_FILE": str(ready),
            "KPI_START_FROM": "earliest",
            "KPI_IDLE_AFTER_S": "2",
        },
    )
    processes.wait_until(
        lambda: ready.exists() and ready.read_text() != "", child=child, timeout_s=60
    )
    return child, ready.read_text()


async def _play(
    made: Synthetic,
    *,
    kafka: str,
    url: str,
    worker: Child,
    seconds: float,
    scenario: str,
    observed: Observed,
    started: float,
    live_console: Console | None,
) -> None:
    now_ms = int(time.time() * 1000)
    # Event time catches up with the clock when the feed ends.
    lead_ms = round(max(seconds or HEAD_START_S, 60.0) * (SPEED - 1) * 1000)
    # The first phase begins at the next whole quarter, STAGE_AFTER_S later, within the feed.
    origin_ms = align_down(now_ms - lead_ms, step_ms=QUARTER_MS) - round(STAGE_AFTER_S * 1000)
    begin_ms = origin_ms + round(SCENARIO_AFTER_S * SPEED * 1000)
    length_ms = round(SCENARIO_LENGTH_S * SPEED * 1000)
    made.add(Scenario(scenario, begin_ms, begin_ms + length_ms))
    if not seconds:
        for again in recurring_faults(scenario, first_ms=begin_ms, length_ms=length_ms):
            made.add(again)
    feed_ms = round(seconds * SPEED * 1000) or WITHOUT_END_DAYS * DAY_MS
    watch = asyncio.create_task(
        _watch(url, observed, rule=_RULE_OF[scenario], started=started, console=live_console)
    )
    async with producer.producer(Broker(servers=kafka)) as client:
        campaigns = staged(origin_ms, days=1 if seconds else WITHOUT_END_DAYS)
        await producer.define(client, campaigns, topic="kpi-demo-registry")
        await asyncio.sleep(1.0)
        await producer.send_all(client, made.records(origin_ms - HISTORY_S * 1000, origin_ms))
        records = made.records(origin_ms, origin_ms + feed_ms)
        await producer.send_paced(client, records, speed=SPEED, never_ahead=True)
    deadline = time.monotonic() + DRAIN_S
    # Polling: the worker is another process, so there is no event to await.
    while time.monotonic() < deadline and worker.alive and not _drained(made, observed):  # noqa: ASYNC110
        await asyncio.sleep(0.5)
    watch.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watch


def recurring_faults(scenario: str, *, first_ms: int, length_ms: int) -> Iterator[Scenario]:
    """Yield every scenario as a recurring one, round-robin after the first occurrence."""
    every_ms = round(AGAIN_EVERY_S * 1000)
    in_turn = [name for name in SCENARIOS if name != scenario] + [scenario]
    for number, name in enumerate(in_turn, start=1):
        start_ms = first_ms + number * every_ms
        yield Recurring(name, start_ms, start_ms + length_ms, every_ms * len(in_turn))


def _drained(made: Synthetic, observed: Observed) -> bool:
    health = observed.live.get("health", {})
    return bool(
        health.get("events", 0) >= made.truth.records
        and (observed.firing_at_s is None or observed.resolved_at_s is not None)
    )


async def _watch(
    url: str, observed: Observed, *, rule: str, started: float, console: Console | None
) -> None:
    with contextlib.ExitStack() as stack:
        screen = (
            stack.enter_context(Live(console=console, refresh_per_second=2)) if console else None
        )
        while True:
            with contextlib.suppress(OSError, ValueError):
                observed.live = await asyncio.to_thread(_get_json, f"{url}api/live")
                _record(observed, rule=rule, elapsed_s=time.monotonic() - started)
                if screen is not None:
                    screen.update(_table(observed.live))
            await asyncio.sleep(0.5)


def _get_json(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - loopback
        answer: dict[str, Any] = json.load(response)
    return answer


def _record(observed: Observed, *, rule: str, elapsed_s: float) -> None:
    if observed.first_kpi_at_s is None and observed.live["totals"].get("1m", {}).get("clicks"):
        observed.first_kpi_at_s = elapsed_s
    states = {alert["state"] for alert in observed.live["alerts"] if alert["rule"] == rule}
    if observed.firing_at_s is None and "firing" in states:
        observed.firing_at_s = elapsed_s
    if observed.firing_at_s is not None and states == {"resolved"}:
        observed.resolved_at_s = observed.resolved_at_s or elapsed_s


def _table(live: dict[str, Any]) -> Table:
    health = live["health"]
    table = Table(
        title=f"{live['phase']} · {health.get('events', 0):,} events · "
        f"lag {health.get('lag_seconds') or 0:.1f} s",
        caption="\n".join(
            f"{alert['state']:8} {alert['severity']:8} {alert['rule']} ({alert['scope']})"
            for alert in live["alerts"][:8]
        )
        or "no alerts",
        caption_justify="left",
    )
    table.add_column("KPI")
    for window in live["totals"]:
        table.add_column(window, justify="right")
    for kpi in live["kpis"]:
        cells = [values.get(kpi["name"]) for values in live["totals"].values()]
        table.add_row(
            f"{kpi['title_en']} {kpi['title_zh']}", *(_cell(cell, kpi["unit"]) for cell in cells)
        )
    return table


def _cell(cell: dict[str, Any] | None, unit: str) -> str:
    if cell is None:
        return "—"
    value = cell["value"]
    if unit == "ratio":
        return f"{value:.2%}" if value < 1 else f"{value:.2f}"
    return f"{value:,.2f}" if unit == "money" else f"{value:,}"


def _findings(made: Synthetic, observed: Observed, *, scenario: str, url: str) -> dict[str, Any]:
    truth = made.truth
    health = observed.live.get("health", {})
    pairs = {
        "records read": (health.get("events"), truth.records),
        "events counted": (health.get("counted"), truth.counted),
        "duplicates": (health.get("duplicates"), truth.duplicates),
        "dead letters": (health.get("dead_letters"), truth.broken),
    }
    checks: list[dict[str, Any]] = [
        {"check": name, "ok": seen == sent, "seen": seen, "expected": sent}
        for name, (seen, sent) in pairs.items()
    ]
    series = _kpi_series(url)
    checks.append({"check": "KPI series exported", "ok": series > 0, "seen": series})
    for name, at_s in (("fired", observed.firing_at_s), ("resolved", observed.resolved_at_s)):
        checks.append(
            {"check": f"{_RULE_OF[scenario]} {name}", "ok": at_s is not None, "seen": at_s}
        )
    return {
        "scenario": scenario,
        "first_kpi_after_s": observed.first_kpi_at_s,
        "revenue_sent": truth.revenue_units / 10_000,
        "sent": dict(truth.unique),
        "late": truth.late,
        "checks": checks,
    }


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


def _show(findings: dict[str, Any], console: Console) -> None:
    table = Table("check", "seen", "expected", "")
    for check in findings["checks"]:
        seen = check["seen"]
        text = f"{seen:.1f} s" if isinstance(seen, float) else str(seen)
        table.add_row(
            check["check"], text, str(check.get("expected", "")), "ok" if check["ok"] else "FAILED"
        )
    console.print(table)
