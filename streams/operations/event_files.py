"""Turns the rows of any log file into records, by a mapping of its columns.

Example: a CSV with the columns ``user_id,event,timestamp`` and the mapping::

    time: {column: timestamp, format: "%Y-%m-%d %H:%M:%S"}
    events:
      - {type: click, when: {event: "product*"}, fields: {user_id: "{user_id}"}}

The row ``u7,product1,2019-11-01 17:59:13`` of ``log.csv`` becomes a click with
``event_id`` log-1 and ``user_id`` u7. The first mapping that matches a row wins; rows that no
mapping matches are left out. An empty cell, a cell that a short row does not have, and a null are
absent, and so is a field whose template names one. A row whose event can't be read is refused: it
is counted, and kept in a file with its line and the reason.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import cached_property, lru_cache
from itertools import chain, islice
from pathlib import Path
from string import Formatter
from typing import IO, Annotated, Any, Literal
from zoneinfo import ZoneInfo

import msgspec
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from models.campaigns.campaign import Campaign
from models.events import KIND_OF_TYPE, SOURCE_KINDS, Event, UserEvent, events_of, type_of
from models.money.amounts import MoneyError, to_units
from models.patterns import hint, matches, nearest
from streams import config
from streams.errors import FeedError
from streams.ingest.events.decoding import EventDecoder, Rejected
from streams.operations.synthetic import FeedRecord
from streams.settings import known_zone

PEEKED_ROWS = 1_000
"""Rows of an NDJSON file that are read ahead to find columns that it does not have."""
_NDJSON_ENDINGS = {".ndjson", ".jsonl"}
_ADDED = frozenset({"row", "file"})
"""Names that templates may use besides the columns: the row's number from 1, the file's name."""
_LARGEST_TIME_MS = 10**14
"""The year 5138."""
_COMMON = {field.encode_name for field in msgspec.structs.fields(Event)}
_DECIMAL_COMMA = re.compile(r"([+-]?)(\d{1,3}(?:\.\d{3})+|\d+)(?:,(\d+))?")

_encode = msgspec.json.Encoder().encode

Row = dict[str, Any]
Patterns = str | list[str]
_Part = tuple[str, str | None]


class _RowError(Exception):
    """Why a row is refused, and what is kept of one that could not be read."""

    def __init__(self, why: str, **kept: Any) -> None:
        super().__init__(why)
        self.kept = kept


def _kinds_of(shape: Any) -> set[type[Any]]:
    info = msgspec.inspect.type_info(shape)
    types = info.types if isinstance(info, msgspec.inspect.UnionType) else (info,)
    return {type(one) for one in types} - {msgspec.inspect.NoneType}


_EVENTS = {type_of(event): event for kind in SOURCE_KINDS for event in events_of(kind)}
_NUMBERS: dict[str, dict[str, type[int] | type[Decimal]]] = {
    name: {
        field.encode_name: int if kinds == {msgspec.inspect.IntType} else Decimal
        for field in msgspec.structs.fields(event)
        if (kinds := _kinds_of(field.type))
        in ({msgspec.inspect.IntType}, {msgspec.inspect.DecimalType})
    }
    for name, event in _EVENTS.items()
}
"""The fields of each type of event that are numbers; a CSV file has texts."""


@lru_cache(maxsize=1_000)
def _parts(template: str) -> tuple[_Part, ...]:
    """Return the texts of a template, each with the column that follows it, or None at the end.

    Raises:
        ValueError: a brace is not closed, or a column has no name or a format.
    """
    parts = []
    for text, column, spec, conversion in Formatter().parse(template):
        if column == "" or spec or conversion:
            raise ValueError(f"{template!r}: write columns as {{name}}, without a format")
        parts.append((text, column))
    return tuple(parts)


def _columns(template: str) -> list[str]:
    return [column for _, column in _parts(template) if column is not None]


def _template(text: str) -> str:
    _parts(text)
    return text


def _one_character(delimiter: str) -> str:
    if delimiter != "whitespace" and (len(delimiter) != 1 or delimiter in '"\r\n'):
        raise ValueError('give one character, such as ";", "\\t" for a tab, or whitespace')
    return delimiter


def _time_format(pattern: str) -> str:
    if pattern not in {"rfc3339", "epoch_ms", "epoch_s"}:
        try:
            datetime.strptime("", pattern)  # noqa: DTZ007 - only the pattern is checked
        except (ValueError, re.error) as error:
            if "does not match" not in str(error):
                raise ValueError(f"{error}; use rfc3339, epoch_ms, epoch_s or strptime") from None
    return pattern


Template = Annotated[str, AfterValidator(_template)]
Condition = dict[str, Patterns]
"""Patterns by column, of which one must match; all columns must match."""


def _holds(condition: Condition, row: Row) -> bool:
    return all(
        matches(
            str("" if (value := _found(row, column)) is None else value),
            [patterns] if isinstance(patterns, str) else patterns,
        )
        for column, patterns in condition.items()
    )


class TimeColumn(BaseModel):
    """The column of the event time, and its format."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    column: str
    format: Annotated[str, AfterValidator(_time_format)] = "rfc3339"
    """``rfc3339``, ``epoch_ms``, ``epoch_s`` or a pattern of strptime."""
    zone: Annotated[str, AfterValidator(known_zone)] = "UTC"
    """IANA time zone of times that have no offset."""


class EventMapping(BaseModel):
    """Turns rows whose columns match into events of one type.

    ``when`` is a `Condition`. ``fields`` are templates: ``{column}`` is the row's value, ``{row}``
    its number from 1, ``{file}`` the file's name without its ending.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: str
    when: Condition = {}
    fields: dict[str, Template]

    @field_validator("type")
    @classmethod
    def _type_is_known(cls, name: str) -> str:
        if name not in _EVENTS:
            raise ValueError(f"no event type {name!r}{hint(name, list(KIND_OF_TYPE))}")
        return name

    @model_validator(mode="after")
    def _fields_fit(self) -> EventMapping:
        known = {field.encode_name for field in msgspec.structs.fields(_EVENTS[self.type])}
        own = sorted(known - _COMMON)
        for name in self.fields:
            if name not in own:
                raise ValueError(f"fields.{name}: no field of {self.type}{hint(name, own)}")
        missing = sorted(self.mapped - self.fields.keys())
        if missing:
            raise ValueError(f"fields: {self.type} needs {' and '.join(missing)}, too")
        return self

    @cached_property
    def required(self) -> set[str]:
        """The fields without which there is no event, apart from its id and time."""
        fields = msgspec.structs.fields(_EVENTS[self.type])
        return {field.encode_name for field in fields if field.required} - _COMMON

    @property
    def mapped(self) -> set[str]:
        """The fields that a mapping must have: a row without a user is a guest's, a file is not."""
        users = {"user_id"} if issubclass(_EVENTS[self.type], UserEvent) else set()
        return self.required | users


class FileMapping(BaseModel):
    """The content of a mapping file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["csv", "ndjson"] = "csv"
    """Of a file that does not end in .ndjson or .jsonl."""
    delimiter: Annotated[str, AfterValidator(_one_character)] = ","
    """One character, or ``whitespace``."""
    columns: tuple[str, ...] = ()
    """Names of the columns, if the file has no header line."""
    skip_lines: Annotated[int, Field(ge=0)] = 0
    decimal_comma: bool = False
    """Whether numbers are written as 1.234,56."""
    leave_out: tuple[Condition, ...] = ()
    """Rows to leave out, whatever event they would be: those that meet one of the conditions."""
    sort: bool = False
    """Sort the records by event time before they are sent; the file must fit into memory."""
    time: TimeColumn
    event_id: Template = "{file}-{row}"
    events: tuple[EventMapping, ...]
    campaigns: tuple[Campaign, ...] = ()
    """Campaigns to define before the first event is sent."""

    @property
    def needed(self) -> list[str]:
        """The columns without which no row, or no row of some event, can be an event."""
        templates = [
            self.event_id,
            *(event.fields[name] for event in self.events for name in sorted(event.mapped)),
        ]
        named = (column for template in templates for column in _columns(template))
        return [*dict.fromkeys([self.time.column, *named])]

    @property
    def named(self) -> list[str]:
        """All columns that the mapping names."""
        conditions = (*self.leave_out, *(event.when for event in self.events))
        optional = (text for event in self.events for text in event.fields.values())
        columns = chain(
            self.needed,
            (column for condition in conditions for column in condition),
            (column for text in optional for column in _columns(text)),
        )
        return [*dict.fromkeys(columns)]


def load_mapping(path: Path) -> FileMapping:
    """Read a mapping file.

    Raises:
        ConfigError: the file is not valid; the error names line and key.
    """
    return config.load(path, FileMapping)


class EventFile:
    """A log file whose rows become records.

    ``refused`` and ``left_out`` count rows, and ``first_refusal`` says where and why the first was
    refused, once `records` was iterated over.

    Args:
        path: the log.
        mapping: the content of its mapping file.
        topics: names of the topics of clicks, orders and campaigns.
        largest_bytes: larger records are refused.
        refused_path: the file of the refused rows. Each is a line of JSON with the columns of the
            row, its ``_line`` and ``_why`` it was refused, so that mended rows can be fed by the
            same mapping. It is written when the first row is refused.
    """

    def __init__(
        self,
        path: Path,
        mapping: FileMapping,
        *,
        topics: tuple[str, str, str],
        largest_bytes: int,
        refused_path: Path,
    ) -> None:
        self.refused = 0
        self.left_out = 0
        self.first_refusal = ""
        self.refused_path = refused_path
        self._path = path
        self._mapping = mapping
        self._zone = ZoneInfo(mapping.time.zone)
        self._topics = dict(zip(SOURCE_KINDS, topics, strict=True))
        self._decoders = {
            kind: EventDecoder(kind, largest_bytes=largest_bytes) for kind in SOURCE_KINDS
        }
        self._refusals: IO[str] | None = None

    def records(self) -> Iterator[FeedRecord]:
        """Yield the file's rows as records.

        Raises:
            FeedError: the file can't be read, lacks a column, or refused rows can't be written.
        """
        made = self._records()
        try:
            yield from sorted(made, key=lambda one: one.due_ms) if self._mapping.sort else made
        finally:
            if self._refusals is not None:
                self._refusals.close()

    def _records(self) -> Iterator[FeedRecord]:
        for number, (line, row) in enumerate(self._rows(), start=1):
            try:
                if isinstance(row, _RowError):
                    raise row
                if any(_holds(condition, row) for condition in self._mapping.leave_out):
                    event = None
                else:
                    event = next(
                        (one for one in self._mapping.events if _holds(one.when, row)), None
                    )
                if event is None:
                    self.left_out += 1
                    continue
                values = {**row, "row": number, "file": self._path.stem}
                yield self._record(event, values)
            except _RowError as error:
                self._refuse(line, str(error), error.kept if isinstance(row, _RowError) else row)

    def _record(self, mapping: EventMapping, values: Row) -> FeedRecord:
        body: Row = {"type": mapping.type}
        templates = {"event_id": self._mapping.event_id, **mapping.fields}
        for name, template in templates.items():
            value = _filled(template, values)
            if value is not None:
                body[name] = self._number(mapping.type, name, value)
            elif name in {"event_id", *mapping.required}:
                columns = " or ".join(_columns(template))
                raise _RowError(f"{name}: no value" + (f" in {columns}" if columns else ""))
        body["event_time"] = time_ms = self._time_ms(values)
        try:
            value = _encode(body)
        except UnicodeEncodeError:
            raise _RowError("is not UTF-8") from None
        kind = KIND_OF_TYPE[mapping.type]
        read = self._decoders[kind].decode(value)
        if isinstance(read, Rejected):
            raise _RowError(f"{read.reason}: {read.detail}")
        key = body.get("user_id") or body.get("campaign_id", "")
        return FeedRecord(time_ms, self._topics[kind], str(key).encode(), value)

    def _number(self, event: str, name: str, value: Any) -> Any:
        """Return a value as its field has it: whole numbers as int, others as text."""
        number = _NUMBERS[event].get(name)
        if number is None:
            return str(value) if isinstance(value, Decimal) else value
        text = str(value)
        if self._mapping.decimal_comma and isinstance(value, str):
            found = _DECIMAL_COMMA.fullmatch(value.strip())
            if found is None:
                raise _RowError(f"{name}: {value!r} is no number with a decimal comma")
            sign, whole, fraction = found.groups()
            text = f"{sign}{whole.replace('.', '')}.{fraction or '0'}"
        try:
            parsed = Decimal(text)
        except InvalidOperation:
            advice = "; for 1.234,56 set decimal_comma in the mapping" if "," in text else ""
            raise _RowError(f"{name}: {text!r} is no number{advice}") from None
        if number is Decimal:
            try:
                to_units(parsed)
            except MoneyError as error:
                raise _RowError(f"{name}: {text!r}: {error}") from None
            return text.strip()
        if not parsed.is_finite() or parsed != parsed.to_integral_value() or parsed.adjusted() > 18:
            raise _RowError(f"{name}: {text!r} is no whole number")
        return int(parsed)

    def _time_ms(self, values: Row) -> int:
        column, pattern = self._mapping.time.column, self._mapping.time.format
        told = _found(values, column)
        if told is None:
            raise _RowError(f"{column}: no time")
        try:
            time_ms = _time_ms(str(told), pattern, self._zone)
        except (ValueError, OverflowError) as error:
            raise _RowError(f"{column}: {error}; see time.format in the mapping") from None
        if abs(time_ms) > _LARGEST_TIME_MS:
            raise _RowError(f"{column}: {told} is beyond the calendar; see time.format")
        return time_ms

    def _refuse(self, line: int, why: str, row: Row) -> None:
        self.refused += 1
        self.first_refusal = self.first_refusal or f"{self._path}: line {line}: {why}"
        try:
            if self._refusals is None:
                self._refusals = self.refused_path.open("w", encoding="utf-8")
            told = json.dumps({"_line": line, "_why": why, **row}, default=str)
            self._refusals.write(told + "\n")
        except OSError as error:
            raise FeedError(
                f"{self.refused_path}: can't be written: {error.strerror}; say with --refused "
                "where to keep refused rows"
            ) from None

    def _rows(self) -> Iterator[tuple[int, Row | _RowError]]:
        """Yield the rows with the numbers of their lines, or why one can't be read."""
        try:
            # Bytes that are not UTF-8 become surrogates, which refuse their row only.
            with self._path.open(
                encoding="utf-8-sig", errors="surrogateescape", newline=""
            ) as lines:
                if self._path.suffix in _NDJSON_ENDINGS:
                    yield from self._checked(_of_ndjson(lines, 0))
                    return
                for _ in range(self._mapping.skip_lines):
                    next(lines, None)
                if self._mapping.format == "ndjson":
                    yield from self._checked(_of_ndjson(lines, self._mapping.skip_lines))
                else:
                    yield from self._of_table(lines)
        except OSError as error:
            raise FeedError(f"{self._path}: can't be read: {error.strerror}") from None

    def _checked(
        self, rows: Iterator[tuple[int, Row | _RowError]]
    ) -> Iterator[tuple[int, Row | _RowError]]:
        """Yield rows of NDJSON, if the first of them have the columns that are needed.

        Raises:
            FeedError: none of them has one of the columns.
        """
        first = list(islice(rows, PEEKED_ROWS))
        objects = [row for _, row in first if isinstance(row, dict)]
        for column in self._mapping.needed if objects else ():
            if column not in _ADDED and not any(_has(row, column) for row in objects):
                self._no_column(column, [*dict.fromkeys(chain.from_iterable(objects))], line=1)
        yield from chain(first, rows)

    def _of_table(self, lines: IO[str]) -> Iterator[tuple[int, Row | _RowError]]:
        skipped = self._mapping.skip_lines
        if self._mapping.delimiter == "whitespace":
            cells_of = _split(lines)
        else:
            cells_of = _csv_cells(lines, self._mapping.delimiter)
        names: Sequence[str] = self._mapping.columns
        if names:
            self._refuse_header(names, skipped + 1)
        try:
            for number, cells in cells_of:
                line = skipped + number
                if not names:
                    names = cells
                    self._refuse_header(names, line)
                elif len(cells) > len(names):
                    yield (
                        line,
                        _RowError(
                            f"has {len(cells)} fields, and the file {len(names)} columns; a "
                            "delimiter in a field needs quotes around it",
                            _cells=cells,
                        ),
                    )
                else:
                    yield line, dict(zip(names, cells, strict=False))
        except csv.Error as error:
            raise FeedError(f"{self._path}: {error}; set delimiter in the mapping") from None

    def _refuse_header(self, names: Sequence[str], line: int) -> None:
        repeated = next((name for name in names if names.count(name) > 1), None)
        if repeated is not None:
            raise FeedError(f"{self._path}: line {line}: column {repeated!r} is there twice")
        for column in self._mapping.named:
            if column not in {*names, *_ADDED}:
                self._no_column(column, names, line=line)

    def _no_column(self, column: str, names: Sequence[str], *, line: int) -> None:
        raise FeedError(
            f"{self._path}: line {line}: no column {column!r}{nearest(column, names)}; "
            f"it has: {', '.join(names)}"
        )


def _of_ndjson(lines: IO[str], skipped: int) -> Iterator[tuple[int, Row | _RowError]]:
    for line, text in enumerate(lines, start=skipped + 1):
        if not text.strip():
            continue
        try:
            row = json.loads(text, parse_float=Decimal)
        except (ValueError, RecursionError) as error:
            yield line, _RowError(f"is not JSON: {error}", _text=text.rstrip())
            continue
        yield line, row if isinstance(row, dict) else _RowError("is no object", _text=text.rstrip())


def _split(lines: IO[str]) -> Iterator[tuple[int, list[str]]]:
    return ((number, line.split()) for number, line in enumerate(lines, start=1) if line.strip())


def _csv_cells(lines: IO[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(lines, delimiter=delimiter)
    try:
        for cells in reader:
            if cells:
                yield reader.line_num, cells
    except csv.Error as error:
        raise csv.Error(f"line {reader.line_num}: {error}") from None


def _has(row: Row, column: str) -> bool:
    return column in row or _found(row, column) is not None


def _found(row: Mapping[str, Any], column: str) -> Any:
    """Return the value of a column; None if it is absent, empty or null.

    In NDJSON, ``user.id`` is the ``id`` of the object ``user``, unless there is such a column.
    """
    found: Any = row.get(column)
    if found is None and "." in column and column not in row:
        found = row
        for name in column.split("."):
            found = found.get(name) if isinstance(found, dict) else None
    if isinstance(found, str):
        return found if found.strip() else None
    return str(found).lower() if isinstance(found, bool) else found


def _filled(template: str, values: Mapping[str, Any]) -> Any:
    """Return a template with the values of its columns, or None if one of them is absent.

    A template of one column only is that column's value; in NDJSON it may be a number or a list.
    """
    parts = _parts(template)
    if len(parts) == 1 and parts[0][0] == "" and parts[0][1] is not None:
        return _found(values, parts[0][1])
    filled = []
    for text, column in parts:
        filled.append(text)
        if column is not None:
            value = _found(values, column)
            if value is None:
                return None
            filled.append(str(value))
    return "".join(filled)


def _time_ms(text: str, pattern: str, zone: ZoneInfo) -> int:
    if pattern == "epoch_ms":
        return int(text)
    if pattern == "epoch_s":
        return round(float(text) * 1000)
    if pattern == "rfc3339":
        parsed = datetime.fromisoformat(text)
    else:
        parsed = datetime.strptime(text, pattern)  # noqa: DTZ007 - the zone is set below
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=zone)
    whole = parsed.astimezone(UTC)
    return int(whole.replace(microsecond=0).timestamp()) * 1000 + whole.microsecond // 1000
