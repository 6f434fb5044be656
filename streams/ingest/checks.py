"""What is asked of an event beyond its shape: its time, its money, its figures."""

from __future__ import annotations

from models.dead_letters import Reason
from models.events import Measurement, OrderPlaced, OrderRefunded, SpendReported
from models.measures import COMPLAINT_RESPONSE, FLOW_METRICS, LEVEL_INDEX
from models.money import MoneyError, to_units
from models.rates import NoRateError, Rates
from streams.ingest.decode import Rejected, event_time_ms
from streams.ingest.rules import IngestRules

EARLIEST_EVENT_TIME = 631_152_000_000
"""1990-01-01T00:00Z; an event before it is broken input."""


def checked_time(
    event_time: int | str, *, newest: int | None, appended_ms: int, rules: IngestRules
) -> int | Rejected:
    """Return an event time in ms that may be counted.

    The broker's clock decides and not this worker's, so that a replay decides the same.

    Args:
        event_time: as it came.
        newest: the newest event time of the source partition before it.
        appended_ms: when the broker appended the record.
        rules: the limits.
    """
    parsed = event_time_ms(event_time)
    if isinstance(parsed, Rejected):
        return parsed
    if parsed > appended_ms + rules.future_tolerance_ms:
        return Rejected(Reason.FAR_FUTURE, "event_time is ahead of the broker's clock")
    if parsed < EARLIEST_EVENT_TIME:
        return Rejected(Reason.FAR_PAST, "event_time is before the year 1990")
    late_by_ms = 0 if newest is None else newest - rules.allowed_disorder_ms - parsed
    if late_by_ms > rules.correction_horizon_ms:
        return Rejected(Reason.TOO_LATE, f"{late_by_ms} ms late, beyond the correction horizon")
    return parsed


def units_of(
    event: OrderPlaced | OrderRefunded | SpendReported,
    event_time: int,
    *,
    rules: IngestRules,
    rates: Rates,
) -> int | Rejected:
    """Return an event's amount in units of 1/10,000 of the reporting currency."""
    on = rules.day.date_of(event_time)
    try:
        units = rates.to_units(event.amount, event.currency, on=on)
    except NoRateError as error:
        return Rejected(Reason.UNKNOWN_CURRENCY, str(error))
    except MoneyError as error:
        return Rejected(Reason.INVALID_AMOUNT, f"amount: {error}")
    return units if units >= 0 else Rejected(Reason.INVALID_AMOUNT, "amount: negative")


def figure_of(event: Measurement) -> int | Rejected:
    """Return a measured figure: a whole number, ms, or a level in units of 1/10,000."""
    try:
        units = to_units(event.value)
    except MoneyError as error:
        return Rejected(Reason.INVALID_AMOUNT, f"value: {error}")
    if event.metric in LEVEL_INDEX:
        return units
    if units < 0:
        return Rejected(Reason.INVALID_AMOUNT, "value: negative")
    if event.metric == COMPLAINT_RESPONSE:
        return round(units / 10)
    if event.metric in FLOW_METRICS and units % 10_000:
        return Rejected(Reason.INVALID_AMOUNT, f"value: {event.metric} are whole numbers")
    return units // 10_000
