"""How far the state is rebuilt is told while it is."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from faust.types import TP

from streams.engine.faust_worker import Engine

FIRST, SECOND = TP("ingest-changelog", 0), TP("ingest-changelog", 1)


def engine(recovery: Any, *, in_recovery: bool = True) -> Engine:
    app = SimpleNamespace(in_recovery=in_recovery, tables=SimpleNamespace(recovery=recovery))
    return Engine(app, None, None, None)


def test_recovery_progress() -> None:
    """The progress of recovery has records, partitions and their share."""
    recovery = SimpleNamespace(
        active_highwaters={FIRST: 99, SECOND: 9}, active_offsets={FIRST: 49, SECOND: 9}
    )
    progress = engine(recovery).recovery
    assert progress is not None
    assert (progress.records, progress.records_left) == (110, 50)
    assert (progress.partitions, progress.partitions_left) == (2, 1)
    assert progress.share == 60 / 110
    assert engine(recovery, in_recovery=False).recovery is None


def test_unread_changelog_is_all_left() -> None:
    """A changelog whose position is not known yet is counted as all left to read."""
    recovery = SimpleNamespace(
        active_highwaters={FIRST: 99, SECOND: None}, active_offsets={FIRST: None, SECOND: None}
    )
    progress = engine(recovery).recovery
    assert progress is not None
    assert (progress.records, progress.records_left) == (100, 100)
    assert (progress.partitions, progress.partitions_left) == (1, 1)


def test_the_pace_is_measured_while_it_lasts() -> None:
    recovery = SimpleNamespace(active_highwaters={FIRST: 99}, active_offsets={FIRST: 9})
    worker = engine(recovery)

    async def recover() -> None:
        narrating = asyncio.create_task(worker.narrate_recovery(every_s=0.02))
        await asyncio.sleep(0.03)
        recovery.active_offsets[FIRST] = 49
        await asyncio.sleep(0.02)
        assert worker.recovery_records_per_s == 40 / 0.02
        worker.app.in_recovery = False
        await asyncio.sleep(0.04)
        assert worker.recovery_records_per_s == 0.0
        narrating.cancel()

    asyncio.run(recover())
