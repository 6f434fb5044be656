"""What a stage is to the engine: pure jobs, one for each source partition.

A job is a synchronous state machine. The engine feeds it batches in offset
order, asks it for snapshots, and gives it back its saved state after a restart;
no job sees Faust, Kafka or a clock of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from streams.engine.steps import OutOfTime
from streams.errors import MonitorError


class Record(Protocol):
    """What a job reads of a Kafka record."""

    @property
    def offset(self) -> int:
        """Its place in the partition."""

    @property
    def timestamp(self) -> int:
        """When the broker appended it, ms since the epoch."""

    @property
    def key(self) -> bytes | None:
        """Its key."""

    @property
    def value(self) -> bytes | None:
        """Its value."""


class SourcePartition(NamedTuple):
    """A partition of a source topic."""

    topic: str
    partition: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A record to send. ``partition`` None leaves the choice to the key."""

    topic: str
    value: bytes
    key: bytes | None = None
    partition: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A consistent picture of a job after its last batch.

    ``early_outputs`` are sent first; after a crash they may be sent again with
    other bounds, so their keys must make a repetition harmless. ``segments``
    are keys added or, with None, expired since the snapshot before; they are
    written before ``state``. ``outputs`` are kept with ``state``, sent after it
    is safe, and sent again, the same, after a crash in between.
    """

    state: bytes
    segments: Sequence[tuple[bytes, bytes | None]] = ()
    early_outputs: Sequence[Output] = ()
    outputs: Sequence[Output] = ()


class NotYetError(Exception):
    """Another job must come first; it is asked again at once."""


class BesideRecordsError(MonitorError):
    """Work of a job failed that no record caused: none of them is to be set aside for it."""


class ServiceAwayError(MonitorError):
    """A service that a snapshot needs does not answer; the message says which and why."""


class PendingSnapshot(Protocol):
    """A snapshot that needs time, or an answer from outside, before it can be written.

    Until it has it nothing of it is saved or sent; its job goes on meanwhile.
    """

    def settle(self) -> Coroutine[Any, Any, Snapshot | None]:
        """Go on for a short while, and return the snapshot; None if there is more to do.

        It is called again after that, and after an error.

        Raises:
            NotYetError: another job must come first.
            OutsideAwayError: there is no answer.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What a job gets back: its last state and all its segments."""

    offset: int
    state: bytes
    segments: dict[bytes, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """How far a source partition has been read. Times are of the broker's clock.

    ``caught_up_at_ms`` is the time of the last poll that found nothing more,
    None while there is more to read. ``behind`` is the number of records that
    wait in the broker. ``answering_since_ms`` is since when the broker has
    answered without a break: what producers could not send before may still come.
    """

    caught_up_at_ms: int | None
    behind: int
    answering_since_ms: int = 0


class Job(Protocol):
    """One source partition's state machine.

    No call takes long: what may, `apply` and `tick` leave to `work`.
    """

    def apply(self, records: Sequence[Any]) -> None:
        """Take the next records, in offset order, each once."""

    def work(self, out_of_time: OutOfTime, *, until_whole: bool = False) -> bool:
        """Go on with what `apply` and `tick` left to do, for a slice of time.

        Args:
            out_of_time: asked after each step of a few milliseconds.
            until_whole: whether to stop as soon as a snapshot may be taken.

        Returns:
            Whether something of `apply` is left; then no more records are given to it.
        """

    @property
    def whole(self) -> bool:
        """Whether a snapshot may be taken: nothing of `apply` is half done."""

    @property
    def large(self) -> bool:
        """Whether a snapshot should be taken before its time: its report is large enough."""

    def skip(self, record: Any, *, why: str) -> None:
        """Take note of the next record without applying it: it made `apply` fail."""

    def lost(self, records: int, *, before: int) -> None:
        """Take note that the next records, up to offset ``before``, are gone from the broker."""

    def tick(self, position: Position, *, now_ms: int) -> None:
        """Take note of the time and of how far the partition was read."""

    def snapshot(self) -> Snapshot | PendingSnapshot:
        """Return what to save and send; the job then counts as clean."""

    @property
    def dirty(self) -> bool:
        """Whether a snapshot would hold anything that the last one did not."""

    @property
    def pending(self) -> int:
        """How many records were applied since the last snapshot."""


class OpenJob(Protocol):
    """Makes a job from its saved state, or a new one without."""

    def __call__(self, source: SourcePartition, *, epoch: int, saved: Saved | None) -> Job:
        """Return the job of a source partition; each opening has a higher epoch."""


def no_heartbeat(
    quiet: Sequence[tuple[SourcePartition, Any, Position]],
    waiting: Mapping[SourcePartition, str],
    *,
    now_ms: int,
) -> Sequence[Output]:
    """Say nothing: for stages that have no one to tell."""
    del quiet, waiting, now_ms
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A stage: its table, its topics, and how its jobs are made.

    ``heartbeat`` gets the jobs that have nothing to save, and for what the others
    wait that wait for a service outside, and returns what is to be sent for them.
    """

    name: str
    topics: tuple[str, ...]
    partitions: int
    checkpoint_interval_s: float
    open_job: OpenJob
    records_at_once: int
    """So many records are given to `Job.apply` at a time, 20 ms of work at most."""
    segments_know_offsets: bool = False
    """Whether each segment says itself up to where it holds: one newer than the
    head is then kept, because its keys are written over and its older value is gone."""
    heartbeat: Callable[..., Sequence[Output]] = field(default=no_heartbeat)
