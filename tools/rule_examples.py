"""Examples of alert rules for docs/alert-rules.md, each with a series of values and its alert.

A test loads each example from the page, plays its series, and compares the states of the alert.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from streams.kpis.calculation.confidence_intervals import wilson


class Moment(NamedTuple):
    """A window that closes, with a value of one scope, and the state of the alert then.

    Args:
        at_s: when it closes, in s after 12:00.
        value: the value in the unit of the KPI; None if there is none.
        state: ``-`` without an alert, else pending, firing or resolved.
        n: what the value rests on.
        interval: its 95 % interval.
        scope: the campaign, or the channel of a rule about channels; empty for everything.
        earlier: the value of the earlier period, from the same n; None if the rule has none.
        earlier_interval: its 95 % interval.
    """

    at_s: int
    value: float | None
    state: str
    n: int = 0
    interval: tuple[float, float] | None = None
    scope: str = ""
    earlier: float | None = None
    earlier_interval: tuple[float, float] | None = None


class Past(NamedTuple):
    """The past that a rule has learned before 12:00: windows with about one value, by chance.

    Args:
        days: for how long.
        value: the value in the unit of the KPI.
        n: what each value rests on; of a count, the value.
    """

    days: int
    value: float
    n: int


class RuleExample(NamedTuple):
    """A rule, what it is an example of, and when its alert fires."""

    title: str
    text: str
    rule: str
    moments: tuple[Moment, ...]
    past: Past | None = None


def _channels(at_s: int, *changing: tuple[str, float, str]) -> tuple[Moment, ...]:
    """Return moments of five channels, of which some have these rates and states.

    All have 9,000 clicks, and ``email`` 300. Intervals are Wilson's.
    """
    found = {"social": (0.021, "-"), "video": (0.022, "-"), "affiliate": (0.023, "-")}
    found |= {name: (rate, state) for name, rate, state in changing}
    moments = []
    for name, (rate, state) in found.items():
        n = 300 if name == "email" else 9_000
        low, high = wilson(round(n * rate), n)
        moments.append(Moment(at_s, rate, state, n, (round(low, 4), round(high, 4)), scope=name))
    return tuple(moments)


EXAMPLES: Final = (
    RuleExample(
        "`kind: threshold`, `below`",
        "Conversion must be below the limit with all of its 95 % interval: two orders of a hundred "
        "clicks are no proof.",
        """\
name: conversion-low
kind: threshold
kpi: conversion_rate
window: 5m
below: 0.02""",
        (
            Moment(0, 0.015, "-", 100, (0.004, 0.053)),
            Moment(10, 0.015, "firing", 9_000, (0.0127, 0.0177)),
            Moment(20, 0.019, "firing", 9_000, (0.0164, 0.022)),
            Moment(30, 0.021, "resolved", 9_000, (0.0182, 0.0242)),
        ),
    ),
    RuleExample(
        "`above`",
        "Money is in the reporting currency. Clicks that suddenly cost more than 3 each:",
        """\
name: cost-per-click-high
kind: threshold
kpi: cpc
above: 3""",
        (
            Moment(0, 2.9, "-", 400, (2.6, 3.2)),
            Moment(10, 3.2, "-", 400, (2.9, 3.5)),
            Moment(20, 3.6, "firing", 400, (3.3, 4.0)),
            Moment(30, 3, "resolved", 400, (2.7, 3.3)),
        ),
    ),
    RuleExample(
        "`kind: range`, `low`, `high`",
        "Conversion far above its usual value is as suspicious as one below it: tracking may count "
        "orders twice. Both limits ask for all of the 95 % interval.",
        """\
name: conversion-odd
kind: range
kpi: conversion_rate
window: 1h
low: 0.02
high: 0.06
hysteresis: 0.1""",
        (
            Moment(0, 0.04, "-", 4_000, (0.0344, 0.0465)),
            Moment(60, 0.065, "-", 4_000, (0.0578, 0.0731)),
            Moment(120, 0.08, "firing", 4_000, (0.072, 0.0888)),
            Moment(180, 0.058, "firing", 4_000, (0.0512, 0.0657)),
            Moment(240, 0.05, "resolved", 4_000, (0.0437, 0.0572)),
            Moment(300, 0.01, "firing", 4_000, (0.0073, 0.0136)),
        ),
    ),
    RuleExample(
        "`kind: change`, `against`, `falls_by`",
        "The limit is 30 % below the value of the same hour a week before. A fall of a third is no "
        "proof yet: both values are uncertain.",
        """\
name: conversion-falls
kind: change
kpi: conversion_rate
against: last_week
falls_by: 0.3""",
        (
            Moment(0, 0.026, "-", 10_000, (0.0231, 0.0293), "", 0.028, (0.0249, 0.0314)),
            Moment(900, 0.0185, "-", 10_000, (0.016, 0.0213), "", 0.028, (0.0249, 0.0314)),
            Moment(1_800, 0.015, "firing", 10_000, (0.0128, 0.0176), "", 0.028, (0.0249, 0.0314)),
            Moment(2_700, 0.021, "resolved", 10_000, (0.0184, 0.024), "", 0.029, (0.0259, 0.0325)),
        ),
    ),
    RuleExample(
        "`rises_by`, `by_at_least`",
        "Half as much again as in the hour before, and 0.2 more at least: cheap clicks that become "
        "a little dearer are left alone.",
        """\
name: clicks-dearer
kind: change
kpi: cpc
window: 1h
against: previous
rises_by: 0.5
by_at_least: 0.2""",
        (
            Moment(0, 0.48, "-", 900, (0.46, 0.5), "", 0.3, (0.29, 0.31)),
            Moment(60, 0.55, "firing", 900, (0.53, 0.57), "", 0.3, (0.29, 0.31)),
            Moment(120, 0.5, "resolved", 900, (0.48, 0.52), "", 0.31, (0.3, 0.32)),
        ),
    ),
    RuleExample(
        "`kind: persistent`, `at_least`, `of_last`",
        "One bad hour is no reason to change bids, three of the last four are. A good hour in "
        "between does not matter.",
        """\
name: conversion-low-for-long
kind: persistent
kpi: conversion_rate
window: 1h
below: 0.05
at_least: 3
of_last: 4""",
        (
            Moment(0, 0.07, "-", 2_000, (0.0597, 0.082)),
            Moment(3_600, 0.03, "-", 2_000, (0.0234, 0.0384)),
            Moment(7_200, 0.035, "-", 2_000, (0.0278, 0.044)),
            Moment(10_800, 0.06, "-", 2_000, (0.0504, 0.0713)),
            Moment(14_400, 0.03, "firing", 2_000, (0.0234, 0.0384)),
            Moment(18_000, 0.07, "resolved", 2_000, (0.0597, 0.082)),
        ),
    ),
    RuleExample(
        "`kind: anomaly`",
        "No limit is given: the rule has learned that 0.3 is usual, and 0.18 to 0.42 in a single "
        "window of 500 clicks. Two windows that are low together are not chance.",
        """\
name: conversion-unusual
kind: anomaly
kpi: conversion_rate""",
        (
            Moment(0, 0.3, "-", 500, (0.2615, 0.3416)),
            Moment(300, 0.278, "-", 500, (0.2405, 0.3188)),
            Moment(600, 0.2, "-", 500, (0.1673, 0.2373)),
            Moment(900, 0.22, "firing", 500, (0.1859, 0.2584)),
            Moment(1_200, 0.21, "firing", 500, (0.1766, 0.2478)),
            Moment(1_500, 0.296, "firing", 500, (0.2577, 0.3374)),
            Moment(1_800, 0.302, "resolved", 500, (0.2634, 0.3436)),
        ),
        Past(6, 0.3, 500),
    ),
    RuleExample(
        "`direction: higher`, `least_change`, `once_in_weeks`",
        "Only more clicks than usual fire, from half as many again on: robots, or a link that "
        "somebody famous has shared.",
        """\
name: clicks-many
kind: anomaly
kpi: clicks
window: 1h
direction: higher
least_change: 0.5
once_in_weeks: 50""",
        (
            Moment(0, 2_010, "-", 2_010),
            Moment(3_600, 900, "-", 900),
            Moment(7_200, 2_600, "-", 2_600),
            Moment(10_800, 4_900, "firing", 4_900),
            Moment(14_400, 1_980, "resolved", 1_980),
        ),
        Past(6, 2_000, 2_000),
    ),
    RuleExample(
        "`kind: outlier`, `differs_by`",
        "One channel converts far worse than the others. `email` has too few clicks: its interval "
        "includes the median.",
        """\
name: channel-falls-behind
kind: outlier
kpi: conversion_rate
differs_by: 0.3""",
        (
            *_channels(0, ("search", 0.021, "-"), ("email", 0.024, "-")),
            *_channels(60, ("search", 0.009, "firing"), ("email", 0.009, "-")),
            *_channels(120, ("search", 0.018, "resolved"), ("email", 0.024, "-")),
        ),
    ),
    RuleExample(
        "`direction`, `by_at_least`",
        "Worse is higher for a cost. With `direction: lower`, cheap clicks are reported, which may "
        "be clicks of bots.",
        """\
name: clicks-too-cheap
kind: outlier
kpi: cpc
window: 24h
direction: lower
by_at_least: 0.5""",
        tuple(
            Moment(at_s, cost, state, 900, scope=name)
            for at_s, display, alert in ((0, 1.2, "-"), (900, 0.4, "firing"))
            for name, cost, state in (
                ("search", 1.5, "-"),
                ("social", 1.6, "-"),
                ("video", 1.4, "-"),
                ("affiliate", 1.5, "-"),
                ("display", display, alert),
            )
        ),
    ),
    RuleExample(
        "`kind: pace`, `ahead_by`, `behind_by`",
        "The campaign 618-main runs for 10 days with a budget, and 4 of them are over at 12:00. "
        "Campaigns without a budget are not judged.",
        """\
name: budget-off-plan
kind: pace
ahead_by: 0.2
behind_by: 0.3""",
        (
            Moment(0, 1.1, "-", 40, scope="618-main"),
            Moment(0, None, "-", scope="new-members"),
            Moment(900, 1.25, "firing", 41, scope="618-main"),
            Moment(1_800, 1.15, "resolved", 41, scope="618-main"),
            Moment(86_400, 0.6, "firing", 42, scope="618-main"),
        ),
    ),
    RuleExample(
        "`target`",
        "Of 5,000 orders in 10 days 2,000 are due after 4 days; fewer than 1,600 break the rule.",
        """\
name: orders-behind
kind: pace
kpi: orders
match: {campaign: [618-main]}
target: 5000
behind_by: 0.2""",
        (
            Moment(0, 1_604, "-", 1_604, scope="618-main"),
            Moment(3_600, 1_610, "firing", 1_610, scope="618-main"),
            Moment(7_200, 1_660, "resolved", 1_660, scope="618-main"),
        ),
    ),
    RuleExample(
        "`exhausts_early_by`, `judged_from`",
        "At a pace of 1.25 the budget lasts for 8 of the 10 days, which is 2 days too short. At "
        "1.1 it is exhausted in the last 24 hours. The alert names the projected moment.",
        """\
name: budget-ends-early
kind: pace
exhausts_early_by: 86400
judged_from: 0.4""",
        (
            Moment(0, 1.1, "-", 40, scope="618-main"),
            Moment(900, 1.25, "firing", 41, scope="618-main"),
            Moment(1_800, 1.1, "resolved", 41, scope="618-main"),
        ),
    ),
    RuleExample(
        "`kind: absence`, `scope`, `match`",
        "What is absent can't be found by a pattern: an absence rule names its scopes outright. It "
        "fires also if nothing ever came of them.",
        """\
name: clicks-absent
kind: absence
kpi: clicks
scope: campaign
match: {campaign: [618-main]}""",
        (
            Moment(0, None, "firing", scope="618-main"),
            Moment(10, 4, "resolved", 4, scope="618-main"),
            Moment(20, 0, "firing", scope="618-main"),
            Moment(20, None, "-", scope="new-members"),
        ),
    ),
    RuleExample(
        "`match` with patterns",
        "There is one alert for each campaign that matches. `*` is any text, `?` any character; "
        "brackets are no patterns.",
        """\
name: few-orders
kind: threshold
kpi: orders
scope: campaign
match: {campaign: ["618-*"]}
window: 1h
below: 10""",
        (
            Moment(0, 4, "firing", 4, scope="618-main"),
            Moment(0, 12, "-", 12, scope="618-beauty"),
            Moment(0, 4, "-", 4, scope="new-members"),
            Moment(60, 10, "resolved", 10, scope="618-main"),
            Moment(60, 9, "firing", 9, scope="618-beauty"),
        ),
    ),
    RuleExample(
        "`window`",
        "`day` is the business day to date. It begins anew at midnight, so an upper limit fits it, "
        "and a lower limit of a count is refused.",
        """\
name: spend-of-the-day
kind: threshold
kpi: spend
window: day
above: 5000""",
        (
            Moment(0, 4_990, "-", 40),
            Moment(60, 5_010, "firing", 41),
        ),
    ),
    RuleExample(
        "`min_n`",
        "A return on ad spend that rests on fewer than 20 orders is not judged.",
        """\
name: roas-low
kind: threshold
kpi: roas
window: 1h
below: 1
min_n: 20""",
        (
            Moment(0, 0.4, "-", 19, (0.1, 0.8)),
            Moment(60, 0.4, "firing", 20, (0.1, 0.8)),
        ),
    ),
    RuleExample(
        "`hysteresis`",
        "The alert resolves once satisfaction is 10 % of the limit above the limit, at 4.4 or "
        "more, so that it does not flap.",
        """\
name: satisfaction-low
kind: threshold
kpi: csat
window: 24h
below: 4
hysteresis: 0.1""",
        (
            Moment(0, 3.5, "firing", 80, (3.2, 3.8)),
            Moment(900, 4.1, "firing", 80, (3.8, 4.4)),
            Moment(1_800, 4.5, "resolved", 80, (4.2, 4.8)),
        ),
    ),
    RuleExample(
        "`for`",
        "A single window is not enough: the rule must be broken for 20 s.",
        """\
name: click-flood
kind: threshold
kpi: clicks
window: 1m
above: 6000
for: 20""",
        (
            Moment(0, 7_000, "pending", 7_000),
            Moment(10, 5_000, "-", 5_000),
            Moment(20, 7_000, "pending", 7_000),
            Moment(30, 7_000, "pending", 7_000),
            Moment(40, 7_000, "firing", 7_000),
        ),
    ),
    RuleExample(
        "`keep_firing_for`",
        "The alert goes on until the rule has held for 20 s.",
        """\
name: few-visitors
kind: threshold
kpi: unique_visitors
below: 50
keep_firing_for: 20""",
        (
            Moment(0, 40, "firing", 40),
            Moment(10, 60, "firing", 60),
            Moment(20, 40, "firing", 40),
            Moment(30, 60, "firing", 60),
            Moment(40, 60, "firing", 60),
            Moment(50, 60, "resolved", 60),
        ),
    ),
    RuleExample(
        "`no_data: keep`",
        "The default: without a value, or with too small an n, a firing alert stays, for up to a "
        "day.",
        """\
name: refunds-high
kind: threshold
kpi: refund_rate
window: 1h
above: 0.2
min_n: 30
no_data: keep""",
        (
            Moment(0, None, "-"),
            Moment(60, 0.3, "firing", 50),
            Moment(120, None, "firing"),
            Moment(180, 0.1, "firing", 8),
            Moment(86_520, None, "resolved"),
        ),
    ),
    RuleExample(
        "`no_data: resolve`",
        "",
        """\
name: response-slow
kind: threshold
kpi: complaint_response_time
window: 1h
above: 7200
no_data: resolve""",
        (
            Moment(0, 9_000, "firing", 40, (8_000, 9_900)),
            Moment(60, None, "resolved"),
        ),
    ),
    RuleExample(
        "`no_data: fire`",
        "No value is as bad as a low one, also of campaigns that are named and that no event came "
        "from.",
        """\
name: conversion-unknown
kind: threshold
kpi: conversion_rate
scope: campaign
match: {campaign: [618-main]}
below: 0.02
no_data: fire""",
        (
            Moment(0, None, "firing", scope="618-main"),
            Moment(10, 0.03, "resolved", 900, (0.021, 0.043), scope="618-main"),
        ),
    ),
    RuleExample(
        "`severity`, `owner`, `summary_en`, `summary_zh`, `next_step`, `next_step_zh`, `runbook`",
        "Alertmanager routes by severity and owner. The texts say what happened and what to do; "
        "without them, the sentence is the summary.",
        """\
name: sales-drop
kind: threshold
kpi: sales_growth
window: 1h
below: -0.3
severity: critical
owner: growth
summary_en: Sales fall by a third
summary_zh: 销售额下降三成
next_step: Look at checkout, payment and stock
next_step_zh: 检查结算、支付和库存
runbook: https://wiki.example.com/checkout""",
        (
            Moment(0, -0.2, "-", 90),
            Moment(60, -0.4, "firing", 90),
        ),
    ),
)
"""One for each kind and key."""

REFUSED: Final = (
    "{kpi: repurchase_rate, below: 2}",
    "{kpi: conversion_rate, below: 2%}",
    "{kpi: clicks, below: 0}",
    "{kpi: clicks, above: -1}",
    "{kpi: csat, below: 6}",
    "{kpi: sales_growth, below: -1}",
    "{kpi: roas, below: 1, above: 5}",
    "{kpi: orders, below: 100, window: day}",
    "{kpi: orders, below: 100, window: so_far}",
    "{kpi: orders, above: 100, min_n: 10}",
    "{kpi: followers, below: 100, min_n: 10}",
    "{kpi: csat, below: 4.8, hysteresis: 0.1}",
    "{kpi: orders, above: 0, hysteresis: 0.1}",
    "{kpi: roas, below: 1, hysteresis: 10}",
    "{kpi: roas, below: 1, for: 5m}",
    "{kpi: roas, below: 1, for: 10000000}",
    "{kpi: roas, below: 1, window: day, for: 86400}",
    "{kpi: budget_used, above: 0.9, window: so_far}",
    "{kpi: budget_used, above: 0.9, scope: campaign}",
    "{kpi: sales_growth, below: -0.5, window: so_far}",
    "{kpi: cpc, above: 3, scope: region}",
    "{kpi: mentions, above: 9, scope: channel}",
    "{kpi: clicks, above: 9, match: {campaign: [c1]}}",
    "{kpi: clicks, above: 9, scope: campaign, match: {campaign: []}}",
    "{kpi: clicks, above: yes}",
    "{kpi: clicks, above: 10000000000000000}",
    "{kpi: cliks, above: 9}",
    "{kpi: clicks, abvoe: 9}",
    "{kind: range, kpi: roas, low: 5, high: 1}",
    "{kind: change, kpi: orders, against: last_week, falls_by: 30}",
    "{kind: change, kpi: orders, against: last_week, falls_by: 0}",
    "{kind: change, kpi: orders, against: last_week, falls_by: 0.3, window: 5m}",
    "{kind: change, kpi: orders, against: previous, falls_by: 0.3, rises_by: 0.3}",
    "{kind: change, kpi: sales_growth, against: previous, falls_by: 0.3}",
    "{kind: persistent, kpi: roi, below: 0.05, at_least: 5, of_last: 1}",
    "{kind: persistent, kpi: roi, below: 0.05, at_least: 8, of_last: 7}",
    "{kind: persistent, kpi: roi, below: 0.05, at_least: 5, of_last: 7, window: week}",
    "{kind: persistent, kpi: roi, below: 0.05, at_least: 5, of_last: 7, for: 3600}",
    "{kind: persistent, kpi: sales_growth, below: 0, at_least: 5, of_last: 7}",
    "{kind: anomaly, kpi: orders, window: day}",
    "{kind: anomaly, kpi: orders, once_in_weeks: 0}",
    "{kind: anomaly, kpi: orders, least_change: 30}",
    "{kind: anomaly, kpi: sales_growth}",
    "{kind: range, kpi: repurchase_rate, low: 0.02, high: 6}",
    "{kind: range, kpi: roas, low: 0, high: 5}",
    "{kind: range, kpi: roas, low: 1, high: 5, hysteresis: 0.5}",
    "{kind: range, kpi: orders, low: 100, high: 500, window: day}",
    "{kind: range, kpi: roas, low: 1}",
    "{kind: outlier, kpi: conversion_rate, scope: all}",
    "{kind: outlier, kpi: orders}",
    "{kind: outlier, kpi: attribution_spread}",
    "{kind: outlier, kpi: conversion_rate, differs_by: 0}",
    "{kind: outlier, kpi: conversion_rate, differs_by: 30}",
    "{kind: outlier, kpi: cpc, by_at_least: -1}",
    "{kind: outlier, kpi: cpc, scope: region}",
    "{kind: pace}",
    "{kind: pace, ahead_by: 0.2, exhausts_early_by: 86400}",
    "{kind: pace, behind_by: 20}",
    "{kind: pace, ahead_by: 0}",
    "{kind: pace, kpi: orders, behind_by: 0.2}",
    "{kind: pace, kpi: budget_used, ahead_by: 0.2}",
    "{kind: pace, kpi: roas, target: 2, behind_by: 0.2}",
    "{kind: pace, kpi: orders, target: 0, behind_by: 0.2}",
    "{kind: pace, kpi: orders, target: 500, behind_by: 0.2, scope: channel}",
    "{kind: pace, kpi: orders, target: 500, behind_by: 0.2, window: 24h}",
    "{kind: pace, kpi: orders, exhausts_early_by: 3600}",
    "{kind: pace, target: 500, exhausts_early_by: 3600}",
    "{kind: pace, exhausts_early_by: 3600, scope: campaign_channel}",
    "{kind: pace, exhausts_early_by: 1d}",
    "{kind: pace, ahead_by: 0.2, judged_from: 10}",
    "{kind: absence, kpi: roas}",
    "{kind: absence, kpi: clicks, no_data: fire}",
    "{kind: absence, kpi: clicks, window: day}",
    '{kind: absence, kpi: clicks, scope: campaign, match: {campaign: ["618-*"]}}',
    "{kpi: clicks, above: 9, name: data-lagging, match: {campaign: [c1]}, scope: campaign}",
)
"""Rules that can't mean anything. ``kind`` is threshold and ``name`` r if left out."""
