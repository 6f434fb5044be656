"""Measures the latency from the end of a pane to the metric that shows it.

A real worker on an embedded Kafka gets ten clicks a second, live. For each pane the benchmark
polls /metrics until the frontier has reached the end of the pane, and takes the time since that
end. The allowed disorder has to pass in any case; the rest is the monitor's own delay.

    python benchmarks/latency.py --panes 12
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import statistics
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from models.window import PANE_MS
from streams import settings
from streams.assembly import topics
from streams.broker import Broker
from streams.embedded import processes
from streams.embedded.kafka import EmbeddedKafka
from streams.operations import producer

DISORDER_S = 5.0
FRONTIER = re.compile(r"^kpi_monitor_frontier_timestamp_seconds (\S+)$", re.MULTILINE)


async def send_clicks(kafka: str) -> None:
    """Send ten clicks a second until cancelled."""
    async with producer.producer(Broker(servers=kafka)) as client:
        number = 0
        while True:
            number += 1
            user = f"u{number % 500}"
            click = {
                "type": "click",
                "event_id": f"l{number}",
                "event_time": int(time.time() * 1000),
                "user_id": user,
            }
            await client.send("clicks", json.dumps(click).encode(), user.encode())
            await asyncio.sleep(0.1)


def frontier_ms(url: str) -> int:
    """Return the frontier as /metrics shows it; 0 before there is one."""
    with urllib.request.urlopen(f"{url}metrics", timeout=5) as answer:
        found = FRONTIER.search(answer.read().decode())
    return round(float(found[1]) * 1000) if found else 0


async def measure(url: str, panes: int) -> list[float]:
    """Return for each pane but the first the seconds from its end to its metric."""
    delays: list[float] = []
    while not (shown := await asyncio.to_thread(frontier_ms, url)):
        await asyncio.sleep(0.2)
    pane_end = (shown // PANE_MS + 1) * PANE_MS
    for _ in track(range(panes), "panes", transient=True):
        while await asyncio.to_thread(frontier_ms, url) < pane_end:
            await asyncio.sleep(0.05)
        delays.append(time.time() - pane_end / 1000)
        pane_end += PANE_MS
    return delays[1:]


async def run(panes: int) -> list[float]:
    with tempfile.TemporaryDirectory() as folder, EmbeddedKafka(Path(folder) / "kafka") as kafka:
        topics.ensure(settings.load(kafka=kafka.address))
        ready = Path(folder) / "url"
        worker = processes.start(
            "worker",
            [sys.executable, "-m", "streams", "worker"],
            log_file=Path(folder) / "log",
            env={
                **os.environ,
                "KPI_KAFKA": kafka.address,
                "KPI_DATA_DIR": f"{folder}/data",
                "KPI_WEB_PORT": "0",
                "KPI_WEB_READY_FILE": str(ready),
                "KPI_ALLOWED_DISORDER_S": str(DISORDER_S),
            },
        )
        with processes.running(worker):
            processes.wait_until(
                lambda: ready.exists() and ready.read_text() != "", child=worker, timeout_s=60
            )
            sending = asyncio.create_task(send_clicks(kafka.address))
            try:
                return await measure(ready.read_text(), panes)
            finally:
                sending.cancel()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--panes", type=int, default=12)
    delays = asyncio.run(run(parser.parse_args().panes))
    table = Table("after the pane's end", "seconds")
    for name, value in (
        ("median", statistics.median(delays)),
        ("largest", max(delays)),
        ("of it allowed disorder", DISORDER_S),
        ("the monitor's own, largest", max(delays) - DISORDER_S),
    ):
        table.add_row(name, f"{value:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
