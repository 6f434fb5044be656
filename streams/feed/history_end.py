"""Determines up to which time fed history is complete; a feed says so after its last event.

Windows close when the frontier has passed their end, and long ones end at quarters of an hour.
After the last event of history nothing moves the frontier on but the clock, so that the last
quarter of an hour would be missing from them for a quarter of an hour.

Example: the last event is of 18:07:12. The history is complete through 18:15, so that the day and
the hour that end at 18:15 are closed some seconds after the last event was read.
"""

from __future__ import annotations

from datetime import date, datetime

from models.window import BusinessDay, whole_quarter
from streams.errors import FeedError

NO_END = "none"


def complete_through(
    newest_ms: int, *, given: str | None, day: BusinessDay, now_ms: int
) -> int | None:
    """Return the event time in ms up to which history is complete; None if that is not known.

    By default it is the end of the last event's quarter of an hour, if that is not in the future.

    Args:
        newest_ms: the time of the last event, in ms.
        given: a date, whose business day is then complete, a time with an offset from UTC, or
            ``none``; None for the default.
        day: finds business days.
        now_ms: the present time, in ms.

    Raises:
        FeedError: what is given can't be read, is in the future, or before the last event.
    """
    if given == NO_END:
        return None
    if given is None:
        end_ms = whole_quarter(newest_ms + 1)
        return None if end_ms > now_ms else end_ms
    end_ms = _end_of(given, day)
    if end_ms > now_ms:
        raise FeedError(f"--through {given}: is not over yet")
    if end_ms <= newest_ms:
        last = datetime.fromtimestamp(newest_ms / 1000, day.zone).isoformat(timespec="seconds")
        raise FeedError(f"--through {given}: the files have events up to {last}")
    return end_ms


def _end_of(given: str, day: BusinessDay) -> int:
    try:
        return day.bounds(date.fromisoformat(given))[1]
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise FeedError(
            f"--through {given}: give a date, like 2026-11-26, a time with its offset, like "
            f"2026-11-26T18:00:00+01:00, or {NO_END}"
        )
    return round(moment.timestamp() * 1000)
