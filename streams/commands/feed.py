"""``kpi-monitor feed``: send a synthetic campaign or the rows of a log to Kafka."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from streams import settings
from streams.assembly import topics
from streams.commands.options import AppId, Kafka, err, out, say
from streams.operations import feeding


def feed(
    file: Annotated[
        Path | None,
        typer.Argument(help="Log file, .csv or .ndjson; a synthetic campaign by default."),
    ] = None,
    kafka: Kafka = None,
    app_id: AppId = None,
    mapping: Annotated[
        Path | None, typer.Option(help="YAML file that maps the rows of the log to events.")
    ] = None,
    refused: Annotated[
        Path | None,
        typer.Option(help="File for refused rows; LOG.refused.ndjson, beside the log, by default."),
    ] = None,
    speed: Annotated[
        str, typer.Option(help="Speed of event time relative to the clock: 1x, 60x, … or max.")
    ] = "1x",
    rate: Annotated[
        float, typer.Option(help="Synthetic: clicks per second of event time.")
    ] = 100.0,
    seconds: Annotated[
        float, typer.Option("--for", help="Synthetic: duration in seconds of the clock.")
    ] = 60.0,
    seed: Annotated[
        int, typer.Option(help="Synthetic: seed; the same seed gives the same events.")
    ] = 1,
    scenario: Annotated[
        list[str] | None,
        typer.Option(
            help="Synthetic: fault to simulate, NAME@START[+LENGTH] in seconds; NAME is one of "
            f"{', '.join(feeding.SCENARIOS)}. May be given more than once."
        ),
    ] = None,
) -> None:
    """Send events to Kafka: a synthetic campaign, or the rows of a log.

    A row whose event the monitor could not read is refused: it is not sent, but kept in a file,
    with its line and the reason. The exit code is 0 if all rows were sent or left out by the
    mapping, 1 if rows were refused, and 2 if the mapping, the file or an option is wrong, or a
    topic is missing. A worker creates missing topics when it starts, and so does topics --create.
    """
    chosen = settings.load(kafka=kafka, app_id=app_id)
    topics.require_sources(chosen)
    if file is None:
        sent = asyncio.run(
            feeding.synthetic(
                chosen,
                speed=speed,
                rate=rate,
                seconds=seconds,
                seed=seed,
                scenarios=scenario or [],
                console=err,
            )
        )
        out.print(f"{sent} records sent to {chosen.kafka}")
    else:
        if mapping is None:
            raise typer.BadParameter("a file needs --mapping", param_hint="--mapping")
        fed = asyncio.run(
            feeding.file(
                chosen,
                path=file,
                mapping_file=mapping,
                speed=speed,
                refused=refused,
                console=err,
            )
        )
        rows = fed.rows
        out.print(f"{fed.sent} records sent to {chosen.kafka}, {rows.left_out} rows left out")
        if rows.refused:
            say(err, f"{rows.refused} rows refused, and kept in {rows.refused_path}; the first:")
            say(err, rows.first_refusal)
            raise typer.Exit(1)
