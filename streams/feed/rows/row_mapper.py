"""Turns rows into events, as a mapping says.

The columns of the file are found once; a row is then a few calls. Each event is read by the
monitor's own decoder before it is accepted.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

import msgspec

from models.events import KIND_OF_TYPE, SOURCE_KINDS, OrderPlaced, OrderRefunded, SourceKind
from models.money.amounts import MoneyError, to_units
from streams.feed.mapping.field_helpers import FieldSource
from streams.feed.mapping.mapping_file import (
    EVENTS,
    NUMBERS,
    EventMapping,
    FileMapping,
    NumberType,
    required_fields,
)
from streams.feed.mapping.number_format import NumberFormat
from streams.feed.mapping.row_errors import RowError
from streams.feed.mapping.row_filters import Predicate, row_predicate
from streams.feed.mapping.templates import EVENT_ID, Getter, GetterOf, reader
from streams.feed.mapping.time_format import EventTime
from streams.feed.rows.readers import not_in
from streams.ingest.events.decoding import EventDecoder, Rejected
from streams.ingest.events.validation import EARLIEST_EVENT_TIME

ID_PLACE = "\ufdd0"
"""Stands for the event's id until it is known; Unicode reserves it for the use within programs."""
SMALL_DIGITS = 9
"""A number below 10 to the power of this plus one is no amount that is too large."""
_encode = msgspec.json.Encoder().encode


class MappedEvent(NamedTuple):
    """An event of a row, before it has its id.

    Args:
        time_ms: its event time.
        line: the line of its row.
        type: the value of its field ``type``.
        key: the key of its record.
        value: its record; `ID_PLACE` stands where the id belongs, unless the mapping gives it.
    """

    time_ms: int
    line: int
    type: str
    key: bytes
    value: bytes

    @property
    def kind(self) -> SourceKind:
        """The kind of its source topic."""
        return KIND_OF_TYPE[self.type]


class _Entry(NamedTuple):
    """An entry of ``events`` for one file: its test, its time, and its fields."""

    matches: Predicate | None
    time_ms: Getter
    type: str
    body: dict[str, Any]
    fields: list[tuple[str, Getter, bool]]
    decode: Callable[[bytes], Any]


class RowMapper:
    """Turns the rows of one file into events.

    Args:
        mapping: the content of the mapping file.
        getter_of: finds the columns of the file.
        largest_bytes: larger records are refused.
        hash_key: the key of fields that are hashed.
    """

    def __init__(
        self,
        mapping: FileMapping,
        getter_of: GetterOf,
        *,
        largest_bytes: int,
        hash_key: bytes = b"",
    ) -> None:
        self._encoding = mapping.encoding
        self._numbers = mapping.numbers
        self._hash_key = hash_key
        self._getter_of = partial(_column_or_id, getter_of)
        self._leaves_out = (
            row_predicate(mapping.leave_out, getter_of, mapping.numbers)
            if mapping.leave_out
            else None
        )
        self._event_id = mapping.event_id
        decoders = {kind: EventDecoder(kind, largest_bytes=largest_bytes) for kind in SOURCE_KINDS}
        self._entries = [
            self._entry(one, mapping.time, decoders[KIND_OF_TYPE[one.type]])
            for one in mapping.events
        ]

    def _entry(self, event: EventMapping, time: EventTime, decoder: EventDecoder) -> _Entry:
        sources = {name: event.fields[name] for name in sorted(event.fields)}
        body: dict[str, Any] = {"event_id": ID_PLACE, "event_time": 0, "type": event.type}
        fields = []
        required = required_fields(event.type)
        if self._event_id is not None:
            fields.append(("event_id", self._getter("event_id", self._event_id, None), True))
        for name, source in sources.items():
            number = NUMBERS[event.type].get(name)
            of_order = EVENTS[event.type] in {OrderPlaced, OrderRefunded}
            get = self._getter(name, source, number, not_negative=of_order)
            body[name] = None if source.columns else get(None)
            if body[name] is None:
                fields.append((name, get, name in required))
        return _Entry(
            matches=(
                row_predicate(event.when, self._getter_of, self._numbers) if event.when else None
            ),
            time_ms=_time_getter(event.time or time, self._getter_of),
            type=event.type,
            body=body,
            fields=fields,
            decode=decoder.decode,
        )

    def _getter(
        self,
        name: str,
        source: FieldSource,
        number: NumberType | None,
        *,
        not_negative: bool = False,
    ) -> Getter:
        get = source.getter(name, self._getter_of, hash_key=self._hash_key)
        if number is None:
            return get
        return _Number(get, name, source, number, self._numbers, not_negative=not_negative)

    def leaves_out(self, row: Any) -> bool:
        """Return whether ``leave_out`` of the mapping names a row.

        Raises:
            RowError: a column that is compared is no number.
        """
        return self._leaves_out is not None and self._leaves_out(row)

    def events(self, line: int, row: Any) -> list[tuple[int, MappedEvent]]:
        """Return the events of a row, each with the place of its entry in the mapping.

        Args:
            line: the number of its line.
            row: its cells or object.

        Raises:
            RowError: one of the events can't be read; none of them is to be sent.
        """
        return [
            (place, self._event(entry, line, row))
            for place, entry in enumerate(self._entries)
            if entry.matches is None or entry.matches(row)
        ]

    def _event(self, entry: _Entry, line: int, row: Any) -> MappedEvent:
        body = entry.body.copy()
        for name, get, required in entry.fields:
            value = get(row)
            if value is not None:
                body[name] = value
            elif required:
                raise RowError(f"{name}: no value")
            else:
                del body[name]
        body["event_time"] = time_ms = entry.time_ms(row)
        try:
            value = _encode(body)
        except UnicodeEncodeError:
            raise RowError(not_in(self._encoding)) from None
        read = entry.decode(value)
        if type(read) is Rejected:
            raise RowError(f"{read.reason}: {read.detail}")
        return MappedEvent(time_ms, line, entry.type, _key(entry.type, body), value)


def _key(type_of_event: str, body: dict[str, Any]) -> bytes:
    """Return the key of a record: its user, or its campaign.

    Events without a user may be in any partition. Their time spreads them over all.
    """
    if KIND_OF_TYPE[type_of_event] == "campaigns":
        return str(body.get("campaign_id", "")).encode()
    return str(body.get("user_id") or body["event_time"]).encode()


def _column_or_id(getter_of: GetterOf, name: str) -> Getter:
    return _id_place if name == EVENT_ID else getter_of(name)


def _id_place(_: Any) -> str:
    return ID_PLACE


def _time_getter(time: EventTime, getter_of: GetterOf) -> Getter:
    get = reader(time.value, getter_of)
    read = time.reader()

    def time_ms(row: Any) -> int:
        given = get(row)
        if given is None:
            raise RowError("time: no value")
        try:
            found = read(given)
        except (ValueError, OverflowError) as error:
            raise RowError(
                "time: can't be read", f"time: {error}; see time.format in the mapping"
            ) from None
        if found < EARLIEST_EVENT_TIME:
            raise RowError("time: is before 1990", f"time: {given!r} is before 1990")
        return found

    return time_ms


class _Number:
    """Reads a number: whole numbers as int, others as text that has all their digits."""

    def __init__(
        self,
        get: Getter,
        name: str,
        source: FieldSource,
        number: NumberType,
        numbers: NumberFormat,
        *,
        not_negative: bool,
    ) -> None:
        self._not_negative = not_negative
        self._get = get
        self._name = name
        self._whole = number is int
        # A constant is written as YAML has it, not as the file has numbers.
        usual = numbers if source.columns else NumberFormat()
        self._read = (source.numbers or usual).reader()
        self._plain = NumberFormat().reader()
        self._divide = source.divide
        self._unchanged = self._whole and source.divide is None
        self._absolute = source.absolute

    def __call__(self, row: Any) -> Any:
        value = self._get(row)
        if value is None:
            return None
        if self._unchanged and type(value) is str and value.isdecimal() and len(value) < 18:
            return int(value)
        name = self._name
        try:
            parsed = self._read(value) if type(value) is str else self._plain(str(value))
        except ValueError as error:
            raise RowError(f"{name}: is no number", f"{name}: {error}") from None
        if self._divide is not None or self._absolute:
            parsed = self._changed(parsed)
        if self._whole:
            return _whole_number(parsed, name, value)
        if not parsed.is_finite() or parsed.adjusted() > SMALL_DIGITS:
            try:
                to_units(parsed)
            except MoneyError as error:
                raise RowError(f"{name}: {error}", f"{name}: {value!r}: {error}") from None
        if self._not_negative and parsed < 0:
            raise RowError(
                f"{name}: is negative",
                f"{name}: {value!r} is negative; for refunds that are written so, set "
                "absolute: true",
            )
        return str(parsed)

    def _changed(self, parsed: Decimal) -> Decimal:
        if not parsed.is_finite():
            return parsed
        if self._divide is not None:
            parsed /= self._divide
        return abs(parsed) if self._absolute else parsed


def _whole_number(parsed: Decimal, name: str, value: Any) -> int:
    if not parsed.is_finite() or parsed != parsed.to_integral_value() or parsed.adjusted() > 18:
        raise RowError(f"{name}: is no whole number", f"{name}: {value!r} is no whole number")
    return int(parsed)
