"""Measures the cost of phases of many campaigns that began at different moments.

The first evaluation sums a campaign from the start of its phase; those after it add what is new.

python -m benchmarks.stages --campaigns 400 --days 3
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.progress import track
from rich.table import Table

from models.aggregates.cell import Cell, CellWire
from models.aggregates.distinct_users import Distinct
from models.aggregates.ingest_report import FacetCell
from models.kpi.measures import SUM_INDEX
from models.window import DAY_MS, MINUTE_MS, QUARTER_MS, BusinessDay
from tests.support.at_once import BucketsAtOnce
from tests.support.cells import to_wire

START_MS = 1_699_920_000_000
"""2023-11-14T00:00Z"""
CHANNELS = 5
REPORTS_A_QUARTER = 3
CELLS_A_REPORT = 1_500
ROUNDS = 3


def cell(rnd: random.Random) -> CellWire:
    """Return a cell with two clicks of two users."""
    made = Cell()
    made.sums[SUM_INDEX["clicks"]] = 2
    made.users[0] = Distinct({rnd.getrandbits(60), rnd.getrandbits(60)})
    return to_wire(made)


def fed(campaigns: int, days: int, rnd: random.Random) -> BucketsAtOnce:
    """Return buckets that hold ``days`` days of all campaigns and channels."""
    facets = [
        (f"c{number}", f"ch{channel}") for number in range(campaigns) for channel in range(CHANNELS)
    ]
    buckets = BucketsAtOnce(BusinessDay(ZoneInfo("UTC")))
    buckets.pin({START_MS})
    offset = 0
    for quarter in track(range(days * DAY_MS // QUARTER_MS), "feeding", transient=True):
        at_ms = START_MS + quarter * QUARTER_MS
        for report in range(REPORTS_A_QUARTER):
            some = rnd.sample(facets, min(len(facets), CELLS_A_REPORT))
            cells = [FacetCell(campaign, channel, cell(rnd)) for campaign, channel in some]
            buckets.apply({at_ms + report * 5 * MINUTE_MS: cells}, retracted={}, at_offset=offset)
            offset += 1
        list(buckets.take_segments())
        buckets.expire(at_ms + QUARTER_MS)
    return buckets


def measured(buckets: BucketsAtOnce, campaigns: int, end_ms: int) -> list[list[float]]:
    """Return the ms of CPU of each evaluation: a list for each minute, in it one of each phase.

    The phases of up to 20 campaigns begin a quarter of an hour apart.
    """
    found = []
    for minute in range(ROUNDS):
        took = []
        for number in range(min(campaigns, 20)):
            start_ms = START_MS + (number + 1) * QUARTER_MS
            began = time.process_time()
            buckets.totals_of({f"c{number}"}, start_ms, end_ms + minute * MINUTE_MS)
            took.append(1000 * (time.process_time() - began))
        found.append(took)
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--campaigns", type=int, default=400)
    parser.add_argument("--days", type=int, default=3)
    arguments = parser.parse_args()
    buckets = fed(arguments.campaigns, arguments.days, random.Random(1))
    rounds = measured(buckets, arguments.campaigns, START_MS + arguments.days * DAY_MS)
    first = statistics.median(rounds[0])
    table = Table("", "ms of CPU a stage", "share of the first")
    for minute, took in enumerate(rounds):
        median = statistics.median(took)
        name = f"{minute} min later" if minute else "from its start"
        table.add_row(name, f"{median:.1f}", f"{median / first:.1%}")
    title = f"{arguments.campaigns} campaigns × {CHANNELS} channels, {arguments.days} days"
    table.title = f"{title}, 20 stages"
    Console().print(table)


if __name__ == "__main__":
    main()
