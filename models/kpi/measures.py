"""What is measured: the additive sums, distinct users, distributions and levels of a scope.

Everything here merges: sums and distributions add up over panes, partitions
and campaigns, distinct users by union, and of levels the newest stays. Ratios
are formed last. The tables below are data, and their order is that on the
wire: append only.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

SourceKind = Literal["clicks", "orders", "campaigns"]
SOURCE_KINDS: Final[tuple[SourceKind, ...]] = ("clicks", "orders", "campaigns")


class Measure(NamedTuple):
    """A quantity that formulas may name, and the source topic it comes from."""

    name: str
    source: SourceKind
    help: str


SUMS: Final = (
    Measure("impressions", "clicks", "advertisements shown"),
    Measure("clicks", "clicks", "clicks on advertisements"),
    Measure("visits", "clicks", "visits"),
    Measure("orders", "orders", "orders placed"),
    Measure("refunds", "orders", "refunds"),
    Measure("revenue_gross", "orders", "money of the orders placed"),
    Measure("revenue_refunded", "orders", "money paid back"),
    Measure("spend", "campaigns", "money paid for advertising"),
    Measure("spend_reports", "campaigns", "reports of cost of any kind"),
    Measure("registrations", "orders", "accounts opened"),
    Measure("lead_changes", "orders", "leads that reached any stage"),
    Measure("surveys", "orders", "surveys answered"),
    Measure("measurements", "campaigns", "figures measured elsewhere"),
    Measure("page_views", "clicks", "pages of all visits"),
    Measure("clicks_paid", "clicks", "clicks that were paid for"),
    Measure("visits_paid", "clicks", "visits that were paid for"),
    Measure("leads", "orders", "leads won from interest"),
    Measure("leads_mql", "orders", "leads that marketing qualified"),
    Measure("leads_sql", "orders", "leads that sales accepted"),
    Measure("leads_opportunity", "orders", "leads that became an opportunity"),
    Measure("leads_won", "orders", "leads that became a deal"),
    Measure("leads_lost", "orders", "leads that were lost"),
    Measure("nps_answers", "orders", "answers to how likely one is to recommend us, 0 to 10"),
    Measure("nps_promoters", "orders", "answers of 9 and 10"),
    Measure("nps_detractors", "orders", "answers of 0 to 6"),
    Measure("csat_answers", "orders", "answers to how satisfied one is, 1 to 5"),
    Measure("csat_score", "orders", "sum of the answers to how satisfied one is"),
    Measure("csat_squares", "orders", "sum of their squares"),
    Measure("items", "orders", "items ordered"),
    Measure("other_cost", "campaigns", "money paid for channels and labour"),
    Measure("likes", "campaigns", "likes"),
    Measure("comments", "campaigns", "comments"),
    Measure("shares", "campaigns", "posts passed on"),
    Measure("brand_searches", "campaigns", "searches for the brand"),
    Measure("mentions", "campaigns", "mentions of the brand"),
    Measure("store_visits", "campaigns", "visits to stores"),
    Measure("sentiment_positive", "campaigns", "favourable mentions"),
    Measure("sentiment_neutral", "campaigns", "mentions that take no side"),
    Measure("sentiment_negative", "campaigns", "unfavourable mentions"),
    Measure("refunds_made", "orders", "refunds, when they were made"),
    Measure("refund_outflow", "orders", "money paid back, when it was"),
    Measure("orders_attributed", "orders", "orders of customers whose history is known"),
    Measure("first_orders", "orders", "first orders of customers ever"),
    Measure("lifetime_value", "orders", "net money of all orders, booked at the first order"),
    Measure("orders_declared", "orders", "orders where they say they come from"),
    Measure("revenue_declared", "orders", "their money"),
    Measure("orders_first", "orders", "orders by first touch"),
    Measure("revenue_first", "orders", "their money"),
    Measure("orders_last", "orders", "orders by last touch"),
    Measure("revenue_last", "orders", "their money"),
    Measure("orders_linear", "orders", "orders in equal parts by all touches"),
    Measure("revenue_linear", "orders", "their money"),
)
"""The sums of a cell. Money is in whole units of 1/10,000 of the reporting currency."""

USER_SETS: Final = (
    Measure("visitors_natural", "clicks", "users who clicked or visited unpaid"),
    Measure("buyers", "orders", "users who placed an order"),
    Measure("visitors_paid", "clicks", "users who clicked or visited by a paid way"),
    Measure("reached", "clicks", "users to whom an advertisement was shown"),
    Measure("engaged", "orders", "users who registered, became a lead or answered a survey"),
    Measure("returning", "orders", "users who placed an order that was not their first"),
)
"""The sets of distinct users of a cell."""

UNIONS: Final[dict[str, tuple[str, ...]]] = {
    "visitors": ("visitors_natural", "visitors_paid"),
    "participants": ("visitors_natural", "visitors_paid", "buyers", "engaged"),
    "active": ("visitors_natural", "visitors_paid", "buyers", "engaged", "reached"),
}
"""Distinct users of any of several sets, which formulas may name as well."""

DISTRIBUTIONS: Final = (
    Measure("dwell_ms", "clicks", "how long visits last, in ms"),
    Measure("order_amount", "orders", "what orders are worth"),
    Measure("complaint_response_ms", "campaigns", "time from complaint to answer, in ms"),
)
"""What medians and percentiles are taken of; money in units of 1/10,000."""

LEVELS: Final = (
    Measure("followers", "campaigns", "followers"),
    Measure("market_share", "campaigns", "share of the market, 0 to 1"),
    Measure("awareness", "campaigns", "share of people who know the brand, 0 to 1"),
    Measure("stock", "campaigns", "items in stock"),
)
"""What is measured as it stands: the newest measurement counts. In units of 1/10,000."""

FLOW_METRICS: Final = frozenset(
    {
        *("likes", "comments", "shares", "brand_searches", "mentions", "store_visits"),
        *("sentiment_positive", "sentiment_neutral", "sentiment_negative"),
    }
)
"""Metrics of a ``measurement`` that count something: whole numbers that add up."""
COMPLAINT_RESPONSE: Final = "complaint_response_s"
"""The metric of a ``measurement`` that says how many seconds a complaint waited."""

SUM_INDEX: Final = {measure.name: index for index, measure in enumerate(SUMS)}
SET_INDEX: Final = {measure.name: index for index, measure in enumerate(USER_SETS)}
DISTRIBUTION_INDEX: Final = {measure.name: index for index, measure in enumerate(DISTRIBUTIONS)}
LEVEL_INDEX: Final = {measure.name: index for index, measure in enumerate(LEVELS)}
WIDTH: Final = len(SUMS)

WIDTH_BEFORE: Final[dict[int, int]] = {4: 13, 5: 39}
"""How many sums a cell of a state before that version has."""
_SETS_BEFORE: Final = {4: {"buyers", "visitors"}, 5: {measure.name for measure in USER_SETS[:5]}}
OLDEST_VERSION: Final = 3
"""Of the state of the KPI stage that is still read."""
NEWEST_MEASURES: Final = max(WIDTH_BEFORE)
"""The version that brought the newest measures."""

PLANNED: Final[dict[str, str]] = {
    "budget": "what the campaign's advertising may cost in all",
    "budget_due": "what the plan has for it by now, spread evenly from its start to its end",
}
"""Money that a campaign's plan says; known of campaigns in the window so far only."""

MODELS: Final = ("declared", "first", "last", "linear")
"""The ways to attribute an order: as it says itself, or to its touches (S1)."""
CREDITS: Final = frozenset(f"orders_{model}" for model in MODELS)
"""The sums that count parts of orders."""
ORDER_CREDIT: Final = 10_000
"""The parts of an order."""

MONEY: Final = frozenset(
    {
        *("revenue_gross", "revenue_refunded", "spend", "other_cost"),
        *("refund_outflow", "lifetime_value", *PLANNED),
        *(f"revenue_{model}" for model in MODELS),
    }
)
"""The sums that are money."""

_SOURCE_OF: Final = {
    measure.name: measure.source for measure in (*SUMS, *USER_SETS, *DISTRIBUTIONS, *LEVELS)
} | dict.fromkeys(PLANNED, "campaigns")


def sources_of(name: str) -> frozenset[SourceKind]:
    """Return the source topics of a sum, a set of users, a distribution or a level."""
    return frozenset(_SOURCE_OF[part] for part in UNIONS.get(name, (name,)))


def known_since(name: str) -> int:
    """Return the version of the state from which on cells know a measure.

    What a cell does not know is not 0. Of unions, distributions and levels, only visitors
    were known before version 4.
    """
    for version, width in WIDTH_BEFORE.items():
        place = SUM_INDEX.get(name)
        if (place is not None and place < width) or name in _SETS_BEFORE[version]:
            return version - 1
    return NEWEST_MEASURES if name in SUM_INDEX or name in SET_INDEX else OLDEST_VERSION + 1
