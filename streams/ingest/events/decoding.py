"""Decodes the bytes of records into events; returns `Rejected` for broken ones, never raises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from models.dead_letters import Reason
from models.events import SHAPES, Event, SourceKind


@dataclass(frozen=True, slots=True)
class Rejected:
    """The reason why a record is not counted, and a detail for people to read."""

    reason: Reason
    detail: str


class EventDecoder:
    """Decodes the records of one source topic.

    Args:
        kind: ``clicks``, ``orders`` or ``campaigns``.
        largest_bytes: larger records, in bytes, are rejected without being decoded.
    """

    def __init__(self, kind: SourceKind, *, largest_bytes: int) -> None:
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(SHAPES[kind]).decode
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
            return self._misshapen(str(error))
        except msgspec.DecodeError as error:
            return Rejected(Reason.NOT_JSON, str(error))
        except RecursionError:
            return Rejected(Reason.NOT_JSON, "nested too deeply")
        if b"\\u0000" in value and _has_nul(event):
            return Rejected(Reason.NUL_CHARACTER, "a field holds the NUL character")
        return event

    def _misshapen(self, why: str) -> Rejected:
        if why.endswith(("`$.type`", "required field `type`")):
            return Rejected(Reason.UNKNOWN_TYPE, f"{why}, in topic {self._kind}")
        return Rejected(Reason.INVALID_SHAPE, why)


def _has_nul(event: Event) -> bool:
    return any(isinstance(value, str) and "\0" in value for value in msgspec.structs.astuple(event))


def event_time_ms(value: int | str) -> int | Rejected:
    """Return an event time in ms since the epoch, or the reason why it is rejected.

    Integers are ms already. Text is RFC 3339 and must carry its offset from UTC.
    """
    if isinstance(value, int):
        return value
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        return Rejected(
            Reason.INVALID_TIME, "event_time is neither ms since the epoch nor RFC 3339"
        )
    if parsed.tzinfo is None:
        return Rejected(Reason.INVALID_TIME, "event_time has no offset from UTC")
    return round(parsed.timestamp() * 1000)
