"""Assembles a worker from its parts; no other module does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from faust.types import TP

from models.alerts import Alert, RuleBook
from models.campaigns.campaign_change import Changes
from models.events import SOURCE_KINDS
from models.kpi.measures import NO_CUSTOM, CustomNames
from models.kpi.user_catalogue import KpiBook
from models.money.exchange_rates import Rates
from models.names import AsShown, NameBook
from models.window import DAY_MS
from streams import config
from streams.alerting.judge import AlertJudge
from streams.alerting.links import Links
from streams.delivery.alertmanager import AlertmanagerDelivery
from streams.engine import faust_worker, topics
from streams.engine.contracts import Saved, SourcePartition
from streams.engine.faust_adapter.transport import BatchThread
from streams.engine.faust_worker import Engine, EngineOptions
from streams.engine.process_fence import end_process
from streams.engine.topics import CHANGELOG_CONFIG, LARGEST_INTERNAL_RECORD, TopicSpec
from streams.errors import ConfigError
from streams.export.page.redis_share import LiveShare
from streams.export.report_queries import ReportQueries
from streams.export.web import WebServer
from streams.export.worker_view import WorkerView
from streams.ingest import stage as ingest
from streams.ingest.customers.attribution import AttributionRules
from streams.ingest.customers.pending_checkpoint import CustomerContext
from streams.ingest.customers.redis_store import CustomerStore
from streams.ingest.customers.settlement_progress import SettlementProgress
from streams.ingest.ingest_settings import IngestSettings
from streams.ingest.registry.campaign_index import CampaignIndex
from streams.ingest.registry.reader import RegistryReader
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

log = logging.getLogger(__name__)

NARRATED_EVERY_S = 5.0
MANY_WINDOWS = 1_000
"""With more windows waiting to be closed, the progress is logged."""


def topic_specs(settings: Settings) -> list[TopicSpec]:
    """Return every topic that the monitor reads or writes."""
    internal = {"max.message.bytes": str(LARGEST_INTERNAL_RECORD)}
    by_broker_clock = {"message.timestamp.type": "LogAppendTime"}
    sources = [
        TopicSpec(name=name, partitions=settings.partitions, config=by_broker_clock)
        for name in settings.source_topics
    ]
    return [
        *sources,
        TopicSpec(
            name=settings.reports_topic, partitions=1, config=internal | by_broker_clock, owned=True
        ),
        TopicSpec(name=settings.registry_topic, partitions=1, config={"cleanup.policy": "compact"}),
        TopicSpec(name=settings.dead_letters_topic, partitions=1, config=internal),
        TopicSpec(name=settings.alerts_topic, partitions=1),
        TopicSpec(name=settings.values_topic, partitions=1, config=internal),
        TopicSpec(
            name=settings.changelog_topic(ingest.TABLE),
            partitions=settings.partitions,
            config=CHANGELOG_CONFIG,
            owned=True,
        ),
        TopicSpec(
            name=settings.changelog_topic(kpis.TABLE),
            partitions=1,
            config=CHANGELOG_CONFIG,
            owned=True,
        ),
    ]


def ensure_topics(settings: Settings) -> dict[str, int]:
    """Create missing topics and check the others; return the partitions by topic.

    Raises:
        BrokerUnreachableError: no broker answers.
        TopicError: a topic can't be created or configured, or has another number of partitions.
    """
    return topics.ensure(
        settings.broker, topic_specs(settings), replication_factor=settings.replication_factor
    )


@dataclass(slots=True)
class Monitor:
    """A worker that is assembled and not started yet."""

    settings: Settings
    engine: Engine
    web: WebServer
    registry: RegistryReader
    delivery: AlertmanagerDelivery | None

    async def run(self) -> None:
        """Run until cancelled."""
        background: list[asyncio.Task[None]] = []

        def beside(work: Coroutine[Any, Any, None], what: str) -> None:
            task = asyncio.create_task(work, name=what)
            task.add_done_callback(_end_with_it)
            background.append(task)

        async def before_start() -> None:
            beside(self.engine.narrate_recovery(), "telling the progress of recovery")
            beside(self._narrate_closing(), "telling the progress of closing windows")
            await self.registry.read_all()
            beside(self.registry.follow(), "following the registry")
            if self.delivery is not None:
                beside(self.delivery.run(), "delivering alerts")

        self.web.start()
        if self.settings.web_ready_file is not None:
            self.settings.web_ready_file.write_text(self.web.url)
        log.info("live page and metrics at %s", self.web.url)
        try:
            await faust_worker.run(self.engine, before_start=before_start)
        finally:
            for task in background:
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(*background)
            self.web.stop()

    async def _narrate_closing(self) -> None:
        """Log up to when windows are closed while many are waiting, for ever."""
        while True:
            await asyncio.sleep(NARRATED_EVERY_S)
            job = _kpi_job(self.engine, self.settings)
            view = None if job is None else job.view
            if view is not None and view.progress.windows_waiting > MANY_WINDOWS:
                log.info(
                    "windows are closed up to event time %s: %d to go, %.0f windows/s",
                    datetime.fromtimestamp(view.frontier_ms / 1000, UTC).isoformat(),
                    view.progress.windows_waiting,
                    view.progress.windows_per_second,
                )


def _end_with_it(task: asyncio.Task[None]) -> None:
    """End the process if a background task failed: otherwise the worker would look healthy."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("%s failed", task.get_name(), exc_info=error)
        end_process("%s failed (%s); start it again", task.get_name(), type(error).__name__)


def build(settings: Settings) -> Monitor:
    """Assemble a worker, and create missing topics.

    Raises:
        ConfigError: a configuration file, a certificate or the data folder can't be used.
        BrokerUnreachableError: no broker answers.
        TopicError: a topic can't be created or configured, or has another number of partitions.
    """
    book = config.load_kpis(settings.kpis_file)
    names = config.load_names(settings.names_file)
    defined = config.load_campaigns(settings.campaigns_file).shown(names.as_shown)
    campaigns = CampaignIndex(defined.campaigns)
    as_shown = as_shown_by(names, campaigns)
    rules = config.load_rules(settings.rules_file, catalogue=book.catalogue).shown(as_shown)
    scorecards = config.load_scorecards(settings.scorecards_file, catalogue=book.catalogue).shown(
        as_shown
    )
    rates = Rates(settings.currency, config.load_rates(settings.rates_file).rates)
    changes = Changes()
    _refuse_unwritable(settings.data_dir)
    ensure_topics(settings)
    engine = _engine(
        settings,
        book=book,
        names=names,
        rules=rules,
        campaigns=campaigns,
        changes=changes,
        rates=rates,
    )
    delivery: AlertmanagerDelivery | None = None

    def view() -> WorkerView:
        job = _kpi_job(engine, settings)
        return WorkerView(
            worker=settings.instance_id,
            now_ms=engine.clock.now_ms(),
            clock_skew_s=engine.clock.skew_s(),
            phase=engine.phase,
            recovery=engine.recovery,
            engine=engine.runner.stats,
            sources=len(engine.runner.running),
            kpis=None if job is None else job.view,
            alerts_delivered=0 if delivery is None else delivery.delivered,
            delivery_failures=0 if delivery is None else delivery.failures,
        )

    share = None
    redis_server = settings.redis_server
    if redis_server is not None:
        share = LiveShare(redis_server, app_id=settings.app_id)
    links = Links(boards=settings.boards_url, runbooks=settings.runbooks_url)
    web = WebServer(
        view,
        host=settings.web_host,
        port=settings.web_port,
        exports=ReportQueries(
            day=settings.business_day,
            currency=settings.currency,
            kpis=book,
            rules=rules,
            scorecards=scorecards,
            largest_series_count=settings.largest_series_count,
            lag_alert_s=settings.lag_alert_s,
            campaign_of=campaigns.get,
            links=links,
        ),
        share=share,
    )
    if settings.alertmanager is not None:
        delivery = AlertmanagerDelivery(
            settings.alertmanager,
            links=lambda: replace(links, page=settings.public_url or web.url),
            alerts=lambda: _alerts(engine, settings),
            now_ms=engine.clock.now_ms,
        )
    registry = RegistryReader(
        campaigns, changes, rates, broker=settings.broker, topic=settings.registry_topic
    )
    return Monitor(settings, engine, web, registry, delivery)


def as_shown_by(names: NameBook, campaigns: CampaignIndex) -> AsShown:
    """Return the function that brings names in configuration into the form that is shown."""

    def as_shown(part: str, name: str) -> str:
        return campaigns.as_shown(name) if part == "campaign" else names.as_shown(part, name)

    return as_shown


async def read_campaigns(settings: Settings, campaigns: CampaignIndex) -> None:
    """Add the campaigns that the registry topic defines."""
    registry = RegistryReader(
        campaigns,
        Changes(),
        Rates(settings.currency),
        broker=settings.broker,
        topic=settings.registry_topic,
    )
    await registry.read_once()


def _refuse_unwritable(data_dir: Path) -> None:
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=data_dir):
            pass
    except OSError as error:
        raise ConfigError(
            source="settings",
            where="data_dir",
            why=f"{data_dir} can't be written: {error.strerror}",
        ) from None


def _alerts(engine: Engine, settings: Settings) -> list[Alert] | None:
    job = _kpi_job(engine, settings)
    return None if job is None or job.view is None else list(job.view.alerts)


def _kpi_job(engine: Engine, settings: Settings) -> KpiJob | None:
    running = engine.runner.running.get(SourcePartition(settings.reports_topic, 0))
    return running.job if running is not None and isinstance(running.job, KpiJob) else None


def _engine(
    settings: Settings,
    *,
    book: KpiBook,
    names: NameBook,
    rules: RuleBook,
    campaigns: CampaignIndex,
    changes: Changes,
    rates: Rates,
) -> Engine:
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
            ),
            topics=job_topics,
            spill=DiskCache(settings.data_dir / f"cold-{settings.instance_id}.sqlite"),
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


def customer_store(settings: Settings) -> CustomerStore | None:
    """Return the store of customers; None without Redis, or if ``KPI_CUSTOMERS`` is off.

    Raises:
        ConfigError: a certificate or password file of Redis can't be read.
    """
    server = settings.redis_server
    if server is None or not settings.customers:
        return None
    return CustomerStore(
        server,
        app_id=settings.app_id,
        lookback_ms=round(settings.attribution_lookback_days * DAY_MS),
        kept_s=settings.customers_kept_days * 86_400,
    )


def customer_context(settings: Settings) -> CustomerContext | None:
    """Return what ingest jobs need for customers; None without a store of customers.

    Raises:
        ConfigError: a certificate or password file of Redis can't be read.
    """
    store = customer_store(settings)
    if store is None:
        return None
    return CustomerContext(
        customers=store,
        progress=SettlementProgress(
            horizon_ms=round((settings.correction_horizon_s + settings.allowed_disorder_s) * 1000)
        ),
        rules=AttributionRules(
            lookback_ms=round(settings.attribution_lookback_days * DAY_MS),
            model=settings.attribution_model,
        ),
    )


def ingest_rules(
    settings: Settings, names: NameBook, *, custom: CustomNames = NO_CUSTOM
) -> IngestSettings:
    """Return the settings of ingest, with times in ms.

    Args:
        settings: the settings of the worker.
        names: the defined channels, regions and segments.
        custom: the custom measures that the file of KPIs declares.
    """
    return IngestSettings(
        day=settings.business_day,
        allowed_disorder_ms=round(settings.allowed_disorder_s * 1000),
        correction_horizon_ms=round(settings.correction_horizon_s * 1000),
        dedupe_horizon_ms=round(settings.dedupe_horizon_s * 1000),
        future_tolerance_ms=round(settings.future_tolerance_s * 1000),
        idle_after_ms=round(settings.idle_after_s * 1000),
        largest_record_bytes=settings.largest_record_bytes,
        reports_topic=settings.reports_topic,
        registry_topic=settings.registry_topic,
        dead_letters_topic=settings.dead_letters_topic,
        names=names,
        guests=settings.guests,
        custom=custom,
    )


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
