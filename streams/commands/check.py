"""``kpi-monitor check``: check the settings, all configuration files, Kafka and Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from models.kpi.definition import Catalogue
from models.rule_status import NotJudged
from streams import config, redis_server, settings
from streams.alerting import rule_warnings
from streams.alerting.assumed_traffic import assumed_n, parse_traffic
from streams.alerting.rule_text import explain
from streams.alerting.rule_warnings import ConfigWarning, Known
from streams.alerting.rules.registry import RuleBook
from streams.assembly import topics
from streams.assembly.calendar import special_days_of
from streams.assembly.names import as_shown_by, read_campaigns
from streams.commands.calendar import summary, working_weekends_note
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
    err,
    out,
    project_of,
    say,
    with_project,
)
from streams.engine import topics as engine_topics
from streams.export.page.redis_share import live_key
from streams.ingest.registry.campaign_index import CampaignIndex
from streams.operations import worker_api

_SOON = timedelta(days=31)


def check(
    kafka: Kafka = None,
    app_id: AppId = None,
    project: ProjectFile = None,
    rules: RulesFile = None,
    campaigns: CampaignsFile = None,
    names: NamesFile = None,
    calendar: CalendarFile = None,
    kpis: KpisFile = None,
    scorecards: ScorecardsFile = None,
    rates: RatesFile = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Check settings and files only.")
    ] = False,
    url: Annotated[
        str | None,
        typer.Option(
            "--url", help="Address of a running worker; KPI_WEB_HOST and KPI_WEB_PORT, if left out."
        ),
    ] = None,
    traffic: Annotated[
        str | None,
        typer.Option(
            "--traffic",
            help="Assumed events an hour in the largest scope, such as clicks=30,orders=2: which "
            "rules could not fire? A worker is not asked then.",
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 if there is a warning.")
    ] = False,
) -> None:
    """Check the settings, all configuration files, the topics in Kafka, and Redis.

    Each alert rule is explained in a sentence. Warnings are about names that nobody knows and
    rules that are probably not meant so, or can't fire at the traffic there is: that of a running
    worker, if one answers, or that of --traffic. Nothing is written: topics --create creates
    missing topics. With --offline, nobody is asked but a worker of --url, and campaigns are those
    of the file.
    The exit code is 0 if all is right, 1 if a source topic is missing or, with --strict, if there
    is a warning, and 2 if something is wrong.
    """
    chosen = settings.load(
        **with_project(
            project_of(project),
            kafka=kafka,
            app_id=app_id,
            rules_file=rules,
            campaigns_file=campaigns,
            names_file=names,
            calendar_file=calendar,
            kpis_file=kpis,
            scorecards_file=scorecards,
            rates_file=rates,
        )
    )
    kpi_book = config.load_kpis(chosen.kpis_file)
    catalogue = kpi_book.catalogue
    book = config.load_rules(chosen.rules_file, catalogue=catalogue)
    cards = config.load_scorecards(chosen.scorecards_file, catalogue=catalogue)
    exchange = config.load_rates(chosen.rates_file)
    named = config.load_names(chosen.names_file)
    defined = config.load_campaigns(chosen.campaigns_file).campaigns
    index = CampaignIndex(defined, as_shown=named.as_shown)
    as_shown = as_shown_by(named, CampaignIndex(defined))
    shown = config.shown_rules(chosen.rules_file, book, as_shown=as_shown)
    out.print(f"settings  ok\nrules     {len(book.rules)} ok")
    for rule in shown.rules:
        meaning = explain(rule, catalogue[rule.kpi], currency=chosen.currency)
        say(out, f"  {rule.name}: {meaning.en}\n  {' ' * len(rule.name)}  {meaning.zh}")
    out.print(
        f"campaigns {len(defined)} ok\nkpis      {len(catalogue)} ok\n"
        f"scorecards {len(cards.scorecards)} ok\nrates     {len(exchange.rates)} ok\n"
        f"names     {len(named.channels + named.regions + named.segments)} ok"
    )
    _check_calendar(chosen)
    for card in cards.scorecards:
        for note in card.notes:
            say(err, f"note: {card.name}: {note}")
    missing: set[str] = set()
    if not offline:
        missing = _check_kafka(chosen)
        if chosen.registry_topic not in missing:
            asyncio.run(read_campaigns(chosen, index))
        _check_redis(chosen)
    if not len(index) and any(rule.match.campaign != ("*",) for rule in book.rules):
        say(err, "note: no campaign is defined here, so rules are not checked for their names")
    known = Known(
        campaigns=index,
        as_shown=as_shown,
        names=named,
        kpis=kpi_book,
        customers=chosen.customers and chosen.redis is not None,
        customer_days=chosen.customer_days,
    )
    warnings = [
        *_placed(chosen.kpis_file, rule_warnings.about_kpis(kpi_book)),
        *_placed(chosen.rules_file, rule_warnings.about_rules(book, known)),
        *_placed(
            chosen.rules_file, _about_traffic(chosen, shown, catalogue, url, traffic, offline)
        ),
        *_placed(chosen.scorecards_file, rule_warnings.about_scorecards(cards, known)),
    ]
    for warning in warnings:
        say(err, f"warning: {warning}")
    warned = warnings or settings.unknown_variables()
    if (strict and warned) or missing & set(chosen.source_topics):
        raise typer.Exit(1)


def _check_calendar(chosen: settings.Settings) -> None:
    """Print the number of special days of this year, and a note if those of soon are not known.

    Raises:
        ConfigError: the file is missing or wrong.
    """
    special_days = special_days_of(chosen)
    now = datetime.now(chosen.zone)
    say(out, f"calendar  {summary(special_days, now.year)} ok")
    if note := working_weekends_note(special_days, (now + _SOON).year):
        say(err, note)


def _check_kafka(chosen: settings.Settings) -> set[str]:
    """Print which topics are missing, and return their names.

    Raises:
        BrokerUnreachableError: no broker answers.
        TopicError: a topic has another number of partitions.
    """
    found = topics.states(chosen)
    engine_topics.refuse_wrong(found)
    missing = [state.spec.name for state in found if state.partitions is None]
    sources = [name for name in missing if name in chosen.source_topics]
    own = len(missing) - len(sources)
    state = "source topics missing" if sources else "ok"
    say(out, f"kafka     {state}, {len(found) - len(missing)} topics at {chosen.kafka}")
    if sources:
        say(
            err,
            f"missing: the source topics {', '.join(sources)}; if the names are right (KPI_CLICKS_"
            "TOPIC, KPI_ORDERS_TOPIC, KPI_CAMPAIGNS_TOPIC), `kpi-monitor topics --create` creates "
            "them",
        )
    if own:
        say(out, f"          the first worker creates {own} topics of its own")
    return set(missing)


def _check_redis(chosen: settings.Settings) -> None:
    """Ask Redis, if it is configured.

    Raises:
        RedisUnreachableError: it does not answer, refuses, or removes keys when it is full.
    """
    server = chosen.redis_server
    if server is None:
        say(out, "redis     not configured (KPI_REDIS): no customers, no attribution")
        return
    redis_server.probe(server, key=live_key(chosen.app_id), memory=chosen.customers)
    say(out, f"redis     ok, at {server.address}")


def _about_traffic(
    chosen: settings.Settings,
    book: RuleBook,
    catalogue: Catalogue,
    url: str | None,
    traffic: str | None,
    offline: bool,
) -> Iterator[ConfigWarning]:
    """Yield warnings about rules that can't fire at the traffic of a worker, or at an assumed one.

    Raises:
        BadParameter: the assumed traffic can't be read.
        WorkerUnreachableError: no worker answers at the address that was given.
    """
    if traffic is not None:
        try:
            hourly = parse_traffic(traffic)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--traffic") from None
        yield from rule_warnings.about_traffic(
            book,
            catalogue,
            largest_n=lambda rule: assumed_n(rule, catalogue, hourly),
            found=f"at {traffic} an hour",
        )
        return
    if not book.rules or (offline and url is None):
        return
    address = url or worker_api.url_of(chosen)
    try:
        answer = worker_api.rules_of(address, limit=0)
    except worker_api.WorkerUnreachableError:
        if url is not None:
            raise
        say(
            out,
            f"worker    none answers at {address}: give --traffic, or --url, to see which "
            "rules can't fire",
        )
        return
    say(out, f"worker    ok, at {address}")
    judged = {
        (one["rule"], one["kpi"], one["scope_kind"], one["window"]): one["largest_n"]
        for one in answer["rules"]
        if one["judged"] is not None and one["not_judged"] != NotJudged.WAITING
    }
    yield from rule_warnings.about_traffic(
        book,
        catalogue,
        largest_n=lambda rule: judged.get((rule.name, rule.kpi, rule.scope, rule.window)),
        found="since the worker started",
    )


def _placed(path: Path | None, warnings: Iterable[ConfigWarning]) -> Iterator[str]:
    """Yield warnings about a file with their lines and keys; a default has none."""
    if path is not None:
        for warning in warnings:
            yield f"{path}: {config.place(path, warning.location)}: {warning.text}"
