"""Costs that are reported for a period, as advertising platforms do: by hour, by day, and again.

The amount of a report is spread evenly over the part of its period that had passed when the report
came. A later report of the same campaign, channel, kind of cost and period replaces an earlier one.

Example: on 18 June a platform reports a day's spend three times, in 1/10,000 of the currency.

    came at             amount        spread over
    10:00               1,000,000     [00:00, 10:00): 100,000 an hour
    24:00 and later     2,400,000     the whole day: 100,000 an hour
    on 20 June          2,160,000     the whole day: 90,000 an hour, after a credit for bad clicks

Whatever the order in which these reports are read, the spend of the day is 2,160,000.

Two reports are about the same if their campaign and channel are the same once names are resolved,
or if they give the same names. So a report that came before its campaign was defined is replaced by
one that came after, and both names of a renamed campaign are one.
"""

from __future__ import annotations

import msgspec

from models.names import canonical
from models.scope import BUCKETS

Subject = tuple[str, str, str, int, int]
"""The campaign, channel, measure and period, as start and end, that a cost is about."""


class PeriodCost(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A cost that was reported for a period. Fields may only be appended.

    Args:
        campaign: the campaign, as it is shown.
        channel: the channel, as it is shown.
        measure: the sum that it adds to, ``spend`` or ``other_cost``.
        from_ms: start of the period, event time in ms, a multiple of a pane.
        until_ms: end of the period, likewise.
        covered_ms: the amount is spread over [from_ms, covered_ms), at most the period.
        units: the amount in 1/10,000 of the reporting currency; negative for a credit.
        reported_ms: event time of the report, in ms. The latest report counts.
        tie: decides between reports of the same time: the higher one counts.
        named_campaign: the canonical form of the campaign's name in the report.
        named_channel: the canonical form of the channel's name in the report.
    """

    campaign: str
    channel: str
    measure: str
    from_ms: int
    until_ms: int
    covered_ms: int
    units: int
    reported_ms: int
    tie: int
    named_campaign: str = ""
    named_channel: str = ""

    @property
    def placed(self) -> bool:
        """Whether its campaign is known: it counts in no bucket such as ``(unknown)``."""
        return self.campaign not in BUCKETS

    @property
    def named(self) -> Subject:
        """The subject, by the names that the report gives."""
        return self._about(self.named_campaign, self.named_channel)

    @property
    def subject(self) -> Subject:
        """The subject: the campaign if it is known, otherwise the name that is given."""
        if not self.placed:
            return self.named
        return self._about(canonical(self.campaign), self.channel)

    def _about(self, campaign: str, channel: str) -> Subject:
        return campaign, channel, self.measure, self.from_ms, self.until_ms

    def supersedes(self, other: PeriodCost) -> bool:
        """Return whether it counts instead of another report about the same.

        Of one report that was read twice, the reading that knows its campaign counts.
        """
        return self._rank > other._rank

    @property
    def _rank(self) -> tuple[int, int, bool]:
        return self.reported_ms, self.tie, self.placed
