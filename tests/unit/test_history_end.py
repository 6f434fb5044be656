"""Up to when a feed says that its history is complete, and what a partition makes of it."""

from __future__ import annotations

import json
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.aggregates import ingest_report
from models.aggregates.ingest_report import Report
from models.dead_letters import Reason
from models.events import SOURCE_KINDS, SourceKind
from models.window import DAY_MS, MINUTE_MS, QUARTER_MS, BusinessDay
from streams.engine.contracts import Position, Snapshot
from streams.errors import FeedError
from streams.feed.history_end import ends_of, in_words
from streams.ingest.events.decoding import EventDecoder, Rejected
from tests.support.offline import NOON, RULES, event, ingest_job, record

BERLIN = BusinessDay(ZoneInfo("Europe/Berlin"))
LAST = NOON + 7 * MINUTE_MS
NOW = NOON + 3 * DAY_MS


@given(st.integers(0, NOW))
def test_default_is_the_quarter_of_the_last_event(newest: int) -> None:
    """It is the first end of a quarter of an hour after the last event, unless in the future."""
    ends = ends_of({"clicks": newest}, given=None, day=BERLIN, now_ms=NOW)
    if not ends:
        assert NOW - newest < QUARTER_MS
    else:
        assert ends["clicks"] % QUARTER_MS == 0
        assert newest < ends["clicks"] <= min(newest + QUARTER_MS, NOW)


def test_each_topic_has_its_end() -> None:
    """A topic whose files end earlier is not said to be complete up to where others end."""
    newest: dict[SourceKind, int] = {"clicks": LAST, "orders": LAST - DAY_MS, "campaigns": LAST + 9}
    ends = ends_of(newest, given=None, day=BERLIN, now_ms=NOW)
    end = NOON + QUARTER_MS
    assert ends == {"clicks": end, "orders": end - DAY_MS, "campaigns": end}
    assert in_words(ends, day=BERLIN) == (
        "14 Nov 2023 13:15 CET (campaigns, clicks), 13 Nov 2023 13:15 CET (orders)"
    )
    newest["clicks"] = NOW
    assert ends_of(newest, given=None, day=BERLIN, now_ms=NOW).keys() == {"orders", "campaigns"}
    assert ends_of({}, given="2023-11-15", day=BERLIN, now_ms=NOW) == {}


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
    """It holds for all topics; a date is its business day in the configured zone, to its end."""
    newest: dict[SourceKind, int] = {"clicks": 1_700_000_000_000, "orders": 1_600_000_000_000}
    found = ends_of(newest, given=given_text, day=BERLIN, now_ms=1_800_000_000_000)
    assert found == ({} if expected is None else dict.fromkeys(newest, expected))


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
    newest: dict[SourceKind, int] = {"clicks": 1_700_002_800_000, "orders": 1_600_000_000_000}
    with pytest.raises(FeedError, match=why):
        ends_of(newest, given=given_text, day=BERLIN, now_ms=1_800_000_000_000)


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
    for times in (1, 2):
        report = told(order, *[END] * times)
        assert report.idle
        assert report.watermark_ms >= NOON + QUARTER_MS
        stats = report.stats
        assert (stats.records, stats.counted, stats.ends) == (1, 1, times)
        assert (stats.duplicates, stats.mis_keyed, stats.dead_letters) == (0, 0, {})
        assert len(report.panes) == 1


def test_a_partition_without_events_has_no_end() -> None:
    """It goes on as if nothing was said: it has no watermark, and does not delay the frontier."""
    report = told(END)
    assert (report.idle, report.watermark_ms) == (True, 0)
    order = event("order_placed", at=NOON - DAY_MS)
    report = told(END, order)
    assert (report.stats.counted, report.stats.dead_letters) == (1, {})
    assert report.watermark_ms < NOON
    assert told(END, order, END).watermark_ms >= NOON + QUARTER_MS


def test_an_earlier_end_changes_nothing() -> None:
    """A feed of an earlier file says an earlier end: the watermark does not go back."""
    later = event("order_placed", at=NOON + DAY_MS)
    report = told(later, END)
    assert report.watermark_ms > NOON + DAY_MS - MINUTE_MS
    assert report.stats.dead_letters == {}


def test_an_event_after_the_end_is_too_late() -> None:
    """What is older than the end by more than the horizon becomes a dead letter."""
    order = event("order_placed", at=LAST)
    horizon_ms = RULES.correction_horizon_ms + RULES.allowed_disorder_ms
    for late_ms, reasons in ((horizon_ms, {}), (horizon_ms + 1, {Reason.TOO_LATE: 1})):
        at = NOON + QUARTER_MS - late_ms
        report = told(order, END, event("order_placed", at=at, event_id="late"))
        assert report.stats.dead_letters == reasons


@pytest.mark.parametrize("kind", SOURCE_KINDS)
def test_an_old_worker_has_a_dead_letter(kind: SourceKind) -> None:
    """A type that is not known is rejected as such, so an old worker counts all else."""
    rejected = EventDecoder(kind, largest_bytes=1_000).decode(
        json.dumps(END | {"type": "complete_thru"}).encode()
    )
    assert isinstance(rejected, Rejected)
    assert rejected.reason is Reason.UNKNOWN_TYPE
