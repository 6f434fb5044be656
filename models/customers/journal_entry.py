"""Encodes the entries in the logs of customers: touches, orders, refunds and links.

An entry is a head of 19 bytes and a body in MessagePack. The head holds the kind, the partition
and offset of the record, and the event time. It identifies the entry: the log holds an entry
once, however often it is added.
"""

from __future__ import annotations

import struct
from decimal import Decimal
from typing import Literal, NamedTuple

import msgspec

DefaultModel = Literal["declared", "first", "last", "linear"]
"""The model of attribution that places orders which name no campaign."""
HEAD = struct.Struct(">BHQQ")
"""The head: kind, partition, offset, event time in ms."""
TOUCH, ORDER, REFUND, LINK, LINKED_TOUCH = 0, 1, 2, 3, 4
"""The kinds of entry. A linked touch is stored as a touch of the other id of a link."""
ID_BYTES = 8
"""The length of the hash of a user's id, in bytes."""


class Touch(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A click: the campaign and the channel that led to it."""

    campaign: str
    channel: str


class Foreign(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """An amount in another currency than the reporting one, and the rate of its own date.

    ``units`` is the amount in 1/10,000 of ``currency``, and ``rate`` the value of 1 of that
    currency in the reporting currency.
    """

    currency: str
    units: int
    rate: Decimal


class Placed(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The fields that an order and a refund share.

    ``order`` is the 64-bit hash of the order's id and comes first, where `redis_store.lua` reads
    it. ``units`` is money in 1/10,000 of the reporting currency, at the rate of the event's own
    date. The others are the place that the event names itself.
    """

    order: int
    units: int
    campaign: str
    channel: str
    region: str
    segment: str


class Order(Placed, array_like=True, frozen=True, gc=False):
    """An order of ``items`` items; ``foreign`` is None if it is in the reporting currency."""

    items: int
    foreign: Foreign | None = None


class Refund(Placed, array_like=True, frozen=True, gc=False):
    """Money that was paid back; ``foreign`` is None if it is in the reporting currency."""

    foreign: Foreign | None = None


class Link(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Another id of the customer, whose clicks are the customer's touches, too.

    ``other`` is the hash of that id, in 8 bytes. `redis_store.lua` reads it in its place.
    """

    other: bytes


class Entry(NamedTuple):
    """An entry of a log, at an event time in ms. Sorts by time, then by partition and offset.

    ``other`` is the hash of the id that made a linked touch; empty for all other kinds.
    """

    at_ms: int
    partition: int
    offset: int
    kind: int
    what: Touch | Order | Refund | Link
    other: bytes = b""


_encode = msgspec.msgpack.Encoder().encode
_decode = (
    msgspec.msgpack.Decoder(Touch).decode,
    msgspec.msgpack.Decoder(Order).decode,
    msgspec.msgpack.Decoder(Refund).decode,
    msgspec.msgpack.Decoder(Link).decode,
    msgspec.msgpack.Decoder(Touch).decode,
)


def to_bytes(kind: int, partition: int, offset: int, at_ms: int, what: object) -> bytes:
    """Encode an entry."""
    return HEAD.pack(kind, partition, offset, at_ms) + _encode(what)


def from_bytes(data: bytes) -> Entry:
    """Decode an entry. The body of a linked touch begins with the id that made it.

    Raises:
        ValueError: the bytes are no entry.
    """
    try:
        kind, partition, offset, at_ms = HEAD.unpack_from(data)
        body = HEAD.size + (ID_BYTES if kind == LINKED_TOUCH else 0)
        what: Touch | Order | Refund | Link = _decode[kind](data[body:])
    except (struct.error, IndexError, msgspec.DecodeError) as error:
        raise ValueError(f"an entry of a customer can't be read: {error}") from error
    return Entry(at_ms, partition, offset, kind, what, data[HEAD.size : body])
