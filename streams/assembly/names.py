"""The names of campaigns, channels, regions and segments as they are shown."""

from __future__ import annotations

from models.campaigns.campaign_change import Changes
from models.money.exchange_rates import Rates
from models.names import AsShown, NameBook
from streams.ingest.registry.campaign_index import CampaignIndex
from streams.ingest.registry.reader import RegistryReader
from streams.settings import Settings


def as_shown_by(names: NameBook, campaigns: CampaignIndex) -> AsShown:
    """Return the function that brings names in configuration into the form that is shown."""

    def as_shown(part: str, name: str) -> str:
        return campaigns.as_shown(name) if part == "campaign" else names.as_shown(part, name)

    return as_shown


async def read_campaigns(settings: Settings, campaigns: CampaignIndex) -> None:
    """Add the campaigns that the registry topic defines."""
    registry = RegistryReader(
        campaigns,
        Changes(),
        Rates(settings.currency),
        broker=settings.broker,
        topic=settings.registry_topic,
    )
    await registry.read_once()
