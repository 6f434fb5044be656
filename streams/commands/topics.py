"""``kpi-monitor topics``: list and create the topics of the monitor."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from streams import settings
from streams.assembly import topics as monitor_topics
from streams.commands.options import AppId, Kafka, out
from streams.engine import topics as engine_topics


def topics(
    kafka: Kafka = None,
    app_id: AppId = None,
    create: Annotated[bool, typer.Option("--create", help="Create missing topics.")] = False,
) -> None:
    """List the topics that the monitor reads and writes, with their partitions."""
    chosen = settings.load(kafka=kafka, app_id=app_id)
    if create:
        monitor_topics.ensure(chosen)
    with engine_topics.admin(chosen.broker) as client:
        present = engine_topics.describe(client)
    table = Table("topic", "partitions", "should be", "state")
    missing = False
    for spec in monitor_topics.specs(chosen):
        actual = present.get(spec.name)
        state = "ok" if actual == spec.partitions else "missing" if actual is None else "wrong"
        missing = missing or state != "ok"
        table.add_row(spec.name, str(actual or "-"), str(spec.partitions), state)
    out.print(table)
    if missing:
        raise typer.Exit(1)
