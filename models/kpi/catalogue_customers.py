"""KPIs of customers, and KPIs that compare the attribution models.

They are a part of the catalogue in `models.kpi.catalogue`; S0 to S3 are the papers that
docs/kpis.md names. They are absent until an order of a customer with a known history was seen.
Those of the touch models are absent until an order had a click of its customer before it: if clicks
and orders know their users by different ids, all orders would be direct.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from models.kpi.definition import Kpi

_HISTORY: Final = ("orders_attributed",)


class _Model(NamedTuple):
    """An attribution model, as names, titles and help texts call it."""

    name: str
    """Suffix of its measures."""
    kpi: str
    """Suffix of its KPIs."""
    title_en: str
    title_zh: str
    credited: str
    """The place that an order is credited to, as help texts say it."""


_MODELS: Final = (
    _Model("first", "first_touch", "first touch", "首次触点", "the first click before the order"),
    _Model("last", "last_touch", "last touch", "末次触点", "the last click before the order"),
    _Model("linear", "linear", "linear", "线性归因", "all clicks before the order, in equal parts"),
    _Model(
        "declared", "declared", "declared", "订单自报", "where the order itself says it came from"
    ),
)


def _of_model(model: _Model) -> tuple[Kpi, ...]:
    orders, revenue = f"orders_{model.name}", f"revenue_{model.name}"
    # An order may be credited where it does not count as an order.
    needs = (*_HISTORY, orders)
    paper = "" if model.name == "declared" else "S1"
    return (
        Kpi(
            name=f"orders_{model.kpi}",
            title_en=f"Orders, {model.title_en}",
            title_zh=f"{model.title_zh}订单数",
            formula=orders,
            unit="count",
            help=f"Orders, credited to {model.credited}",
            needs=needs,
            outcome=f"roas_{model.kpi}",
            objective="attribution",
            source=paper,
        ),
        Kpi(
            name=f"revenue_{model.kpi}",
            title_en=f"Revenue, {model.title_en}",
            title_zh=f"{model.title_zh}销售额",
            formula=revenue,
            unit="money",
            help=f"Sum of order amounts, credited to {model.credited}",
            needs=needs,
            n=orders,
            outcome=f"roas_{model.kpi}",
            objective="attribution",
            source=paper,
        ),
        Kpi(
            name=f"cpa_{model.kpi}",
            title_en=f"Cost per order, {model.title_en}",
            title_zh=f"{model.title_zh}单均花费",
            formula=f"spend / {orders}",
            unit="money",
            direction="less",
            help=f"Advertising spend per order, credited to {model.credited}",
            needs=("spend_reports",),
            n=orders,
            # Parts of orders are no Poisson count.
            interval="none" if model.name == "linear" else "poisson",
            min_n=10,
            objective="attribution",
            source=paper,
        ),
        Kpi(
            name=f"roas_{model.kpi}",
            title_en=f"Return on ad spend, {model.title_en}",
            title_zh=f"{model.title_zh}广告投入产出比",
            formula=f"{revenue} / spend",
            unit="ratio",
            multiple=True,
            help=f"Revenue divided by advertising spend, orders credited to {model.credited}",
            needs=needs,
            n=orders,
            min_n=30,
            objective="attribution",
            source=paper,
        ),
    )


CUSTOMER_KPIS: Final = (
    Kpi(
        name="new_customers",
        title_en="New customers",
        title_zh="新客户",
        formula="first_orders",
        unit="count",
        help="Customers who placed their first order ever",
        needs=_HISTORY,
        outcome="clv",
        objective="acquisition",
        source="S3",
    ),
    Kpi(
        name="cac",
        title_en="Customer acquisition cost",
        title_zh="获客成本",
        formula="(spend + other_cost) / first_orders",
        unit="money",
        direction="less",
        help="Total cost of advertising, channels and labour per new customer (CAC)",
        needs=("spend_reports",),
        n="first_orders",
        interval="poisson",
        min_n=10,
        objective="efficiency",
        source="S0, S1",
    ),
    Kpi(
        name="repeat_orders",
        title_en="Repeat orders",
        title_zh="复购订单",
        formula="orders_attributed - first_orders",
        unit="count",
        help="Orders of customers who had ordered before",
        needs=_HISTORY,
        outcome="repurchase_rate",
        objective="retention",
        source="S1",
    ),
    Kpi(
        name="returning_buyers",
        title_en="Returning buyers",
        title_zh="老客户购买人数",
        formula="returning",
        unit="users",
        help="Distinct users who placed an order that was not their first",
        needs=_HISTORY,
        outcome="clv",
        objective="retention",
        source="S1",
    ),
    Kpi(
        name="new_customer_conversion_rate",
        title_en="Conversion to new customers",
        title_zh="新客转化率",
        formula="first_orders / shoppers",
        unit="ratio",
        help="New customers per unique visitor; a buyer without a click or visit in the window"
        " counts as a visitor",
        needs=_HISTORY,
        n="shoppers",
        interval="wilson",
        min_n=100,
        objective="acquisition",
        source="S1",
    ),
    Kpi(
        name="returning_conversion_rate",
        title_en="Conversion of returning customers",
        title_zh="老客转化率",
        formula="returning / shoppers",
        unit="ratio",
        help="Returning buyers per unique visitor, whether or not the visitor had ordered before;"
        " a buyer without a click or visit in the window counts as a visitor",
        needs=_HISTORY,
        n="shoppers",
        interval="wilson",
        min_n=100,
        objective="retention",
        source="S1",
    ),
    Kpi(
        name="revenue_new",
        title_en="Revenue from new customers",
        title_zh="新客销售额",
        formula="revenue_new",
        unit="money",
        help="Sum of the amounts of first orders, refunds not subtracted",
        needs=_HISTORY,
        n="first_orders",
        outcome="clv",
        objective="acquisition",
        source="S1",
    ),
    Kpi(
        name="revenue_returning",
        title_en="Revenue from returning customers",
        title_zh="老客销售额",
        formula="revenue_returning",
        unit="money",
        help="Sum of the amounts of orders of customers who had ordered before, refunds not"
        " subtracted",
        needs=_HISTORY,
        n="orders_attributed - first_orders",
        outcome="clv",
        objective="retention",
        source="S1",
    ),
    Kpi(
        name="aov_new",
        title_en="Average order value, new customers",
        title_zh="新客客单价",
        formula="revenue_new / first_orders",
        unit="money",
        help="Mean amount of first orders",
        needs=_HISTORY,
        n="first_orders",
        min_n=30,
        objective="acquisition",
        source="S1",
    ),
    Kpi(
        name="aov_returning",
        title_en="Average order value, returning customers",
        title_zh="老客客单价",
        formula="revenue_returning / (orders_attributed - first_orders)",
        unit="money",
        help="Mean amount of orders of customers who had ordered before",
        needs=_HISTORY,
        n="orders_attributed - first_orders",
        min_n=30,
        objective="retention",
        source="S1",
    ),
    Kpi(
        name="repurchase_rate",
        title_en="Repurchase rate",
        title_zh="复购率",
        formula="returning / buyers",
        unit="ratio",
        help="Distinct users who placed an order that was not their first, per distinct buyer",
        needs=_HISTORY,
        n="buyers",
        interval="wilson",
        min_n=30,
        objective="retention",
        source="S0, S1",
    ),
    Kpi(
        name="retention_rate",
        title_en="Retention rate",
        title_zh="客户留存率",
        formula="(customers - customers_new) / customers_before",
        unit="ratio",
        help="Customers at the end of the window who were customers at its start, per customer at"
        " its start; a customer ordered in the last KPI_CUSTOMER_DAYS business days; only in"
        " windows of business days",
        n="customers_before",
        interval="wilson",
        min_n=30,
        objective="retention",
        source="S0, S1, S3",
    ),
    Kpi(
        name="customers",
        title_en="Customers",
        title_zh="客户数",
        formula="customers",
        unit="users",
        help="Distinct users who ordered in the last KPI_CUSTOMER_DAYS business days, of which the"
        " last is the current one; only in windows of business days",
        outcome="clv",
        objective="retention",
    ),
    Kpi(
        name="customer_growth",
        title_en="Customer growth",
        title_zh="客户增长率",
        formula="(customers - customers_before) / customers_before",
        unit="ratio",
        help="Growth of the number of customers from the start of the window to its end; only in"
        " windows of business days",
        n="customers_before",
        min_n=30,
        objective="retention",
        source="S1",
    ),
    Kpi(
        name="clv",
        title_en="Customer lifetime value, so far",
        title_zh="客户终身价值",
        formula="lifetime_value / first_orders",
        unit="money",
        help="Net revenue to date of the customers whose first order is in the window and scope,"
        " per such customer",
        n="first_orders",
        min_n=30,
        objective="retention",
        source="S2, S3",
    ),
    Kpi(
        name="refund_outflow",
        title_en="Refunds paid out",
        title_zh="退款流出",
        formula="refund_outflow",
        unit="money",
        direction="less",
        help="Refunded money, counted when it is paid back and at the rate of that day, and not"
        " when the order was placed",
        needs=(*_HISTORY, "refunds_made"),
        n="refunds_made",
        outcome="refund_rate",
        objective="sales",
    ),
    Kpi(
        name="order_changes",
        title_en="Changes of orders",
        title_zh="订单变更",
        formula="order_changes",
        unit="count",
        direction="less",
        help="Events that repeat or edit an order, which counts once, when it was placed",
        needs=_HISTORY,
        objective="sales",
    ),
    Kpi(
        name="orders_with_touch",
        title_en="Orders with a touch",
        title_zh="有触点订单占比",
        formula="orders_touched / orders_attributed",
        unit="ratio",
        help="Orders whose customer clicked in the KPI_ATTRIBUTION_LOOKBACK_DAYS before, per order;"
        " next to none if clicks and orders know their users by different ids",
        needs=_HISTORY,
        n="orders_attributed",
        interval="wilson",
        min_n=30,
        objective="attribution",
    ),
    *(kpi for model in _MODELS for kpi in _of_model(model)),
    Kpi(
        name="attribution_spread",
        title_en="Attribution spread",
        title_zh="归因分歧度",
        formula="spread(orders_first, orders_last, orders_linear)",
        unit="ratio",
        direction="neither",
        help="Disagreement of first touch, last touch and linear attribution: 0 if they agree, 1"
        " if they disagree completely",
        n="orders_linear",
        min_n=30,
        objective="attribution",
        source="S1",
    ),
)
"""In the order of customers, then of each model, then of all models."""
