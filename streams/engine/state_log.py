"""How a job's state stands in its table: a head and its segments, by epoch.

All keys of a source partition live in that partition of the table's changelog,
in order. Each opening of a job has an *epoch*, higher than any before it, and
writes keys of its own epoch only. So a worker that was replaced and does not
know it writes beside its successor, never over it: the head of the highest
epoch is the state, and it names, for each epoch before it, up to which
sequence number that one's segments belong to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec

from models.aggregates.safe_decode import refusing
from streams.engine.contracts import Output, Saved, Snapshot, SourcePartition
from streams.errors import StateError

SCHEMA_VERSION = 5
"""Raise it with every change of a stored shape, and say below how it is migrated.

1: one head and one set of segments without epochs; read as epoch 0. Its head is
   replaced by one of a later version without a state, so that an older worker refuses it.
2: cells with theta sketches of users; `models.aggregates.distinct_users` reads them.
3: cells of campaign and channel only, with two sets of users, and no buckets of days;
   defaults stand for what is not there, and the KPI stage sums the days up.
4: days of the last month, and no era before them; the KPI stage begins it.
"""

_GENERATION_BITS = 20
"""Openings in one generation of the group are far fewer than two to that power."""

Key = bytes
Write = tuple[Key, bytes | None]


class Head(msgspec.Struct, array_like=True, kw_only=True):
    """The value under a head's key.

    ``lineage`` has, for each earlier epoch with segments, the last sequence
    number that belongs to this state; ``standing`` is the number of segments of
    this epoch, which nobody else may have removed, and -1 where it was not written.
    """

    version: int
    sequence: int
    offset: int
    state: bytes
    outputs: list[tuple[str, bytes | None, bytes, int | None]]
    lineage: dict[int, int] = {}
    standing: int = -1

    def as_outputs(self) -> list[Output]:
        """Return the outputs that belong to this head."""
        return [
            Output(topic=topic, key=key, value=value, partition=partition)
            for topic, key, value, partition in self.outputs
        ]


class _Segment(msgspec.Struct, array_like=True):
    version: int
    sequence: int
    value: bytes


class _SegmentV1(msgspec.Struct, array_like=True):
    sequence: int
    value: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode_head = refusing(msgspec.msgpack.Decoder(Head).decode)
_decode_segment = refusing(msgspec.msgpack.Decoder(_Segment).decode)
_decode_segment_v1 = refusing(msgspec.msgpack.Decoder(_SegmentV1).decode)


HEADS = b"head/"
"""What the keys of heads start with."""


def prefixes(source: SourcePartition) -> tuple[bytes, ...]:
    """Return what the keys of a source's heads and segments start with."""
    topic = source.topic.encode()
    return (HEADS + topic, b"segment/" + topic + b"/", b"segments/" + topic + b"/")


@dataclass(slots=True)
class Checkpoint:
    """What one checkpoint writes: segments, then the head, then what that makes obsolete."""

    segments: list[Write]
    head: Write
    removals: list[Write]


@dataclass(slots=True)
class StateLog:
    """Where a source partition's state stands, and how the next is written.

    ``written`` has the epoch under which each segment stands, ``obsolete`` the
    keys that the next head makes superfluous.
    """

    source: SourcePartition
    epoch: int
    sequence: int = 0
    lineage: dict[int, int] = field(default_factory=dict)
    written: dict[bytes, int] = field(default_factory=dict)
    obsolete: list[Key] = field(default_factory=list)
    migrated: bool = False

    def checkpoint(self, snapshot: Snapshot, *, offset: int) -> Checkpoint:
        """Return what is to be written for a snapshot."""
        self.sequence += 1
        removals: list[Write] = [(key, None) for key in self.obsolete]
        self.obsolete = []
        segments: list[Write] = []
        for key, value in snapshot.segments:
            before = self.written.pop(key, None)
            if before is not None and (value is None or before != self.epoch):
                removals.append((_segment_key(self.source, before, key), None))
            if value is not None:
                self.written[key] = self.epoch
                segment = _Segment(SCHEMA_VERSION, self.sequence, value)
                segments.append((_segment_key(self.source, self.epoch, key), _encode(segment)))
        standing = Counter(self.written.values())
        self.lineage = {
            epoch: sequence for epoch, sequence in self.lineage.items() if epoch in standing
        }
        head = Head(
            version=SCHEMA_VERSION,
            sequence=self.sequence,
            offset=offset,
            state=snapshot.state,
            outputs=[(out.topic, out.key, out.value, out.partition) for out in snapshot.outputs],
            lineage=self.lineage,
            standing=standing[self.epoch],
        )
        if self.migrated:
            self.migrated = False
            refusal = Head(version=SCHEMA_VERSION, sequence=0, offset=offset, state=b"", outputs=[])
            removals.append((_head_key(self.source, 0), _encode(refusal)))
        return Checkpoint(segments, (_head_key(self.source, self.epoch), _encode(head)), removals)


@dataclass(frozen=True, slots=True)
class Found:
    """A state as it was found: what the job gets, what to send again, where it stands.

    ``saved`` is None without a head.
    """

    saved: Saved | None
    outputs: Sequence[Output]
    log: StateLog


def read(
    items: Iterable[tuple[bytes, bytes]],
    *,
    source: SourcePartition,
    generation: int,
    above: int = 0,
    keep_newer: bool = False,
) -> Found:
    """Put a source's state together from its keys, under a new epoch.

    Args:
        items: every key with one of the `prefixes`, and others.
        source: the source partition.
        generation: of the consumer group; two of them never give the same epoch.
        above: an epoch that was used and may not show in the table.
        keep_newer: whether segments that are newer than their head count too.

    Raises:
        StateError: it was written by a later version, or is broken.
    """
    heads: dict[int, Head] = {}
    segments: list[tuple[int, bytes, bytes]] = []
    head_prefix, _, _ = prefixes(source)
    taken_over = False
    for name, data in items:
        if name == head_prefix or name.startswith(head_prefix + b"/"):
            head = _read_head(data, source=source)
            if name != head_prefix:
                heads[_epoch(name.rpartition(b"/")[2], source=source)] = head
            elif head.version == 1:
                heads[0] = head
            else:
                taken_over = True
            continue
        place = _segment_place(source, name)
        if place is not None:
            segments.append((*place, data))
    used = max([above, *heads, *(epoch for epoch, _, _ in segments)])
    log = StateLog(source, max(used + 1, generation << _GENERATION_BITS))
    if not heads and taken_over:
        raise StateError(
            f"the state of {source.topic}[{source.partition}] was taken over from version 1 and is "
            "gone: its changelog was truncated; restore it, or start under another KPI_APP_ID"
        )
    if not heads:
        log.obsolete = [_segment_key(source, epoch, key) for epoch, key, _ in segments]
        return Found(None, (), log)
    newest = max(heads)
    head = heads[newest]
    limits = {**head.lineage, newest: head.sequence}
    log.sequence = head.sequence
    log.migrated = 0 in heads
    log.obsolete = [_head_key(source, epoch) for epoch in heads if epoch]
    values: dict[bytes, bytes] = {}
    for epoch, key, data in sorted(segments):
        sequence, value = _read_segment(data, epoch=epoch, source=source)
        if sequence > limits.get(epoch, -1) and not (keep_newer and epoch in limits):
            log.obsolete.append(_segment_key(source, epoch, key))
            continue
        before = log.written.get(key)
        if before is not None:
            log.obsolete.append(_segment_key(source, before, key))
        values[key] = value
        log.written[key] = epoch
        log.lineage[epoch] = limits.get(epoch, 0)
    present = sum(epoch == newest for epoch in log.written.values())
    if present < head.standing:
        raise StateError(
            f"{head.standing - present} of {head.standing} segments of the state of "
            f"{source.topic}[{source.partition}] are missing: its changelog was truncated; restore "
            "it, or start under another KPI_APP_ID"
        )
    saved = Saved(offset=head.offset, state=head.state, segments=values)
    return Found(saved, head.as_outputs(), log)


def last_offset(items: Iterable[tuple[bytes, bytes]], *, source: SourcePartition) -> int:
    """Return the last offset that a source's state has read, -1 without a state.

    Args:
        items: every key of the table, and others.
        source: the source partition.

    Raises:
        StateError: it was written by a later version, or is broken.
    """
    prefix, _, _ = prefixes(source)
    newest, offset = -1, -1
    for name, data in items:
        if name != prefix and not name.startswith(prefix + b"/"):
            continue
        epoch = 0 if name == prefix else _epoch(name.rpartition(b"/")[2], source=source)
        if epoch > newest:
            newest, offset = epoch, _read_head(data, source=source).offset
    return offset


def _head_key(source: SourcePartition, epoch: int) -> bytes:
    key = b"head/" + source.topic.encode()
    return b"%b/%d" % (key, epoch) if epoch else key


def _segment_key(source: SourcePartition, epoch: int, key: bytes) -> bytes:
    topic = source.topic.encode()
    return b"segments/%b/%d/%b" % (topic, epoch, key) if epoch else b"segment/%b/%b" % (topic, key)


def _segment_place(source: SourcePartition, name: bytes) -> tuple[int, bytes] | None:
    """Return a segment's epoch and key."""
    _, first, now = prefixes(source)
    if name.startswith(first):
        return 0, name[len(first) :]
    if name.startswith(now):
        epoch, _, key = name[len(now) :].partition(b"/")
        return _epoch(epoch, source=source), key
    return None


def _epoch(text: bytes, *, source: SourcePartition) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise _broken(source, error) from error


def _read_head(data: bytes, *, source: SourcePartition) -> Head:
    try:
        head = _decode_head(data)
    except msgspec.DecodeError as error:
        raise _broken(source, error) from error
    if not 1 <= head.version <= SCHEMA_VERSION:
        raise StateError(
            f"the stored state of {source.topic}[{source.partition}] has schema version "
            f"{head.version}, this worker reads 1 to {SCHEMA_VERSION}; run the version that wrote "
            "it, or start under another KPI_APP_ID"
        )
    return head


def _read_segment(data: bytes, *, epoch: int, source: SourcePartition) -> tuple[int, bytes]:
    try:
        if epoch == 0:
            first = _decode_segment_v1(data)
            return first.sequence, first.value
        segment = _decode_segment(data)
    except msgspec.DecodeError as error:
        raise _broken(source, error) from error
    return segment.sequence, segment.value


def _broken(source: SourcePartition, error: Exception) -> StateError:
    return StateError(
        f"the stored state of {source.topic}[{source.partition}] can't be read ({error}); "
        "delete the local data folder so that it is rebuilt from the changelog"
    )
