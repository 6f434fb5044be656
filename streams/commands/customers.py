"""``kpi-monitor customers``: count or rebuild the customers in Redis."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from rich.progress import Progress

from streams import recovery, settings
from streams.commands.options import AppId, Kafka, err, out


def customers(
    kafka: Kafka = None,
    app_id: AppId = None,
    rebuild: Annotated[
        bool,
        typer.Option("--rebuild", help="Rebuild the customers from Kafka, after Redis lost them."),
    ] = False,
) -> None:
    """Count the customers in Redis, or rebuild them from Kafka.

    The count includes everybody who clicked or ordered lately. A rebuild reads clicks and
    orders from the beginning of their topics up to the offsets of the workers' state. Running
    workers wait until it is done. A customer whose records are no longer in the topics is a
    new customer afterwards.
    """
    chosen = settings.load(kafka=kafka, app_id=app_id)
    if rebuild:
        with Progress(console=err) as bar:
            task = bar.add_task("reading clicks and orders", total=None)
            rebuilt = asyncio.run(
                recovery.rebuild_customers(
                    chosen,
                    progress=lambda read, whole: bar.update(task, completed=read, total=whole),
                )
            )
        out.print(f"{rebuilt.records} records read, {rebuilt.entries} entries made")
    out.print(f"{asyncio.run(recovery.count_customers(chosen))} customers")
