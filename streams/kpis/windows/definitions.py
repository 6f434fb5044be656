"""The definitions behind evaluations: the KPIs, the business day, the campaigns."""

from __future__ import annotations

from dataclasses import dataclass

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
        top_campaigns: number of campaigns that are shown one by one; the others are shown as one.
        customer_days: a customer ordered in the last so many business days; a lead is open if it
            changed in them.
    """

    calculator: KpiCalculator
    day: BusinessDay
    timeline: CampaignTimeline
    budgets: CampaignBudgets
    top_campaigns: int
    customer_days: int = CUSTOMER_DAYS
