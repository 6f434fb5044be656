"""Reads the period of a cost, as platforms write it.

Forms, here with business days that start at 0:00 in Asia/Shanghai:

    2026-06-18                                          the business day
    2026-06                                             the month, in business days
    2026-06-16/2026-06-18                               three business days: both are included
    2026-06-18T10                                       the hour from 10:00, local time
    2026-06-18T10+08:00                                 the hour from 10:00
    2026-06-18T10:00:00Z/2026-06-18T12:30:00Z           from a time until another
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta

from models.window import DAY_MS, HOUR_MS, PANE_MS, BusinessDay

LONGEST_MS = 35 * DAY_MS
"""The longest period of a cost, in ms."""
_FORMS = "a date, a month, an hour such as 2026-06-18T10, or two dates or times with / between"
_MONTH = re.compile(r"\d{4}-\d{2}")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_HOUR = re.compile(r"T\d{2}(Z|[+-]\d{2}:?\d{2})?$")


class PeriodError(ValueError):
    """A period can't be read, is empty, or is too long."""


def period_of(text: str, *, day: BusinessDay) -> tuple[int, int]:
    """Return the start and the end of a period in ms, rounded outwards to whole panes.

    Args:
        text: the period, in one of the forms above; times without an offset are local.
        day: the business day.

    Raises:
        PeriodError: it has none of the forms, does not end after its start, or is longer than
            `LONGEST_MS`.
    """
    first, slash, last = text.strip().partition("/")
    try:
        start, end = _stretch(first, day=day)
        if slash:
            # A date at the end is included, a time is not.
            at, after = _stretch(last, day=day)
            end = after if _is_date(last) else at
    except (ValueError, OverflowError):
        raise PeriodError(f"period: neither {_FORMS}") from None
    if end <= start:
        raise PeriodError("period: does not end after its start")
    if end - start > LONGEST_MS:
        raise PeriodError(f"period: longer than {LONGEST_MS // DAY_MS} days")
    return start - start % PANE_MS, end + -end % PANE_MS


def _is_date(text: str) -> bool:
    return "T" not in text.upper()


def _stretch(text: str, *, day: BusinessDay) -> tuple[int, int]:
    """Return the start and the end of a month, a date or an hour; of another time twice the time.

    Raises:
        ValueError: the text is none of these.
    """
    if _MONTH.fullmatch(text):
        first = date.fromisoformat(f"{text}-01")
        last = (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
        return day.bounds(first)[0], day.bounds(last)[1]
    if _is_date(text):
        if _DATE.fullmatch(text) is None:
            raise ValueError(f"{text}: not a date of a year, a month and a day")  # such as a week
        return day.bounds(date.fromisoformat(text))
    moment = datetime.fromisoformat(text.upper())
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=day.zone)
    at_ms = round(moment.timestamp() * 1000)
    return at_ms, at_ms + (HOUR_MS if _HOUR.search(text.upper()) else 0)
