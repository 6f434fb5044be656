"""Contracts between the engine and the stages: a stage has one job for each source partition.

A job is a synchronous state machine without I/O. The engine feeds it batches in offset order,
asks it for snapshots, and hands its saved state back after a restart. A job uses no Faust, no
Kafka and no clock of its own. Jobs may share indexes that a background task updates, such
as campaigns and exchange rates; the engine does not see these.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from streams.engine.steps import OutOfTime
from streams.errors import MonitorError


class Record(Protocol):
    """A Kafka record, as far as jobs read it."""

    @property
    def offset(self) -> int:
        """Offset in the partition."""

    @property
    def timestamp(self) -> int:
        """Broker time at which the record was appended, in ms since 1970."""

    @property
    def key(self) -> bytes | None:
        """Key, or None without one."""

    @property
    def value(self) -> bytes | None:
        """Value, or None without one."""


class SourcePartition(NamedTuple):
    """A partition of a source topic."""

    topic: str
    partition: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A record to send. With ``partition`` None the producer chooses it by the key."""

    topic: str
    value: bytes
    key: bytes | None = None
    partition: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A consistent picture of a job after its last batch.

    Attributes:
        state: the encoded state without its segments; the head stores it.
        segments: keys that were added or changed since the snapshot before, written before
            the head. None expires a key, which is removed after the head; if the worker dies
            in between, the job gets the expired segment back.
        early_outputs: records that are sent before everything else. After a crash other
            batches may lead to them again, so their keys must make a repetition harmless.
        outputs: records that the head stores and that are sent once the head is safe. After
            a crash they are sent again, unchanged.
    """

    state: bytes
    segments: Sequence[tuple[bytes, bytes | None]] = ()
    early_outputs: Sequence[Output] = ()
    outputs: Sequence[Output] = ()


class NotYetError(Exception):
    """Another job must come first. The engine asks again a moment later."""


class BesideRecordsError(MonitorError):
    """Work of a job failed that no record caused. No record is set aside; the worker ends."""


class ServiceAwayError(MonitorError):
    """A service that a snapshot needs does not answer. The message says which one and why."""


class PendingSnapshot(Protocol):
    """A snapshot that needs time, or an answer from a service, before it can be written.

    Nothing of it is saved or sent before that. Its job goes on with later records meanwhile.
    """

    def settle(self) -> Coroutine[Any, Any, Snapshot | None]:
        """Work on the snapshot for a short while.

        The engine calls it again after None and after the errors below. Any other error ends
        the worker.

        Returns:
            The snapshot; None if there is more to do.

        Raises:
            NotYetError: another job must come first.
            ServiceAwayError: the service does not answer.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """Saved state of a job, handed back after a restart, with the last applied offset."""

    offset: int
    state: bytes
    segments: dict[bytes, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Read progress of a source partition. Times are broker time, in ms.

    Attributes:
        caught_up_at_ms: everything that was appended before this time is applied. None while
            there is more to read, or while the time is not known.
        behind: number of records in the broker that are not applied yet, without those behind
            the first open transaction.
        answering_since_ms: since when the broker has answered without a break. Records that
            producers could not send before that may still come.
    """

    caught_up_at_ms: int | None
    behind: int
    answering_since_ms: int = 0


class Job(Protocol):
    """The state machine of one source partition.

    No call takes long: `apply` and `tick` leave long work to `work`.
    """

    def apply(self, records: Sequence[Any]) -> None:
        """Take the next records, in offset order. Each record is given once."""

    def work(self, out_of_time: OutOfTime, *, until_whole: bool = False) -> bool:
        """Do work that `apply` and `tick` left, for a slice of time.

        Args:
            out_of_time: called after each step of a few milliseconds.
            until_whole: whether to stop as soon as a snapshot may be taken.

        Returns:
            Whether work of `apply` is left. The job gets no more records until it is done.
        """

    @property
    def whole(self) -> bool:
        """Whether a snapshot may be taken: no work of `apply` is half done."""

    @property
    def large(self) -> bool:
        """Whether a snapshot should be taken before it is due, because much waits to be sent."""

    def skip(self, record: Any, *, why: str) -> None:
        """Pass over the next record, on which the job failed, and make a dead letter of it.

        Args:
            record: the record.
            why: the type of the error.
        """

    def lost(self, records: int, *, before: int) -> None:
        """Record that the broker removed the next records before they were read.

        Args:
            records: how many.
            before: the first offset after them.
        """

    def tick(self, position: Position, *, now_ms: int) -> None:
        """Record the broker's time and how far the partition has been read."""

    def snapshot(self) -> Snapshot | PendingSnapshot:
        """Return what to save and send. The job is not `dirty` after that."""

    @property
    def dirty(self) -> bool:
        """Whether a snapshot would differ from the last one."""

    @property
    def pending(self) -> int:
        """Number of records applied since the last snapshot."""


class OpenJob(Protocol):
    """Creates a job from its saved state, or a new one without it."""

    def __call__(self, source: SourcePartition, *, epoch: int, saved: Saved | None) -> Job:
        """Return the job of a source partition. Each opening has a higher epoch."""


def no_heartbeat(
    quiet: Sequence[tuple[SourcePartition, Any, Position]],
    waiting: Mapping[SourcePartition, str],
    *,
    now_ms: int,
) -> Sequence[Output]:
    """Return no records: the default of stages without a heartbeat."""
    del quiet, waiting, now_ms
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A stage: its table, its topics, and how its jobs are created.

    Attributes:
        name: name of the stage and of its table.
        topics: the source topics.
        partitions: number of partitions of each source topic.
        checkpoint_interval_s: least time between two checkpoints of a job that is not
            `Job.large`, in s.
        open_job: creates a job.
        heartbeat: gets the jobs that have nothing to save, with their positions, and for
            each source whose checkpoint waits for a service, the reason. Returns the records
            to send.
    """

    name: str
    topics: tuple[str, ...]
    partitions: int
    checkpoint_interval_s: float
    open_job: OpenJob
    records_at_once: int
    """Most records in one call of `Job.apply`: 20 ms of work or less."""
    segments_know_offsets: bool = False
    """Whether each segment stores the offset up to which it holds.

    Such a segment is overwritten in place. If it is newer than the head it is kept, because
    its older value is gone.
    """
    heartbeat: Callable[..., Sequence[Output]] = field(default=no_heartbeat)
