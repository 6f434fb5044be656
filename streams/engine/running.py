"""A job at work: where it stands between two checkpoints."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from streams.engine.stage import Job, SourcePartition, Stage


@dataclass
class Running:
    """A job and where it stands between snapshots.

    ``offset`` is the last applied one, ``sequence`` the number of the last
    checkpoint. ``session`` says which seek its batches must come after,
    ``fresh`` that none came yet, ``sought_again`` that the first began too late
    once. ``orphans`` are keys that must be removed before the next head is
    written. Once ``revoked`` it writes nothing more.
    """

    stage: Stage
    source: SourcePartition
    job: Job
    offset: int
    sequence: int
    generation: int
    session: int = -1
    checkpointed_at: float = 0.0
    writing: asyncio.Task[None] | None = None
    revoked: bool = False
    fresh: bool = True
    sought_again: bool = False
    without_head: bool = False
    orphans: list[bytes] = field(default_factory=list)
    progressed_at: float = field(default_factory=time.monotonic)


@dataclass
class EngineStats:
    """What the engine counted since the worker started."""

    records: dict[str, int] = field(default_factory=dict)
    batches: int = 0
    checkpoints: int = 0
    checkpoint_failures: int = 0
    stale_batches: int = 0
    offset_gaps: int = 0
    lost_records: int = 0
