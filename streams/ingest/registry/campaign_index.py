"""Finds the campaign that an event means: by id, then by name or alias."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from datetime import datetime

from models.campaigns.campaign import Campaign, Ending, Run
from models.scope import NO_CAMPAIGN, UNKNOWN_CAMPAIGN


def normalised(name: str) -> str:
    """Return a name without differences of width, case and space."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


class CampaignIndex:
    """All campaigns, by id and by every name; grows, and never guesses.

    A name that two campaigns share means neither of them.
    """

    def __init__(self, campaigns: Iterable[Campaign] = ()) -> None:
        self._by_id: dict[str, Campaign] = {}
        self._ended: dict[Run, datetime] = {}
        self._by_name: dict[str, str | None] = {}
        for campaign in campaigns:
            self.define(campaign)

    def __len__(self) -> int:
        """Return how many campaigns are defined."""
        return len(self._by_id)

    def __iter__(self) -> Iterator[Campaign]:
        """Iterate over the campaigns, as they are defined now."""
        return iter(self._by_id.values())

    def define(self, campaign: Campaign) -> None:
        """Add a campaign, or replace the one of the same id.

        One that was ended goes on if it has other times than then.
        """
        self._by_id[campaign.id] = self._as_ended(campaign)
        self._by_name = {}
        for known in self._by_id.values():
            for name in {normalised(name) for name in (known.name, *known.aliases) if name}:
                self._by_name[name] = known.id if name not in self._by_name else None

    def end(self, ending: Ending) -> Ending:
        """Note when a campaign ended, and return the first end that is known of it.

        It does not matter in which order ends and definitions come, nor how often.
        """
        ended = min(ending.ended, self._ended.get(ending.run, ending.ended))
        self._ended[ending.run] = ended
        campaign = self._by_id.get(ending.campaign)
        if campaign is not None:
            self._by_id[campaign.id] = self._as_ended(campaign)
        return ending.model_copy(update={"ended": ended})

    def _as_ended(self, campaign: Campaign) -> Campaign:
        """Return a campaign with the end that is told of it, or its own if that was before."""
        told = self._ended.get(campaign.run)
        if told is None:
            return campaign
        return campaign.model_copy(update={"ended": min(told, campaign.ended or told)})

    def get(self, campaign_id: str) -> Campaign | None:
        """Return the campaign of that id."""
        return self._by_id.get(campaign_id)

    def called(self, name: str) -> Campaign | None:
        """Return the campaign called by id, name or alias."""
        return self._by_id.get(self.resolve(name))

    def resolve(self, called: str | None) -> str:
        """Return the id of the campaign called by id, name or alias; ``none`` or ``unknown``."""
        if called in self._by_id:
            return called
        if not called:
            return NO_CAMPAIGN
        return self._by_name.get(normalised(called)) or UNKNOWN_CAMPAIGN
