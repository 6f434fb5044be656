"""Random events, and events as the table that the calculation in SQL reads."""

from __future__ import annotations

import random
from typing import Any

import polars as pl

from models.window import HOUR_MS
from tests.support import oracle
from tests.support.offline import NOON, event

KIND = {"order_placed": "order", "order_refunded": "refund", "spend_reported": "spend"}


def campaign_events(seed: int, *, count: int = 400, span_ms: int = 900_000) -> list[dict[str, Any]]:
    """Return events in order of time, of all types that have KPIs.

    Half of the costs are those of the hour from 12:00, and are reported again and again.
    """
    rnd = random.Random(seed)
    made: list[dict[str, Any]] = []
    for number, at in enumerate(sorted(rnd.sample(range(span_ms), count))):
        kind = rnd.choices(
            ["impression", "click", "visit", "order_placed", "order_refunded", "spend_reported"],
            [3, 5, 3, 2, 1, 1],
        )[0]
        body: dict[str, Any] = {"event_id": f"e{number}", "campaign_id": rnd.choice(["c1", "c2"])}
        body["channel"] = rnd.choice(["search", "feed"])
        if kind != "spend_reported":
            body["user_id"] = f"u{rnd.randrange(40)}"
        if kind == "impression":
            body["count"] = rnd.randrange(1, 9)
        if kind in {"order_placed", "order_refunded", "spend_reported"}:
            body |= {"amount": f"{rnd.randrange(100_000) / 100:.2f}", "currency": "CNY"}
        if kind == "spend_reported" and rnd.random() < 0.5:
            body["period"] = "2023-11-14T12Z"
        if kind == "order_refunded":
            body["order_id"] = f"o{number}"
        made.append(event(kind, at=NOON + at, **body))
    return made


def as_table(events: list[dict[str, Any]]) -> pl.DataFrame:
    """Return events as the table of `tests.support.oracle`, with the last report of each cost."""
    of_periods = {
        (body["campaign_id"], body["channel"]): body
        for body in sorted(events, key=lambda body: body["event_time"])
        if "period" in body
    }
    counted = [body for body in events if "period" not in body] + [*of_periods.values()]
    rows = [
        {
            "event_time_ms": NOON if "period" in body else body["event_time"],
            "until_ms": NOON + HOUR_MS if "period" in body else None,
            "kind": (kind := KIND.get(body["type"], body["type"])),
            "user_id": body.get("user_id"),
            "campaign": body["campaign_id"],
            "channel": body["channel"],
            "amount": round(float(body.get("amount", 0)) * 10_000),
            "count": 0 if kind == "order" else body.get("count", 1),
        }
        for body in counted
    ]
    return oracle.typed(pl.DataFrame(rows, infer_schema_length=None))
