"""Finds the moments of campaigns at which phases begin and changes take effect."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from models.campaigns.campaign import Campaign, milliseconds
from models.campaigns.campaign_change import Change
from models.window import BusinessDay, whole_quarter


class Run(NamedTuple):
    """The business days that a campaign has run: their start, and their end or the present, ms."""

    start: int
    until: int


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
        """Return the starts of business days whose quarters are needed longer, in ms.

        These are the days on which a phase begins in [from, until], and the days before the first
        ones of campaigns: the traffic before a campaign ends at some time of such a day.
        """
        phases = {
            whole_quarter(milliseconds(stage.starts))
            for campaign in self._campaigns
            for stage in campaign.stages
        }
        before = {
            self._day.start_of(milliseconds(campaign.starts)) - 1
            for campaign in self._campaigns
            if campaign.starts is not None
        }
        return {
            self._day.start_of(at_ms) for at_ms in phases | before if from_ms <= at_ms <= until_ms
        }

    def runs(self, at_ms: int) -> Mapping[Run, Collection[str]]:
        """Return the campaigns that have begun, by the business days that they have run to date.

        A campaign runs in whole business days: from its first one to the end of its last one.

        Args:
            at_ms: event time in ms, the end of a window.
        """
        found: defaultdict[Run, list[str]] = defaultdict(list)
        for campaign in self._campaigns:
            starts_ms = None if campaign.starts is None else milliseconds(campaign.starts)
            if starts_ms is None or starts_ms >= at_ms or campaign.is_over(starts_ms):
                continue
            until_ms = at_ms
            if campaign.over_ms is not None:
                until_ms = min(at_ms, self._day.end_of(campaign.over_ms - 1))
            found[Run(self._day.start_of(starts_ms), until_ms)].append(campaign.id)
        return found

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
