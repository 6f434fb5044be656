"""Loads the files that define what is computed and judged: KPIs, names, campaigns, rules, rates."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from models.campaigns.campaign_change import Changes
from models.kpi.user_catalogue import KpiBook
from models.money.exchange_rates import Rates
from models.names import AsShown, NameBook
from streams import config
from streams.alerting.rules.registry import RuleBook
from streams.assembly.names import as_shown_by
from streams.ingest.registry.campaign_index import CampaignIndex
from streams.ingest.registry.reader import RegistryReader
from streams.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """The content of the configuration files.

    Campaigns, their changes and the rates are indexes. Those that the registry topic has are added
    to them later.

    Args:
        book: own measurements and KPIs.
        names: the defined channels, regions and segments.
        campaigns: the campaigns.
        changes: the changes of campaigns.
        rates: the exchange rates.
        as_shown: brings names in rules and scorecards into the form that is shown.
    """

    book: KpiBook
    names: NameBook
    campaigns: CampaignIndex
    rates: Rates
    as_shown: AsShown
    changes: Changes = field(default_factory=Changes)

    def rules(self, path: Path | None) -> RuleBook:
        """Read alert rules, with names as they are shown; without a file there are none.

        Raises:
            ConfigError: the file is missing or wrong.
        """
        return config.shown_rules(
            path,
            config.load_rules(path, catalogue=self.book.catalogue),
            as_shown=self.as_shown,
        )


def load(settings: Settings) -> Configuration:
    """Read the files of KPIs, names, campaigns and rates that the settings name.

    Raises:
        ConfigError: a file is missing or wrong.
    """
    names = config.load_names(settings.names_file)
    defined = config.load_campaigns(settings.campaigns_file)
    campaigns = CampaignIndex(defined.campaigns, as_shown=names.as_shown)
    return Configuration(
        book=config.load_kpis(settings.kpis_file),
        names=names,
        campaigns=campaigns,
        rates=Rates(settings.currency, config.load_rates(settings.rates_file).rates),
        as_shown=as_shown_by(names, campaigns),
    )


def registry_reader(settings: Settings, configured: Configuration) -> RegistryReader:
    """Return the reader that adds the campaigns, changes and rates of the registry topic.

    Raises:
        ConfigError: a certificate or password file can't be read.
    """
    return RegistryReader(
        configured.campaigns,
        configured.changes,
        configured.rates,
        broker=settings.broker,
        topic=settings.registry_topic,
    )
