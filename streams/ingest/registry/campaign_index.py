"""Resolves the name that an event gives to a campaign: by id, then by name or alias."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import NamedTuple

from models.campaigns.campaign import Campaign, Ending, Run
from models.names import AsShown, Change, NameBook, canonical, names_nothing
from models.scope import NO_CAMPAIGN, UNKNOWN_CAMPAIGN

_NOTHING_DEFINED = NameBook()


class Found(NamedTuple):
    """The id of the campaign that a name stands for, or a bucket.

    ``change`` is how the reported name differs from its id and name; None if it does not.
    """

    campaign: str
    change: Change | None = None


class CampaignIndex:
    """All campaigns, by id and by each of their names. Campaigns are never removed.

    Ids and names are compared in their canonical form, but an exact id always wins, and an id wins
    over a name. A name that two campaigns share resolves to neither of them.

    Args:
        campaigns: the campaigns to begin with.
        as_shown: returns the shown form of a channel's name; campaigns have it in their channels
            and budgets, whatever file of names was in use when they were defined.

    Attributes:
        version: changes with every definition and every end; what is derived from the index can
            be kept until then.
    """

    def __init__(
        self, campaigns: Iterable[Campaign] = (), *, as_shown: AsShown = _NOTHING_DEFINED.as_shown
    ) -> None:
        self.version = 0
        self._as_shown = as_shown
        self._by_id: dict[str, Campaign] = {}
        self._ended: dict[Run, datetime] = {}
        self._ids: defaultdict[str, set[str]] = defaultdict(set)
        self._names: defaultdict[str, set[str]] = defaultdict(set)
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
        campaign = campaign.with_shown_channels(self._as_shown)
        before = self._by_id.get(campaign.id)
        if before is not None:
            for form in _forms(before):
                self._names[form].discard(campaign.id)
        self._by_id[campaign.id] = self._as_ended(campaign)
        self._ids[canonical(campaign.id)].add(campaign.id)
        for form in _forms(campaign):
            self._names[form].add(campaign.id)
        self.version += 1

    def end(self, ending: Ending) -> Ending:
        """Record the end of a campaign's run, and return the earliest end known of that run.

        The order and the repetition of ends and definitions do not matter.
        """
        ended = min(ending.ended, self._ended.get(ending.run, ending.ended))
        self._ended[ending.run] = ended
        campaign = self._by_id.get(ending.campaign)
        if campaign is not None and (known := self._as_ended(campaign)) != campaign:
            self._by_id[campaign.id] = known
            self.version += 1
        return ending.model_copy(update={"ended": ended})

    def _as_ended(self, campaign: Campaign) -> Campaign:
        """Return a campaign with the earlier of its own end and the one reported for its run."""
        ended = self._ended.get(campaign.run)
        if ended is None:
            return campaign
        return campaign.model_copy(update={"ended": min(ended, campaign.ended or ended)})

    def get(self, campaign_id: str) -> Campaign | None:
        """Return the campaign with an id; None if there is none."""
        return self._by_id.get(campaign_id)

    def as_shown(self, name: str) -> str:
        """Return the id of the campaign that has a name; the name itself if there is none."""
        campaign = self.called(name)
        return name if campaign is None else campaign.id

    def called(self, name: str) -> Campaign | None:
        """Return the campaign with an id, name or alias; None if there is none."""
        return self._by_id.get(self.find(name).campaign)

    def find(self, *names: str | None) -> Found:
        """Return the campaign with an id, name or alias.

        Args:
            names: of several, the first that names anything counts.

        Returns:
            ``(none)`` if nothing is named, ``(unknown)`` if no campaign has that name, or more
            than one.
        """
        for called in filter(None, names):
            if called in self._by_id:
                return Found(called)
            form = canonical(called)
            if not names_nothing(form):
                return self._found(called, form)
        return Found(NO_CAMPAIGN)

    def _found(self, called: str, form: str) -> Found:
        candidates = self._ids.get(form) or self._names.get(form) or ()
        if len(candidates) != 1:
            return Found(UNKNOWN_CAMPAIGN)
        (campaign,) = (self._by_id[one] for one in candidates)
        if called == campaign.name:
            return Found(campaign.id)
        is_alias = form not in {canonical(campaign.id), canonical(campaign.name)}
        return Found(campaign.id, "alias" if is_alias else "spelling")


def _forms(campaign: Campaign) -> set[str]:
    """Return the canonical forms of a campaign's names."""
    return {canonical(name) for name in (campaign.name, *campaign.aliases) if name}
