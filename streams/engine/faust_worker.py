"""Builds and runs the Faust app: batching transport, stages with their tables, housekeeping."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faust
from faust.auth import SASLCredentials, SSLCredentials
from faust.types import TP

from streams.broker import Broker
from streams.engine import memory
from streams.engine.broker_clock import BrokerClock
from streams.engine.contracts import SourcePartition, Stage
from streams.engine.faust_adapter.table_store import REBUILDING_STORE
from streams.engine.faust_adapter.transport import BatchThread, BatchTransport
from streams.engine.group_members import MemberFile
from streams.engine.process_fence import PauseFence, end_process
from streams.engine.runtime.job_runner import JobRunner
from streams.engine.runtime.running_job import RecoveryProgress
from streams.engine.runtime.watchdog import Watchdog
from streams.engine.topics import CHANGELOG_CONFIG, LARGEST_INTERNAL_RECORD

log = logging.getLogger(__name__)

GC_THRESHOLD = (50_000, 20, 100)
"""Batches create many short-lived objects and hardly any reference cycles."""

STOP_S = 4.5
"""Longest wait of a stop for the broker, in s; an idempotent producer would wait for ever.

Records of which nothing could be written are read again at the next start.
"""
LAST_CHECKPOINT_S = 2.5
"""The part of `STOP_S` that the last checkpoints may take."""
COMMIT_S = 0.5
"""The part of `STOP_S` that the commit of their offsets may take; it is for lag tools only."""

METADATA_AGE_MS = 15_000
"""Age at which metadata is read again, in ms: how soon a worker notices a changed topic."""

_STORE_OPTIONS = {
    "block_cache_size": 8 << 20,
    "write_buffer_size": 8 << 20,
    "max_write_buffer_number": 2,
}
"""Options of RocksDB. Faust's defaults hold 2 GiB of cache for each partition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """Settings of the deployment that the engine needs.

    Attributes:
        app_id: the consumer group, and prefix of the changelog topics.
        clock_topic: a topic with ``LogAppendTime`` that every worker writes to. Its
            acknowledgements carry the broker's time.
        instance_id: name of this worker, stable over restarts.
        broker: how Kafka is reached.
        data_dir: folder of the local table store.
        poll_records: most records in one fetch.
        session_timeout_s: silence after which the group replaces a worker, in s.
        watchdog_s: time without progress after which a source with waiting records is stuck,
            in s.
        replication_factor: copies of each topic.
    """

    app_id: str
    clock_topic: str
    instance_id: str
    broker: Broker
    data_dir: Path
    poll_records: int
    session_timeout_s: float
    watchdog_s: float
    replication_factor: int


StartOffsets = Callable[[set[TP], BatchThread], Any]


@dataclass(slots=True)
class Engine:
    """A Faust app, the runner of its stages, and the broker's clock."""

    app: Any
    runner: JobRunner
    fence: PauseFence
    clock: BrokerClock
    recovery_records_per_s: float = 0.0

    @property
    def phase(self) -> str:
        """Phase of the worker: ``starting``, ``recovering`` or ``running``."""
        if self.app.in_recovery:
            return "recovering"
        return "starting" if self.app.rebalancing or not self.runner.running else "running"

    @property
    def recovery(self) -> RecoveryProgress | None:
        """Progress of rebuilding the state; None unless it is being rebuilt."""
        if not self.app.in_recovery:
            return None
        recovery = self.app.tables.recovery
        ends, read = _known(recovery.active_highwaters), _known(recovery.active_offsets)
        remaining = {tp: max(0, end - max(read.get(tp, -1), -1)) for tp, end in ends.items()}
        records = sum(max(0, end + 1) for end in ends.values())
        return RecoveryProgress(
            records=records,
            records_left=min(records, sum(remaining.values())),
            partitions=len(ends),
            partitions_left=sum(left > 0 for left in remaining.values()),
            records_per_s=self.recovery_records_per_s,
        )

    async def narrate_recovery(self, *, every_s: float = 1.0) -> None:
        """Measure and log how fast the state is rebuilt, for ever."""
        before: int | None = None
        while True:
            await asyncio.sleep(every_s)
            progress = self.recovery
            if progress is None:
                before, self.recovery_records_per_s = None, 0.0
                continue
            if before is not None:
                self.recovery_records_per_s = max(0, before - progress.records_left) / every_s
                log.info(
                    "the state is rebuilt to %.0f %%: %d of %d records, %d of %d partitions, "
                    "%.0f records/s",
                    *(100 * progress.share, progress.records - progress.records_left),
                    *(progress.records, progress.partitions - progress.partitions_left),
                    *(progress.partitions, self.recovery_records_per_s),
                )
            before = progress.records_left


def _known(offsets: Mapping[TP, int | None]) -> dict[TP, int]:
    """Copy offsets that Faust may be changing, without those that it does not know yet (None)."""
    return {tp: offset for tp, offset in dict(offsets).items() if offset is not None}


def build(
    options: EngineOptions,
    stages: Sequence[Stage],
    *,
    start_offsets: StartOffsets,
) -> Engine:
    """Build the Faust app of this worker, without connecting to anything.

    Args:
        options: the deployment.
        stages: the stages to run.
        start_offsets: returns the offsets from which sources without state are read.
    """
    app: Any = faust.App(
        options.app_id,
        broker=f"kafka://{options.broker.servers}",
        broker_credentials=_credentials(options.broker),
        store=REBUILDING_STORE,
        datadir=str(options.data_dir),
        web_enabled=False,
        autodiscover=False,
        cython_optimizations=False,
        processing_guarantee="at_least_once",
        topic_replication_factor=options.replication_factor,
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=0,
        consumer_group_instance_id=options.instance_id,
        consumer_auto_offset_reset="none",
        consumer_metadata_max_age_ms=METADATA_AGE_MS,
        consumer_max_fetch_size=4 << 20,
        broker_max_poll_records=options.poll_records,
        broker_session_timeout=options.session_timeout_s,
        broker_heartbeat_interval=max(0.3, options.session_timeout_s / 10),
        broker_request_timeout=max(30.0, options.session_timeout_s + 5),
        broker_commit_interval=1.0,
        broker_max_poll_interval=300.0,
        producer_compression_type="lz4",
        producer_max_request_size=LARGEST_INTERNAL_RECORD,
        producer_acks=-1,
        producer_linger=0,
        stream_wait_empty=False,
        stream_buffer_maxsize=16,
        stream_recovery_delay=0.0,
        worker_redirect_stdouts=False,
    )
    fence = PauseFence(limit_s=options.session_timeout_s)
    clock = BrokerClock()
    runner = JobRunner(app, start_offsets=start_offsets, clock=clock, fence=fence)
    for stage in stages:
        table = app.Table(
            stage.name,
            default=bytes,
            key_type=bytes,
            value_type=bytes,
            partitions=stage.partitions,
            options=dict(_STORE_OPTIONS),
            extra_topic_configs=CHANGELOG_CONFIG,
        )
        runner.add(stage, table)
        _add_agent(app, stage, runner)
    app.batch_topics = runner.topics
    app.resume_sources = runner.resume
    app.broker_clock = clock
    app.member_file = MemberFile(options.data_dir, options.instance_id)
    app.clock_topic = options.clock_topic
    app.transport = BatchTransport(app.conf.broker, app, loop=None)
    _add_housekeeping(app, runner, watchdog=Watchdog(runner, limit_s=options.watchdog_s))
    return Engine(app, runner, fence, clock)


def _credentials(broker: Broker) -> Any:
    """Return the credentials in Faust's form; None without TLS and SASL."""
    context = broker.ssl_context()
    if broker.with_sasl:
        return SASLCredentials(
            username=broker.username,
            password=broker.password,
            ssl_context=context,
            mechanism=broker.mechanism,
        )
    return None if context is None else SSLCredentials(context)


def _add_agent(app: Any, stage: Stage, runner: JobRunner) -> None:
    topic = app.topic(
        *stage.topics,
        key_type=None,
        key_serializer="raw",
        value_type=None,
        value_serializer="raw",
        acks=False,
        partitions=stage.partitions,
        internal=False,
    )

    async def consume(stream: Any) -> None:
        async for event in stream.events():
            message = event.message
            await runner.on_batch(SourcePartition(message.topic, message.partition), event.value)

    app.agent(topic, name=f"{stage.name}-agent")(consume)


def _add_housekeeping(app: Any, runner: JobRunner, *, watchdog: Watchdog) -> None:
    @app.on_partitions_revoked.connect(weak=False)  # type: ignore[untyped-decorator]
    async def on_revoked(sender: Any, revoked: set[TP], **_: Any) -> None:
        del sender
        await runner.on_revoked(revoked)

    @app.on_rebalance_complete.connect(weak=False)  # type: ignore[untyped-decorator]
    async def on_recovered(sender: Any, **_: Any) -> None:
        del sender
        runner.state_is_complete()

    @app.task  # type: ignore[untyped-decorator]
    async def tick() -> None:
        await runner.run()

    @app.task  # type: ignore[untyped-decorator]
    async def watch() -> None:
        await watchdog.run()

    @app.task  # type: ignore[untyped-decorator]
    async def give_memory_back() -> None:
        await memory.keep_giving_back()

    @app.timer(1.0)  # type: ignore[untyped-decorator]
    async def commit() -> None:
        if not app.rebalancing:
            await runner.commit()


async def run(engine: Engine, *, before_start: Callable[[], Any] | None = None) -> None:
    """Run the worker until it is cancelled, then write the last checkpoints.

    Args:
        engine: the worker.
        before_start: awaited before the app starts.
    """
    app = engine.app
    # Objects that exist now stay for good; the garbage collector need not scan them.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLD)
    engine.fence.start()
    if before_start is not None:
        await before_start()
    worker = asyncio.current_task()
    stop_by = None
    try:
        await app.start()
        await app.wait_until_stopped()
        if app.crashed and app.crash_reason is not None:
            raise app.crash_reason
    except asyncio.CancelledError:
        log.info("stopping: writing the last checkpoint")
        if worker is not None:
            worker.uncancel()
        stop_by = time.monotonic() + STOP_S
        await engine.runner.end(within_s=LAST_CHECKPOINT_S)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(engine.runner.commit(), COMMIT_S)
    finally:
        try:
            left_s = STOP_S if stop_by is None else stop_by - time.monotonic()
            await asyncio.wait_for(app.stop(), left_s)
        except TimeoutError:
            end_process(
                "the broker did not answer while this worker stopped; what was not written is "
                "read again at the next start"
            )
