"""Compares the throughput of plain Faust, this monitor and a bare consumer on the same topic.

Each subject runs alone, in a process of its own, on one embedded Kafka. Machines differ, so the
ratios are what counts.

- Plain Faust keeps one sum by campaign in a tumbling table, as its documentation does.
- The monitor does all of its work: it decodes, validates and deduplicates events, resolves
  campaigns, aggregates, reports, closes windows, writes checkpoints and serves metrics. It is done
  when all records are in a checkpoint. It runs twice: counting only, and with customers in a
  Valkey, where every click is logged (the largest load on Redis).
- The bare consumer only counts records.

``--site-rate`` is the density of events in event time, which decides how many of them share a
pane: 500 a second is a medium shop, 20,000 a second a large one.

    python benchmarks/throughput.py --events 600000 --rounds 3 --site-rate 20000
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from zlib import crc32

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from streams import app as monitor
from streams import settings
from streams.broker import Broker
from streams.embedded.kafka import EmbeddedKafka
from streams.embedded.valkey import EmbeddedValkey
from streams.engine import topics
from streams.engine.faust_worker import Engine

TOPIC = "bench-clicks"
PARTITIONS = 4
CAMPAIGNS = 50
CHANNELS = ("search", "social", "display", "email")
START_MS = 1_763_900_000_000
PLAIN_EVENTS = 15_000
"""Plain Faust gets fewer events: its rate is constant from the first thousand on."""


def click(number: int, rnd: random.Random, *, site_rate: float) -> tuple[str, bytes]:
    user = f"u{rnd.randrange(200_000):07d}"
    campaign = rnd.randrange(CAMPAIGNS)
    body = {
        "type": "click",
        "event_id": f"{rnd.getrandbits(64):016x}",
        "event_time": START_MS + int(number * 1000 / site_rate) + rnd.randrange(1500),
        "user_id": user,
        "campaign_id": f"cmp-{campaign:04d}",
        "channel": CHANNELS[rnd.randrange(4)],
        "region": ("north", "south", "east")[number % 3],
    }
    return user, json.dumps(body, separators=(",", ":")).encode()


async def produce(kafka: str, events: int, *, site_rate: float) -> None:
    """Fill the topic with whole batches, each of one partition.

    Args:
        kafka: bootstrap address.
        events: number of clicks.
        site_rate: events a second of event time.
    """
    client = AIOKafkaProducer(
        bootstrap_servers=kafka, compression_type="lz4", max_batch_size=1 << 18
    )
    await client.start()
    rnd = random.Random(1)
    batches = [client.create_batch() for _ in range(PARTITIONS)]
    for number in track(range(events), "producing", transient=True):
        user, value = click(number, rnd, site_rate=site_rate)
        partition = crc32(user.encode()) % PARTITIONS
        while batches[partition].append(key=user.encode(), value=value, timestamp=None) is None:
            await client.send_batch(batches[partition], TOPIC, partition=partition)
            batches[partition] = client.create_batch()
    for partition, batch in enumerate(batches):
        await client.send_batch(batch, TOPIC, partition=partition)
    await client.stop()


async def bare(kafka: str, events: int) -> dict[str, float]:
    """Run a consumer that only counts records; return its result."""
    consumer = AIOKafkaConsumer(
        TOPIC,
        bootstrap_servers=kafka,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=4 << 20,
    )
    await consumer.start()
    count, started, cpu = 0, 0.0, 0.0
    while count < events:
        fetched = await consumer.getmany(timeout_ms=1000, max_records=5000)
        if fetched and not started:
            started, cpu = time.perf_counter(), time.process_time()
        count += sum(len(records) for records in fetched.values())
    return result(events, started, cpu)


def plain(kafka: str, events: int, folder: Path) -> None:
    """Run Faust as in its documentation; print the result and end the process."""
    import faust

    app = faust.App(
        f"plain-{os.getpid()}",
        broker=f"kafka://{kafka}",
        datadir=str(folder),
        store="memory://",
        web_enabled=False,
        topic_partitions=PARTITIONS,
        consumer_auto_offset_reset="earliest",
        table_standby_replicas=0,
    )

    class Click(faust.Record, serializer="json"):  # type: ignore[call-arg, misc]
        event_id: str
        event_time: int
        user_id: str
        campaign_id: str
        channel: str

    topic = app.topic(TOPIC, key_type=bytes, value_type=Click)
    table = app.Table("clicks", default=int, partitions=PARTITIONS).tumbling(60, expires=3600)
    seen = {"count": 0, "started": 0.0, "cpu": 0.0}

    @app.agent(topic)  # type: ignore[untyped-decorator]
    async def count(clicks: object) -> None:
        async for one in clicks:  # type: ignore[attr-defined]
            if not seen["count"]:
                seen.update(started=time.perf_counter(), cpu=time.process_time())
            table[one.campaign_id] += 1
            seen["count"] += 1
            if seen["count"] == events:
                report(result(events, seen["started"], seen["cpu"]))

    sys.argv = ["plain", "worker", "--without-web", "-l", "error"]
    app.main()


async def ours(kafka: str, events: int, folder: Path, *, redis: str | None) -> None:
    """Run the monitor as it is deployed; print the result and end the process.

    Args:
        kafka: bootstrap address.
        events: number of records in the topic.
        folder: of the table store and the file of campaigns.
        redis: URL of the Redis that keeps customers; None to count only.
    """
    campaigns = folder / "campaigns.yaml"
    names = "".join(f"  - id: cmp-{number:04d}\n" for number in range(CAMPAIGNS))
    campaigns.write_text("campaigns:\n" + names)
    built = monitor.build(
        settings.load(
            app_id=f"bench-{os.getpid()}",
            kafka=kafka,
            clicks_topic=TOPIC,
            orders_topic="bench-orders",
            campaigns_topic="bench-campaigns",
            partitions=PARTITIONS,
            start_from="earliest",
            web_port=0,
            data_dir=folder / "data",
            redis=redis,
            campaigns_file=campaigns,
        )
    )

    async def watch() -> None:
        started = cpu = 0.0
        before = 0
        while True:
            await asyncio.sleep(0.01)
            count = built.engine.runner.stats.records.get(TOPIC, 0)
            if count and not started:
                started, cpu, before = time.perf_counter(), time.process_time(), count
            if count >= events and _saved(built.engine) >= events:
                report(result(events - before, started, cpu))

    await asyncio.gather(built.run(), watch())


def _saved(engine: Engine) -> int:
    """Return how many records of the topic are in a checkpoint."""
    return sum(
        running.saved_offset + 1
        for source, running in engine.runner.running.items()
        if source.topic == TOPIC
    )


def result(events: int, started: float, cpu: float) -> dict[str, float]:
    wall = time.perf_counter() - started
    return {
        "events_per_s": events / wall,
        "cpu_us_per_event": 1e6 * (time.process_time() - cpu) / events,
    }


def report(found: dict[str, float]) -> None:
    # Write to the descriptor: Faust redirects sys.stdout into a log.
    os.write(1, f"RESULT {json.dumps(found)}\n".encode())
    os._exit(0)


def run_child(subject: str, kafka: str, events: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--child", subject, "--kafka", kafka]
        done = subprocess.run(
            [*command, "--events", str(events), "--folder", folder],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            found: dict[str, float] = json.loads(line[7:])
            return found
    raise SystemExit(f"{subject} gave no result:\n{done.stdout[-500:]}{done.stderr[-3000:]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=600_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--site-rate", type=float, default=20_000, help="events/s of event time")
    parser.add_argument("--child")
    parser.add_argument("--kafka", default="")
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    if arguments.child == "bare":
        report(asyncio.run(bare(arguments.kafka, arguments.events)))
    elif arguments.child == "plain":
        plain(arguments.kafka, arguments.events, arguments.folder)
    elif arguments.child == "ours":
        asyncio.run(ours(arguments.kafka, arguments.events, arguments.folder, redis=None))
    elif arguments.child == "customers":
        with EmbeddedValkey(arguments.folder / "valkey") as valkey:
            kafka, events, folder = arguments.kafka, arguments.events, arguments.folder
            asyncio.run(ours(kafka, events, folder, redis=valkey.url))
    else:
        compare(arguments.events, arguments.rounds, site_rate=arguments.site_rate)


def compare(events: int, rounds: int, *, site_rate: float) -> None:
    """Run all subjects one after the other, in rounds, and print their medians and ratios."""
    console = Console()
    with tempfile.TemporaryDirectory() as folder, EmbeddedKafka(Path(folder), heap_mb=512) as kafka:
        topics.ensure(
            Broker(servers=kafka.address),
            [
                topics.TopicSpec(
                    name=TOPIC,
                    partitions=PARTITIONS,
                    config={"message.timestamp.type": "LogAppendTime"},
                )
            ],
            replication_factor=1,
        )
        asyncio.run(produce(kafka.address, events, site_rate=site_rate))
        found: dict[str, list[dict[str, float]]] = {
            subject: [] for subject in ("plain", "ours", "customers", "bare")
        }
        for number in range(rounds):
            for subject, results in found.items():
                console.print(f"round {number + 1}: {subject}", style="dim")
                results.append(
                    run_child(
                        subject, kafka.address, PLAIN_EVENTS if subject == "plain" else events
                    )
                )
    show(console, found)


def show(console: Console, found: dict[str, list[dict[str, float]]]) -> None:
    medians = {
        subject: {
            figure: statistics.median(one[figure] for one in results) for figure in results[0]
        }
        for subject, results in found.items()
    }
    names = {
        "plain": "plain Faust",
        "ours": "this monitor, counting",
        "customers": "this monitor, customers too",
        "bare": "bare aiokafka consumer",
    }
    table = Table("", "events/s", "CPU µs/event", "× plain Faust", "share of bare")
    for subject, figures in medians.items():
        rate = figures["events_per_s"]
        table.add_row(
            names[subject],
            f"{rate:,.0f}",
            f"{figures['cpu_us_per_event']:.2f}",
            f"{rate / medians['plain']['events_per_s']:.1f}",
            f"{rate / medians['bare']['events_per_s']:.0%}",
        )
    console.print(table)


if __name__ == "__main__":
    main()
