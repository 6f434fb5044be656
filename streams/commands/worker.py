"""``kpi-monitor worker``: run a worker until a signal."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from streams import app, settings
from streams.commands.options import (
    AppId,
    CalendarFile,
    CampaignsFile,
    Kafka,
    KpisFile,
    NamesFile,
    ProjectFile,
    RatesFile,
    RulesFile,
    ScorecardsFile,
    project_of,
    with_project,
)
from streams.engine.process_fence import end_process

LATEST_STOP_S = 5.0
"""Seconds after a signal at which the process is ended, if the worker has not ended by then."""


def worker(
    kafka: Kafka = None,
    app_id: AppId = None,
    instance_id: Annotated[
        str | None, typer.Option("--id", help="Name of this worker; keep it over restarts.")
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the local table store.")] = None,
    project: ProjectFile = None,
    rules: RulesFile = None,
    campaigns: CampaignsFile = None,
    names: NamesFile = None,
    calendar: CalendarFile = None,
    kpis: KpisFile = None,
    scorecards: ScorecardsFile = None,
    rates: RatesFile = None,
    host: Annotated[
        str | None, typer.Option(help="Address that the web server listens on.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port of the web server; 0 picks a free one.")
    ] = None,
    start_from: Annotated[
        str | None,
        typer.Option(
            help="Start without saved state: earliest, latest, business-day or an RFC 3339 time."
        ),
    ] = None,
    publish_values: Annotated[
        bool | None,
        typer.Option(
            "--publish-values", help="Write every closed window to the topic of KPI values."
        ),
    ] = None,
) -> None:
    """Run a worker: read events, compute KPIs, export metrics and fire alerts."""
    chosen = settings.load(
        **with_project(
            project_of(project),
            kafka=kafka,
            app_id=app_id,
            instance_id=instance_id,
            data_dir=data_dir,
            rules_file=rules,
            campaigns_file=campaigns,
            names_file=names,
            calendar_file=calendar,
            kpis_file=kpis,
            scorecards_file=scorecards,
            rates_file=rates,
            web_host=host,
            web_port=port,
            start_from=start_from,
            publish_values=publish_values,
        )
    )
    _log_to_stderr(chosen.log_level)
    asyncio.run(_until_signal(chosen))
    # Skip the interpreter's shutdown: the library of sketches complains about those that threads
    # still hold. Everything that matters is written by now.
    logging.shutdown()
    os._exit(0)


async def _until_signal(chosen: settings.Settings) -> None:
    running = app.build(chosen)
    task = asyncio.create_task(running.run())
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if not task.cancelling():
            # A deadline for a stop that hangs, such as on a broker that does not answer.
            latest = threading.Timer(LATEST_STOP_S, end_process, ["the stop took too long"])
            latest.daemon = True
            latest.start()
            task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    with contextlib.suppress(asyncio.CancelledError):
        await task
    logging.getLogger("streams").info("stopped")


def _log_to_stderr(level: str) -> None:
    logging.basicConfig(
        level=level.upper(),
        format="%(asctime)s %(levelname)-8s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    for noisy in ("faust", "mode", "aiokafka", "kafka"):
        logging.getLogger(noisy).setLevel(logging.DEBUG if level == "debug" else logging.WARNING)
