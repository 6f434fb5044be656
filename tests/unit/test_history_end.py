"""Up to when a feed says that its history is complete, and what a partition makes of it."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.aggregates import ingest_report
from models.aggregates.ingest_report import Report
from models.window import DAY_MS, MINUTE_MS, QUARTER_MS, BusinessDay
from streams.engine.contracts import Position, Snapshot
from streams.errors import FeedError
from streams.feed.history_end import complete_through
from tests.support.offline import NOON, event, ingest_job, record

BERLIN = BusinessDay(ZoneInfo("Europe/Berlin"))
LAST = NOON + 7 * MINUTE_MS
NOW = NOON + 3 * DAY_MS


@given(st.integers(0, NOW))
def test_default_is_the_quarter_of_the_last_event(newest: int) -> None:
    """It is the first end of a quarter of an hour after the last event, unless in the future."""
    end = complete_through(newest, given=None, day=BERLIN, now_ms=NOW)
    if end is None:
        assert NOW - newest < QUARTER_MS
    else:
        assert end % QUARTER_MS == 0
        assert newest < end <= min(newest + QUARTER_MS, NOW)


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("none", None),
        ("2023-11-15", 1_700_089_200_000),
        ("2023-11-15T01:00:00+01:00", 1_700_006_400_000),
        ("2023-11-15T00:00:00Z", 1_700_006_400_000),
    ],
)
def test_end_that_is_given(given_text: str, expected: int | None) -> None:
    """A date is its business day in the configured zone, to its end."""
    found = complete_through(
        1_700_000_000_000, given=given_text, day=BERLIN, now_ms=1_800_000_000_000
    )
    assert found == expected


@pytest.mark.parametrize(
    ("given_text", "why"),
    [
        ("2023-11-14", "the files have events up to 2023-11-15T00:00:00"),
        ("2033-01-01", "is not over yet"),
        ("yesterday", "give a date, like 2026-11-26"),
        ("2023-11-16T00:00:00", "a time with its offset"),
    ],
)
def test_end_that_can_not_be(given_text: str, why: str) -> None:
    midnight = 1_700_002_800_000
    with pytest.raises(FeedError, match=why):
        complete_through(midnight, given=given_text, day=BERLIN, now_ms=1_800_000_000_000)


def told(*records: object) -> Report:
    job = ingest_job("orders")
    job.apply([record(body, offset=offset, at=NOW) for offset, body in enumerate(records)])
    job.tick(Position(caught_up_at_ms=NOW + 6_000, behind=0), now_ms=NOW + 6_000)
    snapshot = job.snapshot()
    assert isinstance(snapshot, Snapshot)
    (report,) = ingest_report.decode(snapshot.outputs[0].value).reports
    return report


END = {"type": "complete_through", "event_id": "end", "event_time": NOON + QUARTER_MS}


def test_a_partition_is_complete_through_the_end() -> None:
    """The watermark passes the end once the partition is idle; nothing more is counted."""
    order = event("order_placed", at=LAST)
    assert told(order).watermark_ms < NOON + QUARTER_MS
    for records in ((order, END), (order, END, END), (END,)):
        report = told(*records)
        assert report.idle
        assert report.watermark_ms >= NOON + QUARTER_MS
        counts = report.stats.records - report.stats.duplicates, report.stats.counted
        assert counts == (len(records) - records.count(END),) * 2
        assert report.stats.dead_letters == {}


def test_an_earlier_end_changes_nothing() -> None:
    """A feed of an earlier file says an earlier end: the watermark does not go back."""
    later = event("order_placed", at=NOON + DAY_MS)
    report = told(later, END)
    assert report.watermark_ms > NOON + DAY_MS - MINUTE_MS
    assert report.stats.dead_letters == {}
