"""The mapping file: which rows of a file are which events.

Example: a CSV with the columns ``user_id,event,timestamp`` and the mapping::

    time: {value: "{timestamp}", format: "%Y-%m-%d %H:%M:%S", zone: UTC}
    events:
      - {type: click, when: {event: {glob: "product*"}}, fields: {user_id: "{user_id}"}}

The row ``u7,product1,2019-11-01 17:59:13`` becomes a click of u7.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import msgspec
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)

from models.campaigns.campaign import Campaign
from models.events import KIND_OF_TYPE, SOURCE_KINDS, Event, UserEvent, events_of, type_of
from models.patterns import hint
from streams import config
from streams.config import Location, with_faults
from streams.errors import FaultsError
from streams.feed.mapping.field_helpers import FieldSource
from streams.feed.mapping.number_format import NumberFormat
from streams.feed.mapping.row_filters import ColumnTest, Condition, Conditions
from streams.feed.mapping.templates import EVENT_ID, columns_of
from streams.feed.mapping.time_format import EventTime

NumberType = type[int] | type[Decimal]


def _kinds_of(shape: Any) -> set[type[Any]]:
    info = msgspec.inspect.type_info(shape)
    types = info.types if isinstance(info, msgspec.inspect.UnionType) else (info,)
    return {type(one) for one in types} - {msgspec.inspect.NoneType}


EVENTS: dict[str, type[Event]] = {
    type_of(event): event
    for kind in SOURCE_KINDS
    for event in events_of(kind)
    if type_of(event) in KIND_OF_TYPE
}
"""The events by the value of their field ``type``."""
NUMBERS: dict[str, dict[str, NumberType]] = {
    name: {
        field.encode_name: int if kinds == {msgspec.inspect.IntType} else Decimal
        for field in msgspec.structs.fields(event)
        if (kinds := _kinds_of(field.type))
        in ({msgspec.inspect.IntType}, {msgspec.inspect.DecimalType})
    }
    for name, event in EVENTS.items()
}
"""The fields of each type of event that are numbers; a CSV file has texts."""
_COMMON = {field.encode_name for field in msgspec.structs.fields(Event)}


class UsedColumn(NamedTuple):
    """A column that a mapping names, and the place where it does.

    Args:
        column: its name.
        location: the place in the mapping.
        required: whether rows can't be events, or can't be given apart, without it.
    """

    column: str
    location: Location
    required: bool


class EventMapping(BaseModel):
    """Turns each row that meets a condition into an event of one type."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: str
    """Type of the event, see [events.md](events.md)."""
    when: Conditions = ()
    """Condition that a row must meet, or a list of which it must meet one; all rows by default."""
    time: EventTime | None = None
    """Time of these events, if it is not that of the file."""
    fields: dict[str, FieldSource]
    """Fields of the event, each a template or an object with helpers."""

    @model_validator(mode="wrap")
    @classmethod
    def _all_faults(cls, given: Any, handler: ModelWrapValidatorHandler[EventMapping]) -> Any:
        """Report the faults of names beside those of the other keys, all at once."""
        faults = list(_name_faults(given)) if isinstance(given, dict) else []
        try:
            made = handler(given)
        except ValidationError as error:
            raise (with_faults(error, faults) if faults else error) from None
        if faults:
            raise FaultsError(faults)
        return made


def _name_faults(given: dict[str, Any]) -> Iterator[str]:
    """Yield the faults of the names of an entry's type and fields, as the file has them."""
    name_of_type, fields = given.get("type"), given.get("fields")
    if not isinstance(name_of_type, str):
        return
    if name_of_type not in EVENTS:
        yield f"type: no event type {name_of_type!r}{hint(name_of_type, list(EVENTS))}"
        return
    if not isinstance(fields, dict):
        return
    known = {field.encode_name for field in msgspec.structs.fields(EVENTS[name_of_type])}
    own = sorted(known - _COMMON)
    for name, source in fields.items():
        if name not in own:
            yield f"fields.{name}: no field of {name_of_type}{hint(str(name), own)}"
        elif name not in NUMBERS[name_of_type] and isinstance(source, dict):
            for key in ("numbers", "divide", "absolute"):
                if key in source:
                    yield f"fields.{name}.{key}: {name} is no number; leave it out"
        template = source.get("value") if isinstance(source, dict) else source
        if name in {"user_id", "campaign_id"} and f"{{{EVENT_ID}}}" in str(template):
            yield f"fields.{name}: {{{EVENT_ID}}} is another one in each event; leave {name} out"
    missing = sorted(mapped_fields(name_of_type) - fields.keys())
    if missing:
        yield f"fields: {name_of_type} needs {' and '.join(missing)}, too"


def required_fields(type_name: str) -> set[str]:
    """Return the fields without which there is no event of a type, apart from its id and time."""
    fields = msgspec.structs.fields(EVENTS[type_name])
    return {field.encode_name for field in fields if field.required} - _COMMON


def mapped_fields(type_name: str) -> set[str]:
    """Return the fields that a mapping must have.

    The user is one of them: a row without a user is a guest's, a file is not.
    """
    users = {"user_id"} if issubclass(EVENTS[type_name], UserEvent) else set()
    return required_fields(type_name) | users


def _one_character(delimiter: str) -> str:
    if delimiter != "whitespace" and (len(delimiter) != 1 or delimiter in '"\r\n'):
        raise ValueError('give one character, such as ";", "\\t" for a tab, or whitespace')
    return delimiter


def _known_encoding(name: str) -> str:
    try:
        codec = codecs.lookup(name)
    except (LookupError, ValueError):
        known = ["utf-8", "cp1252", "latin-1", "utf-16", "gb18030", "shift_jis"]
        raise ValueError(f"no encoding named {name!r}{hint(name, known)}") from None
    if not getattr(codec, "_is_text_encoding", True):
        raise ValueError(f"{name!r} is no encoding of text; use one such as cp1252")
    return name


class FileMapping(BaseModel):
    """The content of a mapping file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    REMOVED: ClassVar[Mapping[str, str]] = {
        "decimal_comma": 'numbers: {decimal: ",", thousands: "."}',
        "sort": "out_of_order: sort, which is the default",
        "column": 'value, a template: value: "{column}"',
    }
    """Keys that are no longer known, and what to write instead."""

    format: Literal["csv", "ndjson", "parquet"] | None = None
    """``csv``, ``ndjson`` or ``parquet``. By default the file's name decides: `.ndjson` and
    `.jsonl` are NDJSON in any case, `.parquet` is Parquet, others are CSV. Files that are
    compressed by gzip are recognised by their content.
    """
    encoding: Annotated[str, AfterValidator(_known_encoding)] = "utf-8"
    """Encoding of a CSV file: ``utf-8`` (with or without a byte order mark), ``cp1252`` (Windows),
    ``latin-1``, ``utf-16`` and all others that Python knows. NDJSON is always UTF-8.
    """
    delimiter: Annotated[str, AfterValidator(_one_character)] = ","
    """One character, such as `";"` or `"\\t"` for a tab, or ``whitespace``."""
    columns: tuple[str, ...] = ()
    """Names of the columns, if the file has no header line."""
    skip_lines: Annotated[int, Field(ge=0)] = 0
    """Number of lines at the beginning to leave out."""
    nulls: tuple[str, ...] = ()
    """Texts that stand for no value, such as `(not set)`, `-` and `"NULL"`, in quotes. An empty
    cell, the missing end of a short row, and a null are absent in any case.
    """
    numbers: NumberFormat = NumberFormat()
    """Format of numbers."""
    leave_out: Conditions = ()
    """Rows to leave out, whatever event they would be: those that meet the condition, or one of a
    list.
    """
    out_of_order: Literal["sort", "refuse"] = "sort"
    """Rows that are older than a row before them: ``sort`` all events by their time before any is
    sent, or ``refuse`` the file.
    """
    time: EventTime
    """Time of the events."""
    event_id: FieldSource | None = None
    """Template of the ids. By default the id is a hash of what the event says and, of several that
    say the same, which of them it is; so a corrected file has the same ids for all that was not
    corrected, whatever its name.
    """
    equal_events: Literal["each", "once"] = "each"
    """Whether events of the file that say the same, at the same time, count ``each``, or ``once``,
    if an export repeats rows. It matters where no ``event_id`` is given.
    """
    events: tuple[EventMapping, ...]
    """List of events. A row becomes an event of each entry whose condition it meets."""
    campaigns: tuple[Campaign, ...] = ()
    """Campaigns to define before the first event, as in
    [config/campaigns.yaml](../config/campaigns.yaml).
    """

    @model_validator(mode="after")
    def _parts_fit(self) -> FileMapping:
        if not self.events:
            raise ValueError("events: is empty; give at least one entry")
        faults = [*self._id_faults(), *self._null_faults(), *self._constant_faults()]
        if faults:
            raise FaultsError(faults)
        return self

    def _id_faults(self) -> Iterator[str]:
        if self.event_id is None:
            return
        if EVENT_ID in self.event_id.columns:
            yield f"event_id.value: {{{EVENT_ID}}} is the id itself; leave event_id out"
        for number, event in enumerate(self.events):
            for name, source in event.fields.items():
                if EVENT_ID in source.columns:
                    yield (
                        f"events[{number}].fields.{name}: {{{EVENT_ID}}} stands for the id that is "
                        "made; with event_id, use its columns"
                    )

    def _constant_faults(self) -> Iterator[str]:
        for number, event in enumerate(self.events):
            for name in event.fields.keys() & NUMBERS[event.type].keys():
                source = event.fields[name]
                if not source.columns and source.lookup is None:
                    try:
                        (source.numbers or NumberFormat()).reader()(source.value)
                    except ValueError as error:
                        yield f"events[{number}].fields.{name}: {error}"

    def _null_faults(self) -> Iterator[str]:
        places: list[tuple[str, Iterable[Condition]]] = [("leave_out", self.leave_out)]
        places += [(f"events[{place}].when", one.when) for place, one in enumerate(self.events)]
        for place, conditions in places:
            for condition in conditions:
                for column, test in condition.items():
                    for text in {*test.texts} & {*self.nulls}:
                        yield (
                            f"{place}: {column}: {text!r} is one of nulls and never found; write "
                            "{empty: true}"
                        )

    @property
    def hashes(self) -> bool:
        """Whether a field is hashed, so that a key is needed."""
        sources = [source for event in self.events for source in event.fields.values()]
        return any(one.hash for one in (*sources, *(() if not self.event_id else (self.event_id,))))

    def used_columns(self) -> Iterator[UsedColumn]:
        """Yield the columns that the mapping names, each time that it does."""
        yield from _of_template(self.time.value, ("time", "value"), required=True)
        if self.event_id is not None:
            yield from _of_source(self.event_id, ("event_id",), required=True)
        yield from _of_conditions(self.leave_out, ("leave_out",), required=False)
        for number, event in enumerate(self.events):
            place = ("events", number)
            yield from _of_conditions(event.when, (*place, "when"), required=True)
            if event.time is not None:
                where = (*place, "time", "value")
                yield from _of_template(event.time.value, where, required=True)
            for name, source in event.fields.items():
                required = name in mapped_fields(event.type) and source.default is None
                yield from _of_source(source, (*place, "fields", name), required=required)


def _of_template(template: str, location: Location, *, required: bool) -> Iterator[UsedColumn]:
    for column in columns_of(template):
        if column != EVENT_ID:
            yield UsedColumn(column, location, required)


def _of_source(source: FieldSource, location: Location, *, required: bool) -> Iterator[UsedColumn]:
    yield from _of_template(source.value, location, required=required)


def _of_conditions(
    conditions: Iterable[dict[str, ColumnTest]], location: Location, *, required: bool
) -> Iterator[UsedColumn]:
    for number, condition in enumerate(conditions):
        for column in condition:
            yield UsedColumn(column, (*location, number, column), required)


def load_mapping(path: Path) -> FileMapping:
    """Read a mapping file.

    Raises:
        ConfigError: the file is not valid; the error names lines and keys.
    """
    return config.load(path, FileMapping)
