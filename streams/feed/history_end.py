"""Determines up to which time fed history is complete; a feed says so after its last event.

Windows close when the frontier has passed their end, and long ones end at quarters of an hour.
After the last event of history nothing moves the frontier on but the clock, so that the last
quarter of an hour would be missing from them for a quarter of an hour.

Example: the last click is of 18:07:12. The clicks are complete through 18:15, so that the day and
the hour that end at 18:15 are closed some seconds after the last click was read. The last order of
the files is of the day before, 21:50: orders are complete through 22:00 of that day. Orders of
later may still follow, in another file.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime

from models.events import SourceKind
from models.window import BusinessDay, whole_quarter
from streams.errors import FeedError

NO_END = "none"


def ends_of(
    newest: Mapping[SourceKind, int], *, given: str | None, day: BusinessDay, now_ms: int
) -> dict[SourceKind, int]:
    """Return the event time in ms up to which each kind of topic is complete.

    Kinds of which that is not known are left out. By default the end is that of the quarter of an
    hour of the kind's last event, if it is not in the future.

    Args:
        newest: the time of the last event of each kind, in ms.
        given: a date, whose business day is then complete, or a time with an offset from UTC, for
            all kinds; or ``none``; None for the default.
        day: finds business days.
        now_ms: the present time, in ms.

    Raises:
        FeedError: what is given can't be read, is in the future, or before the last event.
    """
    if given == NO_END or not newest:
        return {}
    if given is None:
        ends = {kind: whole_quarter(last_ms + 1) for kind, last_ms in newest.items()}
        return {kind: end_ms for kind, end_ms in ends.items() if end_ms <= now_ms}
    end_ms, last_ms = _end_of(given, day), max(newest.values())
    if end_ms > now_ms:
        raise FeedError(
            f"--through {given}: is not over yet; give an earlier time, or leave it out"
        )
    if end_ms <= last_ms:
        last = datetime.fromtimestamp(last_ms / 1000, day.zone).isoformat(timespec="seconds")
        raise FeedError(
            f"--through {given}: the files have events up to {last}; give a later time, or leave "
            "it out"
        )
    return dict.fromkeys(newest, end_ms)


def in_words(ends: Mapping[SourceKind, int], *, day: BusinessDay) -> str:
    """Return the ends as text: ``26 Nov 2026 18:15 CET (clicks, orders)``, the latest first."""
    kinds: dict[int, list[str]] = {}
    for kind in sorted(ends):
        kinds.setdefault(ends[kind], []).append(kind)
    return ", ".join(
        f"{datetime.fromtimestamp(end_ms / 1000, day.zone):%d %b %Y %H:%M %Z} ({', '.join(names)})"
        for end_ms, names in sorted(kinds.items(), reverse=True)
    )


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
