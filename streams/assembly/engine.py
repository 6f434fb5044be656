"""The engine of a worker with its two stages."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from faust.types import TP

from streams.alerting.rules.registry import RuleBook
from streams.assembly.configuration import Configuration
from streams.assembly.ingest import customer_context
from streams.assembly.stages import ingest_stage, kpis_stage
from streams.engine import faust_worker
from streams.engine.contracts import SourcePartition
from streams.engine.faust_adapter.transport import BatchThread
from streams.engine.faust_worker import Engine, EngineOptions
from streams.engine.group_members import MemberFile
from streams.kpis.job import KpiJob
from streams.kpis.storage.disk_cache import DiskCache
from streams.settings import Settings


def build(settings: Settings, configured: Configuration, rules: RuleBook) -> Engine:
    """Build the engine, without connecting to anything.

    Args:
        settings: the settings of the worker.
        configured: the KPIs, names, campaigns and rates; a background task adds the campaigns,
            changes and rates of the registry.
        rules: the alert rules, with names as they are shown.

    Raises:
        ConfigError: a certificate or password file can't be read.
    """
    stages = [
        ingest_stage(settings, configured, customers=customer_context(settings)),
        kpis_stage(settings, configured, rules, new_spill=lambda: DiskCache(spill_file(settings))),
    ]
    options = EngineOptions(
        app_id=settings.app_id,
        clock_topic=settings.reports_topic,
        instance_id=settings.instance_id,
        broker=settings.broker,
        data_dir=settings.data_dir,
        poll_records=settings.poll_records,
        session_timeout_s=settings.session_timeout_s,
        watchdog_s=settings.watchdog_s,
        replication_factor=settings.replication_factor,
    )
    return faust_worker.build(
        options,
        stages,
        start_offsets=_start_offsets(settings),
    )


def spill_file(settings: Settings) -> Path:
    """Return the file to which the KPI stage of this worker spills buckets."""
    return settings.data_dir / f"cold-{settings.instance_id}.sqlite"


def local_state(data_dir: Path) -> list[Path]:
    """Return what workers keep in their data folder: tables, spilled buckets, group memberships.

    Other files there are not the monitor's.
    """
    tables = data_dir / "v1"
    files = [*data_dir.glob("cold-*.sqlite*"), *data_dir.glob(MemberFile.PATTERN)]
    return [*([tables] if tables.exists() else []), *sorted(files)]


def kpi_job(engine: Engine, settings: Settings) -> KpiJob | None:
    """Return the job that computes the KPIs; None if another worker has it."""
    running = engine.runner.running.get(SourcePartition(settings.reports_topic, 0))
    return running.job if running is not None and isinstance(running.job, KpiJob) else None


def _start_offsets(settings: Settings) -> faust_worker.StartOffsets:
    """Return a function that finds, for partitions without state, the offset to start from."""

    async def find(tps: set[TP], thread: BatchThread) -> Mapping[TP, int]:
        first = await thread.earliest_offsets(*tps)
        end = await thread.highwaters(*tps)
        sources = {tp for tp in tps if tp.topic in settings.source_topics}
        if settings.start_from == "earliest":
            return dict(first)
        if settings.start_from == "latest":
            return {tp: end[tp] if tp in sources else first[tp] for tp in tps}
        start_ms = _start_time_ms(settings, now_ms=int(time.time() * 1000))
        found = await thread.offsets_for_time(dict.fromkeys(sources, start_ms)) if sources else {}
        return {
            tp: (found[tp].offset if found.get(tp) else end[tp]) if tp in sources else first[tp]
            for tp in tps
        }

    return find


def _start_time_ms(settings: Settings, *, now_ms: int) -> int:
    if settings.start_from == "business-day":
        return settings.business_day.start_of(now_ms)
    return int(datetime.fromisoformat(settings.start_from).astimezone(UTC).timestamp() * 1000)
