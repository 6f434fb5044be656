"""Finds the moments of campaigns at which phases begin and changes take effect."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping

from models.campaigns.campaign import Campaign, milliseconds
from models.campaigns.campaign_change import Change
from models.window import BusinessDay, whole_quarter

STARTED, ENDED = "start", "end"
"""Names of the changes that are the start and the end of a campaign."""


class CampaignTimeline:
    """Finds when phases of campaigns begin and when campaigns were changed.

    Campaigns are read as they are defined at the time of the call. Every moment is rounded up
    to a whole quarter of an hour, because windows of weeks are summed up from quarters.

    Args:
        campaigns: all campaigns; other tasks may add to it and change it.
        changes: the last reported changes; other tasks may add to it.
        day: the business day.
    """

    def __init__(
        self, campaigns: Iterable[Campaign], changes: Iterable[Change], *, day: BusinessDay
    ) -> None:
        self._campaigns = campaigns
        self._changes = changes
        self._day = day

    def days(self, from_ms: int, until_ms: int) -> set[int]:
        """Return the starts, in ms, of business days on which a phase begins in [from, until]."""
        moments = {
            whole_quarter(milliseconds(stage.starts))
            for campaign in self._campaigns
            for stage in campaign.stages
        }
        return {self._day.start_of(at_ms) for at_ms in moments if from_ms <= at_ms <= until_ms}

    def stages(self, at_ms: int) -> Mapping[int, Collection[str]]:
        """Return the ids of the campaigns that are in a phase, by the phase's rounded start in ms.

        Args:
            at_ms: event time in ms. A phase whose rounded start is not before it is left out.
        """
        found: defaultdict[int, set[str]] = defaultdict(set)
        for campaign in self._campaigns:
            stage = campaign.stage_at(at_ms)
            if stage is not None:
                found[whole_quarter(milliseconds(stage.starts))].add(campaign.id)
        return {start: ids for start, ids in found.items() if start < at_ms}

    def changes(self, after_ms: int, until_ms: int) -> list[Change]:
        """Return the changes whose rounded moment is in (after, until], the newest first.

        The start and the end of a campaign count as changes.
        """
        found = [
            change
            for change in (*self._starts_and_ends(), *self._changes)
            if after_ms < whole_quarter(change.at_ms) <= until_ms
        ]
        return sorted(found, key=lambda one: (-one.at_ms, one.campaign, one.event_id))

    def _starts_and_ends(self) -> Iterator[Change]:
        for campaign in self._campaigns:
            starts_ms = None if campaign.starts is None else milliseconds(campaign.starts)
            # A campaign that was over before its start never started. Who ended a campaign
            # is not reported.
            begun = starts_ms is not None and not campaign.is_over(starts_ms)
            for what, at_ms, who in (
                (STARTED, starts_ms if begun else None, campaign.owner),
                (ENDED, campaign.over_ms, ""),
            ):
                if at_ms is not None:
                    yield Change(campaign=campaign.id, event_id="", at_ms=at_ms, what=what, who=who)
