"""Times as tests write them, and business days."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from models.window import BusinessDay

NEW_YORK = "America/New_York"
UTC_DAY = BusinessDay(ZoneInfo("UTC"))
NEW_YORK_DAY = BusinessDay(ZoneInfo(NEW_YORK))


def at(time_ms: int) -> datetime:
    """Return a time in ms since 1970 as a datetime in UTC."""
    return datetime.fromtimestamp(time_ms / 1000, UTC)


def ms(text: str) -> int:
    """Return a time in ISO 8601 with its offset in ms since 1970."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)
