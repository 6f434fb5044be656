"""Generates docs/events.md: the events, their fields, dead letters, and the topics written."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec import inspect as shapes

import models.events
from models.dead_letters import SENT_AGAIN, Reason
from models.events import SHAPES, Event, SourceKind, UserEvent, events_of, type_of
from models.kpi.measures import METRICS, MetricKind
from models.names import KEPT, LONGEST
from models.scope import BUCKETS, UNKNOWN_CAMPAIGN
from streams.kpis.intake.source_counters import SAMPLES_SHOWN
from streams.kpis.output_records import SCOPES_PER_RECORD
from tools.docstrings import docstrings_of, one_line
from tools.markdown import GENERATED, table

_AT = 1_767_240_000_000
_USER = {"user_id": "u42", "campaign_id": "618-main", "channel": "search", "region": "east"}
_ORDER = {"order_id": "o1001", "amount": "129.90", "currency": "CNY"}
_SPENT = {"campaign_id": "618-main", "amount": "812.5", "currency": "CNY"}
EXAMPLES: Final[Mapping[str, Mapping[str, Any]]] = {
    "impression": {**_USER, "count": 20},
    "visit": {**_USER, "pages": 3, "dwell_ms": 42_000, "traffic": "natural"},
    "order_placed": {"user_id": "u42", **_ORDER, "items": 2},
    "order_refunded": {"user_id": "u42", **_ORDER, "amount": 29.9},
    "lead": {**_USER, "stage": "mql"},
    "identity": {"user_id": "u42", "same_as": "cookie-7f3a"},
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
    "spend_reported": {**_SPENT, "channel": "search"},
    "measurement": {"campaign_id": "618-main", "metric": "followers", "value": 10250},
}
"""Examples of types of event, without the fields that all events have."""

_MEANINGS: Final = docstrings_of(models.events)
"""The docstrings below the fields of events, by class and by the field's name."""

_METRIC_KINDS: Final[Mapping[MetricKind, str]] = {
    "sum": "counts since the last measurement, whole numbers, not negative; they are added up",
    "level": "not negative; the newest measurement counts",
    "share": "a level from 0 to 1",
    "seconds": "time from a complaint to its answer, in seconds",
}
"""Descriptions of the kinds of metrics."""

REASONS: Final[Mapping[Reason, str]] = {
    Reason.NOT_JSON: "the record is not JSON",
    Reason.INVALID_UTF8: "the text is not UTF-8",
    Reason.NUL_CHARACTER: "a field contains the character NUL",
    Reason.EMPTY: "the record has no value",
    Reason.OVERSIZE: "the record is larger than `KPI_LARGEST_RECORD_BYTES`",
    Reason.UNKNOWN_TYPE: "the topic has no event of this `type`",
    Reason.INVALID_SHAPE: "a field is missing or invalid; the detail says which",
    Reason.INVALID_TIME: "a time is neither ms nor RFC 3339 text with an offset",
    Reason.FAR_FUTURE: "the event is ahead of the broker's clock by more than"
    " `KPI_FUTURE_TOLERANCE_S`",
    Reason.FAR_PAST: "the event is from before 1990",
    Reason.TOO_LATE: "the event is behind the watermark by more than `KPI_CORRECTION_HORIZON_S`",
    Reason.INVALID_AMOUNT: "money or a sum is negative, or a number is too large or has too many"
    " decimals",
    Reason.UNKNOWN_CURRENCY: "the currency has no rate on that day",
    Reason.STAGE_FAILURE: "the monitor failed to process the record: a bug of the monitor",
}
"""Descriptions of the reasons for dead letters."""

_PAGE: Final = """# Events and topics

{generated}

This page describes the events that the monitor reads and the topics that it writes. The events
are defined in [models/events.py](../models/events.py). `kpi-monitor feed` sends a synthetic
campaign, or the rows of a log by a mapping ([mappings.md](mappings.md)).

## Fields of all events

Each record is one event: a JSON object in UTF-8, whose `type` selects the kind of event. Fields
that are not listed are ignored. The record's key is `user_id`, in the topic of campaigns
`campaign_id`: all events of a user must be in the same partition of each topic, and all three
topics must have the same number of partitions. A record with another key is counted, and
`data-mis-keyed` fires if there are many. [how-to/produce.md](how-to/produce.md) has producers with
the right partitioner, and `kpi-monitor topics --verify-keys` measures what is in the topics. The
broker must set the timestamps of records (`message.timestamp.type=LogAppendTime`);
`kpi-monitor topics --create` creates topics with this setting.

A field may be written in more than one way and means the same: an optional field that is null is
as if it were not there, a whole number in a field of text is text
(`"order_id": 1001`), 2.0 is a whole number, a currency
may be in small letters, and an amount or a value with more than 4 decimals, such as
182.45000000000002, is rounded half to even and counted by `kpi_monitor_rounded_amounts_total`. Of
a time, what is finer than a millisecond is cut off.

{common}

Events of users also have these fields:

{user}

## Names

Names of campaigns, channels, regions and segments, and ids of campaigns, are compared in one
canonical form ([models/names.py](../models/names.py)): URL encoding is undone (`%20`, and `+`
between two letters or digits), also if it was applied more than once; full and half width, upper
and lower case are the same (NFKC, case folding); white space is one space, with none at the ends;
invisible characters are left out. `Search`, ` search`, `ｓｅａｒｃｈ` and `sea%72ch` are one
channel.

- A campaign is found by its exact id; then by its id in the canonical form; then by its name or an
  alias. What two campaigns share identifies neither, and counts in `{unknown}`; a file of campaigns
  with such a name is refused.
- A channel, region or segment is shown as the file of names defines it (`KPI_NAMES_FILE`, see
  [config/names.yaml](../config/names.yaml)), also if an event has one of its aliases. A name that
  is not defined is shown in its canonical form. All workers must have the same file. A change of
  the file applies to events that are read from then on, and to the channels of all campaigns and
  their budgets.
- A name of more than {longest} characters is shown as its first {kept}, `~` and a hash.
- The monitor's own buckets are in brackets: {buckets}. These, an empty name and `(not set)` stand
  for no name, so that no name is mixed with them. A campaign called `other` and a channel called
  `direct` are ordinary names.
- Names in the files of rules, scorecards and campaigns mean the same as in events. A pattern such
  as `paid*` is compared with the canonical form of the names that are shown.

Events with a campaign that is not defined, or with a name that the file of names does not have
although it has others of its kind, count, and are counted by `kpi_monitor_unknown_names_total`.
The newest {samples} names of each kind are on the live page and the live board. A name that is
shown otherwise than an event has it is counted by `kpi_monitor_renamed_total`.

## Guests

An event without `user_id`, or whose `user_id` is one of `KPI_GUEST_IDS` (`0`, `guest` and the
like, in small letters, in capitals, or with a capital), counts, but is of no user and no customer:

- It adds to sums, such as clicks, orders and revenue, and to no set of users. KPIs that divide a
  sum by users, such as the registration rate, divide by the users that are known: where many
  events are of guests, they are too high.
- An order counts in the campaign and channel that it names. No model of attribution credits it, it
  is no first and no repeated order, and it is in no lifetime value. A refund counts where and when
  it says, as its order can't be known.
- Its record may have any key, or none.

`kpi_monitor_guest_events_total` counts these events.

## Late events and money

An event that is up to `KPI_ALLOWED_DISORDER_S` behind the newest event of its partition is not
late. Late events correct closed windows, up to `KPI_CORRECTION_HORIZON_S`. Later events are dead
letters. Money in other currencies is converted at the rate of the event's own business day, except
for refunds and edits of orders that are known (see `order_placed`).
{topics}
### Measurements

{metrics}

Other metrics can be declared, and KPIs can be computed from them:
[kpis.md](kpis.md#measurements-of-your-own). A measurement of a metric that is neither in this table
nor declared is counted as unknown, by `kpi_monitor_unknown_names_total` with the kind `metric`, and
`kpi_monitor_unknown_name_sample` has its name. Its value is not kept.

## Dead letters

A record that can't be counted is written to the topic `APP-dead-letters` (JSON: topic, partition,
offset, `appended_ms`, reason, detail, and key and value in base64). `kpi-monitor dead-letters`
lists them. With `--redrive` it sends those again, unchanged, that can count then, and counts by
reason those that it leaves out; with `--reason` as well, all records of that reason are sent.
An event that waits for longer than `KPI_CORRECTION_HORIZON_S` is too late, whatever it was refused
for.

{reasons}

## Topics that are written

`APP` is `KPI_APP_ID`.

{written}
"""

_WRITTEN: Final = (
    (
        "`APP-values`",
        "window, end, part",
        "if `KPI_PUBLISH_VALUES` is set: each closed window, and again with `corrected` if late"
        f" events change it; up to {SCOPES_PER_RECORD} scopes per record, each KPI as"
        " `[value, low, high, n, significant]`, money in the reporting currency",
    ),
    (
        "`APP-alerts`",
        "rule and scope",
        "each change of an alert's state, each correction, and each time that an alert is held or"
        " judged again, with its evidence; each end with its reason, see [alerts.md](alerts.md)",
    ),
    ("`APP-dead-letters`", "position of the record", "see above"),
    (
        "`APP-registry`",
        "kind and id of the definition",
        "campaigns, their changes and ends, exchange rates; compacted, read by every worker",
    ),
    (
        "`APP-partials`, changelogs",
        "",
        "internal data of the workers, not JSON; the format may change with every version",
    ),
)


def events_page() -> str:
    """Return docs/events.md."""
    return _PAGE.format(
        generated=GENERATED,
        common=_fields(Event),
        unknown=UNKNOWN_CAMPAIGN,
        buckets=", ".join(f"`{name}`" for name in sorted(BUCKETS)),
        longest=LONGEST,
        kept=KEPT,
        samples=SAMPLES_SHOWN,
        user=_fields(UserEvent, besides=Event),
        topics="".join(_topic(kind) for kind in SHAPES),
        metrics=table(
            ("kind", "metrics", "values"),
            ((kind, _metrics(kind), what) for kind, what in _METRIC_KINDS.items()),
        ),
        written=table(("topic", "key", "what"), _WRITTEN),
        reasons=table(
            ("reason", "when", "can count if it is sent again"),
            ((f"`{one}`", REASONS[one], SENT_AGAIN.get(one, "")) for one in Reason),
        ),
    )


def _metrics(kind: MetricKind) -> str:
    """Return the built-in metrics of a kind as Markdown."""
    return ", ".join(f"`{name}`" for name, known in METRICS.items() if known == kind)


def example(event: type[Event]) -> dict[str, Any]:
    """Return an example event with all common fields, ready to send.

    A type that is not in `EXAMPLES` gets its required fields.
    """
    name = type_of(event)
    fields = EXAMPLES.get(name) or _required(event)
    return {"type": name, "event_id": f"{name}-1", "event_time": _AT, **fields}


def _required(event: type[Event]) -> dict[str, Any]:
    shape: Any = shapes.type_info(event)
    common = {field.name for field in msgspec.structs.fields(Event)}
    known = {**_USER, **_ORDER} if issubclass(event, UserEvent) else _SPENT
    return {
        field.encode_name: known.get(field.encode_name) or _sample(field.type)
        for field in shape.fields
        if field.name not in common and (field.required or field.encode_name in known)
    }


def _sample(shape: shapes.Type) -> str | int:
    """Return a value of a type: the first choice, the least number, or a text."""
    match shape:
        case shapes.LiteralType(values=(str(first), *_)):
            return first
        case shapes.IntType(ge=low):
            return low or 0
        case shapes.DecimalType():
            return 1
        case _:
            return "text"


def _topic(kind: SourceKind) -> str:
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
        (f"`{field.encode_name}`", _type(field.type), _needed(field), _meaning(event, field.name))
        for field in shape.fields
        if field.name not in known
    ]
    return table(("field", "type", "required, or default", "meaning"), rows) if rows else ""


def _meaning(event: type[Event], name: str) -> str:
    """Return what a field means: in this event or its bases, or else in another event."""
    classes = [*(cls.__name__ for cls in event.__mro__), *_MEANINGS]
    return one_line(next(_MEANINGS[cls][name] for cls in classes if name in _MEANINGS.get(cls, ())))


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
