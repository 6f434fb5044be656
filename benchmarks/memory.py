"""Memory of the stages with very many campaigns, for all windows: a month in minutes.

The jobs of a run of four partitions are fed in one process, as one worker that owns
everything would have them, without Kafka: its client, Faust and the table store come on
top, about 150 MiB. Days before the last are sparse, the last is dense, so that the
buckets of days, quarters and minutes are all as full as they get.

    python benchmarks/memory.py                         # 1,000 campaigns x 5 x 5
    python benchmarks/memory.py --campaigns 100 --days 8
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from models.alerts import RuleBook
from models.campaigns import Campaign
from models.kpis import CATALOGUE
from models.measures import SOURCE_KINDS, SourceKind
from models.rates import Rates
from models.windows import DAY_MS, HOUR_MS, MINUTE_MS, WINDOWS, BusinessDay
from streams.alerting.judge import AlertJudge
from streams.engine.stage import Position, SourcePartition
from streams.ingest.campaigns import CampaignIndex
from streams.ingest.job import IngestJob, IngestRules
from streams.kpis.cold import ColdStore
from streams.kpis.job import KpiJob
from streams.kpis.values import Evaluator

PARTITIONS = 4
START_MS = 1_704_038_400_000
"""2024-01-01T00:00 in Shanghai."""
USERS = 500_000
STEP_MS = MINUTE_MS
DAY = BusinessDay(ZoneInfo("Asia/Shanghai"))


class Record(NamedTuple):
    """A record as a job reads it."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


class Sizes(NamedTuple):
    """How many of what, and how many events of each sort of day."""

    campaigns: int
    channels: int
    regions: int
    days: int
    sparse_per_s: float
    dense_per_s: float


def events(sizes: Sizes, rnd: random.Random, start_ms: int, *, per_s: float) -> Iterator[bytes]:
    """Yield the click topic's events of one step: an impression, a click and a visit a user."""
    for _ in range(int(per_s * STEP_MS / 1000 / 3) + (rnd.random() < per_s * STEP_MS / 3000 % 1)):
        at = start_ms + rnd.randrange(STEP_MS)
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


class Stages:
    """All jobs of a worker."""

    def __init__(self, sizes: Sizes, folder: Path) -> None:
        rules = IngestRules(
            day=DAY,
            allowed_disorder_ms=5_000,
            correction_horizon_ms=600_000,
            dedupe_horizon_ms=720_000,
            future_tolerance_ms=60_000,
            idle_after_ms=5_000,
            largest_record_bytes=900_000,
            reports_topic="partials",
            registry_topic="registry",
            dead_letters_topic="dead-letters",
        )
        campaigns = CampaignIndex(
            Campaign(id=f"campaign-{number:04d}") for number in range(sizes.campaigns)
        )
        self._sources = {
            (kind, number): IngestJob(
                SourcePartition(kind, number),
                kind=kind,
                rules=rules,
                campaigns=campaigns,
                rates=Rates("CNY"),
                epoch=1,
            )
            for kind in SOURCE_KINDS
            for number in range(PARTITIONS)
        }
        self._offsets = dict.fromkeys(self._sources, 0)
        self.kpis = KpiJob(
            evaluator=Evaluator(CATALOGUE),
            expected=list(self._sources),
            kinds={kind: kind for kind in SOURCE_KINDS},
            silent_after_ms=20_000,
            day=DAY,
            top_campaigns=100,
            judge=AlertJudge(RuleBook(), lag_limit_s=30),
            source=SourcePartition("partials", 0),
            alerts_topic="alerts",
            dead_letters_topic="dead-letters",
            cold=ColdStore(folder / "cold.sqlite"),
        )
        self._reports = 0

    def take(self, values: Iterator[bytes], *, now_ms: int) -> int:
        """Feed a step's events, read to their end, and return how many they were."""
        by_source: dict[tuple[SourceKind, int], list[Record]] = {}
        count = 0
        for value in values:
            count += 1
            kind: SourceKind = "orders" if value.startswith(b'{"type":"order') else "clicks"
            user = value[value.index(b'"user_id":"') + 11 :].split(b'"', 1)[0]
            source = (kind, hash(user) % PARTITIONS)
            self._offsets[source] += 1
            record = Record(self._offsets[source], now_ms, user, value)
            by_source.setdefault(source, []).append(record)
        for source, records in by_source.items():
            self._sources[source].apply(records)
        for job in self._sources.values():
            job.tick(Position(caught_up_at_ms=now_ms + 10_000, behind=0), now_ms=now_ms + 10_000)
            for output in job.snapshot().outputs:
                self.kpis.apply([Record(self._reports, now_ms, None, output.value)])
                self._reports += 1
        self.kpis.snapshot()
        return count

    def close(self, *, now_ms: int) -> float:
        """Evaluate the newest windows, write a checkpoint, and return the seconds it took."""
        began = time.process_time()
        for tick in range(len(WINDOWS)):  # with many scopes, one window is closed in a tick
            at_ms = now_ms + 10_000 + tick * 5_000
            self.kpis.tick(Position(caught_up_at_ms=None, behind=0), now_ms=at_ms)
        self.kpis.snapshot()
        return time.process_time() - began


def resident_mib() -> float:
    """Return the memory that this process has now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


def run(sizes: Sizes, *, console: Console) -> Table:
    """Feed all days and return what was measured."""
    rnd = random.Random(1)
    table = Table("after", "events", "resident MiB", "peak MiB", "closing all windows, s of CPU")
    total = 0
    with tempfile.TemporaryDirectory() as folder, Progress(console=console) as progress:
        stages = Stages(sizes, Path(folder))
        steps = sizes.days * DAY_MS // STEP_MS
        bar = progress.add_task("event time", total=steps)
        for step in range(steps):
            start_ms = START_MS + step * STEP_MS
            dense = step >= steps - 27 * HOUR_MS // STEP_MS
            per_s = sizes.dense_per_s if dense else sizes.sparse_per_s
            now_ms = start_ms + STEP_MS
            total += stages.take(events(sizes, rnd, start_ms, per_s=per_s), now_ms=now_ms)
            every = 6 * HOUR_MS if dense else 10 * DAY_MS
            if (now_ms - START_MS) % every == 0 or step == steps - 1:
                took_s = stages.close(now_ms=now_ms)
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                table.add_row(
                    f"{(step + 1) * STEP_MS / DAY_MS:.2f} days",
                    f"{total:,}",
                    f"{resident_mib():,.0f}",
                    f"{peak:,.0f}",
                    f"{took_s:.2f}",
                )
            progress.update(bar, completed=step + 1)
        view = stages.kpis.view
        scopes = 0 if view is None else max(len(one.values) for one in view.latest.values())
        table.caption = f"{scopes:,} scopes, {len(CATALOGUE)} KPIs, 7 windows"
    return table


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
    parser.add_argument("--dense", type=float, default=20.0, help="in the last 27 hours")
    chosen = parser.parse_args()
    sizes = Sizes(
        chosen.campaigns,
        chosen.channels,
        chosen.regions,
        chosen.days,
        chosen.sparse,
        chosen.dense,
    )
    Console().print(run(sizes, console=Console(stderr=True)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
