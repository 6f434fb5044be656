"""``kpi-monitor feed``: send a synthetic campaign or the rows of a file to Kafka."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from models.campaigns.campaign import Campaign
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
    with_project,
)
from streams.feed import dry_run as dry_runs
from streams.feed import sending
from streams.feed.dry_run import DryRun, Monitor
from streams.feed.events.file_set import FileSet
from streams.feed.history_end import ends_of, in_words
from streams.feed.project import load_project
from streams.feed.rows.report import counted
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
    project: Annotated[
        Path | None,
        typer.Option("--all", help="Project file: all its files, merged by the times of events."),
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
    late: Annotated[
        bool,
        typer.Option("--late", help="Send events that the monitor refuses as too late, too."),
    ] = False,
    through: Annotated[
        str | None,
        typer.Option(
            help="Up to when the files are complete, so that windows up to then close at once: a "
            "date, a time with its offset, or none, such as if more files follow; by default, for "
            "each topic, the end of the last event's quarter of an hour."
        ),
    ] = None,
    refused: Annotated[
        Path | None,
        typer.Option(help="File for refused rows; FILE.refused.ndjson beside it by default."),
    ] = None,
    campaigns: CampaignsFile = None,
    names: NamesFile = None,
    kpis: KpisFile = None,
    rates: RatesFile = None,
    speed: Annotated[
        str | None,
        typer.Option(
            help="Speed of event time relative to the clock: 1x, 60x, … or max; max by default "
            "with --all, otherwise 1x."
        ),
    ] = None,
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
    """Send events to Kafka: a synthetic campaign, or the rows of a file, or of several with --all.

    All files are read before anything is sent. A row whose event the monitor could not read is
    refused: it is not sent, but kept in a file, with its line and the reason. The files of
    campaigns, names, KPIs and rates are used by --dry-run; --all defines the campaigns of its
    project, too. If a topic has newer events, so that the monitor would refuse some as too late,
    nothing is sent without --late. The exit code is 0 if every row is an
    event or left out by the mapping, 1 if rows were refused or, with --dry-run, would not count, 2
    if nothing was sent because the mapping, the file, an option or a topic is wrong, or the broker
    stopped answering, and 130 if Ctrl-C stopped it. A worker creates missing topics when it
    starts, and so does topics --create.
    """
    _refuse_mix(file, mapping, project, refused)
    found = None if project is None else load_project(project, with_files=True)
    chosen = settings.load(
        **with_project(
            found,
            kafka=kafka,
            app_id=app_id,
            campaigns_file=campaigns,
            names_file=names,
            kpis_file=kpis,
            rates_file=rates,
        )
    )
    if not dry_run:
        topics.require_sources(chosen)
    if file is None and project is None:
        sent = asyncio.run(
            feeding.synthetic(
                chosen,
                speed=speed or "1x",
                rate=rate,
                seconds=seconds,
                seed=seed,
                scenarios=scenario or [],
                console=err,
            )
        )
        out.print(f"{sent} records sent to {chosen.kafka}")
        return
    path = file or project
    assert path is not None
    if found is not None:
        inputs = [sending.Input(one.file, one.mapping) for one in found.files]
    else:
        assert mapping is not None
        inputs = [sending.Input(path, mapping, refused)]
    try:
        read = sending.read(chosen, inputs, console=err)
    except KeyboardInterrupt:
        say(err, f"stopped while {path} was read; nothing was sent")
        raise typer.Exit(130) from None
    campaigns = None if found is None else chosen.campaigns_file
    files = FileSet(
        path,
        read,
        campaigns=config.load_campaigns(campaigns).campaigns,
        campaigns_path=campaigns,
    )
    for one in read:
        for line in one.report.lines():
            say(out, line)
    ends = ends_of(
        files.newest_by_kind,
        given=through,
        day=chosen.business_day,
        now_ms=int(time.time() * 1000),
    )
    complete = in_words(ends, day=chosen.business_day)
    if dry_run:
        others = chosen.campaigns_file if found is None else None
        tried = _dry_run(chosen, files, config.load_campaigns(others).campaigns)
        if complete:
            say(out, f"the feed would say at its end: complete through {complete}")
        say(out, "nothing was sent")
        raise typer.Exit(1 if files.refused or tried.dead_letters else 0)
    if strict and files.refused:
        say(err, "nothing is sent, as rows are refused and --strict is set")
        raise typer.Exit(1)
    usual = "1x" if found is None else "max"
    done = sending.send(
        chosen,
        files,
        speed=speed or usual,
        resume=resume,
        late=late,
        ends=ends,
        console=err,
    )
    say(out, f"{done.sent:,} of {done.total:,} events sent to {chosen.kafka}")
    if not done.finished:
        how = "continue with --resume" if done.position_kept else "the position can't be kept"
        say(err, f"stopped after {done.sent:,} events; {how}")
        raise typer.Exit(130)
    if complete:
        say(out, f"complete through {complete}: windows up to then can close")
    if files.refused:
        say(
            err,
            f"{counted(files.refused, 'row')} refused, and not sent. To count them, change the "
            "mapping or the rows, remove what was sent with kpi-monitor reset --sources, and feed "
            "again; with --strict nothing is sent if a row is refused",
        )
        raise typer.Exit(1)


def _refuse_mix(
    file: Path | None, mapping: Path | None, project: Path | None, refused: Path | None
) -> None:
    """Refuse options that do not go together.

    Raises:
        BadParameter: a file has no mapping, or a project has one or the other beside it.
    """
    if project is not None and (file or mapping or refused):
        raise typer.BadParameter(
            "the project names its files and mappings; leave out FILE, --mapping and --refused",
            param_hint="--all",
        )
    if file is not None and mapping is None:
        raise typer.BadParameter("a file needs --mapping", param_hint="--mapping")


def _dry_run(chosen: settings.Settings, files: FileSet, others: Iterable[Campaign]) -> DryRun:
    """Show what the monitor would make of the events of files.

    Args:
        chosen: the settings.
        files: the files.
        others: campaigns beside those that a feed of the files would define.
    """
    book = config.load_kpis(chosen.kpis_file)
    named = config.load_names(chosen.names_file)
    known = Monitor(
        rules=ingest_rules(chosen, named, custom=book.catalogue.custom),
        campaigns=CampaignIndex((*others, *files.campaigns), as_shown=named.as_shown),
        rates=Rates(chosen.currency, config.load_rates(chosen.rates_file).rates),
        catalogue=book.catalogue,
        customers=chosen.customers and chosen.redis is not None,
    )
    for one in files.files:
        if len(files.files) > 1:
            say(out, f"{one.path}:")
        out.print(sample_table(one.samples))
    found = dry_runs.dry_run(files.named_events(), known, now_ms=int(time.time() * 1000))
    for line in found.lines():
        say(out, line)
    return found
