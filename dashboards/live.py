"""Builds the 'Live' Grafana dashboard: campaign KPIs as they are now.

This module lays out the panels in Grafana's classic JSON model. The PromQL is in `queries`, the
titles and descriptions are in `views`.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from grafana_foundation_sdk.builders import common as widgets
from grafana_foundation_sdk.builders import dashboard as boards
from grafana_foundation_sdk.builders import prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as choices
from grafana_foundation_sdk.models import dashboard as models

from dashboards import model, tables, variables, views
from dashboards.queries import QUERIES

_SOURCE: Final = variables.SOURCE
_TILES_A_ROW: Final = 6


def build() -> models.Dashboard:
    """Return the live dashboard; every call returns an equal one."""
    board = (
        boards.Dashboard("Campaign KPIs, live")
        .uid("kpi-live")
        .description("Current KPIs of the campaigns, and whether their data are complete.")
        .tags(["kpi", "live"])
        .timezone("browser")
        .time("now-1h", "now")
        .refresh("30s")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .variables(
            [
                variables.datasource(),
                variables.window(),
                variables.currency(),
                variables.label("campaign", title="Campaign 活动"),
                variables.label("channel", title="Channel 渠道"),
                variables.rule(),
            ]
        )
    )
    for title, panels in _sections():
        board.with_row(boards.Row(title))
        for panel in panels:
            board.with_panel(panel)
    return model.numbered(board.build())


def _sections() -> Iterator[tuple[str, Iterable[Builder[models.Panel]]]]:
    yield "Alive 监控状态", _tiles(views.ALIVE)
    yield "Now 当前", _tiles(views.NOW)
    yield "By campaign 按活动", map(_graph, views.per("campaign", each="各活动"))
    yield "By channel 按渠道", map(_graph, views.per("channel", each="各渠道"))
    yield views.CAMPAIGNS_TITLE, [_campaigns()]
    yield views.MODELS_TITLE, [_models(by) for by in views.KEYS]
    yield views.EFFECTS.title, [_effects()]
    yield "Alerts 告警", [_alerts()]
    yield views.UNUSUAL_TITLE, map(_graph, views.UNUSUAL)
    yield (
        "Data completeness 数据完整性",
        [*_tiles(views.HEALTH_TILES), *map(_graph, views.HEALTH_GRAPHS), _unknown_names()],
    )


def _target(name: str) -> prometheus.Dataquery:
    query = QUERIES[name]
    return (
        prometheus.Dataquery()
        .ref_id(_ref(name))
        .datasource(_SOURCE)
        .expr(query.expr)
        .legend_format(query.legend)
    )


def _ref(name: str) -> str:
    return name.partition(".")[2]


def _row_target(name: str) -> prometheus.Dataquery:
    return tables.target(QUERIES[name], ref=_ref(name))


def _tiles(shown: Sequence[views.View]) -> Iterator[stat.Panel]:
    """Yield tiles in rows of at most six, spread evenly over the rows and over the 24 columns.

    Example: 8 tiles are two rows of 4 tiles, each 6 columns wide.
    """
    rows = -(-len(shown) // _TILES_A_ROW)
    for row in range(rows):
        beside = shown[row * len(shown) // rows : (row + 1) * len(shown) // rows]
        for view in beside:
            yield _tile(view).span(model.COLUMNS // len(beside))


def _tile(view: views.View) -> stat.Panel:
    steps = [models.Threshold(value=value, color=color) for value, color in view.steps]
    panel = (
        stat.Panel()
        .title(view.title)
        .description(view.text)
        .datasource(_SOURCE)
        .unit(view.unit)
        .height(4)
        .no_value(views.NO_ANSWER)
        .thresholds(boards.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps))
        .graph_mode(choices.BigValueGraphMode.NONE)
        .reduce_options(widgets.ReduceDataOptions().calcs(["last"]))
    )
    # An instant query: a range would keep its last value on the tile after the monitor died.
    return panel.targets([_target(name).instant() for name in view.queries])


def _graph(view: views.View) -> timeseries.Panel:
    legend = widgets.VizLegendOptions().show_legend(True)
    panel = (
        timeseries.Panel()
        .title(view.title)
        .description(view.text)
        .datasource(_SOURCE)
        .unit(view.unit)
        .height(8)
        .span(12)
        .min(0)
        .color_scheme(boards.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC))
        .legend(legend.display_mode(choices.LegendDisplayMode.LIST))
        .tooltip(widgets.VizTooltipOptions().mode(choices.TooltipDisplayMode.MULTI))
        .targets([_target(name).range() for name in view.queries])
    )
    for name in view.queries:
        if _ref(name) in ("lower", "upper"):
            panel.override_by_query(_ref(name), _band(name))
    return panel


def _band(name: str) -> list[models.DynamicConfigValue]:
    edge = tables.properties(
        {"custom.lineWidth": 0, "color": {"mode": "fixed", "fixedColor": "gray"}}
    )
    if _ref(name) == "lower":
        return edge
    lower = QUERIES[name.replace("upper", "lower")].legend
    return edge + tables.properties({"custom.fillBelowTo": lower, "custom.fillOpacity": 20})


def _campaigns() -> table.Panel:
    panel = tables.panel(
        views.CAMPAIGNS_TITLE, text=views.CAMPAIGNS_TEXT, sort=views.CAMPAIGNS_SORT, desc=True
    )
    shown = _columns(views.CAMPAIGNS)
    keys = {"campaign": views.KEYS["campaign"]} | views.CAMPAIGN_NAMES
    return tables.joined(panel, keys=keys, values=shown, named_by=QUERIES["names.campaigns"])


def _models(by: str) -> table.Panel:
    title = f"{views.MODELS_TITLE}: {views.KEYS[by]}"
    columns = views.models(by)
    panel = tables.panel(title, text=views.MODELS_TEXT, sort=columns[0].title, desc=True)
    return _rows(panel, by=by, columns=columns)


def _rows(panel: table.Panel, *, by: str, columns: Sequence[views.Column]) -> table.Panel:
    return tables.joined(panel, keys={by: views.KEYS[by]}, values=_columns(columns))


def _columns(columns: Sequence[views.Column]) -> list[tables.QueryColumn]:
    return [
        tables.QueryColumn(
            title=column.title,
            unit=column.unit,
            query=QUERIES[column.query],
            ref=_ref(column.query),
        )
        for column in columns
    ]


def _effects() -> table.Panel:
    panel = tables.panel(
        views.EFFECTS.title, text=views.EFFECTS.text, sort="Moment 时间", desc=True
    )
    panel.targets([_row_target(name) for name in views.EFFECTS.queries])
    panel.no_value("No changes 无调整").unit(views.EFFECTS.unit)
    panel.with_transformation(tables.MERGED)
    return panel.with_transformation(tables.columns(views.EFFECT_COLUMNS, hidden=("Time",)))


def _alerts() -> table.Panel:
    panel = tables.panel(
        views.ALERTS.title, text=views.ALERTS.text, sort="Severity 级别", desc=False
    )
    panel.targets([_row_target(name) for name in views.ALERTS.queries])
    panel.no_value("No open alerts 无未关闭告警").unit(views.ALERTS.unit)
    panel.with_transformation(tables.MERGED)
    panel.override_by_name(views.HELD_SINCE, tables.properties({"unit": "dateTimeAsIso"}))
    hidden = ("Time", "Value #open")
    return panel.with_transformation(tables.columns(views.ALERT_COLUMNS, hidden=hidden))


def _unknown_names() -> table.Panel:
    view = views.UNKNOWN_NAMES
    panel = tables.panel(view.title, text=view.text, sort=views.UNKNOWN_COLUMNS["kind"], desc=False)
    panel.targets([_row_target(name) for name in view.queries])
    panel.no_value("No unknown names 无未知名称").unit(view.unit)
    hidden = ("Time", "Value", *(f"Value #{_ref(name)}" for name in view.queries))
    return panel.with_transformation(tables.columns(views.UNKNOWN_COLUMNS, hidden=hidden))
