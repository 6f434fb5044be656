"""A record that makes a job fail is found and set aside; nothing else is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.engine.contracts import SourcePartition
from streams.engine.runtime import poison_records
from streams.engine.runtime.poison_records import Isolation
from streams.engine.runtime.running_job import EngineStats

SOURCE = SourcePartition("clicks", 0)


class FailingJob:
    """A job that fails on some offsets, after it took them."""

    def __init__(self, poison: set[int]) -> None:
        self.poison = poison
        self.applied: list[int] = []
        self.skipped: list[int] = []

    def apply(self, records: Sequence[Any]) -> None:
        for record in records:
            self.applied.append(record.offset)
            if record.offset in self.poison:
                raise ValueError(record.value)

    def skip(self, record: Any, *, why: str) -> None:
        assert why == "ValueError"
        self.skipped.append(record.offset)


class Worker:
    """Reads offsets from a checkpoint on, in batches, and reopens jobs that failed."""

    def __init__(self, poison: set[int], *, count: int, batch: int, saved: int) -> None:
        self.poison = poison
        self.stats = EngineStats()
        self.isolation = Isolation(take=self.take, reopen=self.reopen, stats=self.stats)
        self.records = [SimpleNamespace(offset=number, value="secret") for number in range(count)]
        self.batch = batch
        self.saved = saved
        self.openings = 0
        self.at = 0
        self.running = self.opened()

    def opened(self) -> Any:
        job = FailingJob(self.poison)
        job.applied = list(range(self.at))
        return SimpleNamespace(source=SOURCE, job=job, saved_offset=self.at - 1)

    async def take(self, running: Any, records: Sequence[Any]) -> None:
        running.job.apply(records)

    async def reopen(self, running: Any) -> None:
        assert running is self.running
        self.openings += 1
        self.at = min(self.saved, self.at)
        self.running = self.opened()

    async def run(self) -> None:
        while self.at < len(self.records):
            records = self.records[self.at : self.at + self.batch]
            if await self.isolation.apply(self.running, records):
                self.at += len(records)


@given(
    poison=st.sets(st.integers(0, 59), max_size=6),
    batch=st.integers(1, 20),
    saved=st.integers(0, 59),
)
def test_exactly_the_records_that_fail_are_set_aside(
    poison: set[int], batch: int, saved: int
) -> None:
    # What lies before the checkpoint was applied, so it can't be poison.
    poison = {offset for offset in poison if offset >= saved}
    worker = Worker(poison, count=60, batch=batch, saved=saved)
    asyncio.run(worker.run())
    assert worker.running.job.skipped == sorted(poison)
    assert worker.running.job.applied == [n for n in range(60) if n not in poison]
    assert worker.stats.isolated_records == len(poison)
    assert worker.openings <= 2 * len(poison)


def test_a_stage_that_fails_again_and_again_ends_the_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []

    def end(why: str, *details: object) -> None:
        said.append(why % details)
        raise SystemExit

    monkeypatch.setattr(poison_records, "end_process", end)
    worker = Worker(set(range(100)), count=100, batch=100, saved=0)
    with pytest.raises(SystemExit):
        asyncio.run(worker.run())
    assert "50 records since offset 0 made their stage fail" in said[0]
    assert "secret" not in said[0]
