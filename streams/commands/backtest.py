"""``kpi-monitor backtest``: when alert rules would have fired on recorded events."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, tzinfo
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from models.kpi.definition import Catalogue
from streams import settings
from streams.alerting.rule_warnings import from_customers
from streams.alerting.rules.registry import RuleBook
from streams.alerting.words import duration
from streams.assembly import configuration, topics
from streams.assembly.configuration import Configuration
from streams.assembly.stages import ingest_stage, kpis_stage
from streams.backtest.comparison import Comparison
from streams.backtest.files_input import of_files
from streams.backtest.firings import Firing, of_data, of_kpis
from streams.backtest.incidents import Incident, load_incidents, within
from streams.backtest.period import moment_ms
from streams.backtest.player import Arrival, Player
from streams.backtest.result import Result
from streams.backtest.run import Run, run
from streams.backtest.timeline import timeline
from streams.backtest.topics_input import RecordedTopics
from streams.commands.amounts import clock
from streams.commands.backtest_tables import Shown, firings_table, rules_table
from streams.commands.options import (
    AppId,
    CalendarFile,
    CampaignsFile,
    Kafka,
    KpisFile,
    NamesFile,
    RatesFile,
    RulesFile,
    err,
    out,
    say,
    with_project,
)
from streams.errors import BacktestError
from streams.feed import sending
from streams.feed.events.file_set import FileSet
from streams.feed.project import Project, load_project
from streams.feed.rows.report import counted
from streams.operations.progress import progress
from streams.settings import Settings

STEPS_SHOWN = 50
"""The display of the progress is renewed after so many steps."""


class Source(StrEnum):
    """The source of recorded events."""

    FILES = "files"
    KAFKA = "kafka"


class _Input(NamedTuple):
    """Recorded events, and how many there are; None if that is not known."""

    records: Iterable[Arrival]
    total: int | None


class _Period(NamedTuple):
    """The times between which events are played, in ms; None is without a bound."""

    from_ms: int | None
    to_ms: int | None


def backtest(
    file: Annotated[
        Path | None, typer.Argument(help="File of rows: CSV, NDJSON or Parquet.")
    ] = None,
    mapping: Annotated[
        Path | None, typer.Option(help="YAML file that maps the rows of the file to events.")
    ] = None,
    project: Annotated[
        Path | None,
        typer.Option(
            "--project",
            help="Project file, whose files are played; its time zone, currency, campaigns and "
            "rules are used.",
        ),
    ] = None,
    read: Annotated[
        Source | None,
        typer.Option(
            "--input",
            help="Where events come from: files, or the source topics in Kafka; files if there "
            "are any.",
        ),
    ] = None,
    rules: RulesFile = None,
    begin: Annotated[
        str | None,
        typer.Option("--from", help="Play events from then on: a date, or a time, which is local."),
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", help="Play events up to then, likewise.")
    ] = None,
    incidents: Annotated[
        Path | None,
        typer.Option(help="YAML file of marked incidents: how many of them do the rules find?"),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(help="YAML file of other rules: which firings do they have in common?"),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="File for the result as JSON.")
    ] = None,
    svg: Annotated[
        Path | None, typer.Option("--svg", help="File for a picture of the firings over time.")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=0, help="Firings of each rule in its table.")
    ] = 20,
    kafka: Kafka = None,
    app_id: AppId = None,
    campaigns: CampaignsFile = None,
    names: NamesFile = None,
    kpis: KpisFile = None,
    rates: RatesFile = None,
    calendar: CalendarFile = None,
) -> None:
    """Play recorded events as a worker would have read them, and list when alert rules fire.

    The events of files arrive at their own times, those of Kafka when the broker appended them,
    which --from and --to are about. Nothing is sent, and no state is read or written. The monitor
    begins with the first event, without any state: a window that began before it is not judged as
    too low.
    """
    source = read or (Source.FILES if project or file else Source.KAFKA)
    _refuse_mix(source, file, project, outputs=(json_file, svg))
    found = None if project is None else load_project(project, with_files=source is Source.FILES)
    chosen = settings.load(
        **with_project(
            found,
            kafka=kafka,
            app_id=app_id,
            rules_file=rules,
            campaigns_file=campaigns,
            names_file=names,
            kpis_file=kpis,
            rates_file=rates,
            calendar_file=calendar,
            publish_values=False,
            partitions=1 if source is Source.FILES else None,
        )
    )
    if chosen.rules_file is None:
        raise BacktestError("there are no rules: give --rules, or a project that names a file")
    day = chosen.business_day
    period = _Period(
        None if begin is None else moment_ms(begin, option="--from", day=day),
        None if end is None else moment_ms(end, option="--to", day=day),
    )
    configured = configuration.load(chosen)
    books = [configured.rules(path) for path in (chosen.rules_file, against) if path is not None]
    marked = None if incidents is None else load_incidents(incidents, books[0], zone=chosen.zone)
    _warn_of_customers(books, configured.book.catalogue)
    with contextlib.ExitStack() as opened:
        if source is Source.KAFKA:
            recorded = _from_kafka(chosen, configured, period, opened)
        else:
            recorded = _from_files(chosen, configured, _inputs(file, mapping, found), period)
        began = time.monotonic()
        played = _play(chosen, _player(chosen, configured, books), recorded, to_ms=period.to_ms)
    result = _result(books, played, marked)
    how = Shown(configured.book.catalogue, chosen.currency, chosen.zone)
    _show(result, how, limit=limit, took_s=time.monotonic() - began)
    if json_file is not None:
        text = json.dumps(result.to_json(), ensure_ascii=False, indent=2)
        _write(json_file, text + "\n")
    if svg is not None:
        _write(svg, timeline(result, zone=chosen.zone))


def _refuse_mix(
    source: Source, file: Path | None, project: Path | None, *, outputs: Iterable[Path | None]
) -> None:
    """Refuse options that do not go together, and files that could not be written in the end.

    Raises:
        BacktestError: there are two inputs, or the folder of a file to write does not exist.
    """
    if file is not None and (project is not None or source is Source.KAFKA):
        other = "--project" if project is not None else "--input kafka"
        raise BacktestError(f"{file} and {other} are two inputs; leave one of them out")
    for path in outputs:
        if path is not None and not path.absolute().parent.is_dir():
            raise BacktestError(f"{path}: its folder does not exist")


def _player(chosen: Settings, configured: Configuration, books: Iterable[RuleBook]) -> Player:
    """Return a player with a KPI stage for each file of rules; it keeps all buckets in memory."""
    return Player(
        ingest_stage(chosen, configured, customers=None),
        [
            kpis_stage(chosen, configured, book, new_spill=lambda: None, viewed=False)
            for book in books
        ],
    )


def _result(books: Sequence[RuleBook], played: Run, marked: Sequence[Incident] | None) -> Result:
    """Return the result of the first file of rules, beside that of the second one, if any."""
    fired, *against = played.fired
    return Result(
        from_ms=played.from_ms,
        to_ms=played.to_ms,
        rules=tuple(rule.name for rule in books[0].rules),
        firings=of_kpis(fired),
        about_data=of_data(fired),
        records=played.records,
        dead_letters=played.dead_letters,
        incidents=None if marked is None else within(marked, played.from_ms, played.to_ms),
        against=of_kpis(against[0]) if against else None,
    )


def _write(path: Path, text: str) -> None:
    """Write a file.

    Raises:
        BacktestError: it can't be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BacktestError(f"{path}: can't be written: {error.strerror}") from None


def _warn_of_customers(books: Sequence[RuleBook], catalogue: Catalogue) -> None:
    """Say which rules are not judged, because a backtest stores no customers."""
    for rule in {rule.name: rule for book in books for rule in book.rules}.values():
        if measures := from_customers(catalogue[rule.kpi]):
            say(
                err,
                f"warning: {rule.name}: {rule.kpi} rests on {measures[0]}, which is not measured, "
                "because a backtest stores no customers; the rule is not judged",
            )


def _inputs(
    file: Path | None, mapping: Path | None, project: Project | None
) -> list[sending.Input]:
    """Return the files to read.

    Raises:
        BacktestError: there is none, or a file has no mapping.
    """
    if project is not None:
        return [sending.Input(one.file, one.mapping) for one in project.files]
    if file is None or mapping is None:
        raise BacktestError(
            "there are no events: give --project, a file with its --mapping, or --input kafka"
        )
    return [sending.Input(file, mapping)]


def _from_files(
    chosen: Settings, configured: Configuration, inputs: Sequence[sending.Input], period: _Period
) -> _Input:
    """Read files, and define the campaigns of their mappings.

    Raises:
        FeedError: a file does not fit its mapping.
    """
    files = FileSet(inputs[0].path, sending.read(chosen, inputs, console=err))
    for campaign in files.campaigns:
        configured.campaigns.define(campaign)
    if files.refused:
        say(err, f"warning: {counted(files.refused, 'row')} refused, and not played")
    records = sending.records(files.events(), chosen.source_topics)
    whole = period == _Period(None, None)
    return _Input(
        of_files(records, from_ms=period.from_ms, to_ms=period.to_ms), len(files) if whole else None
    )


def _from_kafka(
    chosen: Settings,
    configured: Configuration,
    period: _Period,
    opened: contextlib.ExitStack,
) -> _Input:
    """Find the records of the source topics, and add the campaigns and rates of the registry.

    Raises:
        BrokerUnreachableError: no broker answers.
        TopicError: a topic is missing or has another number of partitions.
    """
    topics.require_sources(chosen)
    asyncio.run(configuration.registry_reader(chosen, configured).read_once())
    recorded = opened.enter_context(
        RecordedTopics(
            chosen.broker,
            chosen.source_topics,
            partitions=chosen.partitions,
            from_ms=period.from_ms,
            to_ms=period.to_ms,
        )
    )
    return _Input(recorded.records(), len(recorded))


def _play(chosen: Settings, player: Player, recorded: _Input, *, to_ms: int | None) -> Run:
    """Play events with a display of the progress."""
    with progress(err) as shown:
        task = shown.add_task("playing", total=recorded.total, unit="events")
        steps = 0

        def note_step(records: int) -> None:
            nonlocal steps
            steps += 1
            if steps % STEPS_SHOWN == 0:
                shown.update(task, completed=records)

        return run(
            player,
            recorded.records,
            allowed_disorder_ms=round(chosen.allowed_disorder_s * 1000),
            to_ms=to_ms,
            on_step=note_step,
        )


def _show(result: Result, how: Shown, *, limit: int, took_s: float) -> None:
    """Print a result."""
    if not result.records:
        say(out, "there are no events in that time")
        return
    for line in _summary(result, how.zone, took_s=took_s):
        say(out, line)
    _list(result.firings, how, limit=limit, to_ms=result.to_ms)
    out.print(rules_table(result))
    for one in result.missed:
        say(out, f"not found: {one.name}, {clock(one.from_ms, how.zone)}")
    if (compared := result.comparison) is not None:
        _compare(compared, how, limit=limit, to_ms=result.to_ms)


def _compare(compared: Comparison, how: Shown, *, limit: int, to_ms: int) -> None:
    """Print which firings the rules and the others have in common."""
    say(out, f"in both files of rules: {counted(len(compared.both), 'firing')}")
    for name, some in (("--rules", compared.only_here), ("--against", compared.only_there)):
        say(out, f"only with the rules of {name}: {counted(len(some), 'firing')}")
        _list(some, how, limit=limit, to_ms=to_ms)


def _list(firings: Sequence[Firing], how: Shown, *, limit: int, to_ms: int) -> None:
    """Print firings, rule by rule, the first ones of each."""
    for rule in dict.fromkeys(one.rule for one in firings):
        fired = [one for one in firings if one.rule == rule]
        say(out, f"{rule}: {fired[0].fired.meaning_en}")
        out.print(firings_table(fired[:limit], how, to_ms=to_ms))
        if len(fired) > limit:
            say(out, f"and {len(fired) - limit:,} more; --limit shows them, --json has all")


def _summary(result: Result, zone: tzinfo, *, took_s: float) -> Iterator[str]:
    span_s = (result.to_ms - result.from_ms) / 1000
    yield (
        f"{counted(result.records, 'event')} from {_minute(result.from_ms, zone)} to "
        f"{_minute(result.to_ms, zone)}, played in {duration(round(took_s, 1)).en}: "
        f"{span_s / max(took_s, 0.001):,.0f} times as fast as live"
    )
    if result.dead_letters:
        yield f"{counted(result.dead_letters, 'event')} not counted, as dead letters"
    for name in dict.fromkeys(one.rule for one in result.about_data):
        times = sum(one.rule == name for one in result.about_data)
        yield f"{name} fired {counted(times, 'time')}; see docs/alerts.md for what waits meanwhile"


def _minute(ms: int, zone: tzinfo) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, zone):%d %b %Y %H:%M %Z}"
