"""Turns the rows of any log file into records, by a mapping of its columns.

Example: a CSV with the columns ``user_id,event,timestamp`` and the mapping::

    time: {column: timestamp, format: "%Y-%m-%d %H:%M:%S"}
    events:
      - {type: click, when: {event: "product*"}, fields: {user_id: "{user_id}"}}

The row ``u7,product1,2019-11-01 17:59:13`` of ``log.csv`` becomes a click with
``event_id`` log-1 and ``user_id`` u7. The first mapping that matches a row wins; rows that no
mapping matches are left out.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from models.campaigns.campaign import Campaign
from models.events import KIND_OF_TYPE, SOURCE_KINDS, events_of, type_of
from models.patterns import matches
from streams import config
from streams.errors import FeedError
from streams.operations.synthetic import FeedRecord


def _is_integer(shape: object) -> bool:
    info = msgspec.inspect.type_info(shape)
    types = info.types if isinstance(info, msgspec.inspect.UnionType) else (info,)
    return {type(one) for one in types} - {msgspec.inspect.NoneType} == {msgspec.inspect.IntType}


_INTEGERS = {
    type_of(event): {
        field.name for field in msgspec.structs.fields(event) if _is_integer(field.type)
    }
    for kind in SOURCE_KINDS
    for event in events_of(kind)
}
"""The fields of each type of event that are whole numbers; a CSV file has texts."""


class TimeColumn(BaseModel):
    """The column of the event time, and its format."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    column: str
    format: str = "rfc3339"
    """``rfc3339``, ``epoch_ms``, ``epoch_s`` or a pattern of strptime."""
    zone: str = "UTC"
    """IANA time zone of times that have no offset."""


class EventMapping(BaseModel):
    """Turns rows whose columns match into events of one type.

    ``when`` maps columns to patterns (`models.patterns`), of which one must match; all columns must
    match. ``fields`` are templates: ``{column}`` is the row's value, ``{row}`` its number from 1,
    ``{file}`` the file's name without its ending.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: str
    when: dict[str, str | list[str]] = {}
    fields: dict[str, str]

    def matches(self, row: Mapping[str, Any]) -> bool:
        """Return whether the row becomes this event."""
        return all(
            matches(str(row.get(column, "")), [patterns] if isinstance(patterns, str) else patterns)
            for column, patterns in self.when.items()
        )


class FileMapping(BaseModel):
    """The content of a mapping file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["csv", "ndjson"] = "csv"
    delimiter: Annotated[str, Field(min_length=1)] = ","
    """One character, or ``whitespace``."""
    columns: tuple[str, ...] = ()
    """Names of the columns, if the file has no header line."""
    skip_lines: int = 0
    sort: bool = False
    """Sort the records by event time before they are sent; the file must fit into memory."""
    time: TimeColumn
    event_id: str = "{file}-{row}"
    events: tuple[EventMapping, ...]
    campaigns: tuple[Campaign, ...] = ()
    """Campaigns to define before the first event is sent."""


def load_mapping(path: Path) -> FileMapping:
    """Read a mapping file.

    Raises:
        ConfigError: the file is not valid; the error names line and key.
    """
    return config.load(path, FileMapping)


def records(
    path: Path, mapping: FileMapping, *, topics: tuple[str, str, str]
) -> Iterator[FeedRecord]:
    """Yield the file's rows as records; rows that no mapping matches are left out.

    Args:
        path: the log.
        mapping: the content of its mapping file.
        topics: names of the topics of clicks, orders and campaigns.

    Raises:
        FeedError: the file can't be read, a row lacks a column, a time has another format,
            or an event type is not known.
    """
    made = _records(path, mapping, topics=topics)
    yield from sorted(made, key=lambda record: record.due_ms) if mapping.sort else made


def _records(
    path: Path, mapping: FileMapping, *, topics: tuple[str, str, str]
) -> Iterator[FeedRecord]:
    zone = ZoneInfo(mapping.time.zone)
    for number, row in enumerate(_rows(path, mapping), start=1):
        values = {**row, "row": number, "file": path.stem}
        for event in mapping.events:
            if not event.matches(row):
                continue
            try:
                time_ms = _time_ms(str(row[mapping.time.column]), mapping.time.format, zone)
                body = {name: text.format_map(values) for name, text in event.fields.items()}
                event_id = mapping.event_id.format_map(values)
            except KeyError as error:
                named = ", ".join(filter(None, row))
                raise FeedError(
                    f"{path}: row {number}: no column {error}; it has: {named}"
                ) from None
            except ValueError as error:
                raise FeedError(
                    f"{path}: row {number}: {mapping.time.column}: {error}; "
                    "set time.format in the mapping"
                ) from None
            yield _as_record(event.type, event_id, time_ms, body, topics=topics)
            break


def _as_record(
    kind: str, event_id: str, time_ms: int, body: dict[str, str], *, topics: tuple[str, str, str]
) -> FeedRecord:
    if kind not in KIND_OF_TYPE:
        raise FeedError(f"no event type {kind!r}; known: {', '.join(KIND_OF_TYPE)}")
    event: dict[str, Any] = {"type": kind, "event_id": event_id, "event_time": time_ms, **body}
    for name in _INTEGERS[kind] & body.keys():
        event[name] = int(event[name])
    key = event.get("user_id") or event.get("campaign_id", "")
    value = json.dumps(event, ensure_ascii=False).encode()
    return FeedRecord(
        time_ms, topics[SOURCE_KINDS.index(KIND_OF_TYPE[kind])], str(key).encode(), value
    )


def _rows(path: Path, mapping: FileMapping) -> Iterator[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            for _ in range(mapping.skip_lines):
                next(lines, None)
            if mapping.format == "ndjson":
                for line in lines:
                    if line.strip():
                        yield json.loads(line)
            elif mapping.delimiter == "whitespace":
                names = list(mapping.columns) or next(lines, "").split()
                for line in lines:
                    if line.strip():
                        yield dict(zip(names, line.split(), strict=False))
            else:
                names = list(mapping.columns) or None  # type: ignore[assignment]
                yield from csv.DictReader(lines, fieldnames=names, delimiter=mapping.delimiter)
    except OSError as error:
        raise FeedError(f"{path}: can't be read: {error.strerror}") from None
    except (UnicodeDecodeError, json.JSONDecodeError, csv.Error) as error:
        raise FeedError(f"{path}: {error}; set format and delimiter in the mapping") from None


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
