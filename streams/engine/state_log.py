"""Stores a job's state in its table: one head and many segments, written under an epoch.

A *segment* is one part of the state, rewritten only when it changes. The *head* holds the
last applied offset, the rest of the state and the outputs of the checkpoint. All keys of a
source partition are in the table's changelog partition of the same number, so that they
are ordered.

Each opening of a job gets an *epoch* that is higher than any before it, and writes keys of
that epoch only. A worker that was replaced and does not know it writes beside its successor,
never over it. The head of the highest epoch is the state. Each checkpoint has a sequence
number. The head's ``lineage`` names, for each earlier epoch that still has segments, the
last sequence number that belongs to the state.

Example: worker A runs ``clicks[0]`` in epoch 7 and writes one checkpoint at offset 41::

    segments/clicks/7/a   sequence 1
    segments/clicks/7/b   sequence 1
    head/clicks/7         sequence 1, offset 41, lineage {}, standing 2

A then writes ``segments/clicks/7/c`` with sequence 2 and is paused before it writes the head.
Worker B opens the job in epoch 8. Head 7 ends at sequence 1, so ``c`` does not count. B goes
on after offset 41 with ``a`` and ``b``, changes ``b``, and writes a checkpoint at offset 49::

    segments/clicks/8/b   sequence 2
    head/clicks/8         sequence 2, offset 49, lineage {7: 1}, standing 1
    removed               head/clicks/7, segments/clicks/7/c, segments/clicks/7/b

If A wakes up and writes ``head/clicks/7`` with sequence 2, head 8 is still the state.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec

from models.aggregates.safe_decode import refusing
from streams.engine.contracts import Output, Saved, Snapshot, SourcePartition
from streams.errors import StateError

SCHEMA_VERSION = 7
"""Version of the stored shapes. Raise it with every change that one of two versions can't read.

An older worker ignores appended fields, and a newer one takes their defaults; that needs no other
version, nor do segments of a new kind, as no older worker runs beside or after a newer one. What a
job's state holds has versions of its own, such as `models.kpi.measures.VERSION`.
"""

_GENERATION_BITS = 20
"""Bits of an epoch below those of the group's generation.

One generation has far fewer openings than two to that power.
"""

Key = bytes
Write = tuple[Key, bytes | None]


class Head(msgspec.Struct, array_like=True, kw_only=True):
    """The value under a head's key.

    Attributes:
        version: schema version of the worker that wrote the head.
        sequence: number of the checkpoint; it goes on counting in later epochs.
        offset: last applied offset of the source partition.
        state: the job's state without its segments, as the job encoded it.
        outputs: topic, key, value and partition of each output of the checkpoint.
        lineage: for each earlier epoch that still has segments, the last sequence number
            that belongs to this state.
        standing: number of live segments of this epoch. If fewer are found, the changelog was
            truncated.
    """

    version: int
    sequence: int
    offset: int
    state: bytes
    outputs: list[tuple[str, bytes | None, bytes, int | None]]
    lineage: dict[int, int]
    standing: int

    def as_outputs(self) -> list[Output]:
        """Return the outputs that belong to this head."""
        return [
            Output(topic=topic, key=key, value=value, partition=partition)
            for topic, key, value, partition in self.outputs
        ]


class _Version(msgspec.Struct, array_like=True):
    """The first field of every head, of whatever version; the others are not decoded."""

    version: int


class _Segment(msgspec.Struct, array_like=True):
    version: int
    sequence: int
    value: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode_version = refusing(msgspec.msgpack.Decoder(_Version).decode)
_decode_head = refusing(msgspec.msgpack.Decoder(Head).decode)
_decode_segment = refusing(msgspec.msgpack.Decoder(_Segment).decode)


HEADS = b"head/"
"""Prefix of the keys of all heads."""


def prefixes(source: SourcePartition) -> tuple[bytes, ...]:
    """Return the key prefixes of a source's heads and segments.

    Heads of schema version 1 have no epoch in their key: the first prefix finds them, too.
    """
    topic = source.topic.encode()
    return (HEADS + topic, b"segments/" + topic + b"/")


@dataclass(slots=True)
class Checkpoint:
    """The writes of one checkpoint, in order; its head makes the keys in ``removals`` obsolete."""

    segments: list[Write]
    head: Write
    removals: list[Write]


@dataclass(slots=True)
class StateLog:
    """Tracks which keys hold a source partition's state, and makes the next checkpoint.

    Attributes:
        source: the source partition.
        epoch: the epoch of this opening; all checkpoints are written under it.
        sequence: number of the last checkpoint.
        lineage: for each earlier epoch that still has segments, the last sequence number
            that belongs to the state.
        written: for each live segment, the epoch under which it is stored.
        obsolete: keys that the next checkpoint removes, after its head.
    """

    source: SourcePartition
    epoch: int
    sequence: int = 0
    lineage: dict[int, int] = field(default_factory=dict)
    written: dict[bytes, int] = field(default_factory=dict)
    obsolete: list[Key] = field(default_factory=list)

    def checkpoint(self, snapshot: Snapshot, *, offset: int) -> Checkpoint:
        """Return the writes that store a snapshot, and count it as the next checkpoint.

        Args:
            snapshot: what the job returned.
            offset: the last offset that is applied in it.
        """
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
        return Checkpoint(segments, (_head_key(self.source, self.epoch), _encode(head)), removals)


@dataclass(frozen=True, slots=True)
class Found:
    """A state that was read from the table.

    Attributes:
        saved: what the job gets back; None if there is no head.
        outputs: the outputs of the head, to be sent again.
        log: continues the state under a new epoch.
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
    """Assemble a source's state from its keys, and choose a new epoch.

    Args:
        items: keys and values of the table. Every key with one of the `prefixes` must be
            among them; all others are ignored.
        source: the source partition.
        generation: generation of the consumer group. It forms the high bits of the epoch, so
            that workers of two generations never choose the same one.
        above: an epoch that is used already but may not be in the table.
        keep_newer: whether segments that are newer than their head count too; see
            `Stage.segments_know_offsets`.

    Raises:
        StateError: the state is of another schema version, can't be decoded, or lacks
            segments because the changelog was truncated.
    """
    heads: dict[int, Head] = {}
    segments: list[tuple[int, bytes, bytes]] = []
    for name, data in items:
        if _is_head(source, name):
            head = _read_head(data, source=source)
            heads[_epoch(name.rpartition(b"/")[2], source=source)] = head
            continue
        place = _segment_place(source, name)
        if place is not None:
            segments.append((*place, data))
    used = max([above, *heads, *(epoch for epoch, _, _ in segments)])
    log = StateLog(source, max(used + 1, generation << _GENERATION_BITS))
    if not heads:
        log.obsolete = [_segment_key(source, epoch, key) for epoch, key, _ in segments]
        return Found(None, (), log)
    newest = max(heads)
    head = heads[newest]
    limits = {**head.lineage, newest: head.sequence}
    log.sequence = head.sequence
    log.obsolete = [_head_key(source, epoch) for epoch in heads]
    values: dict[bytes, bytes] = {}
    for epoch, key, data in sorted(segments):
        sequence, value = _read_segment(data, source=source)
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
            "it, or start over with `kpi-monitor reset`"
        )
    saved = Saved(offset=head.offset, state=head.state, segments=values)
    return Found(saved, head.as_outputs(), log)


def last_offset(items: Iterable[tuple[bytes, bytes]], *, source: SourcePartition) -> int:
    """Return the last offset that is applied in a source's state, -1 without a head.

    Args:
        items: keys and values of the table. Every head of the source must be among them;
            all other keys are ignored.
        source: the source partition.

    Raises:
        StateError: a head is of another schema version, or can't be decoded.
    """
    newest, offset = -1, -1
    for name, data in items:
        if not _is_head(source, name):
            continue
        head = _read_head(data, source=source)
        epoch = _epoch(name.rpartition(b"/")[2], source=source)
        if epoch > newest:
            newest, offset = epoch, head.offset
    return offset


def _is_head(source: SourcePartition, name: bytes) -> bool:
    prefix, _ = prefixes(source)
    return name == prefix or name.startswith(prefix + b"/")


def _head_key(source: SourcePartition, epoch: int) -> bytes:
    return b"head/%b/%d" % (source.topic.encode(), epoch)


def _segment_key(source: SourcePartition, epoch: int, key: bytes) -> bytes:
    return b"segments/%b/%d/%b" % (source.topic.encode(), epoch, key)


def _segment_place(source: SourcePartition, name: bytes) -> tuple[int, bytes] | None:
    """Return the epoch and key of a segment of the source; None for any other name."""
    _, prefix = prefixes(source)
    if not name.startswith(prefix):
        return None
    epoch, _, key = name[len(prefix) :].partition(b"/")
    return _epoch(epoch, source=source), key


def _epoch(text: bytes, *, source: SourcePartition) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise _broken(source, error) from error


def _read_head(data: bytes, *, source: SourcePartition) -> Head:
    try:
        version = _decode_version(data).version
        if version == SCHEMA_VERSION:
            return _decode_head(data)
    except msgspec.DecodeError as error:
        raise _broken(source, error) from error
    raise StateError(
        f"the stored state of {source.topic}[{source.partition}] has schema version {version}, "
        f"this worker reads {SCHEMA_VERSION}; run the version that wrote it, or start under "
        "another KPI_APP_ID and with KPI_START_FROM=earliest, which reads anew what Kafka holds"
    )


def _read_segment(data: bytes, *, source: SourcePartition) -> tuple[int, bytes]:
    try:
        segment = _decode_segment(data)
    except msgspec.DecodeError as error:
        raise _broken(source, error) from error
    return segment.sequence, segment.value


def _broken(source: SourcePartition, error: Exception) -> StateError:
    return StateError(
        f"the stored state of {source.topic}[{source.partition}] can't be read ({error}); "
        "delete the local data folder so that it is rebuilt from the changelog"
    )
