"""Measures what rules of the kind ``anomaly`` cost: time, memory, and what checkpoints write.

One rule learns the conversion of many campaigns from windows of five minutes, for six days. Then it
is measured how long one more window takes, how large the series are, which are kept as they are
saved, and how long a worker that takes over needs to restore them all.

python -m benchmarks.learning --campaigns 1000
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from models.kpi.definition import KpiValue
from models.scope import Scope
from models.window import DAY_MS, MINUTE_MS
from streams.alerting.judge import AlertJudge
from streams.alerting.rules.registry import RuleBook
from streams.engine.steps import at_once
from streams.kpis.calculation.confidence_intervals import wilson
from streams.kpis.view import Evaluation
from tests.support.offline import NOON

DAYS = 6
WINDOW_MS = 5 * MINUTE_MS
RULES = RuleBook.model_validate(
    {
        "rules": [
            {
                **{"name": "unusual", "kind": "anomaly", "kpi": "conversion_rate"},
                **{"scope": "campaign", "direction": "both"},
            }
        ]
    }
)


def windows(campaigns: int) -> Iterator[Evaluation]:
    """Yield windows without a fault: some 500 clicks of each campaign, of which 5 % are orders."""
    chance = np.random.default_rng(1)
    for end in range(NOON - DAYS * DAY_MS, NOON + 20 * WINDOW_MS, WINDOW_MS):
        clicks = chance.poisson(500, campaigns)
        orders = chance.binomial(clicks, 0.05)
        values = {
            Scope("campaign", f"c{number}"): {
                "conversion_rate": KpiValue(over / n, *wilson(over, n), n)
            }
            for number, (n, over) in enumerate(zip(clicks.tolist(), orders.tolist(), strict=True))
        }
        yield Evaluation("5m", end - WINDOW_MS, end, values)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--campaigns", type=int, default=1_000)
    campaigns: int = parser.parse_args().campaigns
    count = DAYS * DAY_MS // WINDOW_MS
    judge = AlertJudge(RULES, lag_limit_s=30)
    took: list[float] = []
    for window in track(windows(campaigns), "learning", total=count + 20):
        began = time.process_time()
        at_once(judge.closed(window, {}))
        took.append(time.process_time() - began)
    began = time.process_time()
    segments = [(key, write) for key, write in judge.take_segments() if write is not None]
    taken_s = time.process_time() - began
    stored = {key: write() for key, write in segments}
    written_s = time.process_time() - began
    again = AlertJudge(RULES, lag_limit_s=30)
    began = time.process_time()
    at_once(again.restore(b"[]", stored, live=judge.live_segments))
    restored_s = time.process_time() - began
    size = sum(map(len, stored.values()))
    table = Table("", f"{campaigns:,} series", "each")
    rows = (
        ("judging a window, ms of CPU, median of 20", 1e3 * float(np.median(took[-20:])), "µs"),
        ("taking the segments for a checkpoint, ms", 1e3 * taken_s, "µs"),
        ("taking and encoding them, ms", 1e3 * written_s, "µs"),
        ("restoring them, ms", 1e3 * restored_s, "µs"),
    )
    for title, value, unit in rows:
        table.add_row(title, f"{value:,.1f}", f"{1e3 * value / campaigns:,.1f} {unit}")
    table.add_row("state, MiB", f"{size / 2**20:,.1f}", f"{size / campaigns / 1e3:,.1f} kB")
    table.add_row("segments", f"{len(stored):,}", f"largest {max(map(len, stored.values())):,} B")
    Console().print(table)


if __name__ == "__main__":
    main()
