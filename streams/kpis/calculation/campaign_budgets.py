"""What campaigns were planned to cost: in all, and up to a moment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from models.campaigns.campaign import Campaign, milliseconds
from models.money.amounts import MoneyError
from models.money.exchange_rates import Rates
from models.scope import Scope
from models.window import BusinessDay
from streams.engine.steps import Steps, in_groups


class CampaignBudget(NamedTuple):
    """A campaign's budget at a moment, in units of 1/10,000 of the reporting currency.

    Args:
        budget: in all.
        due: up to the moment, spread evenly from the campaign's start to its end; 0
            without these.
    """

    budget: int
    due: int


CAMPAIGNS_A_STEP = 200
"""The plans of so many are read in one step, about 2 ms."""
NO_PLAN = CampaignBudget(0, 0)
"""Of what is no campaign, or has no budget: KPIs about it are absent."""


class CampaignBudgets:
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

    def at(self, campaign_id: str, at_ms: int) -> CampaignBudget | None:
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
        return CampaignBudget(budget, due)

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


class BudgetsAt:
    """The plans of campaigns at one moment, each read once: they may be changed meanwhile.

    Args:
        plans: the plans; None where there are none in this window.
        at_ms: the moment.
    """

    def __init__(self, plans: CampaignBudgets | None, at_ms: int) -> None:
        self._plans = plans
        self._at_ms = at_ms
        self._read: dict[Scope, CampaignBudget] = {}

    def of(self, scope: Scope) -> CampaignBudget:
        """Return the plan of a scope, which only a campaign has."""
        if self._plans is None or scope.kind != "campaign":
            return NO_PLAN
        plan = self._read.get(scope)
        if plan is None:
            plan = self._plans.at(scope.campaign, self._at_ms) or NO_PLAN
            self._read[scope] = plan
        return plan

    def changed(
        self, before: Mapping[Scope, CampaignBudget], *, among: Iterable[Scope]
    ) -> Steps[set[Scope]]:
        """Return the campaigns whose plan is another than it was.

        Args:
            before: what `used` was.
            among: the campaigns.
        """
        changed: set[Scope] = set()
        if self._plans is not None:
            for scopes in in_groups(among, of=CAMPAIGNS_A_STEP):
                changed.update(
                    scope for scope in scopes if self.of(scope) != before.get(scope, NO_PLAN)
                )
                yield
        return changed

    @property
    def used(self) -> Mapping[Scope, CampaignBudget]:
        """The plans that were asked for, of the campaigns that have one."""
        return {scope: plan for scope, plan in self._read.items() if plan != NO_PLAN}
