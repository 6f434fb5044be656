"""Sets a record aside that makes a job fail, so that the job does not fail on it for ever.

A job that raised may have applied a part of the batch. Its state is dropped, and the job is
opened again from its last checkpoint. The records of the batch are then applied one by one,
which finds the culprit. The job is opened once more, and skips the culprit as a dead letter.
One record that fails costs two openings.

Example: the last checkpoint is at offset 99, and the job fails on record 102::

    apply 100 to 103 at once                 fails: open again after 99
    apply 100, 101 and 102 one by one        fails on 102: open again after 99
    apply 100 and 101, skip 102, apply 103   102 is a dead letter
    apply 104 to 107 at once                 later batches are applied whole again
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
"""Most records that may be set aside within `LIMIT_OFFSETS` offsets.

With more of them the stage is at fault and not single records, and the worker ends.
"""
LIMIT_OFFSETS = 5_000


@dataclass(slots=True)
class _Suspicion:
    """Records that are applied one by one.

    Attributes:
        last: the last offset of them.
        culprits: offsets that are skipped, each with the type of its error.
    """

    last: int
    culprits: dict[int, str] = field(default_factory=dict)


class Isolation:
    """Applies batches, and isolates the records on which a job fails.

    Args:
        take: gives records to a job, and lets it work on them.
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
        """Apply the records; return False if the job failed and was opened again."""
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
                # Keep the known culprits: those after the last checkpoint are read again.
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
        # Only the type: the message may contain values of the record.
        suspicion.culprits[offset] = type(error).__name__


def _end(running: RunningJob, error: BesideRecordsError) -> NoReturn:
    log.error("%s[%d]: a fault of the stage", *running.source, exc_info=error)
    end_process("%s[%d]: %s; this is a fault of the stage", *running.source, error)
