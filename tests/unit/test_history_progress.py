"""How far the reading of history came, in days and time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from models.window import BusinessDay
from streams.kpis.view import HistoryProgress, history_progress

BERLIN = BusinessDay(ZoneInfo("Europe/Berlin"))
NOON = datetime(2026, 11, 26, 11, tzinfo=UTC)
"""Noon of the second of three days."""


def ms(moment: datetime) -> int:
    """Return a moment in ms."""
    return round(moment.timestamp() * 1000)


def progress(
    *,
    unread: int = 0,
    event_pace: float = 3_600.0,
    closed: datetime = NOON,
    silent_ms: int = -5_000,
) -> HistoryProgress:
    """Return the progress in a history from the 25th, 8:00, to the 27th, 24:00.

    ``silent_ms`` is how far the watermark is past that.
    """
    found = history_progress(
        BERLIN,
        from_ms=ms(NOON - timedelta(days=1, hours=4)),
        closed_ms=ms(closed),
        newest_ms=ms(NOON + timedelta(hours=36)) + silent_ms,
        unread=unread,
        event_pace=event_pace,
    )
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (progress(), "26 Nov, day 2 of 3, 36 s left"),
        (progress(event_pace=100.0), "26 Nov, day 2 of 3, 22 min left"),
        (progress(event_pace=10.0), "26 Nov, day 2 of 3, 4 h left"),
        (progress(event_pace=0.0), "26 Nov, day 2 of 3"),
        (progress(unread=31_000), "26 Nov, day 2, 31,000 events to read"),
        # The history is complete to the end of the third day, and nothing came for 20 s.
        (progress(silent_ms=20_000), "26 Nov, day 2 of 3, 36 s left"),
        # Days begin at midnight in the zone, not in UTC.
        (progress(closed=NOON + timedelta(hours=12)), "27 Nov, day 3 of 3, 24 s left"),
    ],
)
def test_text(found: HistoryProgress, text: str) -> None:
    """The text has what is known: the end is not while records wait."""
    assert found.text == text


def test_nothing_closed() -> None:
    """Before the first window is closed, the day is not known."""
    found = history_progress(
        BERLIN, from_ms=ms(NOON), closed_ms=0, newest_ms=0, unread=5, event_pace=0.0
    )
    assert found is None
