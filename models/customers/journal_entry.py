"""What is remembered of a customer: touches, orders and refunds, as they are stored.

An entry is a head of fixed length, by which it is found again, and a body. The
head says which record of which source partition it comes from, and when it
happened.
"""

from __future__ import annotations

import struct
from typing import Literal, NamedTuple

import msgspec

DefaultModel = Literal["declared", "first", "last", "linear"]
"""The model that places orders which name no campaign."""
HEAD = struct.Struct(">BHQQ")
"""Kind (0 touch, 1 order, 2 refund), partition, offset, event time in ms."""
TOUCH, ORDER, REFUND = 0, 1, 2


class Touch(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A click, and what led to it."""

    campaign: str
    channel: str


class Placed(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What an order and a refund have in common: the order, money and where they say they belong.

    ``order`` is the hash of the order's id. Money is in 1/10,000 of the reporting currency.
    """

    order: int
    units: int
    campaign: str
    channel: str
    region: str
    segment: str


class Order(Placed, array_like=True, frozen=True, gc=False):
    """An order."""

    items: int


class Refund(Placed, array_like=True, frozen=True, gc=False):
    """Money that was paid back."""


class Entry(NamedTuple):
    """Something that a customer did. Entries sort by time, then by where they were read."""

    at_ms: int
    partition: int
    offset: int
    kind: int
    what: Touch | Order | Refund


_encode = msgspec.msgpack.Encoder().encode
_decode = (
    msgspec.msgpack.Decoder(Touch).decode,
    msgspec.msgpack.Decoder(Order).decode,
    msgspec.msgpack.Decoder(Refund).decode,
)


def to_bytes(kind: int, partition: int, offset: int, at_ms: int, what: object) -> bytes:
    """Return an entry as it is stored."""
    return HEAD.pack(kind, partition, offset, at_ms) + _encode(what)


def from_bytes(data: bytes) -> Entry:
    """Read an entry.

    Raises:
        ValueError: the bytes are no entry.
    """
    try:
        kind, partition, offset, at_ms = HEAD.unpack_from(data)
        what: Touch | Order | Refund = _decode[kind](data[HEAD.size :])
    except (struct.error, IndexError, msgspec.DecodeError) as error:
        raise ValueError(f"an entry of a customer can't be read: {error}") from error
    return Entry(at_ms, partition, offset, kind, what)
