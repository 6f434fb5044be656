"""Costs that are reported for a period, as advertising platforms do: by hour, by day, and again.

The amount of a report is spread evenly over the part of its period that had passed when the report
came. A later report of the same campaign, channel, kind of cost and period replaces an earlier one.

Example: on 18 June a platform reports a day's spend three times, in 1/10,000 of the currency.

    came at             amount        spread over
    10:00               1,000,000     [00:00, 10:00): 100,000 an hour
    24:00 and later     2,400,000     the whole day: 100,000 an hour
    on 20 June          2,160,000     the whole day: 90,000 an hour, after a credit for bad clicks

Whatever the order in which these reports are read, the spend of the day is 2,160,000.
"""

from __future__ import annotations

import msgspec


class PeriodCost(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A cost that was reported for a period.

    Args:
        campaign: the campaign.
        channel: the channel.
        measure: the sum that it adds to, ``spend`` or ``other_cost``.
        from_ms: start of the period, event time in ms, a multiple of a pane.
        until_ms: end of the period, likewise.
        covered_ms: the amount is spread over [from_ms, covered_ms), at most the period.
        units: the amount in 1/10,000 of the reporting currency; negative for a credit.
        reported_ms: event time of the report, in ms. The latest report counts.
        tie: decides between reports of the same time: the higher one counts.
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

    @property
    def subject(self) -> tuple[str, str, str, int, int]:
        """The campaign, channel, measure and period that it is about."""
        return self.campaign, self.channel, self.measure, self.from_ms, self.until_ms

    def supersedes(self, other: PeriodCost) -> bool:
        """Return whether it counts instead of another report about the same."""
        return (self.reported_ms, self.tie) > (other.reported_ms, other.tie)
