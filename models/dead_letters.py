"""Dead letters: records that were not counted, with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec

from models.aggregates.safe_decode import refusing


class Reason(StrEnum):
    """The reason for a dead letter. The set is closed, so that it can be the label of a metric."""

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


SENT_AGAIN: Final[Mapping[Reason, str]] = {
    Reason.OVERSIZE: "with a larger `KPI_LARGEST_RECORD_BYTES`",
    Reason.FAR_FUTURE: "once the time of the event has come",
    Reason.UNKNOWN_CURRENCY: "once the rate is sent",
    Reason.STAGE_FAILURE: "once the bug is mended",
}
"""The reasons whose records can count if they are sent again unchanged, and when.

Records with other reasons are refused again, until the monitor itself reads them in another way. An
event that is too late never counts, and any other becomes too late with time.
"""


class DeadLetter(msgspec.Struct, kw_only=True):
    """A record that was not counted, with everything that is needed to send it again.

    ``value`` and ``key`` are the original bytes, in JSON as base64. ``detail`` explains the
    reason in words, without the value itself. ``appended_ms`` is the broker time of the record.
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
        """The position of the record, by which a repeated letter is recognised."""
        return f"{self.topic}/{self.partition}/{self.offset}"


_encoder = msgspec.json.Encoder()
_decode = refusing(msgspec.json.Decoder(DeadLetter).decode)


def encode(letter: DeadLetter) -> bytes:
    """Encode a dead letter as JSON."""
    return _encoder.encode(letter)


def decode(data: bytes) -> DeadLetter:
    """Decode a dead letter.

    Raises:
        msgspec.DecodeError: the bytes are not a dead letter.
    """
    return _decode(data)
