"""What campaigns were planned to cost: in all, and up to a moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from models.campaigns import Campaign, milliseconds
from models.money import MoneyError
from models.rates import Rates
from models.windows import BusinessDay


class Plan(NamedTuple):
    """A campaign's budget at a moment, in units of 1/10,000 of the reporting currency.

    Args:
        budget: in all.
        due: up to the moment, spread evenly from the campaign's start to its end; 0
            without these.
    """

    budget: int
    due: int


NO_PLAN = Plan(0, 0)
"""Of what is no campaign, or has no budget: KPIs about it are absent."""


class Plans:
    """The plans of all campaigns, as they are defined now.

    Args:
        campaign_of: finds a campaign by its id.
        rates: what other currencies are worth.
        day: the business day, by whose date a budget is converted.
    """

    def __init__(
        self, campaign_of: Callable[[str], Campaign | None], *, rates: Rates, day: BusinessDay
    ) -> None:
        self._campaign_of = campaign_of
        self._rates = rates
        self._day = day

    def at(self, campaign_id: str, at_ms: int) -> Plan | None:
        """Return a campaign's plan at a moment of event time.

        Without a budget, or without a rate for its currency on the day that the campaign
        starts, there is none.
        """
        campaign = self._campaign_of(campaign_id)
        if campaign is None or campaign.budget is None:
            return None
        starts_ms = at_ms if campaign.starts is None else milliseconds(campaign.starts)
        try:
            budget = self._rates.to_units(
                campaign.budget.amount, campaign.budget.currency, on=self._day.date_of(starts_ms)
            )
        except MoneyError:
            return None
        elapsed = campaign.elapsed(at_ms)
        due = 0 if elapsed is None else budget * elapsed.so_far_ms // elapsed.whole_ms
        return Plan(budget, due)

    def exhausted_ms(self, campaign_id: str, at_ms: int, *, spent: int) -> int | None:
        """Return when a campaign will have spent its budget if it goes on as it has so far.

        Args:
            campaign_id: whose.
            at_ms: event time up to which ``spent`` was spent.
            spent: units of 1/10,000 of the reporting currency since the campaign's start.

        Returns:
            A moment in ms, which may be past; None if it spent nothing, is not running
            yet or any more, or has no plan.
        """
        campaign, plan = self._campaign_of(campaign_id), self.at(campaign_id, at_ms)
        if campaign is None or campaign.starts is None or plan is None or spent <= 0:
            return None
        starts_ms = milliseconds(campaign.starts)
        if at_ms <= starts_ms or campaign.is_over(at_ms):
            return None
        return starts_ms + (at_ms - starts_ms) * plan.budget // spent
