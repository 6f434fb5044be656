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
from models.window import DAY_MS, SO_FAR, BusinessDay, WindowName
from streams.engine.steps import Steps, in_groups
from streams.kpis.calculation.kpi_calculator import NO_FIGURES, Figures


class CampaignBudget(NamedTuple):
    """The budget of a campaign, or of one of its channels, at a moment.

    In units of 1/10,000 of the reporting currency.

    Args:
        budget: the whole budget.
        due: the part that is due at the moment, with the budget spread evenly from the
            campaign's start to its planned end; 0 if one of these is not defined. It stays what
            it is once the campaign is over.
        today: the part that is planned for the business day of the moment; 0 without such a plan,
            for channels, before the campaign's start and once it is over.
    """

    budget: int
    due: int
    today: int = 0


_DAY: WindowName = "day"
CAMPAIGNS_A_STEP = 200
"""Number of campaigns whose budgets are read in one step, about 2 ms."""
_FAR_MS = 36_525 * DAY_MS
"""A budget that lasts longer is never exhausted."""


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

    def at(self, campaign_id: str, at_ms: int, *, channel: str = "") -> CampaignBudget | None:
        """Return a budget at a moment of event time, in ms.

        The budget is converted by the rate of the business day on which the campaign starts; of
        a campaign without a start, by the rate of the moment's.

        Args:
            campaign_id: id of the campaign.
            at_ms: the moment.
            channel: a channel, as it is shown; empty for the whole campaign.

        Returns:
            None without a budget, or without a rate for its currency on that day. A channel needs
            a budget of its own.
        """
        campaign = self._campaign_of(campaign_id)
        if campaign is None or campaign.budget is None:
            return None
        planned = campaign.budget
        amount = planned.part_of(channel)
        if amount is None:
            return None
        starts_ms = at_ms if campaign.starts is None else milliseconds(campaign.starts)
        on = self._day.date_of(starts_ms)
        daily = None if channel else planned.daily
        runs = starts_ms <= at_ms and not campaign.is_over(self._day.start_of(at_ms))
        try:
            budget = self._rates.to_units(amount, planned.currency, on=on)
            today = self._rates.to_units(daily, planned.currency, on=on) if daily and runs else 0
        except MoneyError:
            return None
        elapsed = campaign.elapsed(at_ms)
        due = 0 if elapsed is None else budget * elapsed.so_far_ms // elapsed.whole_ms
        return CampaignBudget(budget, due, today)

    def exhausted_ms(self, campaign_id: str, at_ms: int, *, spent: float) -> int | None:
        """Return when a campaign will have spent its budget if it keeps its average pace.

        Args:
            campaign_id: id of the campaign.
            at_ms: event time up to which ``spent`` was spent, in ms.
            spent: money spent since the campaign's start, in the reporting currency.

        Returns:
            A moment in ms, which may be past. None if the campaign has spent nothing, or so little
            that the budget lasts for a century, has not started or is over, or has no start or no
            budget.
        """
        campaign, plan = self._campaign_of(campaign_id), self.at(campaign_id, at_ms)
        if campaign is None or campaign.starts is None or plan is None or spent <= 0:
            return None
        starts_ms = milliseconds(campaign.starts)
        if at_ms <= starts_ms or campaign.is_over(at_ms):
            return None
        lasts_ms = (at_ms - starts_ms) * plan.budget // from_currency(spent)
        return starts_ms + lasts_ms if lasts_ms < _FAR_MS else None


class CampaignFigures:
    """The figures of campaigns and their channels beside the cells of one window.

    Each budget is read once and kept, since definitions may change while a window is calculated.

    Args:
        plans: the budgets.
        window: the window: `so_far` has the whole budget and its due part, `day` that of a day.
        at_ms: the end of the window, event time in ms.
        since_start: figures of all traffic since campaigns started, by their id.
    """

    def __init__(
        self,
        plans: CampaignBudgets,
        window: WindowName,
        at_ms: int,
        since_start: Mapping[str, Figures],
    ) -> None:
        self._plans = plans if window in {SO_FAR, _DAY} else None
        self._window = window
        self._at_ms = at_ms
        self._since_start = since_start
        self._read: dict[Scope, Figures] = {}

    def of(self, scope: Scope) -> Figures:
        """Return the figures of a scope; none for scopes of other kinds."""
        if self._plans is None or scope.kind not in {"campaign", "campaign_channel"}:
            return NO_FIGURES
        figures = self._read.get(scope)
        if figures is None:
            figures = self._planned(scope, self._plans)
            if scope.kind == "campaign":
                figures |= self._since_start.get(scope.campaign, {})
            self._read[scope] = figures
        return figures

    def _planned(self, scope: Scope, plans: CampaignBudgets) -> dict[str, int]:
        # The last moment of the window: a window that ends with a day is of that day.
        at_ms = self._at_ms if self._window == SO_FAR else self._at_ms - 1
        plan = plans.at(scope.campaign, at_ms, channel=scope.channel)
        if plan is None:
            return {}
        named = {"budget": plan.budget, "budget_due": plan.due}
        if self._window == _DAY:
            named = {"budget_today": plan.today}
        return {name: units for name, units in named.items() if units}

    def changed(
        self, before: Mapping[Scope, Figures], *, among: Iterable[Scope]
    ) -> Steps[set[Scope]]:
        """Return the scopes whose figures differ from those used before.

        Args:
            before: `used` of the last evaluation.
            among: the campaigns and channels of campaigns to compare.
        """
        changed: set[Scope] = set()
        if self._plans is None:
            return changed
        for scopes in in_groups(among, of=CAMPAIGNS_A_STEP):
            changed.update(
                scope for scope in scopes if self.of(scope) != before.get(scope, NO_FIGURES)
            )
            yield
        changed.update(scope for scope in before if self.of(scope) != before[scope])
        return changed

    @property
    def used(self) -> Mapping[Scope, Figures]:
        """The figures that were read, of scopes that have any."""
        return {scope: figures for scope, figures in self._read.items() if figures}
