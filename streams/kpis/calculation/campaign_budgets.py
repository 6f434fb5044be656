"""Computes a campaign's budget, the part of it that is due, and when it will be spent.

Example:
    A campaign runs 30 days on a budget of 900. After 10 days, 300 are due. If it has spent 400
    by then, it spends 40 a day, and its budget is exhausted 22.5 days after its start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from models.campaigns.campaign import Campaign, milliseconds
from models.money.amounts import MoneyError, from_currency
from models.money.exchange_rates import Rates
from models.scope import Scope
from models.window import BusinessDay
from streams.engine.steps import Steps, in_groups


class CampaignBudget(NamedTuple):
    """A campaign's budget at a moment, in units of 1/10,000 of the reporting currency.

    Args:
        budget: the whole budget.
        due: the part that is due at the moment, with the budget spread evenly from the
            campaign's start to its planned end; 0 if one of these is not defined. It stays what
            it is once the campaign is over.
    """

    budget: int
    due: int


CAMPAIGNS_A_STEP = 200
"""Number of campaigns whose budgets are read in one step, about 2 ms."""
NO_PLAN = CampaignBudget(0, 0)
"""Used for scopes that have no budget: KPIs about it are absent there."""


class CampaignBudgets:
    """The budgets of all campaigns, as these are defined at the time of the call.

    Args:
        campaign_of: returns the campaign with an id; None if it is not defined.
        rates: exchange rates to the reporting currency.
        day: the business day; a budget is converted by the rate of its date.
    """

    def __init__(
        self, campaign_of: Callable[[str], Campaign | None], *, rates: Rates, day: BusinessDay
    ) -> None:
        self._campaign_of = campaign_of
        self._rates = rates
        self._day = day

    def at(self, campaign_id: str, at_ms: int) -> CampaignBudget | None:
        """Return a campaign's budget at a moment of event time, in ms.

        The budget is converted by the rate of the business day on which the campaign starts; of
        a campaign without a start, by the rate of the moment's.

        Returns:
            None without a budget, or without a rate for its currency on that day.
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

    def exhausted_ms(self, campaign_id: str, at_ms: int, *, spent: float) -> int | None:
        """Return when a campaign will have spent its budget if it keeps its average pace.

        Args:
            campaign_id: id of the campaign.
            at_ms: event time up to which ``spent`` was spent, in ms.
            spent: money spent since the campaign's start, in the reporting currency.

        Returns:
            A moment in ms, which may be past. None if the campaign has spent nothing, has not
            started or is over, or has no start or no budget.
        """
        campaign, plan = self._campaign_of(campaign_id), self.at(campaign_id, at_ms)
        if campaign is None or campaign.starts is None or plan is None or spent <= 0:
            return None
        starts_ms = milliseconds(campaign.starts)
        if at_ms <= starts_ms or campaign.is_over(at_ms):
            return None
        return starts_ms + (at_ms - starts_ms) * plan.budget // from_currency(spent)


class BudgetsAt:
    """The budgets of campaigns at one moment.

    Each is read once and kept, since definitions may change while a window is calculated.

    Args:
        plans: the budgets; None for windows in which no KPI about budgets is computed.
        at_ms: the moment, event time in ms.
    """

    def __init__(self, plans: CampaignBudgets | None, at_ms: int) -> None:
        self._plans = plans
        self._at_ms = at_ms
        self._read: dict[Scope, CampaignBudget] = {}

    def of(self, scope: Scope) -> CampaignBudget:
        """Return the budget of a scope; `NO_PLAN` for scopes other than campaigns."""
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
        """Return the campaigns whose budget differs from the one used before.

        Args:
            before: `used` of the last evaluation.
            among: the campaigns to compare.
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
        """The budgets that were read, of campaigns that have one."""
        return {scope: plan for scope, plan in self._read.items() if plan != NO_PLAN}
