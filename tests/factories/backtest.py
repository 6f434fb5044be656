"""Recorded events of a shop whose checkout breaks, and players that play them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from models.events import KIND_OF_TYPE
from models.window import MINUTE_MS
from streams import settings
from streams.alerting.rules.registry import RuleBook
from streams.assembly import configuration
from streams.assembly.configuration import Configuration
from streams.assembly.stages import ingest_stage, kpis_stage
from streams.backtest.firings import Firing, firings
from streams.backtest.player import Arrival, Player
from streams.backtest.run import Run, run
from streams.engine.contracts import SourcePartition
from streams.settings import Settings
from tests.support.offline import CAMPAIGNS, NOON, event

ORDERS_FEW: dict[str, Any] = {
    "name": "orders-few",
    "kind": "threshold",
    "kpi": "orders",
    "window": "1m",
    "below": 5,
}
BREAKS_MS, MENDED_MS, LATE_MS = NOON + 4 * MINUTE_MS, NOON + 6 * MINUTE_MS, NOON + 270_000
"""When the checkout breaks, when it is mended, and the time of an order that arrives late."""
LATE_BY_MS = 2 * MINUTE_MS


def backtest_settings(**others: Any) -> Settings:
    """Return the settings of a backtest of files, in which no source is reported as silent."""
    return settings.load(time_zone="UTC", partitions=1, silent_after_s=3600, **others)


def rule_book(*rules: dict[str, Any]) -> RuleBook:
    """Return a book of these rules."""
    return RuleBook.model_validate({"rules": list(rules)})


def configured() -> Configuration:
    """Return a configuration with the campaigns of `offline`."""
    made = configuration.load(backtest_settings())
    for campaign in CAMPAIGNS:
        made.campaigns.define(campaign)
    return made


def shop(*, minutes: int = 8) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield events with the times at which they arrive: a click a second, an order every 6 s.

    From `BREAKS_MS` on until `MENDED_MS` users register instead of ordering, so that the topic of
    orders is not silent. One order of `LATE_MS` arrives `LATE_BY_MS` later.
    """
    arriving = []
    for second in range(minutes * 60):
        at = NOON + second * 1_000
        arriving.append((at, event(at=at, event_id=f"c{second}", user_id=f"u{second}")))
        if second % 6 == 0:
            broken = BREAKS_MS <= at < MENDED_MS
            registered = event("registration", at=at, event_id=f"r{second}")
            arriving.append((at, registered if broken else _order(at, second)))
    arriving.append((LATE_MS + LATE_BY_MS, _order(LATE_MS, minutes * 60)))
    yield from sorted(arriving, key=lambda one: one[0])


def _order(at: int, number: int) -> dict[str, Any]:
    named = {"event_id": f"o{number}", "order_id": f"o{number}", "user_id": f"u{number}"}
    return event("order_placed", at=at, **named)


def arrivals(events: Iterable[tuple[int, dict[str, Any]]]) -> Iterator[Arrival]:
    """Yield events as records that arrived at their times."""
    offsets: Counter[str] = Counter()
    for at, body in events:
        topic = KIND_OF_TYPE[body["type"]]
        owner = str(body.get("user_id") or body["campaign_id"]).encode()
        record = json.dumps(body).encode()
        yield Arrival(SourcePartition(topic, 0), offsets[topic], at, owner, record)
        offsets[topic] += 1


def player(*books: RuleBook, viewed: bool = False) -> Player:
    """Return a player with a KPI stage for each book of rules."""
    chosen, made = backtest_settings(), configured()
    return Player(
        ingest_stage(chosen, made, customers=None),
        [kpis_stage(chosen, made, book, new_spill=lambda: None, viewed=viewed) for book in books],
    )


def played(one: Player, events: Iterable[tuple[int, dict[str, Any]]]) -> Run:
    """Return a backtest of events."""
    return run(
        one,
        arrivals(events),
        allowed_disorder_ms=5_000,
        to_ms=None,
        on_step=lambda _: None,
    )


def fired(events: Sequence[tuple[int, dict[str, Any]]], *rules: dict[str, Any]) -> list[Firing]:
    """Return the firings of rules on events."""
    one = player(rule_book(*rules))
    played(one, events)
    return firings(one.alerts[0])
