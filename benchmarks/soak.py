"""Measures a worker's memory over time, at half of its top speed.

1. The top speed is measured with everything on this machine: Kafka, the producer and the worker.
2. The producer sends half of that, live, while the worker's resident memory is read every second.
3. The peaks of stretches of five minutes after the warm-up are compared: memory must be flat.

Memory grows during the warm-up, because deduplication holds the event ids of its horizon (12
minutes by default) and the buckets fill. Horizons are in event time, which runs ``--speed`` times
as fast as the clock: with 10, a warm-up of 16 minutes covers 160 minutes of event time.

    python benchmarks/soak.py --minutes 30 --campaigns 100 --svg soak.svg
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import logging
import os
import random
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

from aiokafka import AIOKafkaProducer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from streams.broker import Broker
from streams.embedded import processes
from streams.embedded.kafka import EmbeddedKafka
from streams.engine import topics

TOPIC = "clicks"
PARTITIONS = 4
CHANNELS = (b"search", b"social", b"display", b"email")
USERS = 200_000
TOP_SPEED_S = 40
FLAT_WITHIN = 0.05
STRETCH_S = 300
BATCH = 400
"""Records of a batch; each round of the producer sends one batch to every partition."""


@dataclass
class Producer(threading.Thread):
    """Sends clicks with the current event time until ``ended`` is set.

    ``rate`` is records a second; None sends as fast as possible. ``speed`` is seconds of event
    time per second of the clock.
    """

    kafka: str
    campaigns: int
    speed: float = 1.0
    lead_s: float = 0.0
    """Seconds by which event time begins before the clock, so that it is never ahead of it."""
    rate: float | None = None
    sent: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        super().__init__(name="producer", daemon=True)

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        asyncio.run(self._send())

    async def _send(self) -> None:
        client = AIOKafkaProducer(
            bootstrap_servers=self.kafka, compression_type="lz4", max_batch_size=1 << 18
        )
        await client.start()
        rnd = random.Random(7)
        users = [b"u%07d" % number for number in range(USERS)]
        homes = [crc32(user) % PARTITIONS for user in users]
        names = itertools.count(rnd.getrandbits(40))
        waiting: list[Any] = []
        began, rate = time.monotonic(), self.rate
        first_s = time.time() - self.lead_s
        while not self.ended.is_set():
            due = BATCH * PARTITIONS
            if rate is not None:
                due = int((time.monotonic() - began) * rate) - self.sent
                if due < BATCH * PARTITIONS:
                    await asyncio.sleep(0.02)
                    continue
            batches = [client.create_batch() for _ in range(PARTITIONS)]
            now = b"%d" % int(1000 * (first_s + (time.time() - first_s - self.lead_s) * self.speed))
            for _ in range(BATCH * PARTITIONS):
                number = rnd.randrange(USERS)
                value = (
                    b'{"type":"click","event_id":"%x","event_time":%b,"user_id":"%b",'
                    b'"campaign_id":"cmp-%04d","channel":"%b"}'
                ) % (
                    next(names),
                    now,
                    users[number],
                    rnd.randrange(self.campaigns),
                    CHANNELS[number & 3],
                )
                if (
                    batches[homes[number]].append(key=users[number], value=value, timestamp=None)
                    is not None
                ):
                    self.sent += 1
            for partition, batch in enumerate(batches):
                waiting.append(await client.send_batch(batch, TOPIC, partition=partition))
            if len(waiting) > 40:
                await asyncio.gather(*waiting)
                waiting = []
        await asyncio.gather(*waiting)
        await client.stop()


@dataclass
class Sample:
    """The state of the worker at one moment, ``at_s`` seconds after the start of the soak."""

    at_s: float
    rss_mb: float
    events: int
    lag_s: float


class Watched:
    """A worker process whose memory and live view are read."""

    def __init__(self, home: Path, *, kafka: str, campaigns: int, app_id: str) -> None:
        ready = home / f"{app_id}.url"
        names = home / "campaigns.yaml"
        names.write_text(
            "campaigns:\n" + "".join(f"  - id: cmp-{one:04d}\n" for one in range(campaigns))
        )
        self.child = processes.start(
            "worker",
            [sys.executable, "-m", "streams", "worker"],
            log_file=home / f"{app_id}.log",
            env={
                **os.environ,
                "KPI_KAFKA": kafka,
                "KPI_APP_ID": app_id,
                "KPI_DATA_DIR": str(home / f"data-{app_id}"),
                "KPI_CAMPAIGNS_FILE": str(names),
                "KPI_WEB_PORT": "0",
                "KPI_WEB_READY_FILE": str(ready),
                "KPI_START_FROM": "latest",
            },
        )
        processes.wait_until(
            lambda: ready.exists() and ready.read_text() != "", child=self.child, timeout_s=60
        )
        self.url = ready.read_text()

    def live(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}api/live", timeout=20) as answer:
            picture: dict[str, Any] = json.load(answer)
        return picture

    def sample(self, began: float) -> Sample:
        pages = int(Path(f"/proc/{self.child.pid}/statm").read_text().split()[1])
        health = self.live()["health"]
        return Sample(
            time.monotonic() - began,
            pages * 4096 / (1 << 20),
            health.get("events", 0),
            health.get("lag_seconds") or 0.0,
        )

    def wait(self) -> None:
        while self.live()["phase"] != "running" or not self.live()["owner"]:
            time.sleep(0.5)
        time.sleep(3)


def top_speed(home: Path, kafka: str, *, campaigns: int, speed: float, console: Console) -> float:
    """Return how many events a second the worker reads while the producer sends more."""
    worker = Watched(home, kafka=kafka, campaigns=campaigns, app_id="top-speed")
    worker.wait()
    producer = Producer(kafka, campaigns, speed=speed, lead_s=TOP_SPEED_S * 2 * speed)
    producer.start()
    time.sleep(8)
    first = worker.sample(0.0)
    began = time.monotonic()
    for _ in track(range(TOP_SPEED_S), "measuring the top speed", transient=True, console=console):
        time.sleep(1)
    last = worker.sample(0.0)
    rate = (last.events - first.events) / (time.monotonic() - began)
    producer.ended.set()
    producer.join()
    worker.child.stop()
    return rate


def soak(
    home: Path,
    kafka: str,
    *,
    campaigns: int,
    speed: float,
    rate: float,
    seconds: float,
    console: Console,
) -> list[Sample]:
    """Send ``rate`` events a second for ``seconds`` and return a sample of each second."""
    worker = Watched(home, kafka=kafka, campaigns=campaigns, app_id="soak")
    worker.wait()
    lead_s = (seconds + 60) * speed
    producer = Producer(kafka, campaigns, speed=speed, lead_s=lead_s, rate=rate)
    producer.start()
    samples: list[Sample] = []
    began = time.monotonic()
    for _ in track(range(int(seconds)), "soaking", transient=True, console=console):
        samples.append(worker.sample(began))
        time.sleep(max(0.0, began + len(samples) - time.monotonic()))
    producer.ended.set()
    producer.join()
    worker.child.stop()
    return samples


def stretches(samples: list[Sample]) -> list[list[Sample]]:
    """Cut the samples into stretches of `STRETCH_S`; a shorter rest is left out."""
    count = int(samples[-1].at_s + 1) // STRETCH_S
    return [
        [one for one in samples if number * STRETCH_S <= one.at_s < (number + 1) * STRETCH_S]
        for number in range(max(1, count))
    ]


def show(
    samples: list[Sample], *, rate: float, warm_up_s: float, campaigns: int, console: Console
) -> bool:
    """Print a row for each stretch; return whether memory was flat after the warm-up.

    Memory is flat if the peaks of all stretches are within ± `FLAT_WITHIN` of the middle of the
    largest and the smallest. With fewer than two stretches the result is True.
    """
    table = Table(
        "minutes", "events/s", "memory peak MiB", "memory median MiB", "largest lag s", ""
    )
    peaks: list[float] = []
    for rows in stretches(samples):
        warm = rows[0].at_s >= warm_up_s
        peak = max(one.rss_mb for one in rows)
        if warm:
            peaks.append(peak)
        events = (rows[-1].events - rows[0].events) / max(1.0, rows[-1].at_s - rows[0].at_s)
        table.add_row(
            f"{rows[0].at_s / 60:.0f}-{rows[-1].at_s / 60:.0f}",
            f"{events:,.0f}",
            f"{peak:.0f}",
            f"{statistics.median(one.rss_mb for one in rows):.0f}",
            f"{max(one.lag_s for one in rows):.1f}",
            "" if warm else "the horizons fill",
        )
    console.print(table)
    if len(peaks) < 2:
        console.print("too short to say whether memory is flat")
        return True
    middle = (max(peaks) + min(peaks)) / 2
    spread = (max(peaks) - min(peaks)) / 2 / middle
    flat = spread <= FLAT_WITHIN
    console.print(
        f"{rate:,.0f} events/s, {campaigns} campaigns x 4 channels: peaks of five minutes "
        f"{middle:.0f} MiB ± {spread:.1%}: {'flat' if flat else 'NOT FLAT'}"
    )
    return flat


def draw(samples: list[Sample], file: Path, *, warm_up_s: float) -> None:
    """Draw memory over time as an SVG file."""
    width, height, left, bottom = 900, 320, 60, 40
    last = samples[-1].at_s
    most = max(one.rss_mb for one in samples) * 1.15

    def x(at_s: float) -> float:
        return left + at_s / last * (width - left - 20)

    def y(mb: float) -> float:
        return height - bottom - mb / most * (height - bottom - 30)

    line = " ".join(f"{x(one.at_s):.1f},{y(one.rss_mb):.1f}" for one in samples[::5])
    step = 10 ** (len(str(int(most))) - 1) // 2 or 1
    rows = "".join(
        f'<line x1="{left}" x2="{width - 20}" y1="{y(mb):.1f}" y2="{y(mb):.1f}" stroke="#ddd"/>'
        f'<text x="{left - 8}" y="{y(mb) + 4:.1f}" text-anchor="end">{mb}</text>'
        for mb in range(0, int(most), step)
    )
    columns = "".join(
        f'<text x="{x(minute * 60):.1f}" y="{height - bottom + 18}" text-anchor="middle">'
        f"{minute}</text>"
        for minute in range(0, int(last // 60) + 1, 5)
    )
    warm = (
        f'<rect x="{left}" y="30" width="{x(min(warm_up_s, last)) - left:.1f}" '
        f'height="{height - bottom - 30}" fill="#f3f3ea"/>'
        f'<text x="{left + 8}" y="46" fill="#777">the horizons fill</text>'
    )
    file.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="#fff"/>'
        f'{warm}{rows}{columns}<polyline points="{line}" fill="none" stroke="#2563eb" '
        'stroke-width="1.5"/>'
        f'<text x="{left}" y="18">Resident memory of a worker, MiB, by minutes at half of its '
        "top speed</text></svg>\n",
        encoding="utf-8",
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0, help="after the warm-up")
    parser.add_argument("--warm-up", type=float, default=16.0, help="minutes")
    parser.add_argument("--campaigns", type=int, default=100)
    parser.add_argument("--speed", type=float, default=10.0, help="of event time")
    parser.add_argument("--rate", type=float, help="events/s; half of the top speed without")
    parser.add_argument("--svg", type=Path, help="draw memory over time")
    parser.add_argument("--json", type=Path, help="write the samples")
    arguments = parser.parse_args()
    console = Console()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder, EmbeddedKafka(Path(folder), heap_mb=512) as kafka:
        home = Path(folder)
        topics.ensure(
            Broker(servers=kafka.address),
            [
                topics.TopicSpec(
                    name=TOPIC,
                    partitions=PARTITIONS,
                    # Records are read once: small limits keep the disk from filling.
                    config={
                        "message.timestamp.type": "LogAppendTime",
                        "retention.bytes": str(256 << 20),
                        "segment.bytes": str(64 << 20),
                    },
                )
            ],
            replication_factor=1,
        )
        rate = arguments.rate
        if rate is None:
            top = top_speed(
                home,
                kafka.address,
                campaigns=arguments.campaigns,
                speed=arguments.speed,
                console=console,
            )
            console.print(f"top speed beside Kafka and the producer: {top:,.0f} events/s")
            rate = top / 2
        samples = soak(
            home,
            kafka.address,
            campaigns=arguments.campaigns,
            speed=arguments.speed,
            rate=rate,
            seconds=(arguments.minutes + arguments.warm_up) * 60,
            console=console,
        )
    if arguments.json is not None:
        arguments.json.write_text(json.dumps([vars(one) for one in samples]))
    if arguments.svg is not None:
        draw(samples, arguments.svg, warm_up_s=arguments.warm_up * 60)
    flat = show(
        samples,
        rate=rate,
        warm_up_s=arguments.warm_up * 60,
        campaigns=arguments.campaigns,
        console=console,
    )
    return 0 if flat else 1


if __name__ == "__main__":
    sys.exit(main())
