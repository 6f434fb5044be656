"""A checkpoint is written in one order, whatever is slow or fails."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import OutOfOrderSequenceNumber, RecordListTooLargeError
from hypothesis import given
from hypothesis import strategies as st

from streams.engine.contracts import (
    NotYetError,
    Output,
    ServiceAwayError,
    Snapshot,
    SourcePartition,
    Stage,
)
from streams.engine.process_fence import PauseFence
from streams.engine.runtime import checkpoint_writer
from streams.engine.runtime.checkpoint_writer import AckedPrefix, CheckpointWriter
from streams.engine.runtime.running_job import EngineStats, RunningJob
from streams.engine.state_log import StateLog
from tests.support.process_end import ProcessEndedError

SOURCE = SourcePartition("clicks", 0)


class FakeJob:
    """A job whose snapshot has a bit of everything."""

    dirty = True
    pending = 1
    whole = True
    large = False

    def snapshot(self) -> Snapshot:
        return Snapshot(
            state=b"s",
            segments=[(b"expired", None), (b"added", b"v")],
            early_outputs=[Output(topic="early", value=b"")],
            outputs=[Output(topic="report", value=b"")],
        )


class World:
    """A producer and a table that note what happens to them, in order."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.store: dict[bytes, bytes] = {
            b"segments/clicks/2/expired": b"old",
            b"head/clicks/2": b"x",
        }
        self.persisted: list[int] = []
        self.failures = 0
        self.on_head: Any = None
        self.producer = SimpleNamespace(send=self.send)
        self.table = SimpleNamespace(
            put=self.store.__setitem__, delete=lambda key: self.store.pop(key, None)
        )
        data = SimpleNamespace(
            _db_for_partition=lambda _: self.table,
            persisted_offset=lambda _: 6,
            partition_path=lambda _: "store",
            set_persisted_offset=lambda _, offset: self.persisted.append(offset),
        )
        topic = SimpleNamespace(get_topic_name=lambda: "log")
        self.stats = EngineStats()
        self.checkpoints = CheckpointWriter(
            SimpleNamespace(producer=self.producer),
            {"t": SimpleNamespace(changelog_topic=topic, data=data)},
            fence=PauseFence(limit_s=60),
            stats=self.stats,
        )
        stage = Stage(
            name="t",
            topics=("clicks",),
            partitions=1,
            checkpoint_interval_s=1,
            open_job=None,
            records_at_once=1,
        )
        log = StateLog(SOURCE, 3, sequence=4, written={b"expired": 2}, obsolete=[b"head/clicks/2"])
        self.running = RunningJob(stage, FakeJob(), log, 5, 1)

    async def send(self, topic: str, key: bytes | None, value: bytes | None, *_: object) -> Any:
        name = topic if topic != "log" else (key or b"").decode() + ("" if value else " removed")
        if self.failures:
            self.failures -= 1
            raise ConnectionError("broker is away")
        self.events.append(name)
        if name.startswith("head/") and self.on_head is not None:
            self.on_head()
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        done.set_result(SimpleNamespace(topic_partition=None, offset=len(self.events)))
        return done

    async def write(self) -> None:
        self.checkpoints.start(self.running)
        assert self.running.writing is not None
        await self.running.writing


ORDER = [
    "early",
    "segments/clicks/3/added",
    "head/clicks/3",
    "report",
    "head/clicks/2 removed",
    "segments/clicks/2/expired removed",
]


def test_a_checkpoint_is_written_in_one_order() -> None:
    world = World()
    asyncio.run(world.write())
    assert world.events == ORDER
    assert set(world.store) == {b"segments/clicks/3/added", b"head/clicks/3"}
    assert world.running.writing is None


def test_checkpoint_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint is written in the same order after the broker did not answer."""
    monkeypatch.setattr(checkpoint_writer, "RETRY_S", 0.01)
    world = World()
    world.failures = 3
    asyncio.run(world.write())
    assert world.events == ORDER
    assert world.stats.checkpoint_failures == 3


def test_revoked_job_writes_nothing() -> None:
    """A job whose partition was revoked sends and stores nothing more."""
    world = World()

    def revoke() -> None:
        world.running.revoked = True

    world.on_head = revoke
    asyncio.run(world.write())
    assert world.events == ORDER[:3]
    assert b"head/clicks/3" not in world.store


class UnsettledJob(FakeJob):
    """A job whose snapshot needs an answer; what its callers meet first is given."""

    def __init__(self, *meets: Exception) -> None:
        self.meets = list(meets)
        self.waited: list[str] = []
        self.running: RunningJob | None = None

    def snapshot(self) -> Any:
        return SimpleNamespace(settle=self.settle)

    async def settle(self) -> Snapshot:
        assert self.running is not None
        self.waited.append(self.running.waits_for)
        if self.meets:
            raise self.meets.pop(0)
        return super().snapshot()


def unsettled_world(monkeypatch: pytest.MonkeyPatch, *meets: Exception) -> tuple[World, Any]:
    monkeypatch.setattr(checkpoint_writer, "RETRY_S", 0.01)
    world, job = World(), UnsettledJob(*meets)
    job.running = world.running
    world.running.job = job
    return world, job


def test_checkpoint_waits_for_its_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A pending checkpoint waits until its service answers, and shows what it waits for."""
    away = ServiceAwayError("Redis does not answer")
    world, job = unsettled_world(monkeypatch, NotYetError(), away, away)
    world.running.progressed_at = 0.0
    asyncio.run(world.write())
    assert job.waited == ["", "", "Redis does not answer", "Redis does not answer"]
    assert world.running.waits_for == ""
    assert world.running.progressed_at > 0, "the watchdog takes waiting for a hang"
    assert world.events == ORDER


def test_job_revoked_while_waiting_writes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A job that is revoked while its checkpoint is pending writes nothing."""
    world, job = unsettled_world(monkeypatch, *[ServiceAwayError("away")] * 1_000)

    async def revoke() -> None:
        world.checkpoints.start(world.running)
        await asyncio.sleep(0.05)
        world.running.revoked = True
        await world.checkpoints.settled(world.running)

    asyncio.run(revoke())
    assert job.waited
    assert world.events == []
    assert world.running.writing is None


def test_a_snapshot_that_can_t_be_made_ends_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    world, _ = unsettled_world(monkeypatch, ZeroDivisionError())
    with pytest.raises(ProcessEndedError):
        asyncio.run(world.write())
    assert world.events == []


def test_a_handover_writes_what_is_dirty() -> None:
    world = World()
    asyncio.run(world.checkpoints.flush([world.running], within_s=5))
    assert world.events == ORDER


@given(st.permutations(range(10, 20)), st.sets(st.integers(10, 19)))
def test_store_holds_up_to_the_first_hole(order: list[int], by_others: set[int]) -> None:
    """A store claims the changelog only up to the first offset that was not acknowledged."""
    prefix = AckedPrefix(9)
    for offset in order:
        if offset not in by_others:
            prefix.record(offset)
    assert prefix.last == min(by_others, default=20) - 1


def test_a_hole_that_is_never_filled_costs_no_memory() -> None:
    prefix = AckedPrefix(9)
    for offset in range(11, 11 + 2 * AckedPrefix.MOST_BEYOND):
        assert prefix.record(offset) == 9
    # What is kept of offsets beyond a hole shows in no answer, only in memory.
    assert not prefix._beyond


@pytest.mark.parametrize("error", [OutOfOrderSequenceNumber, RecordListTooLargeError])
def test_what_no_retry_mends_ends_the_worker(error: type[Exception]) -> None:
    world = World()

    async def refuse(*_: object) -> Any:
        raise error

    world.producer.send = refuse
    with pytest.raises(ProcessEndedError):
        asyncio.run(world.write())


def test_a_store_that_can_t_be_written_ends_the_worker() -> None:
    world = World()

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    world.table.put = world.table.delete = full
    with pytest.raises(ProcessEndedError):
        asyncio.run(world.write())
    assert "head/clicks/3" not in world.events


def test_a_handover_does_not_wait_in_a_circle() -> None:
    """A checkpoint of orders in progress waits for that of clicks, which the handover begins."""
    world = World()
    settled = asyncio.Event()

    class Clicks(FakeJob):
        def snapshot(self) -> Snapshot:
            settled.set()
            return super().snapshot()

    class Pending:
        async def settle(self) -> Snapshot:
            if not settled.is_set():
                raise NotYetError
            return FakeJob().snapshot()

    class Orders(FakeJob):
        dirty = False

        def snapshot(self) -> Any:
            return Pending()

    def running(job: Any, kind: str) -> RunningJob:
        log = StateLog(SourcePartition(kind, 0), 3, sequence=4, written={}, obsolete=[])
        return RunningJob(world.running.stage, job, log, 5, 1)

    async def handed_over() -> float:
        orders, clicks = running(Orders(), "orders"), running(Clicks(), "clicks")
        world.checkpoints.start(orders)
        began = asyncio.get_running_loop().time()
        await world.checkpoints.flush([orders, clicks], within_s=30)
        assert orders.writing is None
        assert clicks.writing is None
        return asyncio.get_running_loop().time() - began

    assert asyncio.run(handed_over()) < 10
    assert {"head/orders/3", "head/clicks/3"} <= set(world.events)
