"""``kpi-monitor rates``: send exchange rates to the registry."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from streams import config, settings
from streams.assembly import topics
from streams.commands.options import AppId, Kafka, out
from streams.ingest.registry import reader


def rates(
    file: Annotated[Path, typer.Argument(help="YAML file of exchange rates.")],
    kafka: Kafka = None,
    app_id: AppId = None,
) -> None:
    """Send exchange rates to the registry topic, which every worker reads.

    They apply to events that are read afterwards. Events in a currency without a rate are
    dead letters; once the rate is sent, send them again with dead-letters --redrive.
    """
    chosen = settings.load(kafka=kafka, app_id=app_id)
    found = config.load_rates(file).rates
    topics.require_registry(chosen)
    asyncio.run(reader.publish(found, broker=chosen.broker, topic=chosen.registry_topic))
    out.print(f"{len(found)} rates sent to {chosen.registry_topic} at {chosen.kafka}")
