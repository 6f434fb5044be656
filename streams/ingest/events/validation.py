"""Validates what the shape of an event does not cover: times, amounts, figures, campaign plans."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

import msgspec
from pydantic import ValidationError

from models.campaigns.campaign import Campaign
from models.dead_letters import Reason
from models.events import (
    BudgetPlan,
    CampaignDefined,
    Event,
    EventTime,
    Measurement,
    OrderPlaced,
    OrderRefunded,
    SpendReported,
)
from models.kpi.measures import Metric, metrics_with
from models.money.amounts import UNITS_PER_CURRENCY, MoneyError, is_rounded, to_units
from models.money.exchange_rates import NoRateError, Rates
from models.window import DAY_MS, PANE_MS
from streams.ingest.events.cost_periods import PeriodError, period_of
from streams.ingest.events.decoding import EPOCH, Rejected, event_time_ms
from streams.ingest.ingest_settings import IngestSettings

RESERVED_IDS = ("end/", "change/", "rate/")
"""Beginnings of keys in the registry topic that are no ids of campaigns."""
EARLIEST_EVENT_TIME = 631_152_000_000
"""1990-01-01T00:00Z in ms; earlier event times are broken input."""
RESTATED_MS = 35 * DAY_MS
"""Costs of a period may be reported again for so long after its end, in ms of event time."""


class CostOfPeriod(NamedTuple):
    """A cost and its period, as `PeriodCost` has them."""

    from_ms: int
    until_ms: int
    covered_ms: int
    units: int


def checked_time(
    event_time: int | str,
    *,
    newest: int | None,
    appended_ms: int,
    rules: IngestSettings,
    late: bool = False,
) -> int | Rejected:
    """Return an event time in ms, or the reason why it is rejected.

    The future begins at the broker time of the record, not at the worker's clock, so that a
    replay gives the same result.

    Args:
        event_time: the event time in ms or as RFC 3339 text.
        newest: the newest event time of the source partition to date, in ms; None without any.
        appended_ms: broker time at which the record was appended, in ms.
        rules: the limits.
        late: whether the event may be later than the correction horizon.
    """
    parsed = event_time_ms(event_time)
    if isinstance(parsed, Rejected):
        return parsed
    if parsed > appended_ms + rules.future_tolerance_ms:
        return Rejected(Reason.FAR_FUTURE, "event_time is ahead of the broker's clock")
    if parsed < EARLIEST_EVENT_TIME:
        return Rejected(Reason.FAR_PAST, "event_time is before the year 1990")
    late_by_ms = 0 if newest is None or late else newest - rules.allowed_disorder_ms - parsed
    if late_by_ms > rules.correction_horizon_ms:
        return Rejected(Reason.TOO_LATE, f"{late_by_ms} ms late, beyond the correction horizon")
    return parsed


def currency_code(reported: str) -> str:
    """Return the ISO 4217 code that a text stands for: `` usd`` is ``USD``."""
    return reported.strip().upper()


def units_of(
    event: OrderPlaced | OrderRefunded,
    event_time: int,
    _appended_ms: int,
    rules: IngestSettings,
    rates: Rates,
) -> int | Rejected:
    """Return an event's amount in 1/10,000 of the reporting currency, or why it is rejected."""
    units = _units(event, rules.day.date_of(event_time), rates)
    if isinstance(units, int) and units < 0:
        return Rejected(Reason.INVALID_AMOUNT, "amount: negative")
    return units


def cost_of(
    event: SpendReported,
    event_time: int,
    appended_ms: int,
    rules: IngestSettings,
    rates: Rates,
) -> int | CostOfPeriod | Rejected:
    """Return a cost in 1/10,000 of the reporting currency, with its period if it has one.

    Its rate is that of the first day of the period.
    """
    if event.period is None:
        return _units(event, rules.day.date_of(event_time), rates)
    try:
        from_ms, until_ms = period_of(event.period, day=rules.day)
    except PeriodError as error:
        return Rejected(Reason.INVALID_TIME, str(error))
    if from_ms < EARLIEST_EVENT_TIME:
        return Rejected(Reason.FAR_PAST, "period: begins before the year 1990")
    covered_ms = min(until_ms, appended_ms - appended_ms % PANE_MS)
    if covered_ms <= from_ms:
        return Rejected(Reason.FAR_FUTURE, "period: begins after the broker's clock")
    if event_time - until_ms > RESTATED_MS:
        days = RESTATED_MS // DAY_MS
        return Rejected(Reason.TOO_LATE, f"period: ended over {days} days before event_time")
    units = _units(event, rules.day.date_of(from_ms), rates)
    if isinstance(units, Rejected):
        return units
    return CostOfPeriod(from_ms, until_ms, covered_ms, units)


def _units(
    event: OrderPlaced | OrderRefunded | SpendReported, on: date, rates: Rates
) -> int | Rejected:
    try:
        return rates.to_units(event.amount, currency_code(event.currency), on=on)
    except NoRateError as error:
        return Rejected(Reason.UNKNOWN_CURRENCY, str(error))
    except MoneyError as error:
        return Rejected(Reason.INVALID_AMOUNT, f"amount: {error}")


class Figure(NamedTuple):
    """The value of a measurement.

    Args:
        metric: what was measured; None for a metric that is neither built in nor declared.
        value: a whole number for sums, in units of 1/10,000 for levels, in ms for durations.
    """

    metric: Metric | None
    value: int


def figure_of(
    event: Measurement,
    event_time: int,
    _appended_ms: int,
    rules: IngestSettings,
    _rates: Rates,
) -> Figure | Rejected:
    """Return a measured figure, or the reason why it is rejected.

    Of an unknown metric nobody can say which values are wrong: it is only a number. Also replaces
    the event's time by ms since the epoch.
    """
    event.event_time = event_time  # `fold_measurement` keeps the newest of a level
    metric = metrics_with(rules.custom).get(event.metric)
    try:
        units = to_units(event.value)
    except MoneyError as error:
        return Rejected(Reason.INVALID_AMOUNT, f"value: {error}")
    if metric is None:
        return Figure(None, 0)
    if units < 0:
        return Rejected(Reason.INVALID_AMOUNT, "value: negative")
    match metric.kind:
        case "share" if units > UNITS_PER_CURRENCY:
            why = f"value: {event.metric} is a share, from 0 to 1"
            return Rejected(Reason.INVALID_AMOUNT, why)
        case "level" | "share":
            return Figure(metric, units)
        case "seconds":
            return Figure(metric, round(units / 10))
        case "sum" if units % UNITS_PER_CURRENCY:
            return Rejected(Reason.INVALID_AMOUNT, f"value: {event.metric} are whole numbers")
    return Figure(metric, units // UNITS_PER_CURRENCY)


def campaign_of(
    event: CampaignDefined,
    _event_time: int,
    _appended_ms: int,
    _rules: IngestSettings,
    _rates: Rates,
) -> Campaign | Rejected:
    """Return the campaign that an event defines, or the reason why it is rejected.

    The names of its channels stay as they are in the event, and so they are in the registry: they
    are shown as the file of names says at the time, by `CampaignIndex`.
    """
    times: list[datetime | None] = []
    for reported in (event.starts, event.ends, *(stage.starts for stage in event.stages)):
        moment = None if reported is None else _moment(reported)
        if isinstance(moment, Rejected):
            return moment
        times.append(moment)
    starts, ends, *of_stages = times
    if event.campaign_id.startswith(RESERVED_IDS):
        return Rejected(
            Reason.INVALID_SHAPE, f"campaign_id begins with one of {', '.join(RESERVED_IDS)}"
        )
    fields_of_event = msgspec.to_builtins(event, builtin_types=(Decimal,))
    if event.budget is not None:
        budget = _budget_of(event.budget)
        if isinstance(budget, Rejected):
            return budget
        fields_of_event["budget"] = budget
    names = ("name", "aliases", "channels", "owner", "kind", "objective", "budget")
    stages = [
        {"name": stage.name, "starts": at}
        for stage, at in zip(event.stages, of_stages, strict=True)
    ]
    fields = {name: fields_of_event[name] for name in names}
    plan = {"id": event.campaign_id, "starts": starts, "ends": ends, "stages": stages}
    try:
        return Campaign.model_validate(fields | plan)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "campaign_defined"
        return Rejected(Reason.INVALID_SHAPE, f"{where}: {first['msg']}")


def _budget_of(reported: BudgetPlan) -> dict[str, object] | Rejected:
    """Return the fields of a budget, its amounts rounded to 4 decimals, or why it is rejected."""
    rounded: dict[str, Decimal] = {}
    for name, amount in _amounts(reported).items():
        try:
            rounded[name] = Decimal(to_units(amount)) / UNITS_PER_CURRENCY
        except MoneyError as error:
            return Rejected(Reason.INVALID_AMOUNT, f"budget.{name}: {error}")
    return {
        "amount": rounded["amount"],
        "currency": currency_code(reported.currency),
        "channels": {channel: rounded[f"channels.{channel}"] for channel in reported.channels},
        "daily": rounded.get("daily"),
    }


def _amounts(reported: BudgetPlan) -> dict[str, Decimal]:
    """Return all amounts of a budget by the name of their field."""
    amounts = {"amount": reported.amount}
    amounts |= {f"channels.{channel}": amount for channel, amount in reported.channels.items()}
    return amounts if reported.daily is None else amounts | {"daily": reported.daily}


def _moment(reported: EventTime) -> datetime | Rejected:
    at_ms = event_time_ms(reported)
    if isinstance(at_ms, Rejected):
        why = at_ms.detail.replace("event_time", "a start or end")
        return Rejected(Reason.INVALID_TIME, why)
    try:
        return EPOCH + timedelta(milliseconds=at_ms)
    except OverflowError:
        return Rejected(Reason.INVALID_TIME, "a start or end is beyond the calendar")


def has_rounded(
    event: OrderPlaced | OrderRefunded | SpendReported | Measurement | CampaignDefined,
) -> bool:
    """Return whether the amount or value of an event was rounded to 4 decimals."""
    match event:
        case CampaignDefined():
            return event.budget is not None and any(
                map(is_rounded, _amounts(event.budget).values())
            )
        case Measurement():
            return is_rounded(event.value)
    return is_rounded(event.amount)


CARRIED: dict[type[Event], Callable[..., int | CostOfPeriod | Figure | Campaign | Rejected]] = {
    OrderPlaced: units_of,
    OrderRefunded: units_of,
    SpendReported: cost_of,
    Measurement: figure_of,
    CampaignDefined: campaign_of,
}
"""By type of event, the function that returns its money, figure or campaign, or rejects it."""
