"""Decodes the bytes of records into events; returns `Rejected` for broken ones, never raises.

A record that does not have the shape of its event is decoded again more leniently, as producers
write JSON in more than one way: an optional field that is null is left out, a whole number in a
field of text is text, and 2.0 is a whole number. That takes three times as long, and gives the same
event.

Example: ``{"type": "order_placed", "order_id": 1001, "channel": null, …}`` is an order with the id
"1001", and has no channel.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple, get_args

import msgspec

from models.dead_letters import Reason
from models.events import SHAPES, Event, SourceKind, events_of, type_of

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_LEAP_SECOND = re.compile(r"(?<=\d:\d\d):60(?=[.,Z+-]|$)[.,]?\d*")
_untyped = msgspec.json.Decoder(float_hook=Decimal).decode
"""Decodes numbers with a point as decimals, so that amounts keep all their digits."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The reason why a record is not counted, and a detail for people to read."""

    reason: Reason
    detail: str


def _converted(value: Any, *, text: bool) -> Any:
    """Return a whole number as text in a field of text, and 2.0 as 2."""
    if type(value) is Decimal and value.adjusted() < 18 and value == value.to_integral_value():
        value = int(value)
    return str(value) if text and type(value) is int else value


class _Shape(NamedTuple):
    """An event, the names of its optional fields, and of those that are text and no numbers."""

    event: type[Event]
    optional: frozenset[str]
    texts: frozenset[str]

    @classmethod
    def of(cls, event: type[Event]) -> _Shape:
        """Return the shape of an event."""
        fields = msgspec.structs.fields(event)
        return cls(
            event,
            frozenset(field.encode_name for field in fields if not field.required),
            frozenset(field.encode_name for field in fields if _is_text(field.type)),
        )


class EventDecoder:
    """Decodes the records of one source topic.

    Args:
        kind: ``clicks``, ``orders`` or ``campaigns``.
        largest_bytes: larger records, in bytes, are rejected without being decoded.
    """

    def __init__(self, kind: SourceKind, *, largest_bytes: int) -> None:
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(SHAPES[kind]).decode
        self._shapes = {type_of(event): _Shape.of(event) for event in events_of(kind)}
        self._kind = kind
        self._largest_bytes = largest_bytes

    def decode(self, value: bytes | None) -> Event | Rejected:
        """Return the event, or the reason why the record is rejected."""
        if not value:
            return Rejected(Reason.EMPTY, "the record has no value")
        if len(value) > self._largest_bytes:
            return Rejected(
                Reason.OVERSIZE, f"{len(value)} bytes, at most {self._largest_bytes} are read"
            )
        try:
            event: Event = self._decode(value)
        except UnicodeDecodeError as error:
            return Rejected(Reason.INVALID_UTF8, f"{error.reason} at byte {error.start}")
        except msgspec.ValidationError as error:
            lenient = self._decode_leniently(value)
            if lenient is None or isinstance(lenient, str):
                return self._misshapen(lenient or str(error))
            event = lenient
        except msgspec.DecodeError as error:
            return Rejected(Reason.NOT_JSON, str(error))
        except RecursionError:
            return Rejected(Reason.NOT_JSON, "nested too deeply")
        if b"\\u0000" in value and _has_nul(event):
            return Rejected(Reason.NUL_CHARACTER, "a field holds the NUL character")
        return event

    def _decode_leniently(self, value: bytes) -> Event | str | None:
        """Return the event, or why it has no such shape; None if its type is not known."""
        try:
            body = _untyped(value)
            shape = self._shapes[body["type"]]
            fields = {
                name: _converted(one, text=name in shape.texts)
                for name, one in body.items()
                if one is not None or name not in shape.optional
            }
            return msgspec.convert(fields, shape.event)
        except msgspec.ValidationError as error:
            return str(error)
        except (
            msgspec.DecodeError,
            RecursionError,
            LookupError,
            TypeError,
            ValueError,
            ArithmeticError,
            AttributeError,
        ):
            return None

    def _misshapen(self, why: str) -> Rejected:
        if why.endswith(("`$.type`", "required field `type`")):
            return Rejected(Reason.UNKNOWN_TYPE, f"{why}, in topic {self._kind}")
        return Rejected(Reason.INVALID_SHAPE, why)


def _is_text(shape: Any) -> bool:
    """Return whether a field has text, and no numbers."""
    parts = {*_flat(shape)}
    return str in parts and int not in parts


def _flat(shape: Any) -> Iterator[Any]:
    """Yield the types that an annotation is made of, through unions and `Annotated`."""
    if not get_args(shape):
        yield shape
    for part in get_args(shape):
        yield from _flat(part)


def _has_nul(value: Any) -> bool:
    """Return whether any text in an event contains NUL, also in its lists and objects."""
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, msgspec.Struct):
        return _has_nul(msgspec.structs.astuple(value))
    return isinstance(value, list | tuple) and any(map(_has_nul, value))


def event_time_ms(value: int | str) -> int | Rejected:
    """Return an event time in ms since the epoch, or the reason why it is rejected.

    Integers are ms already. Text is RFC 3339 and must carry its offset from UTC; what is finer than
    ms is cut off, and a leap second (``23:59:60``) is the last ms of its minute.
    """
    if isinstance(value, int):
        return value
    try:
        parsed = datetime.fromisoformat(_LEAP_SECOND.sub(":59.999", value.upper()))
    except ValueError:
        return Rejected(
            Reason.INVALID_TIME, "event_time is neither ms since the epoch nor RFC 3339"
        )
    if parsed.tzinfo is None:
        return Rejected(Reason.INVALID_TIME, "event_time has no offset from UTC")
    return (parsed - EPOCH) // _MILLISECOND
