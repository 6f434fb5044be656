"""Measures how long rules take to judge closed windows of many campaigns, on one core.

Twenty rules of all kinds judge each campaign: while nothing is wrong, while most of their alerts
begin, and while they go on. Rules of the kind ``pace`` judge the all-time window, the others the
last hour. Judging is measured by itself; with ``change`` rules, closing a window evaluates an
earlier period as well. The second table has twenty rules of one kind each.

python -m benchmarks.judging --campaigns 1000
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections import defaultdict
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from models.campaigns.campaign import Campaign, milliseconds
from models.kpi.catalogue import CATALOGUE
from models.kpi.definition import KpiValue
from models.scope import Scope
from models.window import BEGINNING_MS, HOUR_MS, QUARTER_MS, SO_FAR
from streams.alerting.judge import AlertJudge
from streams.alerting.rules.registry import RuleBook
from streams.engine.steps import at_once
from streams.kpis.calculation.confidence_intervals import wilson
from streams.kpis.view import Evaluation
from tests.support.offline import NOON

ROUNDS: Final = 5
WINDOW: Final = "1h"
RULES: Final = 20
SHARES: Final = ("conversion_rate", "refund_rate", "ctr", "registration_rate")
SITUATIONS: Final = (
    ("", 0.05),
    ("all is well", 0.05),
    ("alerts begin", 0.0),
    ("they go on", 0.0),
)
"""The windows of a round, and the share of clicks that become orders in each; 0 breaks rules."""

Keys = dict[str, Any]


def mixed(campaigns: int) -> list[Keys]:
    """Return twenty rules of all kinds."""
    return [
        *(one_of(kind, number, campaigns) for kind in BY_SHARE for number in range(4)),
        *(one_of("pace", number, campaigns) for number in range(2)),
        *(one_of("absence", number, campaigns) for number in range(2)),
    ]


BY_SHARE: Final[dict[str, Keys]] = {
    "threshold": {"below": 0.02, "min_n": 100},
    "range": {"low": 0.01, "high": 0.5},
    "change": {"against": "previous", "falls_by": 0.3},
    "outlier": {"differs_by": 0.2},
}
"""The keys of the kinds of rules that are about shares here."""
KINDS: Final = (*BY_SHARE, "pace", "absence")


def one_of(kind: str, number: int, campaigns: int) -> Keys:
    """Return a rule of a kind; each ``number`` gives another one."""
    if kind == "pace":
        keys = {"exhausts_early_by": 3_600} if number % 2 else {"ahead_by": 0.2, "behind_by": 0.2}
        return {"kind": kind, **keys, "for": number}
    if kind == "absence":
        named = {"campaign": names(campaigns)}
        return {"kind": kind, "kpi": "clicks", "window": WINDOW, "match": named, "for": number}
    kpi = SHARES[number % len(SHARES)]
    return {"kind": kind, "kpi": kpi, "window": WINDOW, **BY_SHARE[kind], "for": number}


def rules(of: list[Keys]) -> RuleBook:
    """Return a book of rules about each campaign."""
    made = [{"name": f"r{number}", "scope": "campaign", **keys} for number, keys in enumerate(of)]
    return RuleBook.model_validate({"rules": made}, context={"catalogue": CATALOGUE})


def names(campaigns: int) -> list[str]:
    """Return the names of campaigns."""
    return [f"c{number}" for number in range(campaigns)]


def defined(campaigns: int) -> dict[str, Campaign]:
    """Return campaigns that run from 10 November on, for ten days, with a budget."""
    times = {"starts": "2023-11-10T12:00:00Z", "ends": "2023-11-20T12:00:00Z"}
    budget = {"amount": "1000", "currency": "CNY"}
    return {
        name: Campaign.model_validate({"id": name, "budget": budget, **times})
        for name in names(campaigns)
    }


def hour(campaigns: int, end_ms: int, *, share: float) -> Evaluation:
    """Return an hour in which so large a share of each campaign's clicks became orders."""
    rnd = random.Random(end_ms)
    values = {}
    for name in names(campaigns):
        clicks = rnd.randrange(4_000, 6_000)
        part = round(clicks * share)
        found = KpiValue(part / clicks, *wilson(part, clicks), clicks)
        values[Scope("campaign", name)] = {
            "clicks": KpiValue(clicks if share else 0, n=clicks if share else 0),
            **dict.fromkeys(SHARES, found),
        }
    if not share:
        # One in a hundred is far from the others, which are all alike.
        for name in names(campaigns)[::100]:
            far = KpiValue(0.05, *wilson(250, 5_000), 5_000)
            values[Scope("campaign", name)] |= dict.fromkeys(SHARES, far)
    return Evaluation(WINDOW, end_ms - HOUR_MS, end_ms, values)


def all_time(campaigns: dict[str, Campaign], end_ms: int, *, pace: float) -> Evaluation:
    """Return the all-time window, with the budget of each campaign spent at a pace."""
    values, exhausted_ms = {}, {}
    for name, campaign in campaigns.items():
        assert campaign.starts is not None
        assert campaign.ends is not None
        starts_ms, ends_ms = milliseconds(campaign.starts), milliseconds(campaign.ends)
        values[Scope("campaign", name)] = {"budget_pace": KpiValue(pace, n=100)}
        exhausted_ms[name] = starts_ms + round((ends_ms - starts_ms) / pace)
    return Evaluation(SO_FAR, BEGINNING_MS, end_ms, values, exhausted_ms=exhausted_ms)


def judged(of: list[Keys], campaigns: dict[str, Campaign]) -> dict[str, float]:
    """Return the ms of CPU that judging both windows takes, the median by situation."""
    took: defaultdict[str, list[float]] = defaultdict(list)
    before = hour(len(campaigns), NOON - HOUR_MS, share=0.05)
    for number in range(ROUNDS):
        judge = AlertJudge(rules(of), lag_limit_s=30, campaign_of=campaigns.get)
        for quarter, (situation, share) in enumerate(SITUATIONS):
            end_ms = NOON + (4 * number + quarter) * QUARTER_MS
            last_hour = hour(len(campaigns), end_ms, share=share)
            to_date = all_time(campaigns, end_ms, pace=1.0 if share else 1.5)
            began = time.process_time()
            at_once(judge.closed(last_hour, {"previous": before}))
            at_once(judge.closed(to_date, {}))
            took[situation].append(1000 * (time.process_time() - began))
    return {situation: statistics.median(took[situation]) for situation, _ in SITUATIONS}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--campaigns", type=int, default=1_000)
    campaigns = defined(parser.parse_args().campaigns)
    count = len(campaigns)
    shown = [situation for situation, _ in SITUATIONS if situation]
    table = Table("rules", *shown, title=f"{count} campaigns × {RULES} rules, ms of CPU a window")
    books = {"all kinds": mixed(count)}
    books |= {kind: [one_of(kind, at, count) for at in range(RULES)] for kind in KINDS}
    for name, of in books.items():
        took = judged(of, campaigns)
        table.add_row(name, *(f"{took[situation]:,.0f}" for situation in shown))
    Console().print(table)


if __name__ == "__main__":
    main()
