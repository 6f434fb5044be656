"""Writes the generated pages of docs/: ``python -m tools.reference [--check]``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from models.kpi.catalogue import CATALOGUE
from models.kpi.custom_measures import MOST_CUSTOM
from models.kpi.definition import Catalogue, Kpi
from models.kpi.measures import (
    DISTRIBUTIONS,
    LEVELS,
    PLANNED,
    SINCE_START,
    STOCKS,
    SUMS,
    UNIONS,
    USER_SETS,
)
from models.kpi.user_catalogue import HEADLINES, SHORT_WINDOWS
from models.scope import PARTS, SCOPE_KINDS
from models.window import COMPARED, DAY_MS, HOUR_MS, SHOWN_WINDOWS, STAGE, WINDOWS, Window
from streams.analysis import peer_outliers
from streams.export.metrics import collector
from streams.kpis.storage.bucket_store import CUSTOMER_DAYS, DAY_LEVEL, kept_ms
from streams.kpis.windows import change_effects
from streams.kpis.windows.campaign_phases import STEP_MS
from tools.event_reference import events_page
from tools.mapping_reference import mappings_page
from tools.markdown import GENERATED, table
from tools.rule_reference import rules_page
from tools.settings_reference import settings_page

FOLDER = Path("docs")

_KPIS = """# KPIs

{generated}

Each KPI is a definition in [models/kpi/catalogue.py](../models/kpi/catalogue.py). Its computation,
metric, panels and documentation are derived from the definition. `kpi-monitor kpis` lists all KPIs
on the command line. The column *source* names the papers on marketing KPIs that name the KPI: S0 on
the KPIs of a digital marketing department, S1 on the appraisal of marketing campaigns, S2 on
adjusting KPIs and marketing strategy, S3 on the KPIs of marketing departments in practice. KPIs
without a source are in none of them.

Two papers define ROI, each in its own way; both are KPIs under their own names. 投入产出比 of S1 is
`revenue_cost_ratio`, total return / total cost. 投资回报率 of S3 is `roi`, (return - cost) / cost.
`roas` divides by the cost of advertising alone.

{kpis}

## How to read the table

- **n** is the number of events or users that a value is computed from. A value with a smaller n
  than **min n** is *not significant*. The topic of values and the page say so for each value, and
  the metric `kpi_min_n` has the limit.
- **needs**: the KPI is absent, not 0, until one of these was seen on the business day. Every KPI is
  also absent until each input of its formula came for the first time at all, in any campaign:
  without a single order, conversion is absent, not 0 %. The KPIs of first touch, last touch and
  linear attribution, and their spread, are absent until an order had a click of its customer before
  it: see [how-to/identity.md](how-to/identity.md).
- **better** says whether more or less is better. The **outcome** of a volume is the KPI by which
  the volume should be judged: clicks that lead to no orders are no success.
- **interval** is the method of the 95 % confidence interval: {intervals}.
- **Shares of users** are never above 100 %: {shares}. Whoever takes part was reached, and whoever
  buys counts as a visitor, also if the click or visit was before the window. Other ratios compare
  events of two kinds in one window. They may be above 100 %, such as deals won from the leads of
  an earlier window (`lead_conversion_rate`).
- Sums are exact. Money is computed in whole units of 1/10,000 of the reporting currency, converted
  at the rate of the event's own business day. Medians and percentiles are accurate to 1 % of the
  value at their rank (DDSketch), and so are bounds that are computed from a distribution. Distinct
  users are exact up to 1,024; above, they are estimated by a HyperLogLog sketch with a standard
  error of 1.6 %.

## Windows

{windows}

**KPIs that look back** use the period of equal length before the window. For an hour this is the
hour before. For business days, of which the last is the current day to date, it is as many days
before, the last of them up to the same local time (if the clock is put back, the latest time that
it showed). These KPIs are absent if that period is not known completely: if it began before
observation did, or has a gap. The windows `so_far` and `stage` have no period before them.

**The window `stage`** covers the current phase of a campaign that has phases (the `stages` of its
definition), from the phase's start until now; also of the campaign's channels. The start is
rounded up to a whole quarter of an hour. The window is absent

- before the phase starts, and once the campaign has ended;
- if the start of the phase was not observed;
- {kept_days} days after the start, because the day of the start is then no longer kept;
- if the phase is defined only after the quarters of an hour of its first day were dropped.

The window is shown and exported. Rules can't use it, and it is not in the topic of values.

**Budgets.** `budget` and `budget_due` exist only in the window `so_far`, of campaigns and of those
of their channels that have a budget of their own, as the campaign is defined when the window
closes. `budget_today` exists only in the window `day`, of campaigns with a daily budget that run on
that day. KPIs that use them are absent elsewhere. KPIs that use `budget_due` are also absent if the
campaign has no start and end, or has not started. The budget is due evenly from start to end. Spend
from before the monitor's data begin is not known and not included.

**Customers and open leads** are counted over the last `KPI_CUSTOMER_DAYS` business days
({customer_days} by default), of which the last is the current one, to date. They exist in the
windows {day_windows} that are not longer than that, and are absent in shorter windows, in `so_far`
and in `stage`. Of a window, `customers_before` are the users who ordered in as many days before its
start, `customers` those at its end, and `customers_new` those of them who were not customers before
it. So `retention_rate` is (customers at the end - new) / customers at the start, the formula of
paper S3, and `customer_growth` is the growth of the same number. A lead is open if it reached a
stage in these days and was neither won nor lost in them; it is active if it reached a stage in the
window. The figures are absent until all the days were observed without a gap, and for the campaigns
that are shown together as `other`. Above 1,024 users they are estimates, as all counts of users
are: the error of a difference is that of the numbers it is taken from.

**A campaign against the time before it.** `traffic_uplift`, for paid and natural traffic apart, and
`sales_contribution` compare all traffic and sales during a campaign with those before it, not only
its own: before its start a campaign has none. They exist only for campaigns with a start, in the
window `so_far`, and are counted in whole business days: from the campaign's first day to its last
one, to date, and as many days before, up to the same local time. A campaign that starts at 20:00
counts from the beginning of that day. They are absent if the days before were not observed
completely, or are no longer kept ({kept_days} days), and if a source of theirs was silent for more
than 5 % of the campaign's days or of those before. The difference includes everything else that
changed.

**The end of a campaign** is its planned end, or an earlier `campaign_ended`. A campaign that has
ended has no current phase, and its `budget_due` is frozen. There is no more forecast of when its
budget will be spent. Its events still count. A campaign continues if it is defined, by an event or
a file, with another start or end.

## Changes and their effect

For the last {effects} changes of campaigns in {effect_days} days (`campaign_changed`, and the start
and end of a campaign), `kpi_monitor_effect` and the live page show the campaign's KPIs before and
after the change; of its start and its end those of everything, as the campaign has no events before
it starts. `kpi_monitor_effect_difference` is the difference, with its 95 % interval where it can be
tested as comparisons are, and `kpi_monitor_effect_significant` says whether it is significant. So
the conversion rate has its lift (转化率提升幅度): before, after, difference and interval.

The time of the change is rounded up to a whole quarter of an hour. Both periods are as long as the
complete time since the change, in whole quarters of an hour, and at most {longest_hours} hours. A
KPI is absent if one of the periods was not observed completely, lacks records or is no longer kept,
or if a source of the KPI was silent. The difference is no proof: it includes everything else that
changed at the same time.

## Comparisons

At each whole quarter of an hour, windows are compared with two reference periods:

- 上期 `previous`: the period of equal length before, of the windows {previous};
- 同期 `last_week`: the same period seven business days before, by the local clock, of the windows
  {last_week}.

Metrics and a table of the KPI board show the value in the reference period and the change,
now / then - 1, for all, channels and campaigns. The page shows that of all. A comparison is not
corrected: data that arrive later count from the next quarter of an hour on.

- A comparison is absent if the reference period was not observed completely, has a gap, or can't
  be summed up any more. 30 days have a period before only at the end of a business day. KPIs that
  look back are not compared. The change is absent if the reference is not above 0.
- A change is *significant*, at the 95 % level, if both values are significant and differ by
  enough. Values with an interval: the distance exceeds the root of the sum of the squares of the
  margins that face each other (Newcombe 1998, Schenker and Gentleman 2001). Counts: the distance
  exceeds 1.96 times the root of their sum (Poisson). Other KPIs are not tested, such as differences
  of counts and sums with an `n` of their own, nor are values that lack records or depend on a
  silent source. Users who come in both periods, and events that come in bursts, vary more than
  these tests assume: take significance as a hint.

## Benchmarks

The file of KPIs may give a KPI a benchmark (行业基准值): a value that is usual in the industry,
with its source. It is exported as `kpi_benchmark` and drawn on the KPI board. The live page and
`/api/live` show it beside the value of all, with value / benchmark - 1. The difference is *n.s.*,
not significant, if the value's 95 % interval contains the benchmark or the value rests on too
little. KPIs that grow with their window have no benchmark.

## Scopes

{scopes}. Every event counts in a channel and a campaign, if only in `(none)` or `(unknown)`. It
counts in a region and a segment only if it names one.

## Peers

Peers are compared in the windows {peer_windows}: channels with channels, the channels of a campaign
with each other, campaigns with campaigns, and regions with regions. Compared are all KPIs that are
neither a volume nor a level and of which more or less is better. The modified z-score of a value is
0.6745 × (value − median) / MAD. MAD is the median distance from the median of the peers. A value
with a score above {z_limit} or below -{z_limit} is an *outlier* (Iglewicz and Hoaglin, *How to
Detect and Handle Outliers*, 1993). If MAD is 0, the score is
(value − median) / (1.2533 × mean distance). If that distance is 0 as well, all values are equal and
none is an outlier.

- Groups of fewer than {fewest_peers} peers are not compared.
- Only significant values count, and only of KPIs that are complete in the window.
- A value whose 95 % interval includes the median is not an outlier.
- Events without a campaign or channel (`(none)`, `(unknown)`, `(direct)`) and the campaigns beyond
  the largest (`(other)`) have no peers.

Outliers are shown on the live page, better and worse ones apart, on the KPI board, and in
`kpi_monitor_peer_z`. Many KPIs of many peers are compared, so a few outliers occur by chance, and
they raise no alert by themselves. An alert rule of the kind [`outlier`](alert-rules.md) compares
one KPI in the same way, in any window, and segments and the regions of a campaign, too.

## What formulas may name

| formula | example |
| --- | --- |
| a sum | `revenue_gross - revenue_refunded` |
| a quotient of two sums, optionally with a whole number in front | `1000 * spend / impressions` |
| the same, of sums with several names, each in parentheses | `(revenue_gross - spend) / spend` |
| a quantile of a distribution | `median(dwell_ms)`, `p90(order_amount)` |
| the newest measurement of a level | `newest(followers)` |
| the growth of a level over the period before | `growth(followers)` |
| the disagreement of sums: (largest − smallest) / largest | `spread(orders_first, orders_last)` |

Figures of plans, stocks of users and runs of campaigns are named like measures; where one is not
available, the KPI is absent. In a sum, `previous(visitors)` is the value in the period of equal
length before the window. Instead of the number, `influence` may be used, a coefficient from the
file of KPIs.

The terms of a sum have one unit: numbers of events or users, money, times, or parts of orders.
`revenue_gross - orders` is refused. The `unit` of a KPI has to fit its formula:

| formula | example | `unit` |
| --- | --- | --- |
| numbers, or numbers over numbers | `items / orders` | `count`, `users`, `ratio`, `score` |
| money, or money over numbers | `spend / clicks` | `money` |
| money over money | `revenue_gross / spend` | `ratio`, `count`, `users`, `score` |
| numbers over money | `1000 * orders / spend` | `count`, `users`, `score` |
| times, or times over numbers | `p90(dwell_ms)` | `seconds` |

`orders_first`, `orders_last`, `orders_linear` and `orders_declared` count parts of orders, which
are shown in orders: a sum of them is a `count`, and in a quotient they are numbers. Declared sums
are numbers, too; a quotient by a number may also be shown as `money` or `seconds` if all its terms
above are declared sums, which are then in the currency or in seconds. A sum of money or time, and
a quotient by one, needs an `n`: the number of events or users that its value rests on.

{measures}

Formulas may also name measurements that you declare (below): a sum by its name, a level as
`newest(name)` or `growth(name)`.

## Measurements of your own

Figures that are measured elsewhere, such as media exposures (媒体曝光次数) or penetration (渗透率),
are sent as events `measurement`. Metrics that are not built in ([events.md](events.md)) are
declared in the file of KPIs:

```yaml
measurements:
  - name: penetration          # the metric in the events, and the name in formulas
    kind: share                # sum, level or share
    title_en: Penetration
    title_zh: 渗透率
    help: Share of the target market that has bought, by market research
kpis:
  - name: penetration
    title_en: Penetration
    title_zh: 渗透率
    formula: newest(penetration)
    unit: ratio
    objective: brand
```

{custom_kinds}

A file declares {most_custom} at most. Values that do not fit their kind are dead letters
(`invalid_amount`). KPIs on declared measurements are KPIs like the others, in rules, scorecards and
exports. One that names declared sums is absent, not 0, until one of them was measured on the
business day; with its own `needs`, these decide.

Values are kept by name, so the order of the declarations does not matter. Restart all workers with
the new file: until the last one has it, new sums are absent.

- A sum that is **added** is absent in windows that begin before the restart, and in the all-time
  window for ever: what was measured before was not kept. A level is there from its first
  measurement on.
- A measurement that is **removed** counts as unknown from then on. If it is declared again, a sum
  is absent in windows that begin before that restart, and a level has its newest measurement that
  was counted.

> Example. `media_exposures` is declared at 12:00. The 5 minutes that end at 12:06 have it, those
> that end at 12:03 do not. The day has it from tomorrow on.

## KPIs of your own

A file named by `KPI_KPIS_FILE` adds KPIs and says which series are exported; see
[config/kpis.yaml](../config/kpis.yaml). Without the file, the series are exported that the boards
show by default:

- of the scope `all`: every KPI in every window;
- of campaigns and channels: the headlines ({headlines}) and the attribution models in every
  window, and every other KPI in {short_windows};
- of regions and segments: the headlines in {short_windows}.

KPIs that alert rules use are always exported. `kpi-monitor kpis --kpis FILE` lists your KPIs with
the others, and warns about questionable definitions: a volume without its outcome, a KPI without an
objective. The file's `coefficients` are factors of some KPIs. A KPI without its coefficient is
absent.
"""

_CUSTOM_KINDS = (
    (
        "`sum`",
        "whole numbers, not negative; they add up over time and campaigns",
        "`media_exposures / visitors`",
    ),
    (
        "`level`",
        "not negative, up to four decimals; the newest measurement counts",
        "`newest(stock_days)`, `growth(stock_days)`",
    ),
    ("`share`", "a level from 0 to 1", "`newest(penetration)`"),
)

_METRICS = """# Metrics

{generated}

## KPIs

Labels: `scope` ({scopes}), {parts} (empty if the scope does not use them), `window` ({windows}).
Metrics of money also have the label `currency`. Beside the metric of a KPI there may be:

- `kpi_NAME_n`: the number of events or users that the value is computed from;
- the metric's name with `_lower` and `_upper`: the bounds of the 95 % confidence interval.

A KPI whose inputs were not seen is absent, not 0. Only closed windows are exported.
[kpis.md](kpis.md) defines each KPI.

{kpis}

## The monitor itself

{own}
"""

_INTERVALS = {
    "wilson": "*wilson*, the Wilson score interval of a proportion",
    "mean": "*mean*, from the standard error of a mean",
    "compound": "*compound*, for a compound Poisson sum over a known cost, by the delta method",
    "poisson": "*poisson*, for a known cost over a Poisson count, by its score interval",
    "rank": "*rank*, for a quantile: the values at the ranks that bound its rank",
}


_SHARES = (
    "participation_rate",
    "purchase_conversion_rate",
    "new_customer_conversion_rate",
    "returning_conversion_rate",
    "repurchase_rate",
    "retention_rate",
    "lead_activity",
)
"""The KPIs whose denominator counts each user that their numerator counts."""


def kpis_page(catalogue: Catalogue) -> str:
    """Return docs/kpis.md."""
    windows = [
        (
            f"`{window.name}`",
            _what_it_holds(window),
            _every(window.step_ms),
        )
        for window in WINDOWS
    ]
    windows.append((f"`{STAGE}`", "the current phase of a campaign, to date", _every(STEP_MS)))
    measures = [
        *((f"`{one.name}`", "sum", one.source, one.help) for one in SUMS),
        *((f"`{one.name}`", "distinct users", one.source, one.help) for one in USER_SETS),
        *(
            (f"`{name}`", "distinct users", "", f"in any of {', '.join(parts)}")
            for name, parts in UNIONS.items()
        ),
        *((f"`{one.name}`", "distribution", one.source, one.help) for one in DISTRIBUTIONS),
        *((f"`{one.name}`", "level", one.source, one.help) for one in LEVELS),
        *((f"`{name}`", "plan", "campaigns", what) for name, what in PLANNED.items()),
        *((f"`{name}`", "stock of users", "", what) for name, (_, what) in STOCKS.items()),
        *((f"`{name}`", "run of a campaign", "", what) for name, (_, what) in SINCE_START.items()),
    ]
    return _KPIS.format(
        generated=GENERATED,
        kpis=table(
            (
                *("KPI", "名称", "formula", "unit", "better", "interval", "n", "min n"),
                *("needs", "outcome", "objective", "source", "what it is"),
            ),
            (_kpi_row(kpi) for kpi in catalogue.values()),
        ),
        intervals="; ".join(_INTERVALS.values()),
        shares=", ".join(f"`{name}`" for name in _SHARES),
        windows=table(("window", "what", "closes every"), windows),
        previous=", ".join(f"`{name}`" for name in COMPARED["previous"]),
        last_week=", ".join(f"`{name}`" for name in COMPARED["last_week"]),
        kept_days=kept_ms()[DAY_LEVEL] // DAY_MS,
        customer_days=CUSTOMER_DAYS,
        day_windows=", ".join(f"`{window.name}`" for window in WINDOWS if window.days),
        effects=change_effects.SHOWN,
        effect_days=change_effects.LOOKBACK_MS // DAY_MS,
        longest_hours=change_effects.COMPARED_MS // HOUR_MS,
        scopes=", ".join(f"`{kind}`" for kind in SCOPE_KINDS),
        peer_windows=", ".join(f"`{name}`" for name in peer_outliers.WINDOWS),
        z_limit=peer_outliers.Z_LIMIT,
        fewest_peers=peer_outliers.FEWEST_PEERS,
        measures=table(("name", "is a", "topic", "what it is"), measures),
        most_custom=MOST_CUSTOM,
        custom_kinds=table(("kind", "values", "in formulas"), _CUSTOM_KINDS),
        headlines=", ".join(f"`{name}`" for name in HEADLINES),
        short_windows=", ".join(f"`{name}`" for name in SHORT_WINDOWS),
    )


def _every(step_ms: int) -> str:
    return f"{step_ms // 1000} s"


def _what_it_holds(window: Window) -> str:
    if window.length_ms is not None:
        return f"the last {window.length_ms // 60_000} min"
    if not window.days:
        return "all time; of a campaign, since its start"
    if window.days == 1:
        return "the current business day, to date"
    return f"{window.days} business days, of which the last is the current one, to date"


def _kpi_row(kpi: Kpi) -> tuple[str, ...]:
    return (
        f"`{kpi.name}`",
        kpi.title_zh,
        f"`{kpi.formula}`",
        kpi.unit,
        kpi.direction,
        "" if kpi.interval == "none" else kpi.interval,
        "" if kpi.n is None else f"`{kpi.n}`",
        str(kpi.min_n or ""),
        ", ".join(f"`{name}`" for name in kpi.needs),
        "" if kpi.outcome is None else f"`{kpi.outcome}`",
        kpi.objective,
        kpi.source,
        kpi.help,
    )


def metrics_page(catalogue: Catalogue) -> str:
    """Return docs/metrics.md."""
    own = [
        (
            f"`{spec.name}{'_total' if spec.counter else ''}`",
            spec.help,
            ", ".join(f"`{label}`" for label in spec.labels),
        )
        for spec in collector.SPECS
    ]
    kpis = [
        (f"`{kpi.metric}`", kpi.title_zh, kpi.unit, kpi.help, ", ".join(kpi.needs))
        for kpi in catalogue.values()
    ]
    return _METRICS.format(
        generated=GENERATED,
        scopes=", ".join(f"`{kind}`" for kind in SCOPE_KINDS),
        parts=", ".join(f"`{part}`" for part in PARTS),
        windows=", ".join(f"`{name}`" for name in SHOWN_WINDOWS),
        kpis=table(("metric", "名称", "unit", "what it is", "needs"), kpis),
        own=table(("metric", "what it is", "labels"), own),
    )


def main(arguments: Sequence[str]) -> int:
    """Write the pages; with ``--check`` report those that differ, and return 1 if any does."""
    pages = {
        FOLDER / "alert-rules.md": rules_page(),
        FOLDER / "events.md": events_page(),
        FOLDER / "kpis.md": kpis_page(CATALOGUE),
        FOLDER / "mappings.md": mappings_page(),
        FOLDER / "metrics.md": metrics_page(CATALOGUE),
        FOLDER / "settings.md": settings_page(),
    }
    stale = [
        path
        for path, text in pages.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    if "--check" in arguments:
        for path in stale:
            sys.stderr.write(f"{path} differs from its code; run make generated\n")
        return 1 if stale else 0
    for path, text in pages.items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
