"""Why a record was not counted, and the record as it is kept."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from models.aggregates.safe_decode import refusing


class Reason(StrEnum):
    """Reasons for a dead letter; bounded, so that it can be a metric's label."""

    NOT_JSON = "not_json"
    INVALID_UTF8 = "invalid_utf8"
    NUL_CHARACTER = "nul_character"
    EMPTY = "empty"
    OVERSIZE = "oversize"
    UNKNOWN_TYPE = "unknown_type"
    INVALID_SHAPE = "invalid_shape"
    INVALID_TIME = "invalid_time"
    FAR_FUTURE = "far_future"
    FAR_PAST = "far_past"
    TOO_LATE = "too_late"
    INVALID_AMOUNT = "invalid_amount"
    UNKNOWN_CURRENCY = "unknown_currency"
    STAGE_FAILURE = "stage_failure"


class DeadLetter(msgspec.Struct, kw_only=True):
    """A record that was not counted, with everything needed to send it again.

    ``value`` and ``key`` are the original bytes (base64 in JSON); ``detail``
    says what was wrong in words, without the value itself.
    """

    topic: str
    partition: int
    offset: int
    appended_ms: int
    reason: Reason
    detail: str
    key: bytes | None
    value: bytes | None

    @property
    def id(self) -> str:
        """Where the record stood: what makes a repetition of the letter harmless."""
        return f"{self.topic}/{self.partition}/{self.offset}"


_encoder = msgspec.json.Encoder()
_decode = refusing(msgspec.json.Decoder(DeadLetter).decode)


def encode(letter: DeadLetter) -> bytes:
    """Write a dead letter as JSON."""
    return _encoder.encode(letter)


def decode(data: bytes) -> DeadLetter:
    """Read a dead letter.

    Raises:
        msgspec.DecodeError: the bytes are not a dead letter.
    """
    return _decode(data)
