"""Measures memory and CPU of the stages with very many campaigns: a month of events in minutes.

All jobs of a deployment with four partitions run in one process without Kafka, as in a worker
that owns everything. Kafka's client, Faust and the table store would add about 150 MiB.

- On every day all campaigns, channels and regions have events in the first minute of each hour.
  The buckets of days so hold all facets, if with fewer users each than in production.
- The last 27 hours are dense, so that the buckets of quarters, minutes and panes are full too.
- At the end the KPI stage is restored from its saved state, as after a restart.

The defaults feed 5.7 million events and take some ten minutes.

    python -m benchmarks.memory                         # 1,000 campaigns x 5 x 5
    python -m benchmarks.memory --campaigns 100 --days 3
"""

from __future__ import annotations

import argparse
import random
import resource
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from zlib import crc32
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from models.campaigns.campaign import Campaign
from models.events import SHAPES, SourceKind
from models.kpi.catalogue import CATALOGUE
from models.window import DAY_MS, HOUR_MS, MINUTE_MS, WINDOWS, BusinessDay, align_down
from streams.engine.contracts import PendingSnapshot, Position, Saved, Snapshot
from streams.engine.memory import give_back
from streams.engine.steps import at_once
from streams.kpis.job import KpiJob
from streams.kpis.storage.disk_cache import DiskCache
from tests.support.at_once import settled
from tests.support.offline import RULES, Record, ingest_job, kpi_job

PARTITIONS = 4
START_MS = 1_704_038_400_000
"""2024-01-01T00:00 in Shanghai."""
ZONE = "Asia/Shanghai"
USERS = 500_000
DENSE_MS = 27 * HOUR_MS
SPARSE_STEP_MS = HOUR_MS
DENSE_STEP_MS = 5 * MINUTE_MS


class Sizes(NamedTuple):
    """Size of the run; the rates are events a second of event time."""

    campaigns: int
    channels: int
    regions: int
    days: int
    sparse_per_s: float
    dense_per_s: float


def events(sizes: Sizes, rnd: random.Random, start_ms: int, step_ms: int) -> Iterator[bytes]:
    """Yield the events of one step.

    Each user has an impression, a click and a visit, and one in twenty an order. Events of a sparse
    step lie in its first minute.
    """
    sparse = step_ms == SPARSE_STEP_MS
    users = (sizes.sparse_per_s if sparse else sizes.dense_per_s) * step_ms / 3000
    for _ in range(int(users) + (rnd.random() < users % 1)):
        at = start_ms + rnd.randrange(MINUTE_MS if sparse else step_ms)
        number = rnd.getrandbits(60)
        body = (
            f'"event_time":{at},"user_id":"u{rnd.randrange(USERS)}",'
            f'"campaign_id":"campaign-{rnd.randrange(sizes.campaigns):04d}",'
            f'"channel":"channel-{rnd.randrange(sizes.channels)}",'
            f'"region":"region-{rnd.randrange(sizes.regions)}"}}'
        )
        yield f'{{"type":"impression","count":20,"event_id":"i{number}",{body}'.encode()
        yield f'{{"type":"click","event_id":"c{number}",{body}'.encode()
        dwell = rnd.randrange(500, 90_000)
        yield f'{{"type":"visit","dwell_ms":{dwell},"event_id":"v{number}",{body}'.encode()
        if rnd.random() < 0.05:
            yield (
                f'{{"type":"order_placed","order_id":"o{number}","event_id":"o{number}",'
                f'"amount":"{rnd.lognormvariate(5, 0.7):.2f}","currency":"CNY",{body}'
            ).encode()


class Store:
    """Keeps the KPI stage's snapshots on disk, as its table does."""

    def __init__(self, file: Path) -> None:
        self._rows = sqlite3.connect(file, isolation_level=None)
        self._rows.execute("PRAGMA synchronous = OFF")
        self._rows.execute("CREATE TABLE saved (name BLOB PRIMARY KEY, data BLOB)")
        self._state = b""

    def take(self, snapshot: Snapshot) -> None:
        """Save a snapshot."""
        self._state = snapshot.state
        self._rows.execute("BEGIN")
        self._rows.executemany("INSERT OR REPLACE INTO saved VALUES (?, ?)", snapshot.segments)
        self._rows.execute("DELETE FROM saved WHERE data IS NULL")
        self._rows.execute("COMMIT")

    def saved(self, *, offset: int) -> Saved:
        """Return the saved state as a worker would get it back after a restart."""
        with closing(self._rows.execute("SELECT name, data FROM saved")) as rows:
            return Saved(offset=offset, state=self._state, segments=dict(rows))


class Stages:
    """All jobs of a worker that owns everything."""

    def __init__(self, sizes: Sizes, folder: Path) -> None:
        campaigns = [Campaign(id=f"campaign-{number:04d}") for number in range(sizes.campaigns)]
        rules = replace(RULES, day=BusinessDay(ZoneInfo(ZONE)), idle_after_ms=5_000)
        self._sources = {
            (kind, number): ingest_job(kind, number, rules=rules, campaigns=campaigns)
            for kind in SHAPES
            for number in range(PARTITIONS)
        }
        self._offsets = dict.fromkeys(self._sources, 0)
        self._folder = folder
        self._store = Store(folder / "saved.sqlite")
        self.kpis = self._kpi_job("first")
        self._reports = 0
        self.events = 0
        self.merging_s = 0.0

    def _kpi_job(self, name: str, saved: Saved | None = None) -> KpiJob:
        spill = DiskCache(self._folder / f"cold-{name}.sqlite")
        return kpi_job(partitions=PARTITIONS, zone=ZONE, publish=False, spill=spill, saved=saved)

    def restart(self) -> Table:
        """Restore the KPI stage from its saved state, and return a table of the cost.

        Reading the state from disk is not counted.
        """
        saved = self._store.saved(offset=self._reports - 1)
        began = time.process_time()
        self.kpis = self._kpi_job("again", saved)
        took_s = time.process_time() - began
        table = Table("restored from", "MiB", "s of CPU")
        size = sum(map(len, saved.segments.values())) / 2**20
        table.add_row(f"{len(saved.segments):,} records", f"{size:,.0f}", f"{took_s:.2f}")
        return table

    def take(self, values: Iterator[bytes], *, now_ms: int) -> None:
        """Feed the events of a step, as if they were read to their end at ``now_ms``."""
        by_source: dict[tuple[SourceKind, int], list[Record]] = {}
        for value in values:
            self.events += 1
            kind: SourceKind = "orders" if value.startswith(b'{"type":"order') else "clicks"
            user = value[value.index(b'"user_id":"') + 11 :].split(b'"', 1)[0]
            source = (kind, crc32(user) % PARTITIONS)
            self._offsets[source] += 1
            record = Record(self._offsets[source], now_ms, user, value)
            by_source.setdefault(source, []).append(record)
        for source, records in by_source.items():
            self._sources[source].apply(records)
        reports = []
        for job in self._sources.values():
            job.tick(Position(caught_up_at_ms=now_ms + 10_000, behind=0), now_ms=now_ms + 10_000)
            for output in settled(job.snapshot()).outputs:
                reports.append(Record(self._reports, now_ms, None, output.value))
                self._reports += 1
        began = time.process_time()
        self.kpis.apply(reports)
        self.merging_s += time.process_time() - began
        self._save(self.kpis.snapshot())

    def _save(self, snapshot: Snapshot | PendingSnapshot) -> None:
        assert isinstance(snapshot, Snapshot)
        self._store.take(snapshot)

    def close(self, *, now_ms: int) -> float:
        """Evaluate the newest windows and write a checkpoint; return the seconds of CPU."""
        began = time.process_time()
        for tick in range(len(WINDOWS)):
            at_ms = now_ms + 10_000 + tick * 5_000
            self.kpis.tick(Position(caught_up_at_ms=None, behind=0), now_ms=at_ms)
        snapshot = self.kpis.snapshot()
        took_s = time.process_time() - began
        self._save(snapshot)
        give_back()
        return took_s

    def windows(self) -> Table:
        """Evaluate all scopes of each window, and return a table of the cost."""
        assert self.kpis.view is not None
        table = Table("window", "scopes", "closing it, s of CPU")
        for window in WINDOWS:
            end = align_down(self.kpis.view.frontier_ms, step_ms=window.step_ms)
            self.kpis.windows.pane_changed(0)  # late data: nothing of the last evaluation is reused
            began = time.process_time()
            scopes = len(at_once(self.kpis.windows.evaluate(window, end)).values)
            table.add_row(window.name, f"{scopes:,}", f"{time.process_time() - began:.2f}")
        return table


def resident_mib() -> float:
    """Return the resident memory of this process, MiB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


def steps(sizes: Sizes) -> Iterator[tuple[int, int]]:
    """Yield the start of each step and its length, in ms."""
    end_ms = START_MS + sizes.days * DAY_MS
    at_ms = START_MS
    while at_ms < end_ms:
        step_ms = DENSE_STEP_MS if at_ms >= end_ms - DENSE_MS else SPARSE_STEP_MS
        yield at_ms, step_ms
        at_ms += step_ms


def run(sizes: Sizes, *, console: Console) -> list[Table]:
    """Feed all days and return the tables of results."""
    rnd = random.Random(1)
    table = Table("after", "events", "resident MiB", "peak MiB", "closing all windows, s of CPU")
    with tempfile.TemporaryDirectory() as folder, Progress(console=console) as progress:
        stages = Stages(sizes, Path(folder))
        last_ms = START_MS + sizes.days * DAY_MS
        bar = progress.add_task("event time", total=last_ms - START_MS)
        for start_ms, step_ms in steps(sizes):
            now_ms = start_ms + step_ms
            stages.take(events(sizes, rnd, start_ms, step_ms), now_ms=now_ms)
            every_ms = 6 * HOUR_MS if step_ms == DENSE_STEP_MS else 10 * DAY_MS
            if (now_ms - START_MS) % every_ms == 0 or now_ms == last_ms:
                took_s = stages.close(now_ms=now_ms)
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                table.add_row(
                    f"{(now_ms - START_MS) / DAY_MS:.2f} days",
                    f"{stages.events:,}",
                    f"{resident_mib():,.0f}",
                    f"{peak:,.0f}",
                    f"{took_s:.2f}",
                )
            progress.update(bar, completed=now_ms - START_MS)
        merging = stages.merging_s / stages.events * 1e6
        table.caption = f"{len(CATALOGUE)} KPIs; merging {merging:.1f} µs an event"
        return [table, stages.windows(), stages.restart()]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--campaigns", type=int, default=1_000)
    parser.add_argument("--channels", type=int, default=5)
    parser.add_argument("--regions", type=int, default=5)
    parser.add_argument("--days", type=int, default=32)
    parser.add_argument("--sparse", type=float, default=1.0, help="events a second before")
    parser.add_argument("--dense", type=float, default=30.0, help="in the last 27 hours")
    chosen = parser.parse_args()
    sizes = Sizes(
        chosen.campaigns,
        chosen.channels,
        chosen.regions,
        chosen.days,
        chosen.sparse,
        chosen.dense,
    )
    for table in run(sizes, console=Console(stderr=True)):
        Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
