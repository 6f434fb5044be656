"""Generates docs/events.md: the events, their fields, dead letters, and the topics written."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec import inspect as shapes

from models.dead_letters import Reason
from models.events import SHAPES, Event, UserEvent, events_of, type_of
from models.kpi.measures import COMPLAINT_RESPONSE, FLOW_METRICS, LEVEL_INDEX
from streams.kpis.output_records import SCOPES_PER_RECORD
from tools.markdown import GENERATED, table

FIELDS: Final[Mapping[str, str]] = {
    "event_id": "unique; what comes again with the same `event_time` counts once",
    "event_time": "when it happened: ms since the epoch in UTC, or RFC 3339 text with an offset",
    "user_id": "who; the same in all topics, and the key of the record",
    "campaign_id": "which campaign; one that is not known counts in `unknown`",
    "campaign": "or by its name or alias; without any, in `none`, or where an order's clicks say",
    "channel": "by which way",
    "region": "where; counts in a region only if it is told",
    "segment": "of which customers; counts in a segment only if it is told",
    "variant": "arm of a test; not used yet",
    "count": "how many, where the source adds them up",
    "traffic": "`paid` visitors and `natural` ones are counted apart",
    "page": "what was looked at; not used yet",
    "pages": "how many pages",
    "dwell_ms": "how long, ms",
    "order_id": "the order; with customers, a refund counts in its order's campaign and time",
    "amount": "money, of up to 4 decimals, not negative",
    "currency": "ISO 4217; one without a rate at the day of the event is a dead letter",
    "items": "how many things were ordered",
    "stage": "how far it is",
    "nps": "would they recommend us, 0 to 10",
    "csat": "are they satisfied, 1 to 5",
    "name": "as people call it",
    "aliases": "what else events call it; a name that two campaigns share means neither",
    "channels": "where it runs",
    "owner": "who answers for it",
    "kind": "what sort of campaign",
    "objective": "what it is for",
    "budget": "what its advertising may cost in all: `amount`, `currency`",
    "starts": "from when on it runs",
    "ends": "until when, by its plan",
    "stages": "its parts in their order: `name`, `starts`",
    "what": "budget, bid, creative, landing page or the like",
    "from": "what it was",
    "to": "what it is since",
    "who": "the person or system that did it",
    "cost": "`ads` is spend; `channel` and `labour` are other costs",
    "period": "what the amount is for; not used yet",
    "metric": "what was measured, see below; others are left unused",
    "value": "the figure",
}
"""Descriptions of all fields of all events, by name."""

_AT = 1_767_240_000_000
_USER = {"user_id": "u42", "campaign_id": "618-main", "channel": "search", "region": "east"}
_ORDER = {"order_id": "o1001", "amount": "129.90", "currency": "CNY"}
EXAMPLES: Final[Mapping[str, Mapping[str, Any]]] = {
    "impression": {**_USER, "count": 20},
    "click": _USER,
    "visit": {**_USER, "pages": 3, "dwell_ms": 42_000, "traffic": "natural"},
    "order_placed": {"user_id": "u42", **_ORDER, "items": 2},
    "order_refunded": {"user_id": "u42", **_ORDER, "amount": 29.9},
    "registration": _USER,
    "lead": {**_USER, "stage": "mql"},
    "survey": {"user_id": "u42", "nps": 9},
    "campaign_defined": {
        "campaign_id": "618-main",
        "name": "618 主会场",
        "aliases": ["618 Main"],
        "owner": "growth",
        "budget": {"amount": "120000", "currency": "CNY"},
        "starts": "2026-01-01T00:00:00+08:00",
        "ends": "2026-01-21T00:00:00+08:00",
        "stages": [{"name": "warm-up", "starts": "2026-01-01T00:00:00+08:00"}],
    },
    "campaign_changed": {
        "campaign_id": "618-main",
        "what": "budget",
        "from": "100000",
        "to": "120000",
        "who": "Li",
    },
    "campaign_ended": {"campaign_id": "618-main"},
    "spend_reported": {
        "campaign_id": "618-main",
        "channel": "search",
        "amount": "812.5",
        "currency": "CNY",
    },
    "measurement": {"campaign_id": "618-main", "metric": "followers", "value": 10250},
}
"""An example of each type of event, without the fields that all events have."""

REASONS: Final[Mapping[Reason, str]] = {
    Reason.NOT_JSON: "it is no JSON",
    Reason.INVALID_UTF8: "its text is not UTF-8",
    Reason.NUL_CHARACTER: "a field holds the character NUL",
    Reason.EMPTY: "the record has no value",
    Reason.OVERSIZE: "it is larger than `KPI_LARGEST_RECORD_BYTES`",
    Reason.UNKNOWN_TYPE: "its topic has no such `type`",
    Reason.INVALID_SHAPE: "a field is missing, or is not as it should be; the detail says which",
    Reason.INVALID_TIME: "a time is neither ms nor RFC 3339 with an offset",
    Reason.FAR_FUTURE: "it is further ahead of the broker's clock than `KPI_FUTURE_TOLERANCE_S`",
    Reason.FAR_PAST: "it is from before 1990",
    Reason.TOO_LATE: "it came later than `KPI_CORRECTION_HORIZON_S` allows",
    Reason.INVALID_AMOUNT: "money or a sum is negative; a number is too large or too exact",
    Reason.UNKNOWN_CURRENCY: "its currency has no rate at that day; tell one, then redrive",
    Reason.STAGE_FAILURE: "the monitor failed on it: a fault of the monitor",
}
"""Descriptions of the reasons for dead letters."""

_PAGE: Final = """# Events and topics

{generated}

What to send, what becomes of it, and what the monitor writes. The shapes are those of
[models/events.py](../models/events.py). `kpi-monitor feed` sends a synthetic campaign, or the rows
of a log by a mapping (see [config/](../config)).

## What all have in common

One event a record: a JSON object in UTF-8, whose `type` selects the shape. Fields that are not
listed are ignored. The record's key is `user_id`, or `campaign_id` in the topic of campaigns: all
that one user does must be in the same partition of each topic, and all three topics have equally
many partitions. A record with another key counts, and `data-mis-keyed` says that there are some.
The broker stamps records (`message.timestamp.type=LogAppendTime`); `kpi-monitor topics --create`
makes topics so.

{common}

Events of users have these, too:

{user}

An event is in time up to `KPI_ALLOWED_DISORDER_S` behind the newest of its partition. Later ones
correct windows that are closed, up to `KPI_CORRECTION_HORIZON_S`; what is later still is a dead
letter.
Money in other currencies counts at the rate of the event's own business day.
{topics}
### What may be measured

- Sums of what came since the last measurement, whole numbers: {flows}.
- Levels, of which the newest counts: {levels}.
- `{complaint}`: how long a complaint waited for its answer, seconds.

## What is not counted

A record that can't be counted goes to the topic `APP-dead-letters` (JSON: topic, partition, offset,
`appended_ms`, reason, detail, and key and value in base64). `kpi-monitor dead-letters` lists them,
and sends them again with `--redrive`.

{reasons}

## What is written

`APP` is `KPI_APP_ID`.

{written}
"""

_WRITTEN: Final = (
    (
        "`APP-values`",
        "window, end, part",
        "with `KPI_PUBLISH_VALUES`, each closed window, again with `corrected` when late events"
        f" change it: up to {SCOPES_PER_RECORD} scopes a record, of each KPI"
        " `[value, low, high, n, significant]`, money in the reporting currency",
    ),
    (
        "`APP-alerts`",
        "rule and scope",
        "each change of an alert's state and each correction, with its evidence",
    ),
    ("`APP-dead-letters`", "where the record stood", "see above"),
    (
        "`APP-registry`",
        "what is defined",
        "campaigns, their changes and ends, rates; compacted, every worker reads all of it",
    ),
    (
        "`APP-partials`, changelogs",
        "",
        "what workers tell each other, not JSON; it may change with every version",
    ),
)


def events_page() -> str:
    """Return docs/events.md."""
    return _PAGE.format(
        generated=GENERATED,
        common=_fields(Event),
        user=_fields(UserEvent, besides=Event),
        topics="".join(_topic(kind) for kind in SHAPES),
        flows=", ".join(f"`{name}`" for name in sorted(FLOW_METRICS)),
        levels=", ".join(f"`{name}`" for name in LEVEL_INDEX),
        complaint=COMPLAINT_RESPONSE,
        written=table(("topic", "key", "what"), _WRITTEN),
        reasons=table(("reason", "when"), ((f"`{reason}`", REASONS[reason]) for reason in Reason)),
    )


def example(event: type[Event]) -> dict[str, Any]:
    """Return an example event with all common fields, ready to send."""
    name = type_of(event)
    return {"type": name, "event_id": f"{name}-1", "event_time": _AT, **EXAMPLES[name]}


def _topic(kind: str) -> str:
    parts = [f"\n## Topic `{kind}` (`KPI_{kind.upper()}_TOPIC`)\n"]
    for event in events_of(kind):
        shown = UserEvent if issubclass(event, UserEvent) else Event
        parts.append(f"### `{type_of(event)}`\n\n{_about(event)}\n")
        own = _fields(event, besides=shown)
        if own:
            parts.append(f"{own}\n")
        written = json.dumps(example(event), ensure_ascii=False)
        parts.append(f"```json\n{written}\n```\n")
    return "\n".join(parts)


def _about(event: type[Event]) -> str:
    return (inspect.getdoc(event) or "").replace("``", "`")


def _fields(event: type[Event], *, besides: type[Event] | None = None) -> str:
    """Return the table of an event's fields as Markdown; empty if there are none.

    Args:
        event: the type of event.
        besides: leave out the fields of this base type.
    """
    known = {one.name for one in msgspec.structs.fields(besides)} if besides else set()
    shape: Any = shapes.type_info(event)
    rows = [
        (f"`{field.encode_name}`", _type(field.type), _needed(field), FIELDS[field.encode_name])
        for field in shape.fields
        if field.name not in known
    ]
    return table(("field", "is", "needed, or else", "what it means"), rows) if rows else ""


def _needed(field: shapes.Field) -> str:
    if field.required:
        return "yes"
    default = field.default
    return f"`{json.dumps(default)}`" if isinstance(default, str | int) and default != "" else ""


def _type(shape: shapes.Type) -> str:
    return " or ".join(dict.fromkeys(_names(shape)))


def _names(shape: shapes.Type) -> Iterator[str]:
    """Yield a description of each type that a value may have.

    Raises:
        TypeError: there is no description for the type.
    """
    match shape:
        case shapes.UnionType(types=types):
            for one in types:
                if not isinstance(one, shapes.NoneType):
                    yield from _names(one)
        case shapes.LiteralType(values=values):
            yield ", ".join(f"`{value}`" for value in values)
        case shapes.IntType(ge=low, le=high) if low is not None:
            yield f"whole number, {low:,} to {high:,}"
        case shapes.IntType():
            yield "whole number"
        case shapes.StrType(max_length=longest) if longest is not None:
            yield f"text of up to {longest:,}"
        case shapes.StrType():
            yield "text"
        case shapes.DecimalType():
            yield "number or text"
        case shapes.ListType(item_type=item):
            yield f"list of {_type(item)}"
        case shapes.StructType():
            yield "object"
        case _:
            raise TypeError(f"no words for {shape}")
