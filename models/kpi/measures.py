"""Measures: the sums, sets of distinct users, distributions and levels that a cell holds.

All measures merge over panes, partitions and campaigns: sums and distributions add up, sets of
users are united, and of a level the newest measurement is kept. Ratios are computed last.

The order of these tables is that of the stored and sent cells: entries may only be appended, with
``since`` one more than `VERSION` is.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, Literal, NamedTuple

from models.events import SourceKind

FIRST_VERSION: Final = 1
"""The version of the measures in the oldest state that can be read."""


CUSTOM_SOURCE: Final[SourceKind] = "campaigns"
"""The kind of source topic that custom measures come from."""
FIRST_CUSTOM: Final = 512
"""The index of the first custom sum, and of the first custom level. There are fewer built-in ones,
so that appending one does not move them."""

MetricKind = Literal["sum", "level", "share", "seconds"]
"""The kind of a metric: whole numbers that add up; a level, of which the newest measurement counts;
a level from 0 to 1; or a duration in seconds."""


class Measure(NamedTuple):
    """A quantity that formulas can name.

    Args:
        name: its name in formulas.
        source: the kind of source topic that it comes from.
        help: what it counts.
        since: the version of the measures that added it. Cells of an older version do not have
            it: KPIs that use it are absent, not 0, in windows that such cells are part of.
    """

    name: str
    source: SourceKind
    help: str
    since: int = FIRST_VERSION


class CustomNames(NamedTuple):
    """The names of the custom measures, which the file of KPIs declares.

    Args:
        sums: those that add up, in the order of their declaration.
        levels: those of which the newest measurement counts, shares included.
        shares: the levels that are shares, from 0 to 1.
    """

    sums: tuple[str, ...] = ()
    levels: tuple[str, ...] = ()
    shares: frozenset[str] = frozenset()


NO_CUSTOM: Final = CustomNames()

SUMS: Final = (
    Measure("impressions", "clicks", "advertisements shown"),
    Measure("clicks", "clicks", "clicks on advertisements"),
    Measure("visits", "clicks", "visits"),
    Measure("orders", "orders", "orders placed"),
    Measure("refunds", "orders", "refunds"),
    Measure("revenue_gross", "orders", "money of the orders placed"),
    Measure("revenue_refunded", "orders", "refunded money"),
    Measure("spend", "campaigns", "money paid for advertising"),
    Measure("spend_reports", "campaigns", "reports of costs of any kind"),
    Measure("registrations", "orders", "accounts opened"),
    Measure("lead_changes", "orders", "changes of a lead's stage"),
    Measure("surveys", "orders", "surveys answered"),
    Measure("measurements", "campaigns", "figures measured elsewhere"),
    Measure("page_views", "clicks", "pages viewed in all visits"),
    Measure("clicks_paid", "clicks", "clicks that were paid for"),
    Measure("visits_paid", "clicks", "visits that were paid for"),
    Measure("leads", "orders", "new leads"),
    Measure("leads_mql", "orders", "leads qualified by marketing (MQL)"),
    Measure("leads_sql", "orders", "leads accepted by sales (SQL)"),
    Measure("leads_opportunity", "orders", "leads that became an opportunity"),
    Measure("leads_won", "orders", "leads won as a deal"),
    Measure("leads_lost", "orders", "leads that were lost"),
    Measure("nps_answers", "orders", "answers to the NPS question, 0 to 10"),
    Measure("nps_promoters", "orders", "NPS answers of 9 and 10"),
    Measure("nps_detractors", "orders", "NPS answers of 0 to 6"),
    Measure("csat_answers", "orders", "answers to the satisfaction question, 1 to 5"),
    Measure("csat_score", "orders", "sum of the satisfaction answers"),
    Measure("csat_squares", "orders", "sum of the squares of the satisfaction answers"),
    Measure("items", "orders", "items ordered"),
    Measure("other_cost", "campaigns", "money paid for channels and labour"),
    Measure("likes", "campaigns", "likes"),
    Measure("comments", "campaigns", "comments"),
    Measure("shares", "campaigns", "shares of posts"),
    Measure("brand_searches", "campaigns", "searches for the brand"),
    Measure("mentions", "campaigns", "mentions of the brand"),
    Measure("store_visits", "campaigns", "visits to stores"),
    Measure("sentiment_positive", "campaigns", "favourable mentions"),
    Measure("sentiment_neutral", "campaigns", "neutral mentions"),
    Measure("sentiment_negative", "campaigns", "unfavourable mentions"),
    Measure("refunds_made", "orders", "refunds, counted when they are made"),
    Measure("refund_outflow", "orders", "refunded money, counted when it is paid back"),
    Measure("orders_attributed", "orders", "orders of customers with a known history"),
    Measure("first_orders", "orders", "first orders of customers"),
    Measure(
        "lifetime_value",
        "orders",
        "net revenue of all orders of a customer, counted at the first order",
    ),
    Measure("orders_declared", "orders", "orders, credited to where they say they came from"),
    Measure(
        "revenue_declared", "orders", "money of orders, credited to where they say they came from"
    ),
    Measure("orders_first", "orders", "orders, credited to the first touch"),
    Measure("revenue_first", "orders", "money of orders, credited to the first touch"),
    Measure("orders_last", "orders", "orders, credited to the last touch"),
    Measure("revenue_last", "orders", "money of orders, credited to the last touch"),
    Measure("orders_linear", "orders", "orders, credited to all touches in equal parts"),
    Measure("revenue_linear", "orders", "money of orders, credited to all touches in equal parts"),
    Measure("order_changes", "orders", "events that repeat or edit an order", since=2),
    Measure("complaint_responses", "campaigns", "complaints that were answered", since=2),
    Measure(
        "complaint_response_total_ms",
        "campaigns",
        "sum of the times from a complaint to its answer, in ms",
        since=2,
    ),
    Measure("revenue_new", "orders", "money of the first orders of customers", since=2),
    Measure(
        "revenue_returning",
        "orders",
        "money of orders of customers who had ordered before",
        since=2,
    ),
    Measure("orders_touched", "orders", "orders with a click of their customer before", since=3),
)
"""The sums of a cell. Money is in whole units of 1/10,000 of the reporting currency."""

USER_SETS: Final = (
    Measure("visitors_natural", "clicks", "users who clicked or visited through unpaid traffic"),
    Measure("buyers", "orders", "users who placed an order"),
    Measure("visitors_paid", "clicks", "users who clicked or visited through paid traffic"),
    Measure("reached", "clicks", "users who were shown an advertisement"),
    Measure("engaged", "orders", "users who registered, became a lead or answered a survey"),
    Measure("returning", "orders", "users who placed an order that was not their first"),
    Measure("lead_users", "orders", "users whose lead reached a stage", since=2),
    Measure("leads_closed", "orders", "users whose lead was won or lost", since=2),
)
"""The sets of distinct users of a cell."""

UNIONS: Final[dict[str, tuple[str, ...]]] = {
    "visitors": ("visitors_natural", "visitors_paid"),
    "shoppers": ("visitors_natural", "visitors_paid", "buyers"),
    "participants": ("visitors_natural", "visitors_paid", "buyers", "engaged"),
    "active": ("visitors_natural", "visitors_paid", "buyers", "engaged", "reached"),
}
"""Unions of sets of distinct users by name; formulas can name them, too. A union comes after the
unions that it contains."""

DISTRIBUTIONS: Final = (
    Measure("dwell_ms", "clicks", "duration of visits, in ms"),
    Measure("order_amount", "orders", "order amounts"),
    Measure("complaint_response_ms", "campaigns", "time from a complaint to its answer, in ms"),
)
"""The distributions, of which quantiles are computed. Money is in units of 1/10,000."""

LEVELS: Final = (
    Measure("followers", "campaigns", "followers"),
    Measure("market_share", "campaigns", "share of the market, 0 to 1"),
    Measure("awareness", "campaigns", "share of people who know the brand, 0 to 1"),
    Measure("stock", "campaigns", "items in stock"),
)
"""The levels, of which the newest measurement counts. Values are in units of 1/10,000."""

METRICS: Final[dict[str, MetricKind]] = {
    **dict.fromkeys(("likes", "comments", "shares", "brand_searches", "mentions"), "sum"),
    **dict.fromkeys(("store_visits", "sentiment_positive", "sentiment_neutral"), "sum"),
    "sentiment_negative": "sum",
    **dict.fromkeys(("followers", "stock"), "level"),
    **dict.fromkeys(("market_share", "awareness"), "share"),
    "complaint_response_s": "seconds",
}
"""The built-in metrics of a ``measurement``. Those in seconds make up `complaint_response_ms`; the
others are sums and levels of the same name."""

SUM_INDEX: Final = {measure.name: index for index, measure in enumerate(SUMS)}
SET_INDEX: Final = {measure.name: index for index, measure in enumerate(USER_SETS)}
DISTRIBUTION_INDEX: Final = {measure.name: index for index, measure in enumerate(DISTRIBUTIONS)}
LEVEL_INDEX: Final = {measure.name: index for index, measure in enumerate(LEVELS)}
WIDTH: Final = len(SUMS)

_MEASURES: Final = (*SUMS, *USER_SETS, *DISTRIBUTIONS, *LEVELS)
VERSION: Final = max(measure.since for measure in _MEASURES)
"""The version of the measures in the cells that this worker makes."""


class Measured(NamedTuple):
    """The measures that all cells of a stretch of time have.

    Args:
        version: the oldest version of the measures in the cells.
        lacking: custom sums that some of the cells lack, because they were not declared yet.
    """

    version: int = VERSION
    lacking: frozenset[str] = frozenset()


ALL_MEASURED: Final = Measured()

INPUTS: Final = (
    *("impressions", "clicks", "visits"),
    *("orders", "registrations", "lead_changes", "surveys"),
    *("spend_reports", "measurements"),
    "orders_touched",
)
"""The sums that count events, and orders that a click of their customer led to. An input is
connected once one of them was counted."""
ALL_INPUTS: Final = (1 << len(INPUTS)) - 1
"""The bit mask of all inputs."""

_INPUTS_OF: Final[dict[str, tuple[str, ...]]] = {
    **{name: (name,) for name in INPUTS},
    **dict.fromkeys(("page_views", "visits_paid", "dwell_ms"), ("visits",)),
    **dict.fromkeys(("visitors_natural", "visitors_paid"), ("clicks", "visits")),
    "reached": ("impressions",),
    "engaged": ("registrations", "lead_changes", "surveys"),
    **dict.fromkeys(("lead_users", "leads_closed"), ("lead_changes",)),
    **dict.fromkeys(("spend", "other_cost"), ("spend_reports",)),
    **{measure.name: ("lead_changes",) for measure in SUMS if measure.name.startswith("lead")},
    "orders_touched": ("clicks",),
    **{
        f"{what}_{model}": ("orders_touched",)
        for what in ("orders", "revenue")
        for model in ("first", "last", "linear")
    },
    **{
        measure.name: ("surveys",) for measure in SUMS if measure.name.startswith(("nps_", "csat_"))
    },
}
_INPUT_OF_SOURCE: Final[dict[SourceKind, str]] = {
    "clicks": "clicks",
    "orders": "orders",
    "campaigns": "measurements",
}
"""The input of the measures that `_INPUTS_OF` does not name."""

PLANNED: Final[dict[str, str]] = {
    "budget": "the campaign's budget for advertising",
    "budget_due": "the part of the budget that is due by now, if it is spread evenly from the"
    " campaign's start to its end",
    "budget_today": "the part of the budget that is planned for one business day",
}
"""Amounts from a campaign's plan, of the campaign or of one of its channels. ``budget_today`` is
available in the window `day` only, the others in the all-time window only."""

STOCKS: Final[dict[str, tuple[tuple[str, ...], str]]] = {
    "customers": (
        ("buyers",),
        "users who ordered in the last business days, of which the last is the current one",
    ),
    "customers_before": (
        ("buyers",),
        "users who ordered in as many business days before the window",
    ),
    "customers_new": (("buyers",), "users in customers who were not in customers_before"),
    "leads_open": (
        ("lead_users", "leads_closed"),
        "users with a lead in the last business days that was neither won nor lost in them",
    ),
    "leads_active": (
        ("lead_users", "leads_closed"),
        "users in leads_open whose lead reached a stage in the window",
    ),
}
"""Counts of users over the last business days, with the sets that they are counted from.

They are available in windows of business days, and only once all these days were observed."""

SINCE_START: Final[dict[str, tuple[tuple[str, ...], str]]] = {
    f"{name}_{when}": (
        (measure,),
        f"{what} of everything, {of_what}",
    )
    for name, measure, what in (
        ("visitors", "visitors", "users who clicked or visited"),
        ("visitors_paid", "visitors_paid", "users who clicked or visited through paid traffic"),
        (
            "visitors_natural",
            "visitors_natural",
            "users who clicked or visited through unpaid traffic",
        ),
        ("orders", "orders", "orders placed"),
        ("revenue", "revenue_gross", "money of the orders placed"),
    )
    for when, of_what in (
        ("since_start", "from the campaign's first business day to its last, to date"),
        ("before_start", "in as many business days before the campaign's first"),
    )
}
"""Figures of all traffic and sales during a campaign and before it, with what they are counted
from. They are available only for campaigns with a start and in the all-time window."""

FIGURES: Final = (*PLANNED, *STOCKS, *SINCE_START)
"""The names in formulas beside the measures of a cell. Where one is not available, KPIs that name
it are absent."""

MODELS: Final = ("declared", "first", "last", "linear")
"""The models of attribution: as the order declares, or by its touches (S1)."""
FROM_CUSTOMERS: Final = frozenset(
    {
        *("orders_attributed", "first_orders", "returning", "lifetime_value", "order_changes"),
        *("revenue_new", "revenue_returning", "orders_touched"),
        *(f"{what}_{model}" for what in ("orders", "revenue") for model in MODELS),
    }
)
"""The measures that need stored customers: without them they are never counted."""
CREDITS: Final = frozenset(f"orders_{model}" for model in MODELS)
"""The sums that are in parts of an order, see `ORDER_CREDIT`."""
ORDER_CREDIT: Final = 10_000
"""The number of parts of an order: half an order is 5,000."""

MONEY: Final = frozenset(
    {
        *("revenue_gross", "revenue_refunded", "spend", "other_cost"),
        *("refund_outflow", "lifetime_value", "revenue_new", "revenue_returning", *PLANNED),
        *("revenue_since_start", "revenue_before_start"),
        *(f"revenue_{model}" for model in MODELS),
    }
)
"""The sums that are money."""

DURATIONS: Final = frozenset({"complaint_response_total_ms"})
"""The sums that are times in ms; KPIs show them in seconds."""

StoredUnit = Literal["number", "money", "ms", "parts"]
"""The unit in which a measure is stored: a number of events or users, 1/10,000 of the currency,
milliseconds, or parts of an order. Only measures of one unit add up."""

_STORED_IN: Final[dict[str, StoredUnit]] = {
    **dict.fromkeys((*MONEY, "order_amount"), "money"),
    **dict.fromkeys((*DURATIONS, "dwell_ms", "complaint_response_ms"), "ms"),
    **dict.fromkeys(CREDITS, "parts"),
}

_SOURCE_OF: Final = {measure.name: measure.source for measure in _MEASURES} | dict.fromkeys(
    PLANNED, "campaigns"
)
_SINCE: Final = {measure.name: measure.since for measure in _MEASURES}
_PARTS: Final = {name: parts for name, (parts, _) in (STOCKS | SINCE_START).items()}


def parts_of(name: str) -> tuple[str, ...]:
    """Return the measures that a name in a formula is made of; itself if it is a measure."""
    return tuple(
        measure for part in _PARTS.get(name, (name,)) for measure in UNIONS.get(part, (part,))
    )


def stored_unit_of(name: str) -> StoredUnit:
    """Return the unit of a sum, a count of users, a figure or a distribution.

    Custom sums are numbers.
    """
    return _STORED_IN.get(name, "number")


def sources_of(name: str) -> frozenset[SourceKind]:
    """Return the kinds of source topics of a name in a formula.

    A name that is not built in is a custom measure.
    """
    return frozenset(_SOURCE_OF.get(part, CUSTOM_SOURCE) for part in parts_of(name))


class Metric(NamedTuple):
    """A metric, and what becomes of its values.

    Args:
        name: the name of the metric.
        kind: how values are checked and merged.
        custom: whether it is declared in the file of KPIs.
    """

    name: str
    kind: MetricKind
    custom: bool


@lru_cache(maxsize=8)
def metrics_with(custom: CustomNames) -> dict[str, Metric]:
    """Return all metrics of a ``measurement`` by name, built-in and custom ones."""
    kinds: dict[str, MetricKind] = {
        **dict.fromkeys(custom.sums, "sum"),
        **{name: "share" if name in custom.shares else "level" for name in custom.levels},
    }
    known = {name: Metric(name, kind, custom=False) for name, kind in METRICS.items()}
    return known | {name: Metric(name, kind, custom=True) for name, kind in kinds.items()}


def known_since(name: str) -> int:
    """Return the first version of the measures that has a measure, or all parts of a name.

    Custom measures and budgets have no version: `Measured.lacking` tells where the former are
    missing, and the latter are part of a campaign's plan.
    """
    return max(_SINCE.get(part, FIRST_VERSION) for part in parts_of(name))


def inputs_of(name: str) -> frozenset[str]:
    """Return the inputs of a name in a formula, or of its parts: any of them brings it.

    Budgets have none, since they are part of a campaign's plan. A refund has the input of its
    order: where orders are counted and no refund is, refunds are 0.
    """
    if name in PLANNED:
        return frozenset()
    return frozenset(
        found
        for part in parts_of(name)
        for found in _INPUTS_OF.get(part, (_INPUT_OF_SOURCE[_SOURCE_OF.get(part, CUSTOM_SOURCE)],))
    )
