"""Independent reference calculation of rolling marketing KPI windows.

Everything is recomputed from the raw events by range joins in DuckDB; there is no
incremental state.  Money is held as exact integers in 1/10000 of the currency.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias
from zoneinfo import ZoneInfo

import duckdb
import polars as pl

End: TypeAlias = tuple[str, int, int]  # (window, start_ms, end_ms), half-open
Key: TypeAlias = tuple[str, int, str, str, str]  # (window, end_ms, scope, campaign, channel)
Number: TypeAlias = int | float
Value: TypeAlias = tuple[Number, float | None, float | None, int]  # (value, low, high, n)

STEP_MS = {"1m": 10_000, "5m": 10_000, "1h": 60_000, "day": 60_000}
LENGTH_MS = {"1m": 60_000, "5m": 300_000, "1h": 3_600_000}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
SCHEMA: dict[str, type[pl.DataType]] = {
    "event_time_ms": pl.Int64,
    "kind": pl.String,
    "user_id": pl.String,
    "campaign": pl.String,
    "channel": pl.String,
    "amount": pl.Int64,
    "count": pl.Int64,
}
# KPI -> column holding its sample size; an interval is in <KPI>_low and <KPI>_high.
SAMPLE_SIZE = {
    "impressions": "impressions",
    "clicks": "clicks",
    "unique_visitors": "unique_visitors",
    "orders": "orders",
    "buyers": "buyers",
    "revenue_gross": "orders",
    "revenue_net": "orders",
    "ctr": "impressions",
    "conversion_rate": "clicks",
    "aov": "orders",
    "spend": "spend_events",
    "cpc": "clicks",
    "roas": "orders",
    "roi": "orders",
}

SQL_MACROS = """
CREATE MACRO ratio(a, b) AS CAST(a AS DOUBLE) / CAST(nullif(b, 0) AS DOUBLE);
-- Wilson 95 % bound of k successes in n trials, side -1 low, +1 high; NULL when k > n or n = 0.
CREATE MACRO wilson(k, n, side) AS CASE WHEN k <= n AND n > 0 THEN
    least(1.0, greatest(0.0,
      (ratio(k, n) + power(1.959963984540054, 2) / (2 * nullif(n, 0))
       + side * 1.959963984540054 * sqrt(greatest(0.0,
           ratio(k, n) * (1 - ratio(k, n)) / nullif(n, 0)
           + power(1.959963984540054 / (2 * nullif(n, 0)), 2))))
      / (1 + power(1.959963984540054, 2) / nullif(n, 0)))) END;
"""

SQL_SCOPED = """
CREATE TABLE scoped AS  -- every event once per scope it belongs to
WITH labelled AS (
  SELECT 'all' AS scope, '' AS in_campaign, '' AS in_channel, * FROM events
  UNION ALL SELECT 'channel', '', channel, * FROM events
  UNION ALL SELECT 'campaign', campaign, '', * FROM events
  UNION ALL SELECT 'campaign_channel', campaign, channel, * FROM events)
SELECT dense_rank() OVER (ORDER BY scope, in_campaign, in_channel) AS scope_no,
       scope, in_campaign AS campaign, in_channel AS channel,
       event_time_ms AS t, kind, amount, count,
       -- Time of the same user's previous event of this sort in this scope (NULL without a user):
       -- the event is its user's first one in a window from start_ms when previous_t < start_ms.
       CASE WHEN user_id IS NOT NULL THEN lag(event_time_ms, 1, -9223372036854775807) OVER (
         PARTITION BY scope, in_campaign, in_channel, user_id,
                      CASE WHEN kind IN ('click', 'visit') THEN 'click or visit' ELSE kind END
         ORDER BY event_time_ms) END AS previous_t
FROM labelled;

CREATE TABLE scopes AS SELECT DISTINCT scope_no, scope, campaign, channel FROM scoped;
"""

SQL_SEEN = """
CREATE TABLE seen AS  -- window x scope with any event in [seen_from, end_ms), and what was seen
WITH latest AS (  -- up to and including time t: when each sort of event last happened
  SELECT DISTINCT scope_no, t,
    max(t) FILTER (kind = 'impression') OVER up_to_t AS impression_t,
    max(t) FILTER (kind IN ('click', 'visit')) OVER up_to_t AS visit_t,
    max(t) FILTER (kind = 'spend') OVER up_to_t AS spend_t
  FROM scoped
  WINDOW up_to_t AS (PARTITION BY scope_no ORDER BY t
                     RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)),
asked AS (SELECT * FROM windows CROSS JOIN scopes)
SELECT asked.*,
       coalesce(impression_t >= seen_from, false) AS seen_impression,
       coalesce(visit_t >= seen_from, false) AS seen_visit,
       coalesce(spend_t >= seen_from, false) AS seen_spend
FROM asked ASOF JOIN latest
  ON asked.scope_no = latest.scope_no AND asked.end_ms > latest.t
WHERE latest.t >= seen_from;
"""

SQL_TOTALS = """
CREATE TABLE totals AS  -- plain aggregates of the events in [start_ms, end_ms)
SELECT window_no, scope_no,
  sum(count) FILTER (kind = 'impression') AS impressions,
  count(*) FILTER (kind = 'click') AS clicks,
  count(*) FILTER (kind IN ('click', 'visit') AND previous_t < start_ms) AS visitors,
  count(*) FILTER (kind = 'order') AS orders,
  count(*) FILTER (kind = 'order' AND previous_t < start_ms) AS buyers,
  sum(amount) FILTER (kind = 'order') AS gross,
  sum(amount) FILTER (kind = 'refund') AS refunds,
  sum(amount) FILTER (kind = 'spend') AS spend,
  count(*) FILTER (kind = 'spend') AS spend_events
FROM windows JOIN scoped ON t >= start_ms AND t < end_ms
GROUP BY window_no, scope_no;
"""

SQL_KPIS = """
WITH base AS (
  SELECT seen.*,
    CASE WHEN seen_impression THEN coalesce(t.impressions, 0)::BIGINT END AS impressions,
    coalesce(t.clicks, 0) AS clicks,
    CASE WHEN seen_visit THEN coalesce(t.visitors, 0) END AS unique_visitors,
    coalesce(t.orders, 0) AS orders,
    coalesce(t.buyers, 0) AS buyers,
    coalesce(t.gross, 0)::BIGINT AS revenue_gross,
    (coalesce(t.gross, 0) - coalesce(t.refunds, 0))::BIGINT AS revenue_net,
    CASE WHEN seen_spend THEN coalesce(t.spend, 0)::BIGINT END AS spend,
    coalesce(t.spend_events, 0) AS spend_events
  FROM seen LEFT JOIN totals t USING (window_no, scope_no))
SELECT window_name AS "window", start_ms, end_ms, scope, campaign, channel,
  impressions, clicks, unique_visitors, orders, buyers, revenue_gross, revenue_net,
  ratio(clicks, impressions) AS ctr,
  wilson(clicks, impressions, -1) AS ctr_low, wilson(clicks, impressions, 1) AS ctr_high,
  ratio(orders, clicks) AS conversion_rate,
  wilson(orders, clicks, -1) AS conversion_rate_low,
  wilson(orders, clicks, 1) AS conversion_rate_high,
  ratio(revenue_gross, orders * 10000) AS aov,
  spend, spend_events,
  ratio(spend, clicks * 10000) AS cpc,
  ratio(revenue_gross, spend) AS roas,
  ratio(revenue_gross - spend, spend) AS roi
FROM base ORDER BY window_no, scope_no
"""


def typed(events: pl.DataFrame) -> pl.DataFrame:
    """Return the event columns, in order and of the right types."""
    return events.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())


@cache
def day_start(end_ms: int, zone: str) -> int:
    """Return the last local midnight strictly before ``end_ms`` (first one if it repeats)."""
    inside = (EPOCH + (end_ms - 1) * MILLISECOND).astimezone(ZoneInfo(zone))
    midnight = datetime(inside.year, inside.month, inside.day, tzinfo=inside.tzinfo)
    return (midnight.astimezone(UTC) - EPOCH) // MILLISECOND


def window_start(window: str, end_ms: int, zone: str) -> int:
    """Return the start of the window of that name ending at ``end_ms``."""
    return day_start(end_ms, zone) if window == "day" else end_ms - LENGTH_MS[window]


def required_ends(events: pl.DataFrame, zone: str) -> list[End]:
    """List the windows whose content changed in their last step: an event entered or left."""
    times: list[int] = events["event_time_ms"].unique().to_list()
    required: list[End] = []
    for window, step in STEP_MS.items():
        entered = {(t // step + 1) * step for t in times}  # t in [end - step, end)
        ends = entered
        if window in LENGTH_MS:  # t in [end - length - step, end - length)
            ends = entered | {end + LENGTH_MS[window] for end in entered}
        required += [(window, window_start(window, end, zone), end) for end in sorted(ends)]
    return required


def frame(events: pl.DataFrame, ends: Iterable[End], zone: str) -> pl.DataFrame:
    """Return one row per asked window and active scope, a column per KPI, null = absent."""
    asked = sorted(set(ends))
    for window, start, end in asked:
        if start != window_start(window, end, zone):
            raise ValueError(f"{window} window ending at {end} cannot start at {start}")
    windows = pl.DataFrame(
        [(no, w, s, e, min(s, day_start(e, zone))) for no, (w, s, e) in enumerate(asked)],
        schema={"window_no": pl.Int64, "window_name": pl.String}
        | dict.fromkeys(("start_ms", "end_ms", "seen_from"), pl.Int64),
        orient="row",
    )
    with TemporaryDirectory() as folder, duckdb.connect() as con:
        for name, table in ("events", typed(events)), ("windows", windows):
            table.write_parquet(f"{folder}/{name}")
            con.execute(f"CREATE TABLE {name} AS FROM read_parquet('{folder}/{name}')")
        for sql in (SQL_MACROS, SQL_SCOPED, SQL_SEEN, SQL_TOTALS):
            con.execute(sql)
        return pl.DataFrame(con.sql(SQL_KPIS))


def values(events: pl.DataFrame, ends: Iterable[End], zone: str) -> dict[Key, dict[str, Value]]:
    """Return the present KPIs of every asked window and active scope."""
    result: dict[Key, dict[str, Value]] = {}
    shared: dict[tuple[str, Value], Value] = {}  # equal tuples are stored once
    rows = frame(events, ends, zone)
    for row in rows.iter_rows(named=True):
        kpis: dict[str, Value] = {}
        for kpi, size in SAMPLE_SIZE.items():
            if row[kpi] is not None:
                value: Value = (row[kpi], row.get(f"{kpi}_low"), row.get(f"{kpi}_high"), row[size])
                kpis[kpi] = shared.setdefault((kpi, value), value)
        result[row["window"], row["end_ms"], row["scope"], row["campaign"], row["channel"]] = kpis
    return result


def shop_events(path: str | Path) -> pl.DataFrame:
    """Load the online shop log (UTC): catalogue and product views are clicks, payments orders."""
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
        customer, date, _cds, dollars = line.split()
        time_ms = (datetime.strptime(date, "%Y%m%d").replace(tzinfo=UTC) - EPOCH) // MILLISECOND
        units = int(Decimal(dollars) * 10_000)
        rows.append((time_ms, "order", customer, "cdnow", "mail", units, 1))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")
