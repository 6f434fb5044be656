"""Measures how fast the rows of a CSV file become events with their ids, on one core.

With ``--kafka``, the command ``kpi-monitor feed`` then sends them to an embedded Kafka. Its rate is
that of all its CPU time, its start included; the broker's is not part of it.

    python -m benchmarks.feed --rows 300000
    python -m benchmarks.feed --rows 1000000 --kafka
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.table import Table

from streams.assembly.topics import registry, sources
from streams.embedded.kafka import EmbeddedKafka
from streams.engine import topics
from streams.feed.events.file_set import FileSet
from streams.feed.events.mapped_file import MappedFile
from streams.feed.sending import records
from streams.settings import load

MAPPING = """\
delimiter: ";"
time: {value: "{Ordered}", format: "%Y-%m-%d %H:%M:%S", zone: Europe/Berlin}
events:
  - type: order_placed
    when: {Status: paid}
    fields: &order
      user_id: "{Customer}"
      order_id: "{Order}"
      amount: "{Total}"
      currency: EUR
      channel: "{Channel}"
      campaign: "{Campaign}"
  - type: order_refunded
    when: {Status: refunded}
    fields: *order
"""
HELPERS = MAPPING.replace('"{Customer}"', '{value: "{Customer}", hash: true}').replace(
    '"{Channel}"', '{value: "{Channel}", split: "/", part: 1, lookup: {goo*: search}}'
)
TOPICS = ("clicks", "orders", "campaigns")
ROUNDS = 3


def write_orders(path: Path, rows: int, *, shuffled: bool) -> None:
    """Write orders of a month, in the order of time or not."""
    rnd = random.Random(1)
    start = datetime(2026, 11, 1, tzinfo=UTC)
    lines = [
        f"{start + timedelta(seconds=at * 2_592_000 // rows):%Y-%m-%d %H:%M:%S};"
        f"u{rnd.randrange(50_000)};R{at};{rnd.randrange(100_000) / 100:.2f};google / cpc;brand;"
        f"{rnd.choice(['paid', 'paid', 'refunded'])}\n"
        for at in range(rows)
    ]
    if shuffled:
        rnd.shuffle(lines)
    path.write_text(
        "Ordered;Customer;Order;Total;Channel;Campaign;Status\n" + "".join(lines), encoding="utf-8"
    )


def rate(folder: Path, mapping: str, rows: int) -> float:
    """Return the rows a second of CPU time that are read, mapped, sorted and given ids."""
    path = folder / "map.yaml"
    path.write_text(mapping, encoding="utf-8")
    began = time.process_time()
    mapped = MappedFile(
        folder / "orders.csv",
        path,
        largest_bytes=900_000,
        refused_path=folder / "refused",
        hash_key=lambda: b"k" * 32,
    )
    mapped.read()
    made = sum(1 for _ in records(FileSet(mapped.path, [mapped]).events(), TOPICS))
    took_s = time.process_time() - began
    mapped.sorter.close()
    assert made == rows
    return rows / took_s


def sent_by_command(folder: Path, kafka: str) -> tuple[float, float]:
    """Return the seconds that the command takes to send the file: of CPU time, and of the clock."""
    settings = load(kafka=kafka)
    topics.ensure(settings.broker, [*sources(settings), registry(settings)], replication_factor=1)
    command = [sys.executable, "-m", "streams", "feed", str(folder / "orders.csv")]
    command += ["--mapping", str(folder / "map.yaml"), "--speed", "max", "--kafka", kafka]
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as child:
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"feed ended with {child.returncode}")
    return used.ru_utime + used.ru_stime, time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--kafka", action="store_true")
    arguments = parser.parse_args()
    rows: int = arguments.rows
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shown = _by_command(folder, rows) if arguments.kafka else _in_process(folder, rows)
    Console().print(shown)


def _in_process(folder: Path, rows: int) -> Table:
    table = Table("file", "rows/s of CPU time, median", "CPU µs/row")
    for what, mapping, shuffled in (
        ("in order, plain fields", MAPPING, False),
        ("in order, a hash, a split and a table", HELPERS, False),
        ("shuffled, plain fields", MAPPING, True),
    ):
        write_orders(folder / "orders.csv", rows, shuffled=shuffled)
        measured = statistics.median(rate(folder, mapping, rows) for _ in range(ROUNDS))
        table.add_row(what, f"{measured:,.0f}", f"{1e6 / measured:.1f}")
    return table


def _by_command(folder: Path, rows: int) -> Table:
    table = Table("round", "rows/s of CPU time", "rows/s of the clock")
    write_orders(folder / "orders.csv", rows, shuffled=False)
    (folder / "map.yaml").write_text(MAPPING, encoding="utf-8")
    for number in range(ROUNDS):
        with EmbeddedKafka(folder / f"kafka{number}", heap_mb=512) as kafka:
            used_s, took_s = sent_by_command(folder, kafka.address)
        table.add_row(str(number + 1), f"{rows / used_s:,.0f}", f"{rows / took_s:,.0f}")
    return table


if __name__ == "__main__":
    main()
