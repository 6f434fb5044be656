"""Writes the generated pages of docs/: ``python -m tools.reference [--check]``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from models.kpi.catalogue import CATALOGUE
from models.kpi.definition import Catalogue, Kpi
from models.kpi.measures import DISTRIBUTIONS, LEVELS, PLANNED, SUMS, UNIONS, USER_SETS
from models.kpi.user_catalogue import HEADLINES, SHORT_WINDOWS
from models.scope import PARTS, SCOPE_KINDS
from models.window import COMPARED, DAY_MS, HOUR_MS, SHOWN_WINDOWS, STAGE, WINDOWS, Window
from streams.analysis import peer_outliers
from streams.export.metrics import collector
from streams.kpis.storage.bucket_store import DAY_LEVEL, KEPT_MS
from streams.kpis.windows import change_effects
from streams.kpis.windows.campaign_phases import STEP_MS
from tools.event_reference import events_page
from tools.markdown import GENERATED, table
from tools.settings_reference import settings_page

FOLDER = Path("docs")

_KPIS = """# KPIs

{generated}

Each KPI is a definition in [models/kpi/catalogue.py](../models/kpi/catalogue.py); what is
computed, exported, shown and documented follows from it. `kpi-monitor kpis` lists them on the
command line. The sources are
the papers on marketing KPIs that the product was built from: S0 on a digital marketing department,
S1 on campaign operations, S2 on marketing appraisal, S3 on a marketing department's scorecard.

{kpis}

## How to read it

- **n** is what a value rests on. Below **min n** it is *not significant*: that travels with the
  value in the topic of values, on the page and by `kpi_min_n`.
- **needs**: until one of these was seen that business day, the KPI is absent, not 0.
- **better** says whether more or less of it is better. The **outcome** of a volume is the KPI by
  which it is to be judged: clicks that convert nobody are no success.
- **interval** of 95 %: {intervals}.
- Sums are exact. Money is whole units of 1/10,000 of the reporting currency, converted at the
  rate of the event's own business day. Medians and percentiles are within 1 % of the value at their
  rank (DDSketch), and bounds that rest on a distribution are so too; distinct users are exact up to
  1,024, then a HyperLogLog sketch with a standard error of 1.6 %.

## Windows

{windows}

KPIs that look back compare with the equal period before. Of an hour that is the hour before; of
business days, the last of them so far, as many days before, the last up to the same local time
(where the clock is put back, the latest that it had shown). They are absent where that period is
not known whole: before observation began, or with a gap in it. So far has no period before it,
nor has a stage.

A stage so far is that of campaigns with stages and of their channels. It begins where the stage
does, rounded up to a whole quarter of an hour. It is absent before that moment, once the campaign
is over, where that moment was not observed, and {kept_days} days after it, when the day on which
the stage began is not kept any more; a stage that is defined only when the quarters of that day
are gone never gets one. It is shown and exported; no rule rests on it, and it is not in the topic
of values.

`budget` and `budget_due` are those of a campaign in the window so far, as it is defined when the
window closes; KPIs that name them are absent elsewhere, and those with `budget_due` where the
campaign has no start and end, or has not started. What is due is spread evenly. What a campaign
spent before the monitor's data begin is not known, and not in it.

A campaign is over at its planned end, or at a `campaign_ended` before that: it has no stage any
more, what is due stays as it was then, and no moment is told at which its budget will be gone.
Events still count. It goes on when it is defined, by an event or a file, with another start or end.

## Changes and their effect

For the last {effects} changes of campaigns in {effect_days} days (`campaign_changed`, and a
campaign's start and end), `kpi_monitor_effect` and the live page tell its KPIs before and after.
The moment is rounded up to a whole quarter of an hour. Both times are as long as what is complete
since the moment, in whole quarters, at most {longest_hours} hours. KPIs are absent where one of
both times was not observed whole, lacks records or is not held any more, or where a source that
they need was silent. What else changed at that time is in them too: they are no proof.

## Comparisons

Each whole quarter of an hour, windows are compared with a reference period: 上期 `previous`, the
equal period before ({previous}), and 同期 `last_week`, the same seven business days before by the
local clock ({last_week}). Metrics and a table of the board of KPIs tell the value in the
reference period and the change, now / then - 1, of all, channels and campaigns; the page that
of all. The change is of that quarter: data that come later count from the next one on.

- A comparison is absent where the reference period was not observed whole, has a gap, or can't be
  summed up any more: 30 days have a period before only at the end of a business day. KPIs that
  look back are not compared. The ratio is absent where the reference is not above 0.
- A change is *significant*, at 95 %, where both values are, and the distance of two values with
  an interval exceeds the root of the sum of the squares of the margins that face each other
  (Newcombe 1998, Schenker and Gentleman 2001), or that of two counts 1.96 times the root of their
  sum (Poisson). Of other KPIs, and where either value lacks records or rests on a silent source,
  it is not told. Users who come in both periods, and events that come in bursts, make chance
  larger than that: it is a hint.

## Scopes

{scopes}. An event counts in a channel and a campaign always, if only in `none` or `unknown`; in a
region and a segment when it names one.

## Peers

Channels are compared with the other channels, the channels of a campaign among themselves,
campaigns with campaigns and regions with regions, in the windows {peer_windows}. By each
KPI that is no volume and no level, and of which more or less is better, a member's modified
z-score is 0.6745 × (value − median) / MAD, with MAD the median distance from the median of the
peers. Beyond {z_limit} either way it is an *outlier* (Iglewicz and Hoaglin, *How to Detect and
Handle Outliers*, 1993). Where MAD is 0, the score is (value − median) / (1.2533 × mean distance);
where that distance is 0 as well, all are alike.

Nothing is said of fewer than {fewest_peers} peers, counted with the member itself. Only significant
values count, and only of KPIs that rest on everything in that window. An outlier whose interval of
95 % reaches the median is none. What names no campaign or channel (`none`, `unknown`, `direct`)
and the campaigns beyond the largest (`other`) are nobody's peers.

Outliers are on the live page, better ones and worse ones apart, on the board of all KPIs, and in
`kpi_monitor_peer_z`; they raise no alert. Many KPIs of many peers are compared, so a few outliers
come by chance.

## What formulas may name

A formula is a sum (`revenue_gross - revenue_refunded`), a quotient of two sums, each in parentheses
if it has several names (`(revenue_gross - spend) / spend`), with a whole number in front if need
be (`1000 * spend / impressions`), a quantile (`median(dwell_ms)`,
`p90(order_amount)`), the newest measurement of a level (`newest(followers)`) or its growth
(`growth(followers)`), or how far sums differ, the greatest less the least over the greatest
(`spread(orders_first, orders_last)`). In a sum, `previous(visitors)` is that of the equal period
before the window. In place of the number may stand `influence`, a coefficient of the file of KPIs.
`orders_first`, `orders_last`, `orders_linear` and `orders_declared` count parts of orders, kept as
1/10,000 and shown in orders; they add up with each other only.

{measures}

## KPIs of your own

A file named by `KPI_KPIS_FILE` adds KPIs and says which series are exported; see
[config/kpis.yaml](../config/kpis.yaml). Without it, what the boards show by default is exported:
every KPI of everything together in every window; of campaigns and channels the headlines
({headlines}) and the models of attribution in every window, every other KPI in
{short_windows}; of regions and segments the headlines in these. What alert rules are about is
exported in any case. `kpi-monitor kpis --kpis FILE` lists them with the others
and warns of what is questionable: a volume without its outcome, a KPI without an objective. Its
`coefficients` are what some KPIs are multiplied with; without them those are absent.
"""

_METRICS = """# Metrics

{generated}

## KPIs

Labels: `scope` ({scopes}), {parts} (empty where the scope does not use them), `window` ({windows});
money carries `currency` too. Where a KPI rests on something else than itself, `kpi_NAME_n` stands
beside it, and where it has an interval of 95 %, the metric with `_lower` and `_upper`. A KPI whose
inputs were not seen is absent, not 0. Only closed windows are exported. What each KPI is stands in
[kpis.md](kpis.md).

{kpis}

## The monitor itself

{own}
"""

_INTERVALS = {
    "wilson": "*wilson*, the score interval of a proportion",
    "mean": "*mean*, by the standard error",
    "compound": "*compound*, a compound Poisson sum over a known cost, by the delta method",
    "poisson": "*poisson*, a known cost over a Poisson count, by its score interval",
    "rank": "*rank*, the values at the ranks that bound the quantile's rank",
}


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
    windows.append((f"`{STAGE}`", "the stage that a campaign is in, so far", _every(STEP_MS)))
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
        windows=table(("window", "what", "closes every"), windows),
        previous=", ".join(f"`{name}`" for name in COMPARED["previous"]),
        last_week=", ".join(f"`{name}`" for name in COMPARED["last_week"]),
        kept_days=KEPT_MS[DAY_LEVEL] // DAY_MS,
        effects=change_effects.SHOWN,
        effect_days=change_effects.LOOKBACK_MS // DAY_MS,
        longest_hours=change_effects.COMPARED_MS // HOUR_MS,
        scopes=", ".join(f"`{kind}`" for kind in SCOPE_KINDS),
        peer_windows=", ".join(f"`{name}`" for name in peer_outliers.WINDOWS),
        z_limit=peer_outliers.Z_LIMIT,
        fewest_peers=peer_outliers.FEWEST_PEERS,
        measures=table(("name", "is a", "topic", "what it is"), measures),
        headlines=", ".join(f"`{name}`" for name in HEADLINES),
        short_windows=", ".join(f"`{name}`" for name in SHORT_WINDOWS),
    )


def _every(step_ms: int) -> str:
    return f"{step_ms // 1000} s"


def _what_it_holds(window: Window) -> str:
    if window.length_ms is not None:
        return f"the last {window.length_ms // 60_000} min"
    if not window.days:
        return "everything so far; of a campaign, since it began"
    return f"{window.days} business day{'s' if window.days > 1 else ''}, the last so far"


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
        FOLDER / "events.md": events_page(),
        FOLDER / "kpis.md": kpis_page(CATALOGUE),
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
