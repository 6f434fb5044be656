"""Assembles a worker from its parts; no other module does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from kafka.errors import KafkaError

from models.alerts import Alert
from streams import config
from streams.alerting.links import Links
from streams.assembly import configuration, topics
from streams.assembly.engine import build as build_engine
from streams.assembly.engine import kpi_job
from streams.delivery.alertmanager import AlertmanagerDelivery
from streams.engine import faust_worker
from streams.engine.faust_worker import Engine
from streams.engine.group_members import MemberFile, members
from streams.engine.process_fence import end_process
from streams.engine.topics import admin
from streams.errors import ConfigError
from streams.export.page.redis_share import LiveShare
from streams.export.report_queries import ReportQueries
from streams.export.web import WebServer
from streams.export.worker_view import WorkerView
from streams.ingest.registry.reader import RegistryReader
from streams.settings import Settings

log = logging.getLogger(__name__)

NARRATED_EVERY_S = 5.0
MANY_WINDOWS = 1_000
"""With more windows waiting to be closed, the progress is logged."""


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
            beside(self._narrate_history(), "telling the progress of history")
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

    async def _narrate_history(self) -> None:
        """Log how far history is read while many windows are waiting or days pass, for ever."""
        was_reading = False
        while True:
            await asyncio.sleep(NARRATED_EVERY_S)
            job = kpi_job(self.engine, self.settings)
            view = None if job is None else job.view
            if view is None:
                continue
            progress = view.progress
            reading = view.health.reading_history or progress.windows_waiting > MANY_WINDOWS
            if reading and progress.history is not None:
                log.info("reading history: %s", progress.history.text)
                was_reading = True
            elif was_reading and not (view.health.behind or progress.windows_waiting):
                closed = datetime.fromtimestamp(view.frontier_ms / 1000, self.settings.zone)
                log.info(
                    "history is read: windows up to %s are closed", f"{closed:%d %b %Y %H:%M %Z}"
                )
                was_reading = False
            elif not view.frontier_ms and view.health.behind:
                log.info("reading history: %d events to read", view.health.behind)


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
    configured = configuration.load(settings)
    rules = configured.rules(settings.rules_file)
    book, campaigns = configured.book, configured.campaigns
    scorecards = config.load_scorecards(settings.scorecards_file, catalogue=book.catalogue).shown(
        configured.as_shown
    )
    _refuse_unwritable(settings.data_dir)
    if made := topics.ensure(settings):
        log.warning(
            "created the topics %s, which were missing", ", ".join(one.name for one in made)
        )
    _warn_of_displaced(settings)
    engine = build_engine(settings, configured, rules)
    delivery: AlertmanagerDelivery | None = None

    def view() -> WorkerView:
        job = kpi_job(engine, settings)
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
    registry = configuration.registry_reader(settings, configured)
    return Monitor(settings, engine, web, registry, delivery)


def _warn_of_displaced(settings: Settings) -> None:
    """Warn if another worker seems to run under the instance id of this one.

    The broker gives its place to this worker, and it ends itself
    (`streams.engine.faust_adapter.instance_fencing`).
    """
    try:
        with admin(settings.broker) as client:
            present = members(client, settings.app_id)
    except KafkaError as error:
        log.debug("the group can't be described: %s", type(error).__name__)
        return
    other = MemberFile(settings.data_dir, settings.instance_id).other_worker(present)
    if other is not None:
        log.warning(
            "another worker has the instance id %s: %s; this one takes its place, and it ends if "
            "it still runs; give each worker a KPI_INSTANCE_ID of its own",
            *(settings.instance_id, other),
        )


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
    job = kpi_job(engine, settings)
    return None if job is None or job.view is None else list(job.view.alerts)
