"""Measures how fast a backtest plays a shop's events, on one core.

The events are clicks and orders of twenty campaigns in three channels, most in the evening, as
dense as a month of ten million. Ten rules judge everything, campaigns and channels. Files are not
read: benchmarks/feed.py measures that.

python -m benchmarks.backtest --days 1
"""

from __future__ import annotations

import argparse
import json
import math
import random
import resource
import time
from collections.abc import Iterator
from typing import Any, Final

from models.campaigns.campaign import Campaign
from models.window import DAY_MS
from streams import settings
from streams.alerting.rules.registry import RuleBook
from streams.assembly import configuration
from streams.assembly.stages import ingest_stage, kpis_stage
from streams.backtest.firings import firings
from streams.backtest.player import Arrival, Player
from streams.backtest.run import run
from streams.engine.contracts import SourcePartition

START_MS: Final = 1_793_491_200_000
CAMPAIGNS: Final = 20
CHANNELS: Final = ("search", "feed", "email")
CONVERSION: Final = 0.04
USERS: Final = 300_000
_OF_EVERYTHING: Final = (
    {"kpi": "conversion_rate", "window": "5m", "below": 0.01, "min_n": 100},
    {"kpi": "clicks", "window": "5m", "above": 5_000},
    {"kpi": "orders", "window": "1h", "below": 5},
    {"kpi": "revenue_gross", "window": "1h", "below": 100},
    {"kpi": "orders", "window": "24h", "below": 1_000},
)
RULES: Final[list[dict[str, Any]]] = [
    *({"kind": "threshold", **keys} for keys in _OF_EVERYTHING),
    {"kind": "range", "kpi": "conversion_rate", "window": "1h", "low": 0.01, "high": 0.2},
    {"kind": "threshold", "kpi": "clicks", "window": "5m", "below": 1, "scope": "channel"},
    {"kind": "threshold", "kpi": "conversion_rate", "window": "1h", "below": 0.02}
    | {"scope": "campaign", "min_n": 200},
    {"kind": "change", "kpi": "clicks", "window": "1h", "against": "previous", "falls_by": 0.5},
    {"kind": "change", "kpi": "clicks", "window": "1h", "against": "last_week", "falls_by": 0.5}
    | {"scope": "campaign"},
]


def arrivals(*, days: float, events_a_month: int) -> Iterator[Arrival]:
    """Yield the events of a shop, whose evenings are busier than its nights."""
    chance = random.Random(1)
    clicks_a_ms = events_a_month / (30 * DAY_MS) / (1 + CONVERSION)
    offsets = {"clicks": 0, "orders": 0}
    at, end = float(START_MS), START_MS + days * DAY_MS
    while at < end:
        busy = 1 + 0.8 * math.sin((at % DAY_MS / DAY_MS - 0.55) * 2 * math.pi)
        at += chance.expovariate(clicks_a_ms * busy)
        body: dict[str, Any] = {
            "event_time": round(at),
            "user_id": f"u{chance.randrange(USERS)}",
            "campaign_id": f"c{int(chance.random() ** 2 * CAMPAIGNS)}",
            "channel": chance.choice(CHANNELS),
        }
        for topic, kind in (("clicks", "click"), ("orders", "order_placed")):
            if kind == "order_placed" and chance.random() > CONVERSION:
                continue
            body |= {"type": kind, "event_id": f"{kind}{offsets[topic]}"}
            if kind == "order_placed":
                body |= {"order_id": f"o{offsets[topic]}", "currency": "CNY"}
                body["amount"] = f"{chance.uniform(10, 200):.2f}"
            key, value = body["user_id"].encode(), json.dumps(body).encode()
            yield Arrival(SourcePartition(topic, 0), offsets[topic], round(at), key, value)
            offsets[topic] += 1


def player() -> Player:
    """Return a player with the rules."""
    chosen = settings.load(partitions=1, time_zone="Asia/Shanghai", publish_values=False)
    made = configuration.load(chosen)
    for number in range(CAMPAIGNS):
        made.campaigns.define(Campaign(id=f"c{number}"))
    named = [{"name": f"r{number}", **rule} for number, rule in enumerate(RULES)]
    rules = RuleBook.model_validate({"rules": named}, context={"catalogue": made.book.catalogue})
    return Player(
        ingest_stage(chosen, made, customers=None),
        [kpis_stage(chosen, made, rules, new_spill=lambda: None, viewed=False)],
    )


def main() -> None:
    """Play the events, and print the speed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=float, default=1.0)
    parser.add_argument("--events-a-month", type=int, default=10_000_000)
    asked = parser.parse_args()
    recorded = list(arrivals(days=asked.days, events_a_month=asked.events_a_month))
    began, cpu = time.perf_counter(), time.process_time()
    played = run(
        one := player(), recorded, allowed_disorder_ms=5_000, to_ms=None, on_step=lambda _: None
    )
    took_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    span_s = (played.to_ms - played.from_ms) / 1000
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{played.records:,} events of {span_s / 86_400:.2f} days, {len(RULES)} rules")
    for name, seconds in (("clock", took_s), ("CPU", cpu_s)):
        print(
            f"by the {name}: {seconds:,.1f} s, {span_s / seconds:,.0f} times as fast as live, "
            f"{played.records / seconds:,.0f} events/s"
        )
    print(f"{len(firings(one.alerts[0])):,} firings, {memory:,.0f} MB")


if __name__ == "__main__":
    main()
