"""Resolves the name that an event gives to a campaign: by id, then by name or alias."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from datetime import datetime

from models.campaigns.campaign import Campaign, Ending, Run
from models.scope import NO_CAMPAIGN, UNKNOWN_CAMPAIGN


def normalised(name: str) -> str:
    """Return a name with Unicode width, case and white space normalised."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


class CampaignIndex:
    """All campaigns, by id and by each of their names. Campaigns are never removed.

    A name that two campaigns share resolves to neither of them.
    """

    def __init__(self, campaigns: Iterable[Campaign] = ()) -> None:
        self._by_id: dict[str, Campaign] = {}
        self._ended: dict[Run, datetime] = {}
        self._by_name: dict[str, str | None] = {}
        for campaign in campaigns:
            self.define(campaign)

    def __len__(self) -> int:
        """Return the number of campaigns."""
        return len(self._by_id)

    def __iter__(self) -> Iterator[Campaign]:
        """Iterate over the campaigns as they are defined now."""
        return iter(self._by_id.values())

    def define(self, campaign: Campaign) -> None:
        """Add a campaign, or replace the one with the same id.

        An end applies to a run, that is to planned times: a campaign that was ended goes on if it
        is defined with other times.
        """
        self._by_id[campaign.id] = self._as_ended(campaign)
        self._by_name = {}
        for known in self._by_id.values():
            for name in {normalised(name) for name in (known.name, *known.aliases) if name}:
                self._by_name[name] = known.id if name not in self._by_name else None

    def end(self, ending: Ending) -> Ending:
        """Record the end of a campaign's run, and return the earliest end known of that run.

        The order and the repetition of ends and definitions do not matter.
        """
        ended = min(ending.ended, self._ended.get(ending.run, ending.ended))
        self._ended[ending.run] = ended
        campaign = self._by_id.get(ending.campaign)
        if campaign is not None:
            self._by_id[campaign.id] = self._as_ended(campaign)
        return ending.model_copy(update={"ended": ended})

    def _as_ended(self, campaign: Campaign) -> Campaign:
        """Return a campaign with the earlier of its own end and the one reported for its run."""
        told = self._ended.get(campaign.run)
        if told is None:
            return campaign
        return campaign.model_copy(update={"ended": min(told, campaign.ended or told)})

    def get(self, campaign_id: str) -> Campaign | None:
        """Return the campaign with an id; None if there is none."""
        return self._by_id.get(campaign_id)

    def called(self, name: str) -> Campaign | None:
        """Return the campaign with an id, name or alias; None if there is none."""
        return self._by_id.get(self.resolve(name))

    def resolve(self, called: str | None) -> str:
        """Return the id of the campaign with an id, name or alias.

        Returns:
            ``none`` if no name is given, ``unknown`` if no campaign or more than one has it.
        """
        if called in self._by_id:
            return called
        if not called:
            return NO_CAMPAIGN
        return self._by_name.get(normalised(called)) or UNKNOWN_CAMPAIGN
