"""State of a running job between two checkpoints."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from streams.engine.contracts import Job, SourcePartition, Stage
from streams.engine.state_log import StateLog

PENDING_LIMIT = 200_000
"""With more records since the last snapshot, no more are read while a checkpoint is written."""


@dataclass
class RunningJob:
    """A job, and how far it is applied, saved and written.

    Attributes:
        stage: the job's stage.
        job: the job.
        log: the keys of its state in the table.
        offset: the last applied offset.
        generation: generation of the consumer group in which the job was opened.
        saved_offset: the last offset in a head; -1 without a head.
        started_after: the offset after which this opening began to read.
        session: batches of any other session are stale.
        checkpointed_at: when the last checkpoint began, in s of the monotonic clock.
        writing: the task that writes a checkpoint or sends outputs again; None if there is none.
        revoked: whether the job was given up; it writes nothing more.
        waits_for: the reason why its checkpoint waits for a service; empty if it does not.
        fresh: whether no batch was applied yet.
        sought_again: whether the first batch left a hole, and the source was sought again.
        without_head: whether the job is new, so that a head is due though nothing changed.
        at_work: whether its agent lets it work on records.
        left: whether work on these records is left.
        progressed_at: when it last made progress, in s of the monotonic clock.
    """

    stage: Stage
    job: Job
    log: StateLog
    offset: int
    generation: int
    saved_offset: int = -1
    started_after: int = field(init=False)
    session: int = -1
    checkpointed_at: float = 0.0
    writing: asyncio.Task[None] | None = None
    revoked: bool = False
    waits_for: str = ""
    fresh: bool = True
    sought_again: bool = False
    without_head: bool = False
    at_work: bool = False
    left: bool = False
    progressed_at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.started_after = self.offset

    @property
    def source(self) -> SourcePartition:
        """The source partition."""
        return self.log.source

    @property
    def full(self) -> bool:
        """Whether the source is not read for now.

        Either the job is still working on records, or much waits for the checkpoint that is
        being written.
        """
        waits = self.job.pending > PENDING_LIMIT or self.job.large
        return self.at_work or (self.writing is not None and waits)

    @property
    def checkpoint_due(self) -> bool:
        """Whether it is time to write a checkpoint."""
        if self.writing is not None or not (self.job.dirty or self.without_head):
            return False
        elapsed_s = time.monotonic() - self.checkpointed_at
        return self.job.large or elapsed_s >= self.stage.checkpoint_interval_s


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryProgress:
    """Progress of rebuilding the state from the changelogs: totals, and what is left of them."""

    records: int
    records_left: int
    partitions: int
    partitions_left: int
    records_per_s: float = 0.0

    @property
    def share(self) -> float:
        """The share of records that is rebuilt, 0 to 1."""
        return 1.0 - self.records_left / self.records if self.records else 1.0


@dataclass
class EngineStats:
    """Counters of the engine since the worker started; ``records`` is by topic."""

    records: dict[str, int] = field(default_factory=dict)
    batches: int = 0
    checkpoints: int = 0
    checkpoint_failures: int = 0
    stale_batches: int = 0
    lost_records: int = 0
    isolated_records: int = 0
