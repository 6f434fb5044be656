"""``kpi-monitor topics``: list and create the topics of the monitor."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from streams import settings
from streams.assembly import topics as monitor_topics
from streams.commands.options import AppId, Kafka, out, say


def topics(
    kafka: Kafka = None,
    app_id: AppId = None,
    create: Annotated[bool, typer.Option("--create", help="Create missing topics.")] = False,
) -> None:
    """List the topics that the monitor reads and writes, with their partitions.

    The exit code is 0 if all are as they should be, and 1 if one is missing or has another number
    of partitions.
    """
    chosen = settings.load(kafka=kafka, app_id=app_id)
    if create:
        for spec in monitor_topics.ensure(chosen):
            say(out, f"created {spec.name}, {spec.partitions} partitions")
    table = Table("topic", "partitions", "should be", "state")
    wrong = False
    for spec, actual in monitor_topics.states(chosen):
        state = "ok" if actual == spec.partitions else "missing" if actual is None else "wrong"
        wrong = wrong or state != "ok"
        table.add_row(spec.name, str(actual or "-"), str(spec.partitions), state)
    out.print(table)
    if wrong:
        raise typer.Exit(1)
