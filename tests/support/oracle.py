"""Independent reference calculation of KPIs in rolling windows, to test the monitor against.

All values are computed from the raw events by range joins in DuckDB, without incremental state and
without code of the monitor. Money is exact integers in 1/10,000 of the currency. Windows are
calculated in chunks, so that memory stays bounded.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

import duckdb
import polars as pl

from tests.support import attribution_sql
from tests.support.attribution_sql import MODELS, WHOLE, Customers

End: TypeAlias = tuple[str, int, int]  # (window, start_ms, end_ms), half-open
# (window, end_ms, scope, campaign, channel, region, segment); parts not in use are empty.
Key: TypeAlias = tuple[str, int, str, str, str, str, str]
Number: TypeAlias = int | float
Values: TypeAlias = "dict[Key, dict[str, Value]]"
# (window, end_ms) -> the period before it, [start_ms, end_ms), or None.
Compared: TypeAlias = Mapping[tuple[str, int], tuple[int, int] | None]
# (window, end_ms) -> the days from which customers are counted, or None: the start of those before
# the window, the start of those that count at its end, and the start of the window.
Pasts: TypeAlias = Mapping[tuple[str, int], tuple[int, int, int] | None]


class Value(NamedTuple):
    """A KPI in one window and scope, and how far a published value may differ.

    The slacks are absolute: ``slack`` of the value, ``bound_slack`` of low and high, ``n_slack`` of
    n. Without slack, integers must be equal, and other numbers equal to 12 digits.

    A sum of ``money`` is in the currency, and equal if it is in units of 1/10,000.

    ``others`` are further accepted values. Money that comes very late need not correct a closed
    window: the published value may lack all of it, all but the first arrival, and so on.

    Example: revenue of 100 at the close of the window, then late refunds of 10 and of 5. The value
    is 85; 90 (without the 5) and 100 (without both) are accepted too.
    """

    value: Number
    low: float | None
    high: float | None
    n: int
    significant: bool
    slack: float = 0.0
    bound_slack: float = 0.0
    n_slack: float = 0.0
    others: tuple[Number, ...] = ()
    money: bool = False


MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
STEP_MS = {
    "1m": 10_000,
    "5m": 10_000,
    "1h": MINUTE_MS,
    "day": MINUTE_MS,
    "24h": 15 * MINUTE_MS,
    "week": 15 * MINUTE_MS,
    "month": 15 * MINUTE_MS,
    "so_far": 15 * MINUTE_MS,
}
LENGTH_MS = {"1m": MINUTE_MS, "5m": 5 * MINUTE_MS, "1h": HOUR_MS, "24h": 24 * HOUR_MS}
# Windows of business days, of which the last is today, to date: days from their first to today.
DAYS_BEFORE = {"day": 0, "week": 6, "month": 29}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
CHUNK_WINDOWS = 2_000
CHUNK_EVENTS = 400_000

SCHEMA: dict[str, type[pl.DataType]] = {
    "event_time_ms": pl.Int64,
    "kind": pl.String,
    "user_id": pl.String,
    "campaign": pl.String,
    "channel": pl.String,
    "region": pl.String,
    "segment": pl.String,
    "paid": pl.Boolean,
    "amount": pl.Int64,
    "count": pl.Int64,
    "dwell_ms": pl.Int64,
    "metric": pl.String,
    "order_id": pl.String,
    # Of an identity event: the other id of the user.
    "same_as": pl.String,
    # Of a cost: the amount is spread evenly from event_time_ms until then.
    "until_ms": pl.Int64,
    # Of orders and refunds in another currency: the currency, the amount in 1/10,000 of it, and its
    # rate on their date in `attribution_sql.RATE_UNITS`.
    "currency": pl.String,
    "own": pl.Int64,
    "rate": pl.Int64,
}
# The columns that are enough for a frame of clicks, orders and advertising cost.
SHORT_SCHEMA: dict[str, type[pl.DataType]] = {
    name: SCHEMA[name]
    for name in ("event_time_ms", "kind", "user_id", "campaign", "channel", "amount", "count")
}

# Metrics that config/kpis.yaml declares; the others are built in.
CUSTOM_FLOWS = ("media_exposures", "promotion_participants")
CUSTOM_LEVELS = ("penetration",)
FLOWS = (
    *("likes", "comments", "shares", "brand_searches", "mentions", "store_visits"),
    *("sentiment_positive", "sentiment_neutral", "sentiment_negative"),
    *CUSTOM_FLOWS,
)
LEVELS = ("followers", "market_share", "awareness", "stock", *CUSTOM_LEVELS)

COMPLAINT = "kind = 'measurement' AND metric = 'complaint_response_s'"
COMPLAINT_MS = "amount // 10"
# Measure -> (which events, what each adds).
SUMS: dict[str, tuple[str, str]] = {
    "impressions": ("kind = 'impression'", "count"),
    "clicks": ("kind = 'click'", "1"),
    "visits": ("kind = 'visit'", "1"),
    "page_views": ("kind = 'visit'", "count"),
    "orders": ("kind = 'order'", "1"),
    "gross": ("kind = 'order'", "amount"),
    "gross_squares": ("kind = 'order'", "amount * amount"),
    "refunded": ("kind = 'refund'", "amount"),
    "registrations": ("kind = 'registration'", "1"),
    "lead_changes": ("kind = 'lead'", "1"),
    "leads": ("kind = 'lead' AND metric = 'lead'", "1"),
    "leads_mql": ("kind = 'lead' AND metric = 'mql'", "1"),
    "leads_sql": ("kind = 'lead' AND metric = 'sql'", "1"),
    "leads_opportunity": ("kind = 'lead' AND metric = 'opportunity'", "1"),
    "leads_won": ("kind = 'lead' AND metric = 'won'", "1"),
    "surveys": ("kind = 'survey'", "1"),
    "nps_answers": ("kind = 'survey' AND metric = 'nps'", "1"),
    "nps_promoters": ("kind = 'survey' AND metric = 'nps' AND count BETWEEN 9 AND 10", "1"),
    "nps_detractors": ("kind = 'survey' AND metric = 'nps' AND count BETWEEN 0 AND 6", "1"),
    "csat_answers": ("kind = 'survey' AND metric = 'csat'", "1"),
    "csat_score": ("kind = 'survey' AND metric = 'csat'", "count"),
    "csat_squares": ("kind = 'survey' AND metric = 'csat'", "count * count"),
    "spend": ("kind = 'spend' AND metric = 'ads'", "amount"),
    "other_cost": ("kind = 'spend' AND metric IN ('channel', 'labour')", "amount"),
    "spend_reports": ("kind = 'spend'", "1"),
    "refunds_made": ("kind = 'refund_made'", "1"),
    "refund_outflow": ("kind = 'refund_made'", "amount"),
    "orders_attributed": ("kind = 'order' AND nth IS NOT NULL", "1"),
    "first_orders": ("kind = 'order' AND nth = 1", "1"),
    "revenue_new": ("kind = 'order' AND nth = 1", "amount"),
    "revenue_returning": ("kind = 'order' AND nth > 1", "amount"),
    "order_changes": ("kind = 'order_change'", "1"),
    "orders_touched": ("kind = 'touched'", "1"),
    "lifetime": ("kind = 'lifetime'", "amount"),
    "complaints": (COMPLAINT, "1"),
    "complaint_total": (COMPLAINT, COMPLAINT_MS),
    "complaint_squares": (COMPLAINT, f"({COMPLAINT_MS}) * ({COMPLAINT_MS})"),
} | {flow: (f"kind = 'measurement' AND metric = '{flow}'", "count") for flow in FLOWS}
SUMS |= {
    f"{what}_{model}": (f"kind = 'credit' AND metric = '{model}'", adds)
    for model in MODELS
    for what, adds in (("orders", "count"), ("revenue", "amount"))
}
NATURAL = "(kind IN ('click', 'visit') AND NOT paid)"
PAID = "(kind IN ('click', 'visit') AND paid)"
ENGAGED = "kind IN ('registration', 'lead', 'survey')"
PARTICIPANTS = f"(kind IN ('click', 'visit', 'order') OR {ENGAGED})"
# Measure -> the events whose distinct users it counts.
USERS = {
    "visitors_natural": NATURAL,
    "visitors_paid": PAID,
    "visitors": "kind IN ('click', 'visit')",
    "buyers": "kind = 'order'",
    "old_buyers": "kind = 'order' AND nth > 1",
    "shoppers": "kind IN ('click', 'visit', 'order')",
    "participants": PARTICIPANTS,
    "active": f"({PARTICIPANTS} OR kind = 'impression')",
}
MEASURES = (*SUMS, *USERS)
# Measures that KPIs need of the period before.
BEFORE = ("visitors", "buyers", "gross", "likes", "comments", "shares")
# Measures of everything that KPIs need of a campaign's run and of the time before it.
SINCE_START = ("visitors", "visitors_paid", "visitors_natural", "orders", "gross")
# Single values -> (which events, value of each); the first three are those of quantiles.
SINGLES: dict[str, tuple[str, str]] = {
    "dwell_ms": ("kind = 'visit' AND dwell_ms IS NOT NULL", "dwell_ms"),
    "order_amount": ("kind = 'order'", "amount"),
    "complaint_ms": (COMPLAINT, COMPLAINT_MS),
} | {level: (f"kind = 'measurement' AND metric = '{level}'", "amount") for level in LEVELS}
# Quantile -> (single value, share, units of the single value in one unit shown).
QUANTILES = {
    "dwell_median": ("dwell_ms", 0.5, 1_000),
    "order_median": ("order_amount", 0.5, 10_000),
    "order_p90": ("order_amount", 0.9, 10_000),
    "complaint_p90": ("complaint_ms", 0.9, 1_000),
}

SQL_MACROS = """
CREATE MACRO z() AS 1.959963984540054::DOUBLE;
-- NULL without a positive denominator.
CREATE MACRO ratio(a, b) AS CASE WHEN b > 0 THEN CAST(a AS DOUBLE) / CAST(b AS DOUBLE) END;
-- Wilson 95 % bound of k successes in n trials, side -1 low, +1 high; NULL unless 0 <= k <= n.
CREATE MACRO wilson(k, n, side) AS CASE
  WHEN n <= 0 OR k < 0 OR k > n THEN NULL
  WHEN k = 0 AND side < 0 THEN 0.0::DOUBLE
  WHEN k = n AND side > 0 THEN 1.0::DOUBLE
  ELSE least(1.0::DOUBLE, greatest(0.0::DOUBLE,
    (ratio(k, n) + z() * z() / (2 * n)
     + side * z() * sqrt(ratio(k, n) * (1 - ratio(k, n)) / n + power(z() / (2 * n), 2)))
    / (1 + z() * z() / n))) END;
-- Sample variance of n whole numbers from their sum and sum of squares; NULL for less than two.
CREATE MACRO variance_of(total, squares, n) AS CASE WHEN n >= 2 THEN
  greatest(0.0::DOUBLE, CAST(n * squares - total * total AS DOUBLE) / CAST(n * (n - 1) AS DOUBLE))
  END;
-- Half of the 95 % interval of a mean.
CREATE MACRO half_of_mean(total, squares, n) AS
  z() * sqrt(variance_of(total, squares, n) / CAST(n AS DOUBLE));
-- How far that half is off when every number is known to 1 % only: either the numbers that
-- the variance is taken of, or only the sum of their squares, which is then known to 2.01 %.
CREATE MACRO slack_of_mean(total, squares, n) AS CASE WHEN n >= 2 THEN
  z() / sqrt(CAST(n AS DOUBLE)) * greatest(
    2 * 0.0102 * sqrt(CAST(squares AS DOUBLE) / (n - 1)),
    sqrt(variance_of(total, squares, n) + 0.0202 * CAST(squares AS DOUBLE) / (n - 1))
      - sqrt(variance_of(total, squares, n)),
    sqrt(variance_of(total, squares, n)) - sqrt(greatest(0.0::DOUBLE,
      variance_of(total, squares, n) - 0.0202 * CAST(squares AS DOUBLE) / (n - 1)))) END;
-- 95 % bound of the expectation of a count, side -1 low, +1 high.
CREATE MACRO poisson(k, side) AS k + z() * z() / 2 + side * z() * sqrt(k + z() * z() / 4);
-- The value of a rank from 0 in a sorted list.
CREATE MACRO at_rank(xs, r) AS xs[CAST(r AS BIGINT) + 1];
CREATE MACRO rank_margin(n, q) AS z() * sqrt(n * q * (1 - q));
CREATE MACRO quantile_of(xs, q) AS at_rank(xs, floor(q * (len(xs) - 1)));
CREATE MACRO quantile_low(xs, q) AS
  at_rank(xs, greatest(0, floor(q * len(xs) - rank_margin(len(xs), q))));
CREATE MACRO quantile_high(xs, q) AS
  at_rank(xs, least(len(xs) - 1, ceil(q * len(xs) + rank_margin(len(xs), q))));
-- The part of a cost that is due by a time, rounded towards 0.
CREATE MACRO due(amount, from_ms, until_ms, at_ms) AS sign(amount)::BIGINT * (
  (abs(amount)::HUGEINT * (least(greatest(at_ms, from_ms), until_ms) - from_ms))
  // (until_ms - from_ms))::BIGINT;
-- Distinct users beyond 1,024 are estimated.
CREATE MACRO sketched(users, share) AS
  CASE WHEN users > 1024 THEN share::DOUBLE ELSE 0.0::DOUBLE END;
"""

SQL_SCOPED = """
CREATE TABLE scoped AS  -- every event once per scope it belongs to
WITH labelled AS (
  SELECT 'all' AS scope, '' AS in_campaign, '' AS in_channel, '' AS in_region, '' AS in_segment,
         * FROM entries
  UNION ALL SELECT 'channel', '', channel, '', '', * FROM entries
  UNION ALL SELECT 'campaign', campaign, '', '', '', * FROM entries
  UNION ALL SELECT 'campaign_channel', campaign, channel, '', '', * FROM entries
  UNION ALL SELECT 'region', '', '', region, '', * FROM entries WHERE region <> ''
  UNION ALL SELECT 'campaign_region', campaign, '', region, '', * FROM entries WHERE region <> ''
  UNION ALL SELECT 'segment', '', '', '', segment, * FROM entries WHERE segment <> '')
SELECT dense_rank() OVER (ORDER BY scope, in_campaign, in_channel, in_region, in_segment)
         AS scope_no,
       scope, in_campaign, in_channel, in_region, in_segment,
       event_time_ms AS t, kind, user_id, paid, amount, count, dwell_ms, metric, nth,
       known_ms, until_ms
FROM labelled;

CREATE TABLE costs AS  -- costs of a period, each once per scope
SELECT scope_no, t AS from_ms, until_ms, metric, amount FROM scoped WHERE kind = 'cost';

CREATE TABLE scopes AS
SELECT DISTINCT scope_no, scope, in_campaign, in_channel, in_region, in_segment FROM scoped;
"""


def _sql_added() -> str:
    """Return SQL of the table ``added``: what each event adds to each measure in each scope.

    A user counts once in a window, at the first matching event in it. That is the event whose
    ``previous_t``, the time of the user's matching event before it, lies before the window.

    Example: a user clicks at 12:00:05 (no ``previous_t``) and at 12:00:40 (``previous_t``
    12:00:05). In [12:00:00, 12:01:00) only the first click has a ``previous_t`` before 12:00:00:
    one visitor. In [12:00:10, 12:01:10) only the second click is in the window, and its
    ``previous_t`` lies before it: one visitor.
    """
    never = "(-9223372036854775807)::BIGINT"
    parts = [
        f"SELECT scope_no, t, {MEASURES.index(name)} AS measure, {adds} AS x, {never} AS previous_t"
        f" FROM scoped WHERE {which}"
        for name, (which, adds) in SUMS.items()
    ] + [
        f"SELECT scope_no, t, {MEASURES.index(name)}, 1,"
        f" lag(t, 1, {never}) OVER (PARTITION BY scope_no, user_id ORDER BY t)"
        f" FROM scoped WHERE user_id IS NOT NULL AND {which}"
        for name, which in USERS.items()
    ]
    return f"""
CREATE TABLE added AS
SELECT scope_no, t, measure::TINYINT AS measure, previous_t, sum(x)::BIGINT AS x
FROM ({" UNION ALL ".join(parts)}) GROUP BY ALL ORDER BY t;
"""


def _sql_singles() -> str:
    """Return SQL of the table ``singles``: the values of which quantiles and levels are taken."""
    parts = [
        f"SELECT scope_no, t, '{name}' AS name, {gives} AS x FROM scoped WHERE {which}"
        for name, (which, gives) in SINGLES.items()
    ]
    return f"CREATE TABLE singles AS {' UNION ALL '.join(parts)};"


def _sql_latest() -> str:
    """Return SQL of the table ``latest``.

    It has for each scope and time when each measure that KPIs need last had an event.
    """
    columns = ", ".join(
        f"max(t) FILTER ({_shown_by(name)}) OVER up_to_t AS {name}_t" for name in NEEDED
    )
    return f"""
CREATE TABLE latest AS
SELECT DISTINCT scope_no, t, {columns} FROM scoped
WINDOW up_to_t AS (PARTITION BY scope_no ORDER BY t
                   RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW);
"""


def _shown_by(name: str) -> str:
    """Return SQL that selects the entries which show that a measure is reported."""
    which, adds = SUMS[name]
    shown = f"{which} AND {adds} <> 0"
    return f"({shown}) OR kind = 'cost_day'" if name == "spend_reports" else shown


def _sql_chunk() -> str:
    """Return SQL of the tables with the inputs of the KPIs, for the windows of a chunk."""
    seen = ", ".join(f"coalesce({name}_t >= seen_from, false) AS seen_{name}" for name in NEEDED)
    totals = ", ".join(
        f"sum(x) FILTER (measure = {index}) AS {name}" for index, name in enumerate(MEASURES)
    )
    picked = [
        f"any_value({function}(xs, {share}::DOUBLE)) FILTER (name = '{of}') AS {quantile}{suffix}"
        for quantile, (of, share, _) in QUANTILES.items()
        for function, suffix in (
            ("quantile_of", ""),
            ("quantile_low", "_low"),
            ("quantile_high", "_high"),
        )
    ]
    picked += [
        f"any_value(len(xs)) FILTER (name = '{of}') AS {of}_n"
        for of in dict.fromkeys(of for of, _, _ in QUANTILES.values())
    ]
    picked += [f"any_value(newest) FILTER (name = '{level}') AS {level}" for level in LEVELS]
    before = ", ".join(
        f"sum(x) FILTER (measure = {MEASURES.index(name)}) AS {name}_earlier" for name in BEFORE
    )
    since_start = ", ".join(
        f"coalesce(sum(x) FILTER (measure = {MEASURES.index(name)} AND t >= {when}_from_ms"
        f" AND t < {when}_until_ms AND previous_t < {when}_from_ms), 0) AS {name}_{when}"
        for name in SINCE_START
        for when in ("during", "before")
    )
    return f"""
CREATE OR REPLACE TABLE seen AS  -- window x scope with any event in [seen_from, end_ms)
WITH asked AS (SELECT * FROM windows CROSS JOIN (SELECT scope_no FROM scopes))
SELECT window_no, asked.scope_no, {seen}
FROM asked ASOF JOIN latest
  ON asked.scope_no = latest.scope_no AND asked.end_ms > latest.t
WHERE latest.t >= seen_from;

CREATE OR REPLACE TABLE unsettled AS  -- money that came after the window had closed
WITH came AS (
  SELECT window_no, scope_no, known_ms, sum(refund) AS refund, sum(lifetime) AS lifetime
  FROM windows JOIN late ON t >= start_ms AND t < end_ms AND known_ms >= end_ms
  GROUP BY ALL),
since AS (  -- what came from each moment on
  SELECT window_no, scope_no, sum(refund) OVER after AS refund, sum(lifetime) OVER after AS lifetime
  FROM came
  WINDOW after AS (PARTITION BY window_no, scope_no ORDER BY known_ms DESC))
SELECT window_no, scope_no,
       list_sort(list(DISTINCT refund::BIGINT)) AS refunds_since,
       list_sort(list(DISTINCT lifetime::BIGINT)) AS lifetimes_since
FROM since GROUP BY ALL;

CREATE OR REPLACE TABLE totals AS  -- of the events in [start_ms, end_ms)
WITH parts AS (
  SELECT window_no, scope_no, metric,
         due(amount, from_ms, until_ms, end_ms) - due(amount, from_ms, until_ms, start_ms) AS part
  FROM windows JOIN costs ON from_ms < end_ms AND until_ms > start_ms),
each AS (
  SELECT window_no, scope_no, measure, x
  FROM windows JOIN added ON t >= start_ms AND t < end_ms AND previous_t < start_ms
  UNION ALL
  SELECT window_no, scope_no,
         if(metric = 'ads', {MEASURES.index("spend")}, {MEASURES.index("other_cost")}), part
  FROM parts
  UNION ALL
  SELECT window_no, scope_no, {MEASURES.index("spend_reports")}, 1 FROM parts),
summed AS (SELECT window_no, scope_no, measure, sum(x) AS x FROM each GROUP BY ALL)
SELECT window_no, scope_no, {totals} FROM summed GROUP BY ALL;

CREATE OR REPLACE TABLE picked AS  -- quantiles and levels of the events in [start_ms, end_ms)
WITH listed AS (
  SELECT window_no, scope_no, name, list_sort(list(x)) AS xs, arg_max(x, (t, x)) AS newest
  FROM windows JOIN singles ON t >= start_ms AND t < end_ms
  GROUP BY ALL)
SELECT window_no, scope_no, {", ".join(picked)} FROM listed GROUP BY ALL;

CREATE OR REPLACE TABLE before AS  -- of the events in [before_ms, before_end_ms)
WITH summed AS (
  SELECT window_no, scope_no, measure, sum(x) AS x
  FROM windows JOIN added
    ON t >= before_ms AND t < before_end_ms AND previous_t < before_ms
  GROUP BY ALL)
SELECT window_no, scope_no, {before} FROM summed GROUP BY ALL;

CREATE OR REPLACE TABLE planned AS  -- what a campaign may cost, in all and by the end of the window
SELECT window_no, scope_no, CASE WHEN start_ms = 0 THEN budget END AS budget,
       CASE WHEN start_ms = 0 THEN
         (budget::HUGEINT * least(greatest(end_ms - starts_ms, 0), ends_ms - starts_ms)
          // (ends_ms - starts_ms))::BIGINT END AS budget_due,
       CASE WHEN ends_with(window_name, 'day') AND starts_ms < end_ms
                 AND coalesce(ends_ms, end_ms) > start_ms
         THEN daily END AS budget_today
FROM windows CROSS JOIN scopes JOIN plans ON in_campaign = campaign AND in_channel = channel
WHERE scope IN ('campaign', 'campaign_channel');

CREATE OR REPLACE TABLE customers AS  -- who ordered in the last business days
SELECT window_no, scope_no,
       count(*) FILTER (old) AS customers_before,
       count(*) FILTER (new) AS customers,
       count(*) FILTER (new AND NOT old) AS customers_new
FROM (
  SELECT window_no, scope_no, user_id,
         bool_or(t < start_ms) AS old, bool_or(t >= now_ms) AS new
  FROM windows JOIN scoped ON t >= past_ms AND t < end_ms
  WHERE kind = 'order' AND user_id IS NOT NULL
  GROUP BY ALL)
GROUP BY ALL;

CREATE OR REPLACE TABLE prospects AS  -- whose lead is neither won nor lost
SELECT window_no, scope_no,
       count(*) FILTER (NOT closed) AS leads_open,
       count(*) FILTER (NOT closed AND moved) AS leads_active
FROM (
  SELECT window_no, scope_no, user_id,
         bool_or(metric IN ('won', 'lost')) AS closed, bool_or(t >= start_ms) AS moved
  FROM windows JOIN scoped ON t >= now_ms AND t < end_ms
  WHERE kind = 'lead' AND user_id IS NOT NULL AND past_ms IS NOT NULL
  GROUP BY ALL)
GROUP BY ALL;

CREATE OR REPLACE TABLE since_start AS  -- all traffic and sales during a campaign and before it
SELECT window_no, other.scope_no, {since_start}
FROM runs JOIN windows USING (window_no)
JOIN scopes AS other ON other.scope = 'campaign' AND other.in_campaign = runs.campaign
JOIN scopes AS whole ON whole.scope = 'all'
LEFT JOIN added ON added.scope_no = whole.scope_no
  AND t >= before_from_ms AND t < during_until_ms
GROUP BY ALL;

CREATE OR REPLACE TABLE picked_before AS
SELECT window_no, scope_no, arg_max(x, (t, x)) AS awareness_earlier
FROM windows JOIN singles ON t >= before_ms AND t < before_end_ms
WHERE name = 'awareness' GROUP BY ALL;
"""


def _sql_late(customers: Customers | None) -> str:
    """Return SQL of the table ``late``: money that is too late to correct closed windows."""
    never = "9223372036854775807"
    after = never if customers is None else customers.corrected_for_ms
    return f"""
CREATE TABLE late AS
SELECT scope_no, t, known_ms,
       coalesce(sum(amount) FILTER (kind = 'refund'), 0)::BIGINT AS refund,
       coalesce(sum(amount) FILTER (kind = 'lifetime'), 0)::BIGINT AS lifetime
FROM scoped WHERE kind IN ('refund', 'lifetime') AND known_ms - t > {after}
GROUP BY ALL;
"""


class Plan(NamedTuple):
    """A campaign's budget in 1/10,000 of the currency, its start and its end, None without.

    With a channel it is that of the channel; ``daily`` is that of a business day.
    """

    campaign: str
    budget: int
    starts_ms: int | None = None
    ends_ms: int | None = None
    channel: str = ""
    daily: int | None = None


class _Kpi(NamedTuple):
    """A KPI, with SQL for its value, bounds, n and slacks.

    The KPI is absent if none of the measures in ``needs`` was seen since the start of the window,
    or since the start of its last day where that is earlier.
    """

    name: str
    value: str
    n: str
    needs: tuple[str, ...] = ()
    min_n: int = 0
    low: str = "NULL"
    high: str = "NULL"
    slack: str = "0.0"
    bound_slack: str = "0.0"
    n_slack: str = "0.0"
    others: str = "NULL"


class _Money(_Kpi):
    """A KPI that is a sum of money."""


def _total(name: str, value: str, *needs: str, n: str | None = None) -> _Kpi:
    return _Kpi(name, value, n or value, needs)


def _money(name: str, units: str, *needs: str, n: str) -> _Kpi:
    """Return a sum of money, of units of 1/10,000, in the currency."""
    return _Money(name, f"({units}) / 10000::DOUBLE", n, needs)


def _users(name: str, users: str, *needs: str) -> _Kpi:
    # 4.3 standard errors of the sketch: among thousands of values some are off by more than three.
    off = f"sketched({users}, 0.07) * {users}"
    return _Kpi(name, users, users, needs, slack=off, n_slack=off)


def _share(name: str, over: str, under: str, *needs: str, min_n: int) -> _Kpi:
    """Return a proportion with Wilson's interval."""
    value = f"ratio({over}, {under})"
    low, high = (f"wilson({over}, {under}, {side})" for side in (-1, 1))
    kpi = _Kpi(name, value, under, needs, min_n, low, high)
    users = [part for part in (over, under) if part in USERS]
    if not users:
        return kpi
    off = f"sketched(greatest({', '.join(users)}), 0.08)"
    return kpi._replace(
        slack=f"{off} * {value}",
        bound_slack=f"{off} * {high}",
        n_slack=f"sketched({under}, 0.08) * {under}" if under in USERS else "0.0",
    )


def _cost_per(name: str, count: str, min_n: int, times: int = 1, cost: str = "spend") -> _Kpi:
    """Return a cost per counted thing, with the interval of a Poisson count.

    Of a credit, which is a negative cost, more things make less of a credit of each.
    """
    amount = f"CAST({times} * {cost} AS DOUBLE)"
    low, high = (
        f"CASE WHEN {count} > 0 THEN {amount} / 10000"
        f" / poisson(CAST({count} AS DOUBLE), {side} * sign({amount})) END"
        for side in (1, -1)
    )
    value = f"ratio({times} * {cost}, 10000 * {count})"
    return _Kpi(name, value, count, ("spend_reports",), min_n, low, high)


def _survey(name: str, total: str, squares: str, n: str, min_n: int, times: int = 1) -> _Kpi:
    """Return the mean answer to a survey, with the interval by its standard error."""
    value = f"{times} * ratio({total}, {n})"
    half = f"{times} * half_of_mean({total}, {squares}, {n})"
    low, high = f"{value} - {half}", f"{value} + {half}"
    return _Kpi(name, value, n, ("surveys",), min_n, low, high)


def _return(name: str, over: str, under: str) -> _Kpi:
    """Return a return on money spent, with the interval of a compound Poisson sum of orders."""
    value = f"ratio({over}, {under})"
    half = (
        f"CASE WHEN orders > 0 AND {under} > 0"
        f" THEN z() * sqrt(CAST(gross_squares AS DOUBLE)) / {under} END"
    )
    return _Kpi(
        name,
        value,
        "orders",
        ("spend_reports",),
        30,
        f"{value} - {half}",
        f"{value} + {half}",
        bound_slack=f"0.0105 * {half}",
    )


def _quantile(name: str, quantile: str, min_n: int) -> _Kpi:
    of, _, units = QUANTILES[quantile]
    return _Kpi(
        name,
        f"{quantile} / {units}::DOUBLE",
        f"{of}_n",
        (),
        min_n,
        f"{quantile}_low / {units}::DOUBLE",
        f"{quantile}_high / {units}::DOUBLE",
        slack=f"0.0101 * {quantile} / {units}",
        bound_slack=f"0.0101 * {quantile}_high / {units}",
    )


def _of_model(model: str, name: str) -> tuple[_Kpi, ...]:
    """Return orders, revenue, cost per order and ROAS by an attribution model.

    Args:
        model: as in the names of measures.
        name: as in the names of KPIs.
    """
    parts, revenue = f"orders_{model}", f"revenue_{model}"
    seen = ("orders_attributed", parts)
    n = f"{parts} // {WHOLE}"
    cost = _cost_per(f"cpa_{name}", f"({parts} / {WHOLE}::DOUBLE)", 10)
    if model == "linear":
        cost = cost._replace(low="NULL", high="NULL")
    return (
        _total(f"orders_{name}", f"{parts} / {WHOLE}::DOUBLE", *seen, n=n),
        _money(f"revenue_{name}", revenue, *seen, n=n),
        cost._replace(n=n),
        _Kpi(f"roas_{name}", f"ratio({revenue}, spend)", n, seen, 30),
    )


_TOUCHED = "orders_first, orders_last, orders_linear"
_GROWTH = "ratio(gross - gross_earlier, gross_earlier)"
_ENGAGED = "(likes + comments + shares)"
_ENGAGED_BEFORE = "(likes_earlier + comments_earlier + shares_earlier)"
_KEPT = "(stock_customers - customers_new)"
_EITHER = "(customers_before + customers_new)"
_STOCK_OFF = f"sketched({_EITHER}, 0.08)"


def _stocked(value: str) -> str:
    """Return a value of customers that is NULL if nobody was one, or that is not known."""
    return f"CASE WHEN stocked AND stock_customers + customers_before > 0 THEN {value} END"


def _compared(name: str, value: str, n: str, *needs: str, min_n: int = 0) -> _Kpi:
    """Return a KPI that is absent if the period before is not known."""
    return _Kpi(name, f"CASE WHEN compared THEN {value} END", n, needs, min_n)


_SENTIMENT = "(sentiment_positive + sentiment_neutral + sentiment_negative)"
_AOV = "ratio(gross, 10000 * orders)"
_AOV_HALF = "half_of_mean(gross, gross_squares, orders) / 10000"
_RESPONSE = "ratio(complaint_total, 1000 * complaints)"
_RESPONSE_HALF = "half_of_mean(complaint_total, complaint_squares, complaints) / 1000"
_REPEATED = "(orders_attributed - first_orders)"
KPIS = (
    _total("impressions", "impressions", "impressions"),
    _total("page_views", "page_views", "visits"),
    _total("visits", "visits", "visits"),
    _total("clicks", "clicks"),
    _users("unique_visitors", "visitors", "clicks", "visits"),
    _users("unique_visitors_paid", "visitors_paid", "clicks", "visits"),
    _users("unique_visitors_natural", "visitors_natural", "clicks", "visits"),
    _users("active_users", "active"),
    _quantile("dwell_time", "dwell_median", 30),
    _share("participation_rate", "participants", "active", "impressions", min_n=30),
    _share("ctr", "clicks", "impressions", "impressions", min_n=100),
    _cost_per("cpm", "impressions", 1_000, times=1_000),
    _cost_per("cpc", "clicks", 30),
    _total("registrations", "registrations", "registrations"),
    _share("registration_rate", "registrations", "visitors", "registrations", min_n=30),
    _cost_per("cost_per_registration", "registrations", 10),
    _total("leads", "leads", "lead_changes"),
    _share("lead_rate", "leads", "clicks", "lead_changes", min_n=100),
    _cost_per("cpl", "leads", 10, cost="(spend + other_cost)"),
    _cost_per("cost_per_lead_ads", "leads", 10),
    _share("lead_conversion_rate", "leads_won", "leads", "lead_changes", min_n=30),
    _share("mql_to_sql_rate", "leads_sql", "leads_mql", "lead_changes", min_n=30),
    _total("opportunities", "leads_opportunity", "lead_changes"),
    _total("orders", "orders"),
    _users("buyers", "buyers"),
    _share("conversion_rate", "orders", "clicks", min_n=100),
    _share("purchase_conversion_rate", "buyers", "shoppers", "clicks", "visits", min_n=100),
    _cost_per("cost_per_order", "orders", 10),
    _money("revenue_gross", "gross", n="orders"),
    _money("revenue_net", "gross - refunded", n="orders")._replace(
        others="list_transform(refunds_since,"
        " lambda since: (gross - refunded + since) / 10000::DOUBLE)"
    ),
    _Kpi(
        "refund_rate",
        "ratio(refunded, gross)",
        "orders",
        min_n=30,
        others="list_transform(refunds_since, lambda since: ratio(refunded - since, gross))",
    ),
    _Kpi(
        "aov",
        _AOV,
        "orders",
        min_n=30,
        low=f"{_AOV} - {_AOV_HALF}",
        high=f"{_AOV} + {_AOV_HALF}",
        bound_slack="slack_of_mean(gross, gross_squares, orders) / 10000",
    ),
    _quantile("order_value_median", "order_median", 30),
    _quantile("order_value_p90", "order_p90", 100),
    _money("spend", "spend", "spend_reports", n="spend_reports"),
    _money("cost", "spend + other_cost", "spend_reports", n="spend_reports"),
    _Kpi("budget_used", "ratio(spend, budget)", "spend_reports", ("spend_reports",)),
    _Kpi("budget_pace", "ratio(spend, budget_due)", "spend_reports", ("spend_reports",)),
    _Kpi("budget_used_today", "ratio(spend, budget_today)", "spend_reports", ("spend_reports",)),
    _return("roas", "gross", "spend"),
    _return("revenue_cost_ratio", "gross", "(spend + other_cost)"),
    _return("roi", "gross - spend - other_cost", "(spend + other_cost)"),
    _Kpi("ad_cost_ratio", "ratio(spend, gross)", "orders", ("spend_reports",), 30),
    _survey(
        "nps",
        "(nps_promoters - nps_detractors)",
        "(nps_promoters + nps_detractors)",
        "nps_answers",
        30,
        times=100,
    ),
    _survey("csat", "csat_score", "csat_squares", "csat_answers", 30),
    _total("social_engagement", "likes + comments + shares", "likes", "comments", "shares"),
    _total("brand_searches", "brand_searches", "brand_searches"),
    _total("mentions", "mentions", "mentions"),
    _share("favourability", "sentiment_positive", _SENTIMENT, min_n=30),
    _total("store_visits", "store_visits", "store_visits"),
    *(_Kpi(level, f"{level} / 10000::DOUBLE", "1") for level in LEVELS),
    _Kpi(
        "complaint_response_time",
        _RESPONSE,
        "complaints",
        min_n=10,
        low=f"{_RESPONSE} - {_RESPONSE_HALF}",
        high=f"{_RESPONSE} + {_RESPONSE_HALF}",
        bound_slack="slack_of_mean(complaint_total, complaint_squares, complaints) / 1000",
    ),
    _quantile("complaint_response_time_p90", "complaint_p90", 10),
    _total("new_customers", "first_orders", "orders_attributed"),
    _cost_per("cac", "first_orders", 10, cost="(spend + other_cost)"),
    _total("repeat_orders", _REPEATED, "orders_attributed"),
    _users("returning_buyers", "old_buyers", "orders_attributed"),
    _share(
        "new_customer_conversion_rate", "first_orders", "shoppers", "orders_attributed", min_n=100
    ),
    _share("returning_conversion_rate", "old_buyers", "shoppers", "orders_attributed", min_n=100),
    _money("revenue_new", "revenue_new", "orders_attributed", n="first_orders"),
    _money("revenue_returning", "revenue_returning", "orders_attributed", n=_REPEATED),
    _Kpi(
        "aov_new",
        "ratio(revenue_new, 10000 * first_orders)",
        "first_orders",
        ("orders_attributed",),
        30,
    ),
    _Kpi(
        "aov_returning",
        f"ratio(revenue_returning, 10000 * {_REPEATED})",
        _REPEATED,
        ("orders_attributed",),
        30,
    ),
    _share("repurchase_rate", "old_buyers", "buyers", "orders_attributed", min_n=30),
    _users("customers", "stock_customers")._replace(value=_stocked("stock_customers")),
    _Kpi(
        "customer_growth",
        _stocked("ratio(stock_customers - customers_before, customers_before)"),
        "customers_before",
        min_n=30,
        slack=f"{_STOCK_OFF} * ratio(stock_customers + customers_before, customers_before)",
        n_slack=f"{_STOCK_OFF} * customers_before",
    ),
    _Kpi(
        "retention_rate",
        _stocked(f"ratio({_KEPT}, customers_before)"),
        "customers_before",
        min_n=30,
        low=f"wilson({_KEPT}, customers_before, -1)",
        high=f"wilson({_KEPT}, customers_before, 1)",
        slack=f"{_STOCK_OFF} * 3 * ratio({_EITHER}, customers_before)",
        bound_slack=f"{_STOCK_OFF} * 3 * ratio({_EITHER}, customers_before)",
        n_slack=f"{_STOCK_OFF} * customers_before",
    ),
    _Kpi("leads_open", "CASE WHEN stocked THEN leads_open END", "leads_open"),
    _Kpi(
        "lead_activity",
        "CASE WHEN stocked THEN ratio(leads_active, leads_open) END",
        "leads_open",
        min_n=30,
        low="wilson(leads_active, leads_open, -1)",
        high="wilson(leads_active, leads_open, 1)",
    ),
    _Kpi(
        "clv",
        "ratio(lifetime, 10000 * first_orders)",
        "first_orders",
        min_n=30,
        others="list_transform(lifetimes_since,"
        " lambda since: ratio(lifetime - since, 10000 * first_orders))",
    ),
    _money(
        "refund_outflow", "refund_outflow", "orders_attributed", "refunds_made", n="refunds_made"
    ),
    _total("order_changes", "order_changes", "orders_attributed"),
    _share(
        "orders_with_touch", "orders_touched", "orders_attributed", "orders_attributed", min_n=30
    ),
    *_of_model("first", "first_touch"),
    *_of_model("last", "last_touch"),
    *_of_model("linear", "linear"),
    *_of_model("declared", "declared"),
    _Kpi(
        "attribution_spread",
        f"ratio(greatest({_TOUCHED}) - least({_TOUCHED}), greatest({_TOUCHED}))",
        f"orders_linear // {WHOLE}",
        min_n=30,
    ),
    *(
        _Kpi(
            f"traffic_uplift{of.removeprefix('visitors')}",
            f"{of}_during - {of}_before",
            f"{of}_during",
            slack=f"sketched(greatest({of}_during, {of}_before), 0.07)"
            f" * ({of}_during + {of}_before)",
            n_slack=f"sketched({of}_during, 0.07) * {of}_during",
        )
        for of in ("visitors", "visitors_paid", "visitors_natural")
    ),
    _compared(
        "visitors_change", "visitors - visitors_earlier", "visitors", "clicks", "visits"
    )._replace(
        slack="sketched(visitors, 0.07) * visitors"
        " + sketched(visitors_earlier, 0.07) * visitors_earlier",
        n_slack="sketched(visitors, 0.07) * visitors",
    ),
    _compared("sales_growth", _GROWTH, "orders", min_n=30),
    _Kpi(
        "sales_contribution",
        "influence() * ratio(gross_during - gross_before, gross_before)",
        "orders_during",
        min_n=30,
    ),
    _compared(
        "engagement_growth",
        f"ratio({_ENGAGED} - {_ENGAGED_BEFORE}, {_ENGAGED_BEFORE})",
        _ENGAGED,
        *("likes", "comments", "shares"),
        min_n=30,
    ),
    _compared("awareness_growth", "ratio(awareness - awareness_earlier, awareness_earlier)", "1"),
    _total("media_exposures", "media_exposures", "media_exposures"),
    _Kpi(
        "promotion_participation",
        "ratio(promotion_participants, visitors)",
        "visitors",
        ("promotion_participants",),
        100,
        slack="sketched(visitors, 0.08) * ratio(promotion_participants, visitors)",
        n_slack="sketched(visitors, 0.08) * visitors",
    ),
)
CUSTOM_KPIS = {"media_exposures", "promotion_participation", "penetration"}
NEEDED = tuple(dict.fromkeys(name for kpi in KPIS for name in kpi.needs))
# Columns of a KPI in a row of results: value, low, high, n, slack, bound_slack, n_slack, others.
WIDTH = 8


# Kinds of entries that are made of events of another kind.
_MADE_OF = {
    **dict.fromkeys(("refund", "refund_made", "credit", "lifetime", "order_change"), "order"),
    "touched": "click",
}


def _kinds(which: str) -> frozenset[str]:
    """Return the kinds of events that SQL selects: ``kind = 'click' AND paid`` gives click.

    Credits of a model of touches are made of orders that have any: ``touched``.
    """
    if re.search(r"'credit' AND metric = '(first|last|linear)'", which):
        return frozenset({"touched"})
    named = re.findall(r"kind (?:= ('\w+')|IN \(([^)]*)\))", which)
    kinds = re.findall(r"'(\w+)'", " ".join(one or several for one, several in named))
    return frozenset(_MADE_OF.get(kind, kind) for kind in kinds)


def _kinds_of(kpi: _Kpi) -> list[frozenset[str]]:
    """Return the kinds of events of each measure in the value of a KPI: any of them brings it."""
    which = {name: sql for name, (sql, _) in (SUMS | SINGLES).items()} | USERS
    which |= {f"{name}_during": which[name] for name in SINCE_START}
    which |= {quantile: which[of] for quantile, (of, _, _) in QUANTILES.items()}
    return [_kinds(which[name]) for name in re.findall(r"\w+", kpi.value) if name in which]


def _first_times(events: pl.DataFrame) -> dict[str, int]:
    """Return the time of the first event of each kind, in ms."""
    kinds = pl.col("kind").replace({"cost": "spend"})
    firsts = events.group_by(kinds).agg(pl.col("event_time_ms").min())
    return dict(firsts.iter_rows())


def _sql_kpis(first_times: Mapping[str, int]) -> str:
    """Return a query of the KPIs of a chunk.

    Windows and scopes with equal inputs share a row, which lists them. A KPI is absent before the
    first event of all, in any scope, of a kind that it is made of.
    """
    kinds = sorted({kind for kpi in KPIS for some in _kinds_of(kpi) for kind in some})
    never = 1 << 62
    made_of = ["refunds_since", "lifetimes_since"]
    made_of += [f"end_ms > {first_times.get(kind, never)} AS came_{kind}" for kind in kinds]
    made_of += [f"seen_{name}" for name in NEEDED]
    made_of += [f"coalesce({name}, 0) AS {name}" for name in MEASURES]
    for quantile in QUANTILES:
        made_of += [quantile, f"{quantile}_low", f"{quantile}_high"]
    made_of += [f"{of}_n" for of in dict.fromkeys(of for of, _, _ in QUANTILES.values())]
    made_of += [*LEVELS, "awareness_earlier", "compared"]
    made_of += ["planned.budget AS budget", "planned.budget_due AS budget_due"]
    made_of += ["planned.budget_today AS budget_today"]
    made_of += [f"coalesce({name}_earlier, 0) AS {name}_earlier" for name in BEFORE]
    made_of += [f"{name}_{when}" for name in SINCE_START for when in ("during", "before")]
    made_of += ["past_ms IS NOT NULL AS stocked", "leads_open", "leads_active"]
    made_of += ["coalesce(customers.customers, 0) AS stock_customers"]
    made_of += [f"coalesce({name}, 0) AS {name}" for name in ("customers_before", "customers_new")]
    columns = []
    for kpi in KPIS:
        seen = " OR ".join(f"seen_{name}" for name in kpi.needs) or "true"
        came = [" OR ".join(f"came_{kind}" for kind in sorted(some)) for some in _kinds_of(kpi)]
        present = " AND ".join(f"({condition})" for condition in (seen, *came))
        columns.append(f"CASE WHEN {present} THEN {kpi.value} END")
        columns += [kpi.low, kpi.high, kpi.n]
        columns += [f"CAST({slack} AS DOUBLE)" for slack in kpi[-4:-1]]
        columns.append(kpi.others)
    return f"""
WITH made AS (
  SELECT list(window_no) AS window_nos, list(scope_no) AS scope_nos, {", ".join(made_of)}
  FROM seen LEFT JOIN totals USING (window_no, scope_no)
            LEFT JOIN picked USING (window_no, scope_no)
            LEFT JOIN before USING (window_no, scope_no)
            LEFT JOIN picked_before USING (window_no, scope_no)
            LEFT JOIN planned USING (window_no, scope_no)
            LEFT JOIN unsettled USING (window_no, scope_no)
            LEFT JOIN customers USING (window_no, scope_no)
            LEFT JOIN prospects USING (window_no, scope_no)
            LEFT JOIN since_start USING (window_no, scope_no)
            JOIN windows USING (window_no)
  GROUP BY ALL)
SELECT window_nos, scope_nos, {", ".join(columns)} FROM made
"""


def typed(events: pl.DataFrame) -> pl.DataFrame:
    """Return the columns of `SCHEMA`, with their types and with missing values filled in.

    The defaults: clicks are paid and visits are not, cost is that of advertising, a lead is at its
    first stage, an impression or a visit counts one impression or page.
    """
    kind = pl.col("kind")
    defaults = {
        "campaign": pl.lit("(none)"),
        "channel": pl.lit("(none)"),
        "region": pl.lit(""),
        "segment": pl.lit(""),
        "paid": kind == "click",
        "amount": pl.lit(0),
        "count": kind.is_in(["impression", "visit"]).cast(pl.Int64),
        "metric": pl.when(kind == "spend")
        .then(pl.lit("ads"))
        .when(kind == "lead")
        .then(pl.lit("lead"))
        .otherwise(pl.lit("")),
    }
    columns = []
    for name, data_type in SCHEMA.items():
        given = pl.col(name) if name in events.columns else pl.lit(None)
        column = given.cast(data_type)
        if name in defaults:
            column = pl.coalesce(column, defaults[name].cast(data_type))
        columns.append(column.alias(name))
    return events.select(columns)


def _first_moment(day: date, zone: str) -> int:
    """Return when a local date starts, in ms; at the first midnight if there are two."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone))
    return (midnight.astimezone(UTC) - EPOCH) // MILLISECOND


@cache
def day_start(end_ms: int, zone: str, days_before: int = 0) -> int:
    """Return the last local midnight strictly before ``end_ms``; the first one if there are two.

    ``days_before`` goes back by that many local dates, whatever the length of the days between.
    """
    inside = (EPOCH + (end_ms - 1) * MILLISECOND).astimezone(ZoneInfo(zone))
    return _first_moment(inside.date() - timedelta(days=days_before), zone)


def window_start(window: str, end_ms: int, zone: str) -> int:
    """Return the start of a window that ends at ``end_ms``; 0, for all time, of ``so_far``."""
    if window == "so_far":
        return 0
    if window in DAYS_BEFORE:
        return day_start(end_ms, zone, DAYS_BEFORE[window])
    return end_ms - LENGTH_MS[window]


@cache
def _clock(day: date, zone: str) -> list[tuple[int, int]]:
    """Return for each minute of a local date its start in ms and the clock's minute of the day."""
    after = _first_moment(day + timedelta(days=1), zone)
    shown = []
    for at in range(_first_moment(day, zone), after, MINUTE_MS):
        local = (EPOCH + at * MILLISECOND).astimezone(ZoneInfo(zone))
        shown.append((at, local.hour * 60 + local.minute))
    return shown


def same_time(end_ms: int, zone: str, days: int) -> int:
    """Return when, ``days`` dates later, the clock first reaches the time it had reached at an end.

    The time reached is the latest that the clock had shown on the date of the last moment before
    ``end_ms``.

    Example in New York: at the second 01:30 of 5 November 2023, after the clock was put back, it
    had already reached 02:00. Seen with ``days`` -1, it reaches that at 02:00 on 4 November.
    Another: 02:30 does not exist on 10 March 2024. For an end at 02:30 on 11 March and ``days`` -1,
    the result is the moment at which the clock jumps from 02:00 to 03:00.
    """
    inside = (EPOCH + (end_ms - 1) * MILLISECOND).astimezone(ZoneInfo(zone)).date()
    reached = max(shown + 1 for at, shown in _clock(inside, zone) if at < end_ms)
    other = inside + timedelta(days=days)
    for at, shown in _clock(other, zone):
        if shown + 1 >= reached:
            return at + max(0, reached - shown) * MINUTE_MS
    return _first_moment(other + timedelta(days=1), zone)


def previous_period(window: str, end_ms: int, zone: str) -> tuple[int, int] | None:
    """Return the equal period before a window that ends at ``end_ms``, [start, end) in ms.

    ``so_far`` has none: the result is None.
    """
    if window == "so_far":
        return None
    if window in LENGTH_MS:
        return end_ms - 2 * LENGTH_MS[window], end_ms - LENGTH_MS[window]
    days = DAYS_BEFORE[window] + 1
    return day_start(end_ms, zone, 2 * days - 1), same_time(end_ms, zone, -days)


def _entered_before(window: str, end_ms: int, zone: str) -> int:
    """Return the first end of a window of days whose period before reaches up to ``end_ms``."""
    at = same_time(end_ms, zone, DAYS_BEFORE[window] + 1)
    period = previous_period(window, at, zone)
    # If the clock is put forward or back on either day, it may be the end one step later.
    return at if period is not None and period[1] >= end_ms else at + STEP_MS[window]


def _placed_once(events: pl.DataFrame) -> pl.DataFrame:
    """Return events without the later versions of orders; an order without an id has only one."""
    version = pl.col("event_time_ms").rank("ordinal").over("kind", "user_id", "order_id")
    later = (pl.col("kind") == "order") & pl.col("order_id").is_not_null() & (version > 1)
    return events.filter(~later)


def required_ends(
    events: pl.DataFrame, zone: str, *, customers: Customers | None = None
) -> list[End]:
    """Return the windows whose content changed in their last step.

    An event entered or left the window, or entered or left the period before it. With customers,
    the later versions of an order count when the first was placed, and enter no window themselves.

    Example: an event at 12:00:05 enters the ``1m`` window that ends at 12:00:10. It leaves the one
    that ends at 12:01:10, and then enters the period before it. It leaves that at 12:02:10.
    """
    if customers is not None:
        events = _placed_once(typed(events))
    times: list[int] = events["event_time_ms"].unique().to_list()
    required: list[End] = []
    for window, step in STEP_MS.items():
        entered = {(t // step + 1) * step for t in times}  # t in [end - step, end)
        ends = entered
        if window in LENGTH_MS:  # t in [end - length - step, end - length)
            ends = {end + times * LENGTH_MS[window] for end in entered for times in range(3)}
        elif window in DAYS_BEFORE:
            ends = entered | {_entered_before(window, end, zone) for end in entered}
        required += [(window, window_start(window, end, zone), end) for end in sorted(ends)]
    return required


def _chunks(asked: list[End], times: list[int]) -> Iterator[tuple[int, int]]:
    """Yield chunks of the windows as [first, end) of their indices.

    A chunk has at most `CHUNK_WINDOWS` windows, and ends with the window that brings the events in
    them to `CHUNK_EVENTS`.
    """
    first = held = 0
    for no, (_, start, end) in enumerate(asked):
        held += bisect_left(times, end) - bisect_left(times, start)
        if held >= CHUNK_EVENTS or no + 1 - first >= CHUNK_WINDOWS:
            yield first, no + 1
            first, held = no + 1, 0
    if first < len(asked):
        yield first, len(asked)


def values(
    events: pl.DataFrame,
    ends: Iterable[End],
    zone: str,
    *,
    customers: Customers | None = None,
    compared: Compared | None = None,
    pasts: Pasts | None = None,
    customer_days: int = 60,
    influence: float | None = None,
    plans: Iterable[Plan] = (),
    observed_from_ms: int | None = None,
) -> dict[Key, dict[str, Value]]:
    """Return the KPIs that are present, for every window and every scope with events.

    Windows and scopes with equal values share one dictionary: do not change it.

    Args:
        events: orders and refunds have the campaign and channel that they name, or ``(none)``.
        ends: the windows; a period whose name is not that of a window may start anywhere.
        zone: time zone of the business days.
        customers: how orders are attributed; None without customers: orders and refunds count
            where they say, and the KPIs of customers are absent.
        compared: the period before each window, where it is known whole.
        pasts: the days from which customers are counted, where they are known whole.
        customer_days: the number of these days.
        influence: share of the growth of sales that is due to marketing; None if not known.
        plans: budgets of campaigns, which run from their starts.
        observed_from_ms: since when all traffic is known; None if it is never known before a
            campaign.

    Raises:
        ValueError: the start or the period before is not that of a window of the name and end.
    """
    asked = sorted(set(ends))
    for window, start, end in asked:
        if window in STEP_MS and start != window_start(window, end, zone):
            raise ValueError(f"{window} window ending at {end} cannot start at {start}")
    table = _with_periods(typed(events), zone).with_row_index("place")
    windows = _windows(asked, zone, compared or {}, pasts or {}, customer_days)
    plans = list(plans)
    runs = _runs(asked, zone, plans, observed_from_ms)
    result: dict[Key, dict[str, Value]] = {}
    shared: dict[tuple[str, Value], Value] = {}  # equal values are stored once
    with TemporaryDirectory() as folder, duckdb.connect() as con:
        con.execute("SET preserve_insertion_order = false")
        coefficient = "NULL" if influence is None else str(influence)
        con.execute(f"CREATE MACRO influence() AS {coefficient}::DOUBLE")
        for name, frame in ("events", table), ("all_windows", windows), ("runs", runs):
            frame.write_parquet(f"{folder}/{name}")
            con.execute(f"CREATE TABLE {name} AS FROM read_parquet('{folder}/{name}')")
        con.execute(
            "CREATE TABLE plans (campaign TEXT, budget BIGINT, starts_ms BIGINT, ends_ms BIGINT,"
            " channel TEXT, daily BIGINT)"
        )
        for plan in plans:
            con.execute("INSERT INTO plans VALUES (?, ?, ?, ?, ?, ?)", plan)
        con.execute(attribution_sql.entries(customers))
        for sql in (SQL_MACROS, SQL_SCOPED, _sql_added(), _sql_singles(), _sql_latest()):
            con.execute(sql)
        con.execute(_sql_late(customers))
        first_times = _first_times(table)
        if customers is not None:
            ((touched_ms,),) = con.execute(
                "SELECT min(event_time_ms) FROM entries WHERE kind = 'touched'"
            ).fetchall()
            first_times |= {} if touched_ms is None else {"touched": touched_ms}
        scopes: dict[int, tuple[str, str, str, str, str]] = {
            row[0]: row[1:] for row in con.sql("FROM scopes").fetchall()
        }
        for first, last in _chunks(asked, table["event_time_ms"].sort().to_list()):
            con.execute(
                "CREATE OR REPLACE TABLE windows AS FROM all_windows"
                f" WHERE window_no >= {first} AND window_no < {last}"
            )
            con.execute(_sql_chunk())
            rows = con.execute(_sql_kpis(first_times))
            while some := rows.fetchmany(1_000):
                for window_nos, scope_nos, *columns in some:
                    kpis = _kpis_of(columns, shared)
                    for window_no, scope_no in zip(window_nos, scope_nos, strict=True):
                        window, _, end = asked[window_no]
                        result[window, end, *scopes[scope_no]] = kpis
    return result


def _with_periods(events: pl.DataFrame, zone: str) -> pl.DataFrame:
    """Return events whose costs of a period are a ``cost``, and a ``cost_day`` on each day of it.

    The ``cost_day`` shows on a business day that costs are reported.
    """
    of_period = (pl.col("kind") == "spend") & pl.col("until_ms").is_not_null()
    costs = events.filter(of_period).with_columns(kind=pl.lit("cost"))
    days: list[dict[str, Any]] = []
    for cost in costs.iter_rows(named=True):
        at = cost["event_time_ms"]
        while at < cost["until_ms"]:
            days.append({**cost, "kind": "cost_day", "event_time_ms": at})
            at = _first_moment(
                datetime.fromtimestamp(at / 1000, ZoneInfo(zone)).date() + timedelta(days=1), zone
            )
    others = events.filter(~of_period.fill_null(value=False))
    return pl.concat([others, costs, pl.DataFrame(days, schema=events.schema)])


def _windows(
    asked: list[End], zone: str, compared: Compared, pasts: Pasts, customer_days: int
) -> pl.DataFrame:
    """Return a row for each window; without a known period before, that period is empty."""
    rows = []
    for no, (window, start, end) in enumerate(asked):
        period = compared.get((window, end))
        if period is not None and tuple(period) != previous_period(window, end, zone):
            raise ValueError(f"{window} window ending at {end} cannot be compared with {period}")
        before = (0, 0) if period is None else period
        past = pasts.get((window, end))
        if past is not None:
            days = customer_days + DAYS_BEFORE[window]
            counted = day_start(end, zone, days), day_start(end, zone, customer_days - 1), start
            if tuple(past) != counted:
                raise ValueError(f"{window} window ending at {end} cannot count from {past}")
        past_ms, now_ms = (None, None) if past is None else past[:2]
        rows.append(
            (
                *(no, start, end, min(start, day_start(end, zone)), *before, past_ms, now_ms),
                *(period is not None, window),
            )
        )
    names = ("window_no", "start_ms", "end_ms", "seen_from", "before_ms", "before_end_ms")
    schema: dict[str, type[pl.DataType]] = {
        **dict.fromkeys((*names, "past_ms", "now_ms"), pl.Int64),
        "compared": pl.Boolean,
        "window_name": pl.String,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def _runs(
    asked: list[End], zone: str, plans: list[Plan], observed_from_ms: int | None
) -> pl.DataFrame:
    """Return the whole local dates that campaigns have run at the ends of ``so_far``.

    And as many dates before, up to the same local time. A run whose dates before are not all known
    is left out.
    """
    rows = []
    for no, (window, _, end) in enumerate(asked):
        for plan in plans if window == "so_far" else ():
            if plan.starts_ms is None or plan.starts_ms >= end or plan.channel:
                continue
            until = end
            if plan.ends_ms is not None and plan.ends_ms < end:
                until = min(end, _next_day(plan.ends_ms, zone))
            first = day_start(plan.starts_ms + 1, zone)
            days = _days_between(first, until, zone)
            before = day_start(first + 1, zone, days), same_time(until, zone, -days)
            if observed_from_ms is not None and before[0] >= observed_from_ms:
                rows.append((no, plan.campaign, first, until, *before))
    names = ("during_from_ms", "during_until_ms", "before_from_ms", "before_until_ms")
    schema: dict[str, type[pl.DataType]] = {"window_no": pl.Int64, "campaign": pl.String}
    return pl.DataFrame(rows, schema=schema | dict.fromkeys(names, pl.Int64), orient="row")


def _local_date(time_ms: int, zone: str) -> date:
    return (EPOCH + time_ms * MILLISECOND).astimezone(ZoneInfo(zone)).date()


def _next_day(end_ms: int, zone: str) -> int:
    """Return the end of the local date of the last moment before ``end_ms``."""
    return _first_moment(_local_date(end_ms - 1, zone) + timedelta(days=1), zone)


def _days_between(start_ms: int, end_ms: int, zone: str) -> int:
    """Return the number of local dates in [start, end)."""
    return (_local_date(end_ms - 1, zone) - _local_date(start_ms, zone)).days + 1


def _kpis_of(columns: list[Any], shared: dict[tuple[str, Value], Value]) -> dict[str, Value]:
    """Return the KPIs of a row of results that are present."""
    kpis: dict[str, Value] = {}
    for index, kpi in enumerate(KPIS):
        number, low, high, n, *slacks, others = columns[index * WIDTH : (index + 1) * WIDTH]
        if number is None:
            continue
        off, bound_off, n_off = (slack or 0.0 for slack in slacks)
        significant = n >= kpi.min_n
        value = Value(
            *(number, low, high, n, significant, off, bound_off, n_off),
            others=tuple(others or ()),
            money=isinstance(kpi, _Money),
        )
        kpis[kpi.name] = shared.setdefault((kpi.name, value), value)
    return kpis


def shop_events(path: str | Path) -> pl.DataFrame:
    """Load the online shop's log (UTC): catalogue and product views are clicks, payments orders."""
    event = pl.col("event")
    is_order = event == "payment_done"
    stamp = pl.col("timestamp").str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us")
    return typed(
        pl.read_csv(path, schema_overrides={"user_id": pl.String})
        .filter((event == "catalog") | event.str.starts_with("product") | is_order)
        .select(
            event_time_ms=stamp.dt.epoch("us").floordiv(1000),
            kind=pl.when(is_order).then(pl.lit("order")).otherwise(pl.lit("click")),
            user_id="user_id",
            campaign=pl.lit("shop"),
            channel=pl.lit("site"),
            amount=pl.when(is_order).then(1_000_000).otherwise(0),
            count=pl.lit(1),
        )
    )


def cdnow_events(path: str | Path) -> pl.DataFrame:
    """Load the CDNOW purchases: one order per row at UTC midnight of its date."""
    rows = []
    for line in Path(path).read_text(encoding="ascii").splitlines()[1:]:
        customer, day, _cds, dollars = line.split()
        time_ms = (datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC) - EPOCH) // MILLISECOND
        units = int(Decimal(dollars) * 10_000)
        rows.append((time_ms, "order", customer, "cdnow", "mail", units, 1))
    return typed(pl.DataFrame(rows, schema=SHORT_SCHEMA, orient="row"))
