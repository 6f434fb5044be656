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
import urllib.request
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live

from models.window import DAY_MS, QUARTER_MS, align_down
from streams.broker import Broker
from streams.embedded import demo_checks, demo_screen, processes, services
from streams.embedded.demo_checks import Observed
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
LEAST_S = 75.0
"""Shortest feed, in s of the clock, in which the alert fires and resolves on a busy machine.

The window of a minute takes 15 s to leave the fault behind, and the rest is for the machine.
"""
RULE_OF = {
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
    if scenario not in RULE_OF:
        raise MonitorError(f"no scenario {scenario!r}; known: {', '.join(RULE_OF)}")
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
        elif seconds < LEAST_S:
            console.print(
                f"--for {seconds:g}s is too short to see the alert end: give at least "
                f"--for {LEAST_S:.0f}s.",
                highlight=False,
            )
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
        findings = demo_checks.findings(
            made.truth,
            observed,
            scenario=scenario,
            rule=RULE_OF[scenario],
            url=url,
            too_short=seconds < LEAST_S,
        )
    demo_checks.show(findings, console)
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
        _watch(url, observed, rule=RULE_OF[scenario], started=started, console=live_console)
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
                said = observed.record(rule=rule, elapsed_s=time.monotonic() - started)
                if screen is not None:
                    if said:
                        screen.console.print(said)
                    screen.update(demo_screen.picture(observed.live))
            await asyncio.sleep(0.5)


def _get_json(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - loopback
        answer: dict[str, Any] = json.load(response)
    return answer
