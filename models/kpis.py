"""The catalogue of KPIs: what each one is, as data.

A KPI is a sum of measures, a count of distinct users, or a quotient of two
sums. Source S0 to S3 are the papers named in docs/kpis.md. ``needs`` names the
measures that must have been seen: without them the KPI is absent, not 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

from models.measures import SOURCE_OF, SourceKind
from models.money import to_currency

Unit = Literal["count", "users", "ratio", "money"]
Interval = Literal["none", "wilson"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kpi:
    """One KPI. ``numerator`` and ``denominator`` are sums of signed measures.

    ``distinct`` counts users instead. ``n`` names the measure that the value
    rests on; None means the value itself.
    """

    name: str
    title_en: str
    title_zh: str
    unit: Unit
    help: str
    numerator: tuple[tuple[int, str], ...] = ()
    denominator: tuple[tuple[int, str], ...] = ()
    distinct: Literal["visitors", "buyers"] | None = None
    needs: tuple[str, ...] = ()
    n: str | None = None
    interval: Interval = "none"

    @property
    def metric(self) -> str:
        """The name of its Prometheus metric, with the unit."""
        if self.name.endswith(f"_{self.unit}"):
            return f"kpi_{self.name}"
        return f"kpi_{self.name}_{self.unit}"

    @property
    def sources(self) -> frozenset[SourceKind]:
        """The source topics that it is made of."""
        names = [name for _, name in (*self.numerator, *self.denominator)]
        return frozenset(SOURCE_OF[name] for name in [*names, *filter(None, [self.distinct])])

    @property
    def volume(self) -> bool:
        """Whether it grows with the events of its window, so that a part of one says less."""
        return not self.denominator

    def shown(self, value: int | float) -> int | float:
        """Return a value as people and rules see it: sums of money in the currency.

        Sums of money are whole units of 1/10,000, averages are in the currency already.
        """
        if self.unit == "money" and isinstance(value, int):
            return to_currency(value)
        return value


class KpiValue(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A KPI's value in one window and scope.

    ``value`` is in whole units of 1/10,000 for sums of money (an int), in the
    currency for averages of money (a float). ``low`` and ``high`` bound the
    95 % interval where the KPI has one; ``n`` is what the value rests on.
    """

    value: int | float
    low: float | None = None
    high: float | None = None
    n: int = 0


KPIS: tuple[Kpi, ...] = (
    Kpi(
        name="impressions",
        title_en="Impressions",
        title_zh="曝光量",
        unit="count",
        help="Advertisements shown",
        numerator=((1, "impressions"),),
        needs=("impressions",),
    ),
    Kpi(
        name="clicks",
        title_en="Clicks",
        title_zh="点击次数",
        unit="count",
        help="Clicks on advertisements",
        numerator=((1, "clicks"),),
    ),
    Kpi(
        name="unique_visitors",
        title_en="Unique visitors",
        title_zh="独立访客",
        unit="users",
        help="Distinct users who clicked or visited",
        distinct="visitors",
        needs=("clicks", "visits"),
    ),
    Kpi(
        name="orders",
        title_en="Orders",
        title_zh="订单数量",
        unit="count",
        help="Orders placed",
        numerator=((1, "orders"),),
    ),
    Kpi(
        name="buyers",
        title_en="Buyers",
        title_zh="购买人数",
        unit="users",
        help="Distinct users who placed an order",
        distinct="buyers",
    ),
    Kpi(
        name="revenue_gross",
        title_en="Revenue, gross",
        title_zh="销售额",
        unit="money",
        help="Sum of the orders' amounts",
        numerator=((1, "revenue_gross"),),
        n="orders",
    ),
    Kpi(
        name="revenue_net",
        title_en="Revenue, net",
        title_zh="净销售额",
        unit="money",
        help="Sum of the orders' amounts less refunds",
        numerator=((1, "revenue_gross"), (-1, "revenue_refunded")),
        n="orders",
    ),
    Kpi(
        name="ctr",
        title_en="Click-through rate",
        title_zh="点击率",
        unit="ratio",
        help="Clicks per impression",
        numerator=((1, "clicks"),),
        denominator=((1, "impressions"),),
        needs=("impressions",),
        n="impressions",
        interval="wilson",
    ),
    Kpi(
        name="conversion_rate",
        title_en="Conversion rate",
        title_zh="转化率",
        unit="ratio",
        help="Orders per click",
        numerator=((1, "orders"),),
        denominator=((1, "clicks"),),
        n="clicks",
        interval="wilson",
    ),
    Kpi(
        name="aov",
        title_en="Average order value",
        title_zh="客单价",
        unit="money",
        help="Gross revenue per order",
        numerator=((1, "revenue_gross"),),
        denominator=((1, "orders"),),
        n="orders",
    ),
    Kpi(
        name="spend",
        title_en="Spend",
        title_zh="花费",
        unit="money",
        help="Advertising cost reported by the channels",
        numerator=((1, "spend"),),
        needs=("spend_reports",),
        n="spend_reports",
    ),
    Kpi(
        name="cpc",
        title_en="Cost per click",
        title_zh="单次点击成本",
        unit="money",
        help="Spend per click",
        numerator=((1, "spend"),),
        denominator=((1, "clicks"),),
        needs=("spend_reports",),
        n="clicks",
    ),
    Kpi(
        name="roas",
        title_en="Return on ad spend",
        title_zh="投入产出比",
        unit="ratio",
        help="Gross revenue per unit of spend (S1: revenue / cost)",
        numerator=((1, "revenue_gross"),),
        denominator=((1, "spend"),),
        needs=("spend_reports",),
        n="orders",
    ),
    Kpi(
        name="roi",
        title_en="Return on investment",
        title_zh="投资回报率",
        unit="ratio",
        help="Gross revenue less spend, per unit of spend (S3: (revenue - cost) / cost)",
        numerator=((1, "revenue_gross"), (-1, "spend")),
        denominator=((1, "spend"),),
        needs=("spend_reports",),
        n="orders",
    ),
)

KPI_BY_NAME: dict[str, Kpi] = {kpi.name: kpi for kpi in KPIS}
