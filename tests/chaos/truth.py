"""Calculates the truth about the records that a broker holds.

Shares no code with the monitor: validity, lateness and duplicates are decided here again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl

from streams.operations.synthetic import CAMPAIGNS
from tests.support import oracle

DISORDER_MS = 5_000
HORIZON_MS = 600_000
_KINDS = {
    "impression": "impression",
    "click": "click",
    "visit": "visit",
    "order_placed": "order",
    "order_refunded": "refund",
    "spend_reported": "spend",
    "registration": "registration",
    "lead": "lead",
    "survey": "survey",
    "measurement": "measurement",
}
_OF_CAMPAIGNS = {"spend_reported", "measurement", "campaign_changed"}
"""Types of events without a user; `campaign_changed` adds to no KPI."""
_CAMPAIGN_OF = {
    name: campaign.id
    for campaign in CAMPAIGNS
    for name in (campaign.id, campaign.name, *campaign.aliases)
}
"""Campaign by id, name and alias, as the feed uses them; other names are taken for ids."""


@dataclass
class Truth:
    """Totals that the monitor must show, and the events that must count.

    ``rows`` has a row for the oracle of each counted event that KPIs are calculated from;
    ``costs_of_periods`` has those of costs that were reported for a period, restated ones included.
    ``late_clicks`` has, by user, the event time in ms of the oldest click that came after a newer
    event of its partition.
    """

    records: int = 0
    counted: int = 0
    duplicates: int = 0
    too_late: int = 0
    broken: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    costs_of_periods: list[dict[str, Any]] = field(default_factory=list)
    late_clicks: dict[str, int] = field(default_factory=dict)

    @property
    def dead_letters(self) -> int:
        """Number of records that must be dead letters."""
        return self.too_late + self.broken

    @property
    def may_move(self) -> list[int]:
        """Event times of orders whose campaign may have changed, because a click came late."""
        return [
            row["event_time_ms"]
            for row in self.rows
            if row["kind"] == "order"
            and row["campaign"] == "(none)"
            and self.late_clicks.get(row["user_id"], row["event_time_ms"]) < row["event_time_ms"]
        ]

    @property
    def events(self) -> pl.DataFrame:
        """The events that count, for the oracle; of the cost of a period the last report."""
        last = {
            _subject(row): row
            for row in sorted(self.costs_of_periods, key=lambda row: row["reported_ms"])
        }
        costs = [{name: row.get(name) for name in oracle.SCHEMA} for row in last.values()]
        return oracle.typed(pl.DataFrame([*self.rows, *costs], schema=oracle.SCHEMA))


def of(partitions: Iterable[Iterable[bytes]]) -> Truth:
    """Return the truth of partitions, each given by its records' values in offset order.

    Example: a partition has clicks with event times 12:10:10, 12:00:04 and 12:00:10. The first sets
    the newest time. The second is 606 s behind it, 601 s less the allowed disorder of 5 s: it is
    too late. The third is 595 s late, within the horizon of 600 s: it counts, as a late click.
    """
    truth = Truth()
    for values in partitions:
        seen: set[str] = set()
        newest: int | None = None
        for value in values:
            if b'"type":"complete_through"' in value:
                continue  # The end of a feed says nothing that counts.
            truth.records += 1
            event = _event(value)
            if event is None:
                truth.broken += 1
                continue
            at = event["event_time"]
            if newest is not None and newest - DISORDER_MS - at > HORIZON_MS:
                truth.too_late += 1
                continue
            if event["event_id"] in seen:
                truth.duplicates += 1
                continue
            seen.add(event["event_id"])
            if event["type"] == "click" and newest is not None and at < newest:
                first = truth.late_clicks.setdefault(event["user_id"], at)
                truth.late_clicks[event["user_id"]] = min(first, at)
            newest = at if newest is None else max(newest, at)
            truth.counted += 1
            if "period" in event:
                truth.costs_of_periods.append(_cost_of_period(event))
            elif event["type"] in _KINDS:
                truth.rows.append(_row(event))
    return truth


def in_time(values: Iterable[bytes]) -> list[bool]:
    """Return for each record of a partition whether it came within the allowed disorder.

    Args:
        values: of the records, in offset order; a broken record is not in time.
    """
    found: list[bool] = []
    newest: int | None = None
    for value in values:
        event = _event(value)
        at = None if event is None else event["event_time"]
        found.append(at is not None and (newest is None or at >= newest - DISORDER_MS))
        if at is not None:
            newest = at if newest is None else max(newest, at)
    return found


def times(values: Iterable[bytes]) -> Iterator[int]:
    """Yield the event times of records, in ms; broken records are left out."""
    for value in values:
        event = _event(value)
        if event is not None:
            yield event["event_time"]


def _event(value: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(value.decode())
    except ValueError:
        return None
    if not isinstance(event, dict) or event.get("type") not in _KINDS.keys() | _OF_CAMPAIGNS:
        return None
    if "event_id" not in event:
        return None
    return event


def _row(event: dict[str, Any]) -> dict[str, Any]:
    kind = _KINDS[event["type"]]
    named = event.get("campaign_id") or event.get("campaign")
    row: dict[str, Any] = {
        "event_time_ms": event["event_time"],
        "kind": kind,
        "user_id": event.get("user_id"),
        "campaign": _CAMPAIGN_OF.get(named, named) if named else "(none)",
        "channel": event.get("channel") or "(none)",
        "region": event.get("region", ""),
        "segment": event.get("segment") or "",
        "paid": kind == "click",
        "amount": round(float(event.get("amount", 0)) * 10_000),
        "count": event.get("count", 1),
        "dwell_ms": event.get("dwell_ms"),
        "metric": "",
        "order_id": event.get("order_id"),
    }
    if kind == "order":
        row["count"] = event.get("items", 0)
    elif kind == "spend":
        row["metric"] = event.get("cost", "ads")
    elif kind == "lead":
        row["metric"] = event["stage"]
    elif kind == "survey":
        row["metric"] = "nps" if "nps" in event else "csat"
        row["count"] = event[row["metric"]]
    elif kind == "measurement":
        row["metric"] = event["metric"]
        row["amount"] = round(float(event["value"]) * 10_000)
        row["count"] = round(float(event["value"]))
    return row


def _cost_of_period(event: dict[str, Any]) -> dict[str, Any]:
    start, end = (datetime.fromisoformat(part) for part in event["period"].split("/"))
    assert end.timestamp() * 1000 <= event["event_time"], "the feed reports periods that have ended"
    return _row(event) | {
        "event_time_ms": round(start.timestamp() * 1000),
        "until_ms": round(end.timestamp() * 1000),
        "reported_ms": event["event_time"],
    }


def _subject(row: dict[str, Any]) -> tuple[Any, ...]:
    """Return what a cost of a period is about: a later report of the same replaces it."""
    return tuple(row[name] for name in ("campaign", "channel", "metric", "event_time_ms"))


def tally(truth: Truth) -> Counter[str]:
    """Return the totals by the names that the live view has for them."""
    return Counter(
        counted=truth.counted, duplicates=truth.duplicates, dead_letters=truth.dead_letters
    )
