"""``kpi-monitor feed``: send a synthetic campaign or the rows of a file to Kafka."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Annotated

import typer

from models.money.exchange_rates import Rates
from streams import config, settings
from streams.assembly import topics
from streams.assembly.ingest import ingest_rules
from streams.commands.options import (
    AppId,
    CampaignsFile,
    Kafka,
    KpisFile,
    NamesFile,
    RatesFile,
    err,
    out,
    say,
)
from streams.feed import dry_run as dry_runs
from streams.feed import sending
from streams.feed.dry_run import DryRun, Monitor
from streams.feed.mapped_file import MappedFile
from streams.feed.sample_table import sample_table
from streams.ingest.registry.campaign_index import CampaignIndex
from streams.operations import feeding


def feed(
    file: Annotated[
        Path | None,
        typer.Argument(help="File of rows: CSV, NDJSON or Parquet; a synthetic campaign without."),
    ] = None,
    kafka: Kafka = None,
    app_id: AppId = None,
    mapping: Annotated[
        Path | None, typer.Option(help="YAML file that maps the rows of the file to events.")
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Send nothing; show the first events and what the monitor counts."
        ),
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue where an earlier feed of the file stopped.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Send nothing if a row is refused.")
    ] = False,
    refused: Annotated[
        Path | None,
        typer.Option(help="File for refused rows; FILE.refused.ndjson beside it by default."),
    ] = None,
    campaigns: CampaignsFile = None,
    names: NamesFile = None,
    kpis: KpisFile = None,
    rates: RatesFile = None,
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
    """Send events to Kafka: a synthetic campaign, or the rows of a file.

    The whole file is read before anything is sent. A row whose event the monitor could not read is
    refused: it is not sent, but kept in a file, with its line and the reason. The files of
    campaigns, names, KPIs and rates are used by --dry-run. The exit code is 0 if every row is an
    event or left out by the mapping, 1 if rows were refused or, with --dry-run, would not count, 2
    if nothing was sent because the mapping, the file, an option or a topic is wrong, or the broker
    stopped answering, and 130 if Ctrl-C stopped it. A worker creates missing topics when it
    starts, and so does topics --create.
    """
    chosen = settings.load(
        kafka=kafka,
        app_id=app_id,
        campaigns_file=campaigns,
        names_file=names,
        kpis_file=kpis,
        rates_file=rates,
    )
    if not dry_run:
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
        return
    if mapping is None:
        raise typer.BadParameter("a file needs --mapping", param_hint="--mapping")
    try:
        mapped = sending.read(chosen, path=file, mapping_path=mapping, refused=refused, console=err)
    except KeyboardInterrupt:
        say(err, f"stopped while {file} was read; nothing was sent")
        raise typer.Exit(130) from None
    report = mapped.report
    for line in report.lines():
        say(out, line)
    if dry_run:
        found = _dry_run(chosen, mapped)
        raise typer.Exit(1 if report.refused or found.dead_letters else 0)
    if strict and report.refused:
        say(err, "nothing is sent, as rows are refused and --strict is set")
        raise typer.Exit(1)
    done = sending.send(chosen, mapped, speed=speed, resume=resume, console=err)
    say(out, f"{done.sent:,} of {done.total:,} events sent to {chosen.kafka}")
    if done.sent < done.total:
        how = "continue with --resume" if done.position_kept else "the position can't be kept"
        say(err, f"stopped after {done.sent:,} events; {how}")
        raise typer.Exit(130)
    if report.refused:
        raise typer.Exit(1)


def _dry_run(chosen: settings.Settings, mapped: MappedFile) -> DryRun:
    """Show what the monitor would make of the events of a file."""
    book = config.load_kpis(chosen.kpis_file)
    named = config.load_names(chosen.names_file)
    defined = config.load_campaigns(chosen.campaigns_file).campaigns
    known = Monitor(
        rules=ingest_rules(chosen, named, custom=book.catalogue.custom),
        campaigns=CampaignIndex((*defined, *mapped.mapping.campaigns), as_shown=named.as_shown),
        rates=Rates(chosen.currency, config.load_rates(chosen.rates_file).rates),
        catalogue=book.catalogue,
        customers=chosen.customers and chosen.redis is not None,
    )
    out.print(sample_table(mapped.samples))
    found = dry_runs.dry_run(mapped.sorter.events(), known, now_ms=int(time.time() * 1000))
    for line in found.lines():
        say(out, line)
    say(out, "nothing was sent")
    return found
