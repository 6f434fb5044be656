"""Sets a record aside that makes a job fail, instead of failing on it for ever.

A job whose `apply` raised may have taken a part of the batch: its state is
given up and opened again from the last checkpoint. The records of the batch
are then applied one by one, which shows the culprit; the job is opened once
more, and skips it as a dead letter. One record that fails costs two openings.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from streams.engine.contracts import BesideRecordsError, SourcePartition
from streams.engine.process_fence import end_process
from streams.engine.runtime.running_job import EngineStats, RunningJob

log = logging.getLogger(__name__)

LIMIT = 50
"""So many records set aside of so many offsets are no exceptions but a fault of the stage."""
LIMIT_OFFSETS = 5_000


@dataclass(slots=True)
class _Suspicion:
    """Offsets up to ``last`` are applied one by one; ``culprits`` are skipped."""

    last: int
    culprits: dict[int, str] = field(default_factory=dict)


class Isolation:
    """Applies batches, and isolates the records on which a job fails.

    Args:
        take: gives records to a job and has it do what follows.
        reopen: opens a job again from its last checkpoint.
        stats: counts the records that were set aside.
    """

    def __init__(
        self,
        *,
        take: Callable[[RunningJob, Sequence[Any]], Awaitable[None]],
        reopen: Callable[[RunningJob], Awaitable[None]],
        stats: EngineStats,
    ) -> None:
        self._take = take
        self._reopen = reopen
        self._stats = stats
        self._suspicions: dict[SourcePartition, _Suspicion] = {}
        self._found: dict[SourcePartition, deque[int]] = {}

    async def apply(self, running: RunningJob, records: Sequence[Any]) -> bool:
        """Apply the records; False if the job failed and was opened again."""
        source = running.source
        suspicion = self._suspicions.get(source)
        if suspicion is None or records[0].offset > suspicion.last:
            if suspicion is not None and running.saved_offset >= suspicion.last:
                del self._suspicions[source]
            try:
                await self._take(running, records)
            except BesideRecordsError as error:
                _end(running, error)
            except Exception:
                first, last = records[0].offset, records[-1].offset
                log.exception("%s[%d] failed in offsets %d to %d", *source, first, last)
                # Culprits after the last checkpoint will be met again.
                self._suspicions.setdefault(source, _Suspicion(last)).last = last
                await self._reopen(running)
                return False
            return True
        for record in records:
            if not await self._apply_one(running, record, suspicion):
                await self._reopen(running)
                return False
        return True

    async def _apply_one(self, running: RunningJob, record: Any, suspicion: _Suspicion) -> bool:
        why = suspicion.culprits.get(record.offset)
        if why is not None:
            running.job.skip(record, why=why)
            running.offset = record.offset
            return True
        try:
            await self._take(running, [record])
        except BesideRecordsError as error:
            _end(running, error)
        except Exception as error:
            log.exception("%s[%d] fails on offset %d", *running.source, record.offset)
            self._accuse(running.source, record.offset, suspicion, error=error)
            return False
        return True

    def _accuse(
        self, source: SourcePartition, offset: int, suspicion: _Suspicion, *, error: Exception
    ) -> None:
        found = self._found.setdefault(source, deque(maxlen=LIMIT))
        if len(found) == LIMIT and offset - found[0] < LIMIT_OFFSETS:
            end_process(
                "%s[%d]: %d records since offset %d made their stage fail; this is a fault of the "
                "stage and not of single records, so the worker ends",
                *(*source, LIMIT, found[0]),
            )
        found.append(offset)
        self._stats.isolated_records += 1
        # The type only: the message could hold the record's values.
        suspicion.culprits[offset] = type(error).__name__


def _end(running: RunningJob, error: BesideRecordsError) -> NoReturn:
    log.error("%s[%d]: a fault of the stage", *running.source, exc_info=error)
    end_process("%s[%d]: %s; this is a fault of the stage", *running.source, error)
