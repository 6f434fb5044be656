"""The definitions behind evaluations: the KPIs, the business day, the campaigns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from models.scope import ScopeKind
from models.window import BusinessDay
from streams.kpis.calculation.campaign_budgets import CampaignBudgets
from streams.kpis.calculation.kpi_calculator import KpiCalculator
from streams.kpis.storage.bucket_store import CUSTOMER_DAYS
from streams.kpis.windows.campaign_timeline import CampaignTimeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Definitions:
    """The KPIs, and how windows and campaigns are cut.

    The campaigns behind `timeline` and `budgets` may change while the stage runs.

    Args:
        calculator: computes the KPIs of a cell.
        day: the business day.
        timeline: finds when phases of campaigns begin, and when campaigns were changed.
        budgets: the campaigns' budgets.
        largest: by kind of scope, the number of scopes that are shown one by one.
        summed: the kinds of scope of which the others are summed up and shown as one.
        customer_days: a customer ordered in the last so many business days; a lead is open if it
            changed in them.
    """

    calculator: KpiCalculator
    day: BusinessDay
    timeline: CampaignTimeline
    budgets: CampaignBudgets
    largest: Mapping[ScopeKind, int]
    summed: frozenset[ScopeKind]
    customer_days: int = CUSTOMER_DAYS
