"""The panels of the live board: titles, descriptions, units and names of queries.

Nothing here depends on Grafana's model; `dashboards.live` lays the views out.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

from dashboards.queries import CURRENCY
from models.limits import FRONTIER_AGE_S, LAG_S, Limits

Steps: TypeAlias = tuple[tuple[float | None, str], ...]
"""Pairs of a threshold and a colour, rising; the first threshold is None, for no lower bound."""

COUNT: Final = "locale"
"""Unit of counts: with separators of thousands, and not rounded."""
MONEY: Final = "locale"
"""Unit of money. The currency is in the title: units have no variables."""
MULTIPLE: Final = "suffix:×"
_CALM: Final[Steps] = ((None, "blue"),)  # with no steps at all Grafana turns a tile red at 80
_WANT_NONE: Final[Steps] = ((None, "green"), (1, "red"))
NO_ANSWER: Final = "No answer 无响应"
"""Text of a tile that has no value."""


def _steps(limits: Limits) -> Steps:
    return ((None, "green"), (limits.warning, "yellow"), (limits.alert, "red"))


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A panel: its texts, its Grafana unit, the names of its queries and its colours."""

    title: str
    text: str
    unit: str
    queries: tuple[str, ...]
    steps: Steps = _CALM


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table: its heading, its Grafana unit and the name of its query."""

    title: str
    unit: str
    query: str


NOW: Final = (
    View(
        title="Orders 订单数量",
        text="Orders placed in the chosen window, all campaigns and channels together.",
        unit=COUNT,
        queries=("now.orders",),
    ),
    View(
        title=f"Gross revenue 成交总额 ({CURRENCY})",
        text=f"Sum of order amounts in the chosen window, refunds not subtracted. {CURRENCY} only.",
        unit=MONEY,
        queries=("now.revenue",),
    ),
    View(
        title="Conversion rate 转化率",
        text="Orders per click in the chosen window.",
        unit="percentunit",
        queries=("now.conversion",),
    ),
    View(
        title="CTR 点击率",
        text="Clicks per impression in the chosen window.",
        unit="percentunit",
        queries=("now.ctr",),
    ),
    View(
        title="Unique visitors 独立访客",
        text="Distinct users who clicked or visited in the chosen window.",
        unit=COUNT,
        queries=("now.visitors",),
    ),
    View(
        title="Clicks 点击量",
        text="Clicks on ads in the chosen window.",
        unit=COUNT,
        queries=("now.clicks",),
    ),
    View(
        title=f"Spend 投放花费 ({CURRENCY})",
        text=f"Advertising cost reported for the chosen window. {CURRENCY} only.",
        unit=MONEY,
        queries=("now.spend",),
    ),
    View(
        title="ROAS 广告支出回报率",
        text="Gross revenue divided by advertising spend. Above 1, revenue exceeds the spend.",
        unit=MULTIPLE,
        queries=("now.roas",),
    ),
)
"""Tiles of the scope ``all``; the chosen campaigns and channels do not filter them."""


def per(by: str, *, each: str) -> tuple[View, ...]:
    """Return the graphs with one line for each campaign or channel.

    Args:
        by: the label, ``campaign`` or ``channel``.
        each: "each campaign" or "each channel" in Chinese, for the titles.
    """
    return (
        View(
            title=f"Clicks by {by} {each}点击量",
            text=f"Clicks in the chosen window, one line for each {by} chosen above.",
            unit=COUNT,
            queries=(f"{by}.clicks",),
        ),
        View(
            title=f"Orders by {by} {each}订单数量",
            text=f"Orders in the chosen window, one line for each {by} chosen above.",
            unit=COUNT,
            queries=(f"{by}.orders",),
        ),
        View(
            title=f"Gross revenue by {by} {each}成交总额 ({CURRENCY})",
            text=f"Sum of order amounts, refunds not subtracted, by {by}. {CURRENCY} only.",
            unit=MONEY,
            queries=(f"{by}.revenue",),
        ),
        View(
            title=f"Conversion rate by {by} {each}转化率",
            text=(
                f"Orders per click, one line for each {by} chosen above. The shaded band is the 95%"
                f" confidence interval of the {by} with the most clicks: a wide band means too few"
                f" clicks for a precise value. Choose one {by} alone to see its band."
            ),
            unit="percentunit",
            queries=(f"{by}.conversion", f"{by}.lower", f"{by}.upper"),
        ),
    )


CAMPAIGNS_TITLE: Final = "Campaigns 活动一览"
CAMPAIGNS_TEXT: Final = (
    "One row for each campaign chosen above, with the newest values of the chosen window."
    f" An empty cell means that the KPI has no value yet. Money is {CURRENCY} only."
)
CAMPAIGNS_SORT: Final = "Gross revenue 成交总额"
KEYS: Final = {"campaign": "Campaign 活动", "channel": "Channel 渠道"}
"""Headings of the column that names the rows, by label."""
CAMPAIGN_NAMES: Final = {"name": "Name 名称", "phase": "Phase 阶段"}
"""Headings of what the query ``names.campaigns`` has beside the id of a campaign."""
CAMPAIGNS: Final = (
    Column(title="Clicks 点击量", unit=COUNT, query="campaign.clicks"),
    Column(title="Orders 订单数量", unit=COUNT, query="campaign.orders"),
    Column(title="Gross revenue 成交总额", unit=MONEY, query="campaign.revenue"),
    Column(title="Conversion rate 转化率", unit="percentunit", query="campaign.conversion"),
    Column(title="ROAS 广告支出回报率", unit=MULTIPLE, query="campaign.roas"),
)

MODELS_TITLE: Final = "Attribution 归因"
MODELS_TEXT: Final = (
    "Orders and return on ad spend by attribution model, side by side, in the chosen window. The"
    " spread is the disagreement of the models: 0 if they agree, 1 if they disagree completely."
)
_MODEL_TITLES: Final = {
    "first_touch": "first touch 首次触点",
    "last_touch": "last touch 末次触点",
    "linear": "linear 线性",
    "declared": "declared 自报",
}


def models(by: str) -> tuple[Column, ...]:
    """Return the columns that show the attribution models side by side.

    Args:
        by: the label of which each value is a row, ``campaign`` or ``channel``.
    """
    return (
        *(
            Column(title=f"Orders, {title}", unit=COUNT, query=f"{by}_models.orders_{model}")
            for model, title in _MODEL_TITLES.items()
        ),
        *(
            Column(title=f"ROAS, {title}", unit=MULTIPLE, query=f"{by}_models.roas_{model}")
            for model, title in _MODEL_TITLES.items()
        ),
        Column(title="Spread 分歧度", unit="percentunit", query=f"{by}_models.spread"),
    )


EFFECTS: Final = View(
    title="Changes and their effect 调整与效果",
    text=(
        "KPIs in periods of equal length before and after the last changes of campaigns, up to 24"
        " hours each. Starts and ends of campaigns are changes, too. Changes of which one of the"
        " periods was not observed completely are left out."
    ),
    unit="none",
    queries=("effects.before", "effects.after"),
)
EFFECT_COLUMNS: Final = {
    "change": "Moment 时间",
    "campaign": "Campaign 活动",
    "what": "Changed 调整项",
    "kpi": "KPI 指标",
    "Value #before": "Before 调整前",
    "Value #after": "After 调整后",
}

UNUSUAL_TITLE: Final = "What is usual 常态"
UNUSUAL: Final = (
    View(
        title="Evidence that values are unusual 异常程度",
        text="Rules of the kind anomaly: 1 or more is a reason to alert. The ten scopes nearest to"
        " an alert, of the rules chosen above. Empty without such a rule, and in its first 5 days.",
        unit="none",
        queries=("unusual.score",),
    ),
    View(
        title="Value in its band 当前值与常态范围",
        text="The scope that is nearest to an alert now, of the rules chosen above: its value, what"
        " was expected, and what is usual for one window, shaded. Several windows that are low"
        " together are unusual inside the band, too. Choose one rule to see its scope.",
        unit="short",
        queries=("unusual.value", "unusual.expected", "unusual.lower", "unusual.upper"),
    ),
)

ALERTS: Final = View(
    title="Open alerts 未关闭告警",
    text=(
        "Alerts that are pending (the rule is broken, but not for long enough yet) or firing. One"
        " that is held is not judged, because that source has been silent since that time. The"
        " variables above do not filter them. The table is also empty if the monitor is down."
    ),
    unit="none",
    queries=("alerts.open", "alerts.held"),
)
SCOPE_COLUMNS: Final = {
    "scope": "Scope 范围",
    "campaign": "Campaign 活动",
    "channel": "Channel 渠道",
    "region": "Region 地区",
    "segment": "Segment 人群",
}
"""Headings of the parts of a scope."""
HELD_SINCE: Final = "Held since 暂停自"
ALERT_COLUMNS: Final = {
    "severity": "Severity 级别",
    "rule": "Rule 规则",
    "state": "State 状态",
    "category": "Category 类别",
    **SCOPE_COLUMNS,
    "source": "Held by silence of 因静默暂停",
    "Value #held": HELD_SINCE,
}

ALIVE: Final = (
    View(
        title="Workers up 在线进程",
        text="Workers that answered the last scrape. Red: no value on this board is current.",
        unit="none",
        queries=("monitor.up",),
        steps=((None, "red"), (1, "green")),
    ),
    View(
        title="Firing alerts 触发中的告警",
        text="Number of alerts that are firing, data-health alerts included. See the table below.",
        unit="none",
        queries=("alerts.firing",),
        steps=_WANT_NONE,
    ),
    View(
        title="Lag 处理延迟",
        text="Age of the oldest record that is not read yet. Red: the values shown are old.",
        unit="s",
        queries=("monitor.lag",),
        steps=_steps(LAG_S),
    ),
    View(
        title="Frontier age 数据截止时间距今",
        text="Age of the event time up to which all windows are closed. Growing: none closes.",
        unit="s",
        queries=("monitor.frontier",),
        steps=_steps(FRONTIER_AGE_S),
    ),
)
"""Tiles that show whether the rest of the board is current; empty if no worker answers."""

HEALTH_TILES: Final = (
    View(
        title="Sources reporting of expected 数据源上报情况",
        text="Source partitions that report, and how many should. No window closes if some do not.",
        unit="none",
        queries=("monitor.reporting", "monitor.expected"),
    ),
    View(
        title="Series left out 未导出序列数",
        text="Series of the least important names that exceed KPI_LARGEST_SERIES_COUNT and are not"
        " exported.",
        unit="none",
        queries=("monitor.left_out",),
        steps=_WANT_NONE,
    ),
    View(
        title="Names in other 并入其他的名称数",
        text="Campaigns, channels, regions and segments that are summed up as other, because more"
        " than `largest` in the file of KPIs are larger. Many channels are mostly misspelt ones.",
        unit=COUNT,
        queries=("monitor.in_other",),
    ),
    View(
        title="Incomplete KPI values 不完整指标数",
        text="KPIs whose newest value, in one of the windows, lacks records or the events of a"
        " silent source. They are shown, but alert rules do not judge them.",
        unit="none",
        queries=("monitor.unsure",),
        steps=_WANT_NONE,
    ),
    View(
        title="Silent sources 静默数据源",
        text="Topics and partitions that have been silent for unusually long.",
        unit="none",
        queries=("monitor.silent",),
        steps=_WANT_NONE,
    ),
    View(
        title="Waiting sources 等待的数据源",
        text="Source partitions that wait for Redis, which stores the customers.",
        unit="none",
        queries=("monitor.waiting",),
        steps=_WANT_NONE,
    ),
    View(
        title="Incomplete panes 未完成窗格",
        text="10 s intervals of event time that have events and are not complete yet."
        " Growing: no window closes.",
        unit="none",
        queries=("monitor.panes",),
    ),
    View(
        title="Clock skew 时钟偏差",
        text="Largest difference between a worker's clock and the broker's. KPIs are not affected.",
        unit="s",
        queries=("monitor.skew",),
    ),
)

HEALTH_GRAPHS: Final = (
    View(
        title="Dead letters by reason 死信速率",
        text="Records per second that could not be counted, by reason.",
        unit="cps",
        queries=("monitor.dead",),
    ),
    View(
        title="Age of the watermark by source 各数据源水位线距今",
        text="Age of the event time up to which each source partition is complete.",
        unit="s",
        queries=("monitor.watermark",),
    ),
    View(
        title="Late events 迟到事件",
        text="Events of the last 5 minutes that arrived behind the watermark and still counted.",
        unit=COUNT,
        queries=("monitor.late",),
    ),
    View(
        title="Duplicates 重复事件速率",
        text="Events per second that were not counted because their id was counted before.",
        unit="cps",
        queries=("monitor.duplicates",),
    ),
    View(
        title="Events with unknown names 含未知名称的事件",
        text="Events of the last 5 minutes with a campaign that is not defined, or with a channel,"
        " region or segment that the file of names does not have. They count.",
        unit="short",
        queries=("monitor.unknown",),
    ),
    View(
        title="Names shown otherwise 改写的名称",
        text="Events of the last 5 minutes with a name that is an alias, is spelt in another way or"
        " is too long, and is shown as it is defined.",
        unit="short",
        queries=("monitor.renamed",),
    ),
    View(
        title="Events of guests 游客事件速率",
        text="Events per second without a user. They count, but as no user and no customer.",
        unit="cps",
        queries=("monitor.guests",),
    ),
    View(
        title="Rounded amounts 被舍入的金额",
        text="Events of the last 5 minutes whose amount or value had more than 4 decimals and was"
        " rounded, half to even. They count.",
        unit="short",
        queries=("monitor.rounded",),
    ),
    View(
        title="Orders with a touch 有触点订单占比",
        text="Share of the day's orders that a click of their customer led to. Next to none if"
        " clicks and orders know their users by different ids: all orders are then direct.",
        unit="percentunit",
        queries=("monitor.touched",),
    ),
    View(
        title="Full logs of customers 客户记录已满",
        text="Events of the last 5 minutes that the log of their customer did not take, because it"
        " is full. Further orders count where they say, and are not attributed.",
        unit="short",
        queries=("monitor.not_kept",),
    ),
    View(
        title="Costs of periods 按周期上报的费用",
        text="Costs that were reported for an hour, a day or a month and may be reported again, how"
        " often they were, and reports that came too late to count.",
        unit="short",
        queries=("monitor.costs", "monitor.costs_restated", "monitor.costs_expired"),
    ),
    View(
        title="Events per second 每秒事件数",
        text="Records read per second from each topic. Zero in working hours is a fault.",
        unit="cps",
        queries=("monitor.events",),
    ),
)

UNKNOWN_NAMES: Final = View(
    title="Unknown names 未知名称",
    text=(
        "The newest 20 names of each kind that nobody defined. Define the campaign, or add the name"
        " to the file of names, as a name or an alias."
    ),
    unit="none",
    queries=("names.unknown",),
)
UNKNOWN_COLUMNS: Final = {"kind": "Kind 类别", "name": "Name 名称"}
