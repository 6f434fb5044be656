"""The engine of a worker with its two stages."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from faust.types import TP

from models.campaigns.campaign_change import Changes
from models.events import SOURCE_KINDS
from models.kpi.user_catalogue import KpiBook
from models.money.exchange_rates import Rates
from models.names import NameBook
from streams.alerting.judge import AlertJudge
from streams.alerting.rules.registry import RuleBook
from streams.alerting.usual.local_clock import LocalClock
from streams.assembly.calendar import special_days_of
from streams.assembly.ingest import customer_context, ingest_rules
from streams.engine import faust_worker
from streams.engine.contracts import Saved, SourcePartition
from streams.engine.faust_adapter.transport import BatchThread
from streams.engine.faust_worker import Engine, EngineOptions
from streams.engine.group_members import MemberFile
from streams.ingest import stage as ingest
from streams.ingest.registry.campaign_index import CampaignIndex
from streams.kpis import stage as kpis
from streams.kpis.calculation.campaign_budgets import CampaignBudgets
from streams.kpis.calculation.kpi_calculator import KpiCalculator
from streams.kpis.coverage.coverage import Sources
from streams.kpis.job import KpiJob, Topics
from streams.kpis.output_records import values_encoder
from streams.kpis.storage.disk_cache import DiskCache
from streams.kpis.windows.campaign_timeline import CampaignTimeline
from streams.kpis.windows.definitions import Definitions
from streams.settings import Settings


def build(
    settings: Settings,
    *,
    book: KpiBook,
    names: NameBook,
    rules: RuleBook,
    campaigns: CampaignIndex,
    changes: Changes,
    rates: Rates,
) -> Engine:
    """Build the engine, without connecting to anything.

    Args:
        settings: the settings of the worker.
        book: own measurements and KPIs.
        names: the defined channels, regions and segments.
        rules: the alert rules, with names as they are shown.
        campaigns: the defined campaigns; a background task adds those of the registry.
        changes: the changes of campaigns, likewise.
        rates: the exchange rates, likewise.

    Raises:
        ConfigError: a certificate or password file can't be read.
    """
    kinds = dict(zip(settings.source_topics, SOURCE_KINDS, strict=True))
    ingest_stage = ingest.stage(
        kinds=kinds,
        partitions=settings.partitions,
        rules=ingest_rules(settings, names, custom=book.custom),
        campaigns=campaigns,
        rates=rates,
        customers=customer_context(settings),
        checkpoint_interval_s=settings.checkpoint_interval_s,
    )
    sources = Sources(
        expected=[(topic, number) for topic in kinds for number in range(settings.partitions)],
        kinds=kinds,
        silent_after_ms=round(settings.silent_after_s * 1000),
    )
    definitions = Definitions(
        calculator=KpiCalculator(book.catalogue, book.coefficients),
        day=settings.business_day,
        timeline=CampaignTimeline(campaigns, changes, day=settings.business_day),
        budgets=CampaignBudgets(campaigns.get, rates=rates, day=settings.business_day),
        largest=book.largest.by_kind,
        summed=book.exported_kinds() | {rule.scope for rule in rules.rules},
        customer_days=settings.customer_days,
    )
    job_topics = Topics(
        source=SourcePartition(settings.reports_topic, 0),
        alerts=settings.alerts_topic,
        dead_letters=settings.dead_letters_topic,
        encode_values=values_encoder(settings.values_topic) if settings.publish_values else None,
    )

    special_days = special_days_of(settings)

    def new_kpi_job(saved: Saved | None) -> KpiJob:
        return KpiJob(
            sources=sources,
            definitions=definitions,
            judge=AlertJudge(
                rules,
                catalogue=book.catalogue,
                lag_limit_s=settings.lag_alert_s,
                campaign_of=campaigns.get,
                currency=settings.currency,
                clock=LocalClock(definitions.day, special_days.of),
                changes=changes,
            ),
            topics=job_topics,
            spill=DiskCache(spill_file(settings)),
            saved=saved,
        )

    kpis_stage = kpis.stage(
        reports_topic=settings.reports_topic,
        checkpoint_interval_s=settings.kpis_checkpoint_interval_s,
        new_job=new_kpi_job,
    )
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
        [ingest_stage, kpis_stage],
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
