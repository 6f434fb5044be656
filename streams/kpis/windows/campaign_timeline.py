"""Finds the moments of campaigns at which phases begin and changes take effect."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from math import inf
from typing import NamedTuple, Protocol

from models.campaigns.campaign import Campaign, milliseconds
from models.campaigns.campaign_change import Change
from models.window import DAY_MS, BusinessDay, whole_quarter
from streams.engine.steps import Steps, at_once, in_groups

CAMPAIGNS_A_STEP = 100
"""Number of campaigns that are read in one step, up to 5 ms."""
DAYS_KEPT = 50_000
"""Number of moments whose business day is kept."""


class RunDays(NamedTuple):
    """The business days that a campaign has run: their start, and their end or the present, ms."""

    start: int
    until: int


class Campaigns(Protocol):
    """All campaigns, which other tasks may change; ``version`` is another one afterwards."""

    @property
    def version(self) -> int:
        """Changes with every definition and every end of a campaign."""

    def __iter__(self) -> Iterator[Campaign]:
        """Iterate over the campaigns as they are defined now."""


STARTED, ENDED = "start", "end"
"""Names of the changes that are the start and the end of a campaign."""


class _Phase(NamedTuple):
    """A phase of a campaign, in ms: its rounded start, its start, and its end or infinity."""

    rounded: int
    start: int
    until: float
    campaign: str


class _Moment(NamedTuple):
    """The start or the end of a campaign, in ms, and whose work it is; empty if unknown."""

    at_ms: int
    campaign: str
    what: str
    who: str


class _Times(NamedTuple):
    """The times of a campaign, in ms. One that was over before its start never started."""

    campaign: Campaign
    starts_ms: int | None
    over_ms: int | None
    phases: tuple[_Phase, ...]

    @classmethod
    def of(cls, campaign: Campaign) -> _Times:
        """Return the times of a campaign."""
        over_ms = campaign.over_ms
        end = inf if over_ms is None else over_ms
        starts = [milliseconds(stage.starts) for stage in campaign.stages]
        phases = tuple(
            _Phase(whole_quarter(start), start, min(following, end), campaign.id)
            for start, following in zip(starts, [*starts, inf][1:], strict=True)
        )
        starts_ms = None if campaign.starts is None else milliseconds(campaign.starts)
        if starts_ms is not None and starts_ms >= end:
            starts_ms = None
        return cls(campaign, starts_ms, over_ms, phases)

    def moments(self) -> Iterator[_Moment]:
        """Yield its start and its end. Who ended a campaign is not reported."""
        if self.starts_ms is not None:
            yield _Moment(self.starts_ms, self.campaign.id, STARTED, self.campaign.owner)
        if self.over_ms is not None:
            yield _Moment(self.over_ms, self.campaign.id, ENDED, "")


class CampaignTimeline:
    """Finds when phases of campaigns begin and when campaigns were changed.

    Campaigns are read as they are defined at the time of the call. Their moments are kept in the
    order of time, so that campaigns of years ago cost nothing. Every moment is rounded up to a
    whole quarter of an hour, because windows of weeks are summed up from quarters.

    Args:
        campaigns: all campaigns; other tasks may add to it and change it.
        changes: the last reported changes; other tasks may add to it.
        day: the business day.
    """

    def __init__(
        self, campaigns: Campaigns, changes: Iterable[Change], *, day: BusinessDay
    ) -> None:
        self._campaigns = campaigns
        self._changes = changes
        self._day = day
        self._day_of = lru_cache(maxsize=DAYS_KEPT)(day.start_of)
        self._version = -1
        self._times: Mapping[str, _Times] = {}
        self._starts: list[tuple[int, str]] = []
        self._phases: list[_Phase] = []
        self._moments: list[_Moment] = []

    def renew(self) -> Steps[None]:
        """Read the campaigns that were defined or ended since the last call.

        The other methods do so, too, in one step: call this before, where many may be new.
        """
        version = self._campaigns.version
        if version == self._version:
            return
        times: dict[str, _Times] = {}
        for group in in_groups([*self._campaigns], of=CAMPAIGNS_A_STEP):
            for one in group:
                known = self._times.get(one.id)
                if known is None or known.campaign is not one:
                    known = _Times.of(one)
                times[one.id] = known
            yield
        read = times.values()
        starts = sorted(
            (one.starts_ms, one.campaign.id) for one in read if one.starts_ms is not None
        )
        yield
        phases = sorted(phase for one in read for phase in one.phases)
        yield
        moments = sorted(moment for one in read for moment in one.moments())
        self._times, self._starts, self._phases, self._moments = times, starts, phases, moments
        self._version = version

    def days(self, from_ms: int, until_ms: int) -> set[int]:
        """Return the starts of business days whose quarters are needed longer, in ms.

        These are the days on which a phase begins in [from, until], and the days before the first
        ones of campaigns: the traffic before a campaign ends at some time of such a day.
        """
        at_once(self.renew())
        first = bisect_left(self._phases, from_ms, key=_rounded)
        last = bisect_right(self._phases, until_ms, key=_rounded)
        moments = {phase.rounded for phase in self._phases[first:last]}
        # The first day of a campaign begins up to 25 hours before the campaign does.
        first = bisect_left(self._starts, (from_ms,))
        last = bisect_right(self._starts, (until_ms + 2 * DAY_MS,))
        moments |= {self._day_of(starts_ms) - 1 for starts_ms, _ in self._starts[first:last]}
        return {self._day_of(at_ms) for at_ms in moments if from_ms <= at_ms <= until_ms}

    def runs(self, at_ms: int, *, from_ms: int) -> Steps[Mapping[RunDays, Collection[str]]]:
        """Return the campaigns that have begun, by the business days that they have run to date.

        A campaign runs in whole business days: from its first one to the end of its last one.

        Args:
            at_ms: event time in ms, the end of a window.
            from_ms: campaigns that started before it are left out, event time in ms.
        """
        yield from self.renew()
        times = self._times
        first, last = (bisect_left(self._starts, (moment,)) for moment in (from_ms, at_ms))
        found: defaultdict[RunDays, list[str]] = defaultdict(list)
        for group in in_groups(self._starts[first:last], of=CAMPAIGNS_A_STEP):
            for starts_ms, campaign in group:
                over_ms, until_ms = times[campaign].over_ms, at_ms
                if over_ms is not None and over_ms < at_ms:
                    until_ms = min(at_ms, self._day.end_of(over_ms - 1))
                found[RunDays(self._day_of(starts_ms), until_ms)].append(campaign)
            yield
        return found

    def stages(self, at_ms: int) -> Mapping[int, Collection[str]]:
        """Return the ids of the campaigns that are in a phase, by the phase's rounded start in ms.

        Args:
            at_ms: event time in ms. A phase whose rounded start is not before it is left out.
        """
        at_once(self.renew())
        found: defaultdict[int, set[str]] = defaultdict(set)
        for phase in self._phases[: bisect_left(self._phases, at_ms, key=_rounded)]:
            if at_ms < phase.until:
                found[phase.rounded].add(phase.campaign)
        return found

    def changes(self, after_ms: int, until_ms: int) -> list[Change]:
        """Return the changes whose rounded moment is in (after, until], the newest first.

        The start and the end of a campaign count as changes.
        """
        at_once(self.renew())
        first, last = (
            bisect_right(self._moments, moment, key=lambda one: whole_quarter(one.at_ms))
            for moment in (after_ms, until_ms)
        )
        own = (
            Change(campaign=one.campaign, event_id="", at_ms=one.at_ms, what=one.what, who=one.who)
            for one in self._moments[first:last]
        )
        reported = (
            change for change in self._changes if after_ms < whole_quarter(change.at_ms) <= until_ms
        )
        return sorted([*own, *reported], key=lambda one: (-one.at_ms, one.campaign, one.event_id))


def _rounded(phase: _Phase) -> int:
    return phase.rounded
