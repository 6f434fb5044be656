"""Builds the 'KPIs' Grafana dashboard: every KPI of the catalogue, scorecards, funnel and peers.

The panels follow from the KPIs' definitions: a row for each objective, and in it a graph for each
KPI with its interval. Variables choose the kind of scope, the window and the campaigns.
"""

from collections.abc import Sequence
from typing import Final

from grafana_foundation_sdk.builders import common as widgets
from grafana_foundation_sdk.builders import dashboard as boards
from grafana_foundation_sdk.builders import prometheus, table, timeseries
from grafana_foundation_sdk.models import common as choices
from grafana_foundation_sdk.models import dashboard as models

from dashboards import model, queries, tables, variables, views
from dashboards.queries import CURRENCY, Query
from models.kpi.catalogue import CATALOGUE
from models.kpi.definition import Kpi, ShownUnit
from models.window import COMPARED

_UNITS: Final[dict[ShownUnit, str]] = {
    "count": views.COUNT,
    "users": views.COUNT,
    "ratio": "percentunit",
    "multiple": views.MULTIPLE,
    "money": views.MONEY,
    "seconds": "s",
    "score": "none",
}
_NOT_EXPORTED: Final = "No data, or not exported (export in the file of KPIs) 无数据或未导出"
_CHANGES: Final = "Changes 环比 同比"
_OBJECTIVES: Final = {
    "reach": "Reach 触达",
    "engagement": "Engagement 互动",
    "experience": "Experience 体验",
    "acquisition": "Acquisition 获客",
    "sales": "Sales 销售",
    "efficiency": "Efficiency 投放效率",
    "retention": "Retention 留存",
    "attribution": "Attribution 归因",
    "satisfaction": "Satisfaction 满意度",
    "brand": "Brand 品牌",
    "supply": "Supply 供应",
}


def build() -> models.Dashboard:
    """Return the dashboard; every call returns an equal one."""
    board = (
        boards.Dashboard("Campaign KPIs, all")
        .uid("kpi-catalogue")
        .description(
            "Every KPI by objective; scorecards, losses of the funnel, outliers, comparisons."
        )
        .tags(["kpi", "catalogue"])
        .timezone("browser")
        .time("now-6h", "now")
        .refresh("1m")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .variables(
            [
                variables.datasource(),
                variables.window(),
                variables.currency(),
                variables.scope(),
                variables.label("campaign", title="Campaign 活动"),
            ]
        )
    )
    board.with_row(boards.Row("Scorecards 记分卡"))
    for title, name, unit, text in (
        (
            "Points 得分",
            "points",
            "none",
            "Points of each scorecard: 60 at the base value, 100 at the stretch value.",
        ),
        (
            "Dimensions 维度得分",
            "dimensions",
            "none",
            "Points of each dimension of each scorecard.",
        ),
        (
            "Attainment of base 保底达成率",
            "attainment",
            "percentunit",
            "Attainment of the base value: 100% if it is reached exactly.",
        ),
        (
            "Coverage 数据覆盖",
            "coverage",
            "percentunit",
            "Share of the scorecard's weight whose indicators count.",
        ),
    ):
        board.with_panel(_graph(title, text, unit, [queries.SCORECARDS[name]]))
    board.with_row(boards.Row("Funnel 转化漏斗"))
    text = "Orders lost at each step in the last hour beyond the usual loss of the last 7 days."
    board.with_panel(_graph("Excess loss 超额流失", text, "short", [queries.FUNNEL]))
    board.with_row(boards.Row("Peers 同类对比"))
    board.with_panel(_outliers())
    board.with_row(boards.Row(_CHANGES))
    board.with_panel(_changes())
    for objective, title in _OBJECTIVES.items():
        kpis = [kpi for kpi in CATALOGUE.values() if kpi.objective == objective]
        board.with_row(boards.Row(title))
        for kpi in kpis:
            board.with_panel(_of_kpi(kpi))
        if objective == "efficiency":
            board.with_panel(_exhausted())
    return model.numbered(board.build())


def _of_kpi(kpi: Kpi) -> timeseries.Panel:
    shown = [queries.of_kpi(kpi)]
    if kpi.interval != "none":
        shown += [queries.bound_of_kpi(kpi, side) for side in ("lower", "upper")]
    if not kpi.additive:
        shown.append(queries.benchmark_of_kpi(kpi))
    text = f"{kpi.help}. Formula: {kpi.formula}"
    title = f"{kpi.title_en} {kpi.title_zh}"
    if kpi.unit == "money":
        title += f" ({CURRENCY})"
    return _graph(title, text, _UNITS[kpi.shown_unit], shown)


def _changes() -> table.Panel:
    text = (
        "KPIs at the newest whole quarter of an hour, compared with the period of equal length"
        " before (上期) and the same period last week (同期), in the windows"
        f" {', '.join(COMPARED['previous'])}, for all, channels and campaigns. A cell is empty if"
        f" that period was not observed completely. Money is {CURRENCY}."
    )
    keys = {"kpi": "KPI 指标", "campaign": "Campaign 活动", "channel": "Channel 渠道"}
    columns = [
        tables.QueryColumn(title=title, unit=unit, query=queries.COMPARISONS[name], ref=name)
        for name, title, unit in (
            ("now", "Now 当前", "short"),
            ("previous", "Previous 上期", "short"),
            ("previous_change", "Change 环比", "percentunit"),
            ("last_week", "Last week 同期", "short"),
            ("last_week_change", "Change 同比", "percentunit"),
        )
    ]
    panel = tables.panel(_CHANGES, text=text, sort="KPI 指标", desc=False)
    return tables.joined(panel, keys=keys, values=columns).no_value("Nothing compared 无可比数据")


def _outliers() -> table.Panel:
    text = (
        "Channels, campaigns and regions whose KPI is far from the median of their peers, by the"
        " modified z-score; below 0 the value is below the median. The variables above do not"
        " filter them."
    )
    names = {
        "kpi": "KPI 指标",
        **views.SCOPE_COLUMNS,
        "window": "Window 时间窗口",
        "Value": "z",
    }
    panel = tables.panel("Peers: outliers 同类对比：离群值", text=text, sort="z", desc=True)
    panel.targets([tables.target(queries.PEERS, ref="A")]).unit("none").decimals(1)
    panel.no_value("No outliers 无离群值")
    return panel.with_transformation(tables.columns(names, hidden=("Time",)))


def _exhausted() -> timeseries.Panel:
    text = "When the campaign will have spent its budget at its average pace since its start."
    return _graph("Budget exhausted 预算耗尽时间", text, "dateTimeAsIso", [queries.EXHAUSTED])


def _graph(title: str, text: str, unit: str, shown: Sequence[Query]) -> timeseries.Panel:
    legend = widgets.VizLegendOptions().show_legend(True)
    return (
        timeseries.Panel()
        .title(title)
        .description(text)
        .datasource(variables.SOURCE)
        .unit(unit)
        .height(7)
        .span(8)
        .no_value(_NOT_EXPORTED)
        .legend(legend.display_mode(choices.LegendDisplayMode.LIST))
        .tooltip(widgets.VizTooltipOptions().mode(choices.TooltipDisplayMode.MULTI))
        .targets(
            [
                prometheus.Dataquery()
                .expr(query.expr)
                .legend_format(query.legend)
                .ref_id(chr(ord("A") + place))
                .range()
                for place, query in enumerate(shown)
            ]
        )
    )
