"""``kpi-monitor check``: check the settings, all configuration files, Kafka and Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from streams import config, settings
from streams.alerting import rule_warnings
from streams.alerting.rule_text import explain
from streams.alerting.rule_warnings import ConfigWarning, Known
from streams.assembly import topics
from streams.assembly.names import as_shown_by, read_campaigns
from streams.commands.options import (
    AppId,
    CampaignsFile,
    Kafka,
    KpisFile,
    NamesFile,
    RatesFile,
    RulesFile,
    ScorecardsFile,
    err,
    out,
    say,
)
from streams.ingest.registry.campaign_index import CampaignIndex


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
    cards = config.load_scorecards(chosen.scorecards_file, catalogue=catalogue)
    exchange = config.load_rates(chosen.rates_file)
    named = config.load_names(chosen.names_file)
    defined = config.load_campaigns(chosen.campaigns_file).shown(named.as_shown).campaigns
    index = CampaignIndex(defined)
    as_shown = as_shown_by(named, CampaignIndex(defined))
    out.print(f"settings  ok\nrules     {len(book.rules)} ok")
    for rule in book.shown(as_shown).rules:
        meaning = explain(rule, catalogue[rule.kpi], currency=chosen.currency)
        say(out, f"  {rule.name}: {meaning.en}\n  {' ' * len(rule.name)}  {meaning.zh}")
    out.print(
        f"campaigns {len(defined)} ok\nkpis      {len(catalogue)} ok\n"
        f"scorecards {len(cards.scorecards)} ok\nrates     {len(exchange.rates)} ok\n"
        f"names     {len(named.channels + named.regions + named.segments)} ok"
    )
    for card in cards.scorecards:
        for note in card.notes:
            say(err, f"note: {card.name}: {note}")
    if not offline:
        found = topics.ensure(chosen)
        asyncio.run(read_campaigns(chosen, index))
        out.print(f"kafka     ok, {len(found)} topics at {chosen.kafka}")
    if not len(index) and any(rule.match.campaign != ("*",) for rule in book.rules):
        say(err, "note: no campaign is defined here, so rules are not checked for their names")
    known = Known(
        campaigns=index,
        as_shown=as_shown,
        names=named,
        kpis=kpi_book,
        customers=chosen.customers and chosen.redis is not None,
    )
    warnings = [
        *_placed(chosen.kpis_file, rule_warnings.about_kpis(kpi_book)),
        *_placed(chosen.rules_file, rule_warnings.about_rules(book, known)),
        *_placed(chosen.scorecards_file, rule_warnings.about_scorecards(cards, known)),
    ]
    for warning in warnings:
        say(err, f"warning: {warning}")
    if strict and warnings:
        raise typer.Exit(1)


def _placed(path: Path | None, warnings: Iterable[ConfigWarning]) -> Iterator[str]:
    """Yield warnings about a file with their lines and keys; a default has none."""
    if path is not None:
        for warning in warnings:
            yield f"{path}: {config.place(path, warning.location)}: {warning.text}"
