"""Measures how long rules take to judge a closed window of many campaigns, on one core.

Twenty rules of four kinds judge each campaign: while nothing is wrong, while the alerts of all of
them begin, and while they go on. Judging is measured by itself; with ``change`` rules, closing a
window evaluates an earlier period as well, which the second table compares.

python -m benchmarks.judging --campaigns 1000
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from models.kpi.catalogue import CATALOGUE
from models.kpi.definition import KpiValue
from models.scope import Scope
from models.window import HOUR_MS, MINUTE_MS
from streams.alerting.judge import AlertJudge
from streams.alerting.rules.registry import RuleBook
from streams.engine.steps import at_once
from streams.kpis.calculation.confidence_intervals import wilson
from streams.kpis.view import Evaluation
from tests.support.offline import NOON

ROUNDS: Final = 5
WINDOW: Final = "1h"


def rules(campaigns: int) -> RuleBook:
    """Return twenty rules about each campaign."""
    shares: list[dict[str, Any]] = [
        {"kind": kind, "kpi": kpi, **keys}
        for kpi in ("conversion_rate", "refund_rate", "ctr", "registration_rate")
        for kind, keys in (
            ("threshold", {"below": 0.02, "min_n": 100}),
            ("range", {"low": 0.01, "high": 0.5}),
            ("change", {"against": "previous", "falls_by": 0.3}),
            ("change", {"against": "previous", "rises_by": 3}),
        )
    ]
    counts: list[dict[str, Any]] = [
        {"kind": "threshold", "kpi": "clicks", "below": 100},
        {"kind": "change", "kpi": "clicks", "against": "previous", "falls_by": 0.5},
        {"kind": "change", "kpi": "orders", "against": "previous", "falls_by": 0.5},
        {"kind": "absence", "kpi": "clicks", "match": {"campaign": names(campaigns)}},
    ]
    made = [
        {"name": f"r{number}", "scope": "campaign", "window": WINDOW, **keys}
        for number, keys in enumerate([*shares, *counts])
    ]
    return RuleBook.model_validate({"rules": made}, context={"catalogue": CATALOGUE})


def names(campaigns: int) -> list[str]:
    """Return the names of campaigns."""
    return [f"c{number}" for number in range(campaigns)]


def window(campaigns: int, end_ms: int, *, share: float) -> Evaluation:
    """Return a window in which so large a share of each campaign's clicks became orders."""
    rnd = random.Random(end_ms)
    values = {}
    for name in names(campaigns):
        clicks = rnd.randrange(4_000, 6_000) if share else 10
        part = round(clicks * share)
        found = KpiValue(part / clicks, *wilson(part, clicks), clicks)
        values[Scope("campaign", name)] = {
            "clicks": KpiValue(clicks, n=clicks),
            "orders": KpiValue(part, n=part),
            **dict.fromkeys(("conversion_rate", "refund_rate", "ctr", "registration_rate"), found),
        }
    return Evaluation(WINDOW, end_ms - HOUR_MS, end_ms, values)


def judged(campaigns: int) -> dict[str, list[float]]:
    """Return the ms of CPU that judging a window takes, by situation."""
    took: dict[str, list[float]] = {"all is well": [], "every alert begins": [], "they go on": []}
    before = window(campaigns, NOON - HOUR_MS, share=0.05)
    for number in range(ROUNDS):
        judge = AlertJudge(rules(campaigns), lag_limit_s=30)
        for minute, (situation, share) in enumerate(
            (("", 0.05), ("all is well", 0.05), ("every alert begins", 0.0), ("they go on", 0.0))
        ):
            closed = window(campaigns, NOON + (10 * number + minute) * MINUTE_MS, share=share)
            began = time.process_time()
            at_once(judge.closed(closed, {"previous": before}))
            if situation:
                took[situation].append(1000 * (time.process_time() - began))
    return took


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--campaigns", type=int, default=1_000)
    campaigns: int = parser.parse_args().campaigns
    table = Table(
        "situation", "ms of CPU a window, median", title=f"{campaigns} campaigns × 20 rules"
    )
    for situation, took in judged(campaigns).items():
        table.add_row(situation, f"{statistics.median(took):,.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
