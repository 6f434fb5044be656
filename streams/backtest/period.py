"""Reads the times between which a backtest plays events."""

from __future__ import annotations

from datetime import date, datetime

from models.window import BusinessDay
from streams.errors import BacktestError


def moment_ms(given: str, *, option: str, day: BusinessDay) -> int:
    """Return a time of the command line in ms.

    A date is the start of that business day. A time without an offset is local.

    Args:
        given: such as ``2026-11-26``, ``2026-11-26T18:00`` or ``2026-11-26T18:00:00+01:00``.
        option: the option that gives it, for the message.
        day: the business days, and the local time.

    Raises:
        BacktestError: it is none of these.
    """
    try:
        return day.bounds(date.fromisoformat(given))[0]
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        raise BacktestError(
            f"{option} {given}: give a date, like 2026-11-26, or a time, like 2026-11-26T18:00"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=day.zone)
    return round(moment.timestamp() * 1000)
