"""What is true of the records that a broker holds; shares no code with the monitor."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from streams.embedded.synthetic import CAMPAIGNS
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
"""These have no user; a change adds to no KPI."""
_CAMPAIGN_OF = {
    name: campaign.id
    for campaign in CAMPAIGNS
    for name in (campaign.id, campaign.name, *campaign.aliases)
}
"""What the feed calls its campaigns; others are called by their id."""


@dataclass
class Truth:
    """What must have become of the records.

    ``rows`` has, for each event that counts, its row for the oracle, ``late_clicks``
    the times, by user, of clicks that came after something newer.
    """

    records: int = 0
    counted: int = 0
    duplicates: int = 0
    too_late: int = 0
    broken: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    late_clicks: dict[str, int] = field(default_factory=dict)

    @property
    def dead_letters(self) -> int:
        """How many records must be dead letters."""
        return self.too_late + self.broken

    @property
    def may_move(self) -> list[int]:
        """The times of orders that a click which came late may have moved elsewhere."""
        return [
            row["event_time_ms"]
            for row in self.rows
            if row["kind"] == "order"
            and row["campaign"] == "none"
            and self.late_clicks.get(row["user_id"], row["event_time_ms"]) < row["event_time_ms"]
        ]

    @property
    def events(self) -> pl.DataFrame:
        """The events that count, as the oracle takes them."""
        return oracle.typed(pl.DataFrame(self.rows, schema=oracle.SCHEMA))


def of(partitions: Iterable[Iterable[bytes]]) -> Truth:
    """Return the truth of partitions, each given by its values in offset order."""
    truth = Truth()
    for values in partitions:
        seen: set[str] = set()
        newest: int | None = None
        for value in values:
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
            if event["type"] in _KINDS:
                truth.rows.append(_row(event))
    return truth


def in_time(values: Iterable[bytes]) -> list[bool]:
    """Say of each record of a partition, in offset order, whether it came within the disorder."""
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
    """Yield the event times of records, in ms, but for those that are broken."""
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
    if "event_id" not in event or not ("user_id" in event or event["type"] in _OF_CAMPAIGNS):
        return None
    return event


def _row(event: dict[str, Any]) -> dict[str, Any]:
    kind = _KINDS[event["type"]]
    named = event.get("campaign_id") or event.get("campaign")
    row: dict[str, Any] = {
        "event_time_ms": event["event_time"],
        "kind": kind,
        "user_id": event.get("user_id"),
        "campaign": _CAMPAIGN_OF.get(named, named) if named else "none",
        "channel": event.get("channel") or "none",
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


def tally(truth: Truth) -> Counter[str]:
    """Return the counts by name."""
    return Counter(
        counted=truth.counted, duplicates=truth.duplicates, dead_letters=truth.dead_letters
    )
