"""The command ``kpi-monitor``: one function for each subcommand."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from models.dead_letters import Reason
from streams import app as monitor
from streams import config, recovery, settings
from streams.alerting import rule_warnings
from streams.alerting.rule_text import explain
from streams.alerting.rule_warnings import ConfigWarning, Known
from streams.embedded import demo as demos
from streams.embedded import services as embedded_services
from streams.engine import topics as engine_topics
from streams.engine.process_fence import end_process
from streams.errors import MonitorError
from streams.ingest.registry import reader
from streams.ingest.registry.campaign_index import CampaignIndex
from streams.operations import board_upload, dead_letter_topic, feeding

cli = typer.Typer(
    name="kpi-monitor",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Compute marketing KPIs in rolling windows from Kafka: metrics, alerts, a live page.\n\n"
    "Set every setting as an environment variable KPI_NAME or in a .env file. The common ones "
    "are options, too.",
)
LATEST_STOP_S = 5.0
"""Seconds after a signal at which the process is ended, if the worker has not ended by then."""

out = Console()
err = Console(stderr=True)

Kafka = Annotated[str | None, typer.Option("--kafka", help="Kafka bootstrap address, host:port.")]
AppId = Annotated[
    str | None,
    typer.Option("--app-id", help="Kafka consumer group, and prefix of the topics written."),
]
RulesFile = Annotated[Path | None, typer.Option("--rules", help="YAML file of alert rules.")]
KpisFile = Annotated[
    Path | None,
    typer.Option("--kpis", help="YAML file of additional KPIs and of the series to export."),
]
ScorecardsFile = Annotated[
    Path | None, typer.Option("--scorecards", help="YAML file of scorecards.")
]
RatesFile = Annotated[Path | None, typer.Option("--rates", help="YAML file of exchange rates.")]
NamesFile = Annotated[
    Path | None,
    typer.Option("--names", help="YAML file of the names of channels, regions and segments."),
]
CampaignsFile = Annotated[Path | None, typer.Option("--campaigns", help="YAML file of campaigns.")]


@cli.command(
    epilog="Example: kpi-monitor worker --kafka kafka:9092 --rules config/rules.yaml --id w0"
)
def worker(
    kafka: Kafka = None,
    app_id: AppId = None,
    instance_id: Annotated[
        str | None, typer.Option("--id", help="Name of this worker; keep it over restarts.")
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the local table store.")] = None,
    rules: RulesFile = None,
    campaigns: CampaignsFile = None,
    names: NamesFile = None,
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
        kafka=kafka,
        app_id=app_id,
        instance_id=instance_id,
        data_dir=data_dir,
        rules_file=rules,
        campaigns_file=campaigns,
        names_file=names,
        kpis_file=kpis,
        scorecards_file=scorecards,
        rates_file=rates,
        web_host=host,
        web_port=port,
        start_from=start_from,
        publish_values=publish_values,
    )
    _log_to_stderr(chosen.log_level)
    asyncio.run(_until_signal(chosen))
    # Skip the interpreter's shutdown: the library of sketches complains about those that threads
    # still hold. Everything that matters is written by now.
    logging.shutdown()
    os._exit(0)


async def _until_signal(chosen: settings.Settings) -> None:
    running = monitor.build(chosen)
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


@cli.command(
    epilog="Examples: kpi-monitor feed --rate 500 --for 60 --scenario checkout-outage@30 | "
    "kpi-monitor feed log.csv --mapping map.yaml --speed max"
)
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
    mapping, 1 if rows were refused, and 2 if the mapping, the file or an option is wrong.
    """
    chosen = settings.load(kafka=kafka, app_id=app_id)
    monitor.ensure_topics(chosen)
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
            _say(err, f"{rows.refused} rows refused, and kept in {rows.refused_path}; the first:")
            _say(err, rows.first_refusal)
            raise typer.Exit(1)


@cli.command(epilog="Example: kpi-monitor check --rules config/rules.yaml --offline")
def check(
    kafka: Kafka = None,
    app_id: AppId = None,
    rules: RulesFile = None,
    campaigns: CampaignsFile = None,
    names: NamesFile = None,
    kpis: KpisFile = None,
    scorecards: ScorecardsFile = None,
    rates: RatesFile = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Check settings and files only.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 if there is a warning.")
    ] = False,
) -> None:
    """Check the settings, all configuration files and the topics in Kafka.

    Each alert rule is explained in a sentence. Warnings are about names that nobody knows and
    rules that are probably not meant so. Missing topics are created. With --offline, Kafka is not
    asked, and campaigns are those of the file. The exit code is 0 if all is right, 1 if something
    is missing in Kafka or, with --strict, if there is a warning, and 2 if something is wrong.
    """
    chosen = settings.load(
        kafka=kafka,
        app_id=app_id,
        rules_file=rules,
        campaigns_file=campaigns,
        names_file=names,
        kpis_file=kpis,
        scorecards_file=scorecards,
        rates_file=rates,
    )
    kpi_book = config.load_kpis(chosen.kpis_file)
    catalogue = kpi_book.catalogue
    book = config.load_rules(chosen.rules_file, catalogue=catalogue)
    defined = config.load_campaigns(chosen.campaigns_file).campaigns
    cards = config.load_scorecards(chosen.scorecards_file, catalogue=catalogue)
    exchange = config.load_rates(chosen.rates_file)
    named = config.load_names(chosen.names_file)
    out.print(f"settings  ok\nrules     {len(book.rules)} ok")
    for rule in book.rules:
        meaning = explain(rule, catalogue[rule.kpi], currency=chosen.currency)
        _say(out, f"  {rule.name}: {meaning.en}\n  {' ' * len(rule.name)}  {meaning.zh}")
    out.print(
        f"campaigns {len(defined)} ok\nkpis      {len(catalogue)} ok\n"
        f"scorecards {len(cards.scorecards)} ok\nrates     {len(exchange.rates)} ok\n"
        f"names     {len(named.channels + named.regions + named.segments)} ok"
    )
    for card in cards.scorecards:
        for note in card.notes:
            _say(err, f"note: {card.name}: {note}")
    index = CampaignIndex(defined)
    if not offline:
        found = monitor.ensure_topics(chosen)
        asyncio.run(monitor.read_campaigns(chosen, index))
        out.print(f"kafka     ok, {len(found)} topics at {chosen.kafka}")
    if not len(index) and any(rule.match.campaign != ("*",) for rule in book.rules):
        _say(err, "note: no campaign is defined here, so rules are not checked for their names")
    known = Known.of(
        index, kpi_book, named, customers=chosen.customers and chosen.redis is not None
    )
    warnings = [
        *_placed(chosen.kpis_file, rule_warnings.about_kpis(kpi_book)),
        *_placed(chosen.rules_file, rule_warnings.about_rules(book, known)),
        *_placed(chosen.scorecards_file, rule_warnings.about_scorecards(cards, known)),
    ]
    for warning in warnings:
        _say(err, f"warning: {warning}")
    if strict and warnings:
        raise typer.Exit(1)


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _placed(path: Path | None, warnings: Iterable[ConfigWarning]) -> Iterator[str]:
    """Yield warnings about a file with their lines and keys; a default has none."""
    if path is not None:
        for warning in warnings:
            yield f"{path}: {config.place(path, warning.location)}: {warning.text}"


@cli.command(epilog="Examples: kpi-monitor kpis | kpi-monitor kpis --kpis config/kpis.yaml")
def kpis(kpis: KpisFile = None) -> None:
    """List the KPIs, and warn about questionable definitions."""
    catalogue = config.load_kpis(settings.load(kpis_file=kpis).kpis_file).catalogue
    table = Table()
    table.add_column("KPI", no_wrap=True)
    table.add_column("名称", no_wrap=True)
    for head in ("formula", "unit", "better", "interval"):
        table.add_column(head, overflow="fold")
    for kpi in catalogue.values():
        interval = "" if kpi.interval == "none" else kpi.interval
        table.add_row(kpi.name, kpi.title_zh, kpi.formula, kpi.unit, kpi.direction, interval)
    out.print(table)
    out.print(f"{len(catalogue)} KPIs")
    for warning in catalogue.lint():
        _say(err, f"warning: {warning}")


@cli.command(epilog="Example: kpi-monitor rates config/rates.yaml --kafka kafka:9092")
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
    monitor.ensure_topics(chosen)
    asyncio.run(reader.publish(found, broker=chosen.broker, topic=chosen.registry_topic))
    out.print(f"{len(found)} rates sent to {chosen.registry_topic} at {chosen.kafka}")


@cli.command(epilog="Example: kpi-monitor topics --kafka kafka:9092")
def topics(
    kafka: Kafka = None,
    app_id: AppId = None,
    create: Annotated[bool, typer.Option("--create", help="Create missing topics.")] = False,
) -> None:
    """List the topics that the monitor reads and writes, with their partitions."""
    chosen = settings.load(kafka=kafka, app_id=app_id)
    if create:
        monitor.ensure_topics(chosen)
    with engine_topics.admin(chosen.broker) as client:
        present = engine_topics.describe(client)
    table = Table("topic", "partitions", "should be", "state")
    missing = False
    for spec in monitor.topic_specs(chosen):
        actual = present.get(spec.name)
        state = "ok" if actual == spec.partitions else "missing" if actual is None else "wrong"
        missing = missing or state != "ok"
        table.add_row(spec.name, str(actual or "-"), str(spec.partitions), state)
    out.print(table)
    if missing:
        raise typer.Exit(1)


@cli.command(epilog="Examples: kpi-monitor customers | kpi-monitor customers --rebuild")
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


@cli.command(
    "dead-letters",
    epilog="Examples: kpi-monitor dead-letters | kpi-monitor dead-letters --redrive | "
    f"kpi-monitor dead-letters --reason {Reason.UNKNOWN_CURRENCY} --redrive",
)
def dead_letters(
    kafka: Kafka = None,
    app_id: AppId = None,
    reason: Annotated[
        Reason | None, typer.Option(help="Only dead letters with this reason.")
    ] = None,
    limit: Annotated[int, typer.Option(help="Largest number of records to list.")] = 50,
    redrive: Annotated[
        bool,
        typer.Option("--redrive", help="Send the records that can count to their topics again."),
    ] = False,
) -> None:
    """List dead letters, the records that were not counted, with the reasons.

    With --redrive, records are sent to their topics again, unchanged. Those that would be refused
    again, such as events that are too late, are left out and counted; with --reason, all with
    that reason are sent. Send an event soon: after KPI_CORRECTION_HORIZON_S it is too late.
    """
    chosen = settings.load(kafka=kafka, app_id=app_id)
    found = dead_letter_topic.read(chosen.broker, topic=chosen.dead_letters_topic, reason=reason)
    table = Table("topic", "offset", "reason", "detail", "record", show_lines=False)
    for letter in found[:limit]:
        text = (letter.value or b"")[:80].decode("utf-8", "backslashreplace")
        where = f"{letter.topic}[{letter.partition}]"
        table.add_row(
            where, str(letter.offset), letter.reason.value, escape(letter.detail), escape(text)
        )
    out.print(table)
    out.print(f"{len(found)} dead letters" + (f", {limit} shown" if len(found) > limit else ""))
    if redrive:
        sendable, left = dead_letter_topic.that_can_count(found)
        if reason is not None:
            sendable, left = found, Counter()
        out.print(f"{dead_letter_topic.redrive(chosen.broker, sendable)} sent again")
        if left:
            reasons = ", ".join(f"{name.value} {count}" for name, count in left.most_common())
            out.print(
                f"{left.total()} left out, because they would be refused again: {reasons}; mend "
                "them at their source and send them anew, or give --reason to send them as they are"
            )


@cli.command(epilog="Example: kpi-monitor services --data data/services")
def services(
    data: Annotated[
        Path, typer.Option(help="Folder of the data and logs of Kafka and Valkey.")
    ] = Path("data/services"),
    kafka_port: Annotated[int, typer.Option(help="Port of Kafka on 127.0.0.1.")] = 9092,
    redis_port: Annotated[int, typer.Option(help="Port of Valkey on 127.0.0.1.")] = 6379,
) -> None:
    """Run Kafka and Valkey on this machine until Ctrl-C, to try your own data without Docker.

    They listen on 127.0.0.1 only and need no password.
    """
    embedded_services.run(data, kafka_port=kafka_port, redis_port=redis_port, console=out)


@cli.command(epilog="Example: kpi-monitor demo --for 90s --json report.json")
def demo(
    seconds: Annotated[
        str,
        typer.Option(
            "--for", help="How long to send events, like 90s or 5m; 0 means until Ctrl-C."
        ),
    ] = "0",
    report: Annotated[
        Path | None, typer.Option("--json", help="Write a report to this file and show no table.")
    ] = None,
    port: Annotated[int, typer.Option(help="Port of the live page; 0 picks a free one.")] = 8080,
    scenario: Annotated[
        str, typer.Option(help=f"Fault to simulate: {', '.join(feeding.SCENARIOS)}.")
    ] = "checkout-outage",
) -> None:
    """Run Kafka, Valkey, a worker and a feed on this machine, with a table of the KPIs.

    Docker and Java are not needed. After half a minute a fault is simulated: an alert
    fires and resolves. With --for and --json the demo runs unattended; its exit code is 0 only
    if every event was counted exactly, KPIs were exported, and the alert fired and resolved.
    """
    passed = demos.run(
        seconds=demos.seconds_of(seconds),
        report=report,
        port=port,
        scenario=scenario,
        console=out,
    )
    if not passed:
        raise typer.Exit(1)


@cli.command(epilog="Example: kpi-monitor boards --grafana https://grafana.example.org")
def boards(
    grafana: Annotated[
        str | None, typer.Option(help="URL of Grafana; the token is KPI_GRAFANA_TOKEN.")
    ] = None,
    folder: Annotated[str, typer.Option(help="Title of the folder, if it is new.")] = "KPI monitor",
) -> None:
    """Upload the boards to a Grafana of your own; repeat it after an upgrade.

    The stack of docker-compose.yml has them already. The boards let you choose the Prometheus
    data source.
    """
    chosen = settings.load(grafana=grafana)
    for uploaded in board_upload.upload(chosen.grafana, token=chosen.grafana_secret, folder=folder):
        out.print(escape(uploaded), highlight=False, soft_wrap=True)


@cli.command()
def version() -> None:
    """Print the version."""
    out.print(metadata.version("streaming-kpi-monitor"))


def _log_to_stderr(level: str) -> None:
    logging.basicConfig(
        level=level.upper(),
        format="%(asctime)s %(levelname)-8s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    for noisy in ("faust", "mode", "aiokafka", "kafka"):
        logging.getLogger(noisy).setLevel(logging.DEBUG if level == "debug" else logging.WARNING)


def main() -> None:
    """Run the command; an error that the user can fix prints one message and exits with 2."""
    try:
        result: Any = cli(standalone_mode=False)
    except typer.Exit as stop:
        sys.exit(stop.exit_code)
    except typer.Abort:
        sys.exit(130)
    except MonitorError as error:
        _say(err, f"kpi-monitor: {error}")
        sys.exit(2)
    except Exception as error:
        show = getattr(error, "show", None)
        if show is None:
            raise
        show()
        sys.exit(getattr(error, "exit_code", 2))
    sys.exit(result if isinstance(result, int) else 0)
