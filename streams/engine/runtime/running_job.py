"""A job at work: where it stands between two checkpoints."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from streams.engine.contracts import Job, SourcePartition, Stage
from streams.engine.state_log import StateLog

PENDING_LIMIT = 200_000
"""With so many records since the last snapshot, a source waits for its checkpoint."""


@dataclass
class RunningJob:
    """A job and where it stands between snapshots.

    ``offset`` is the last applied one, ``saved_offset`` the last one in a head,
    ``started_after`` the one before the first that this opening was to read.
    ``log`` is where its state stands in the table. ``session`` says which seek
    its batches must come after, ``fresh`` that none came yet, ``sought_again``
    that the first began too late once. ``at_work`` says that its agent has it work
    on records, ``left`` that something of them is left to do. Once ``revoked`` it writes
    nothing more.
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
        """Whether no more is read for now.

        So much waits for the checkpoint that is being written, or the job is still at work
        on what was read.
        """
        waits = self.job.pending > PENDING_LIMIT or self.job.large
        return self.at_work or (self.writing is not None and waits)

    @property
    def checkpoint_due(self) -> bool:
        """Whether a checkpoint is to be written now."""
        if self.writing is not None or not (self.job.dirty or self.without_head):
            return False
        elapsed_s = time.monotonic() - self.checkpointed_at
        return self.job.large or elapsed_s >= self.stage.checkpoint_interval_s


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryProgress:
    """How far the state is rebuilt from the changelogs."""

    records: int
    records_left: int
    partitions: int
    partitions_left: int
    records_per_s: float = 0.0

    @property
    def share(self) -> float:
        """The share that is rebuilt, 0 to 1."""
        return 1.0 - self.records_left / self.records if self.records else 1.0


@dataclass
class EngineStats:
    """What the engine counted since the worker started."""

    records: dict[str, int] = field(default_factory=dict)
    batches: int = 0
    checkpoints: int = 0
    checkpoint_failures: int = 0
    stale_batches: int = 0
    lost_records: int = 0
    isolated_records: int = 0
