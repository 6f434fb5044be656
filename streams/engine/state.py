"""How a job's state stands in its table: a head and its segments.

All keys of a source partition live in that partition of the table's changelog,
in order. The head names the last applied offset; a segment names the sequence
number of the head it belongs to, and one that is newer than the head is
ignored, because its records will be read again.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from streams.engine.stage import Output, Saved, Snapshot, SourcePartition
from streams.errors import StateError

SCHEMA_VERSION = 1
"""Raise it with every change of a stored shape, and say how it is migrated."""


class Head(msgspec.Struct, array_like=True, kw_only=True):
    """The value under a source's head key."""

    version: int
    sequence: int
    offset: int
    state: bytes
    outputs: list[tuple[str, bytes | None, bytes, int | None]]

    def as_outputs(self) -> list[Output]:
        """Return the outputs that belong to this head."""
        return [
            Output(topic=topic, key=key, value=value, partition=partition)
            for topic, key, value, partition in self.outputs
        ]


class _Segment(msgspec.Struct, array_like=True):
    sequence: int
    value: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode_head = msgspec.msgpack.Decoder(Head).decode
_decode_segment = msgspec.msgpack.Decoder(_Segment).decode


def head_key(source: SourcePartition) -> bytes:
    """Return the key of a source's head."""
    return b"head/" + source.topic.encode()


def segment_prefix(source: SourcePartition) -> bytes:
    """Return what the keys of a source's segments start with."""
    return b"segment/" + source.topic.encode() + b"/"


def encode_snapshot(
    snapshot: Snapshot, *, source: SourcePartition, sequence: int, offset: int
) -> tuple[list[tuple[bytes, bytes | None]], bytes]:
    """Return the segments and the head as they are written."""
    prefix = segment_prefix(source)
    segments = [
        (prefix + key, None if value is None else _encode(_Segment(sequence, value)))
        for key, value in snapshot.segments
    ]
    head = Head(
        version=SCHEMA_VERSION,
        sequence=sequence,
        offset=offset,
        state=snapshot.state,
        outputs=[(out.topic, out.key, out.value, out.partition) for out in snapshot.outputs],
    )
    return segments, _encode(head)


def decode_head(data: bytes, *, source: SourcePartition) -> Head:
    """Read a head.

    Raises:
        StateError: it was written by another version, or is broken.
    """
    try:
        head = _decode_head(data)
    except msgspec.DecodeError as error:
        raise StateError(
            f"the stored state of {source.topic}[{source.partition}] can't be read ({error}); "
            "delete the local data folder so that it is rebuilt from the changelog"
        ) from error
    if head.version != SCHEMA_VERSION:
        raise StateError(
            f"the stored state of {source.topic}[{source.partition}] has schema version "
            f"{head.version}, this worker reads {SCHEMA_VERSION}; run the version that wrote it, "
            "or start under another KPI_APP_ID"
        )
    return head


def saved_from(
    head: Head,
    segments: Iterable[tuple[bytes, bytes]],
    *,
    source: SourcePartition,
    keep_newer: bool = False,
) -> tuple[Saved, list[bytes]]:
    """Put a job's saved state together.

    Returns:
        The state, and the keys of segments newer than the head. Unless they are
        kept, these must be removed before the next head is written, or they
        would pass for a part of it.
    """
    prefix_length = len(segment_prefix(source))
    kept: dict[bytes, bytes] = {}
    orphans: list[bytes] = []
    for key, data in segments:
        segment = _decode_segment(data)
        if segment.sequence <= head.sequence or keep_newer:
            kept[key[prefix_length:]] = segment.value
        else:
            orphans.append(key)
    return Saved(offset=head.offset, state=head.state, segments=kept), orphans
