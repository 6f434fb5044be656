"""Dead letters that are sent again: which can count, and which would be refused again."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from models.dead_letters import SENT_AGAIN, DeadLetter, Reason
from models.money.exchange_rates import Rate, Rates
from streams.operations.dead_letter_topic import that_can_count
from tests.factories.reports import apply, letters
from tests.support.offline import NOON, RULES, event, ingest_job, record

DOLLARS = event("order_placed", amount="1", currency="USD")
AHEAD = event(event_time=NOON + 3_600_000)
LATE = event(event_time=NOON - 3_600_000, event_id="late")


def letter(reason: Reason) -> DeadLetter:
    return DeadLetter(
        topic="clicks",
        partition=0,
        offset=0,
        appended_ms=NOON,
        reason=reason,
        detail="",
        key=None,
        value=b"",
    )


def test_only_what_can_count_is_sent() -> None:
    """Each reason is either sent again, or left out and counted."""
    found = [letter(reason) for reason in Reason for _ in range(2)]
    sendable, left = that_can_count(found)
    assert {one.reason for one in sendable} == SENT_AGAIN.keys()
    assert left == {reason: 2 for reason in Reason if reason not in SENT_AGAIN}
    assert Reason.TOO_LATE in left


@pytest.mark.parametrize(
    ("kind", "body", "reason"),
    [
        ("clicks", b"no json", Reason.NOT_JSON),
        ("clicks", b"", Reason.EMPTY),
        ("clicks", {**event(), "type": "teleport"}, Reason.UNKNOWN_TYPE),
        ("clicks", {**event(), "event_id": ""}, Reason.INVALID_SHAPE),
        ("clicks", {**event(), "event_time": "yesterday"}, Reason.INVALID_TIME),
        ("clicks", {**event(), "event_time": 1_000}, Reason.FAR_PAST),
        ("clicks", {**event(), "event_id": "a\0b"}, Reason.NUL_CHARACTER),
        ("clicks", LATE, Reason.TOO_LATE),
        ("orders", event("order_placed", amount="-1"), Reason.INVALID_AMOUNT),
    ],
)
def test_refused_again(kind: Any, body: object, reason: Reason) -> None:
    """A record that is left out would be refused again, for the same reason, at any later time."""
    job = ingest_job(kind)
    good = event("click" if kind == "clicks" else "order_placed", event_id="good", amount="1")
    apply(job, good, body)
    (first,) = letters(job.snapshot())
    job.apply([record(first.value, offset=2, at=NOON + 86_400_000)])
    (again,) = letters(job.snapshot())
    assert first.reason is again.reason is reason
    assert reason not in SENT_AGAIN


def test_counts_once_it_can() -> None:
    """Money counts once its rate is known, a future event once its time has come."""
    job = ingest_job("orders")
    apply(job, DOLLARS)
    (without_rate,) = letters(job.snapshot())
    rates = Rates("CNY", [Rate(currency="USD", date=date(2023, 1, 1), rate=Decimal(7))])
    later = ingest_job("orders", rates=rates)
    later.apply([record(without_rate.value, offset=0)])
    clicks = ingest_job()
    apply(clicks, AHEAD)
    (ahead,) = letters(clicks.snapshot())
    clicks.apply([record(ahead.value, offset=1, at=NOON + 3_600_000)])
    large = ingest_job(rules=replace(RULES, largest_record_bytes=50))
    apply(large, event())
    (oversize,) = letters(large.snapshot())
    larger = ingest_job()
    larger.apply([record(oversize.value, offset=0)])
    assert [without_rate.reason, ahead.reason, oversize.reason] == [
        Reason.UNKNOWN_CURRENCY,
        Reason.FAR_FUTURE,
        Reason.OVERSIZE,
    ]
    for job in (later, clicks, larger):
        assert not letters(job.snapshot())
