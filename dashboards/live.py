"""The 'Live' Grafana dashboard: campaign KPIs as they are now.

`build` makes the dashboard in Grafana's classic JSON model, `to_json` writes it and
`queries_of` reads its queries back. The PromQL is in `queries`, the words in `views`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from grafana_foundation_sdk.builders import common as widgets
from grafana_foundation_sdk.builders import dashboard as boards
from grafana_foundation_sdk.builders import prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as choices
from grafana_foundation_sdk.models import dashboard as models

from dashboards import tables, variables, views
from dashboards.queries import QUERIES

_SOURCE: Final = variables.SOURCE


def build() -> models.Dashboard:
    """Return the live dashboard, the same one each time."""
    board = (
        boards.Dashboard("Campaign KPIs, live")
        .uid("kpi-live")
        .description("What the campaigns are doing now, and how far the figures can be trusted.")
        .tags(["kpi", "live"])
        .timezone("browser")
        .time("now-1h", "now")
        .refresh("30s")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .variables(
            [
                variables.datasource(),
                variables.window(),
                variables.label("campaign", title="Campaign 活动"),
                variables.label("channel", title="Channel 渠道"),
            ]
        )
    )
    for title, panels in _sections():
        board.with_row(boards.Row(title))
        for panel in panels:
            board.with_panel(panel)
    built = board.build()
    for number, item in enumerate(built.panels or (), start=1):
        item.id_val = number  # the SDK leaves panels without one and gives every row 0
    return built


def to_json(dashboard: models.Dashboard) -> str:
    """Return the dashboard as JSON that stays the same while the dashboard does."""
    encoder = JSONEncoder(sort_keys=True, indent=2, ensure_ascii=False)
    return encoder.encode(dashboard) + "\n"


def queries_of(dashboard_json: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return each panel's title with each of its queries, in the order shown.

    Args:
        dashboard_json: A dashboard in the classic model, as `to_json` writes it.
    """
    return [
        (panel["title"], target["expr"])
        for panel in _panels_of(dashboard_json)
        for target in panel.get("targets", ())
    ]


def _panels_of(holder: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for panel in holder.get("panels", ()):
        yield panel
        yield from _panels_of(panel)


def _sections() -> Iterator[tuple[str, Iterable[Builder[models.Panel]]]]:
    yield "Now 当前", map(_tile, views.NOW)
    yield "By campaign 按活动", map(_graph, views.per("campaign", each="各活动"))
    yield "By channel 按渠道", map(_graph, views.per("channel", each="各渠道"))
    yield views.CAMPAIGNS_TITLE, [_campaigns()]
    yield views.MODELS_TITLE, [_models(by) for by in views.KEYS]
    yield views.EFFECTS.title, [_effects()]
    yield "Alerts 告警", [_alerts()]
    yield (
        "Data completeness 数据完整性",
        [*map(_tile, views.HEALTH_TILES), *map(_graph, views.HEALTH_GRAPHS)],
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


def _tile(view: views.View) -> stat.Panel:
    steps = [models.Threshold(value=value, color=color) for value, color in view.steps]
    panel = (
        stat.Panel()
        .title(view.title)
        .description(view.text)
        .datasource(_SOURCE)
        .unit(view.unit)
        .height(4)
        .span(6)
        .thresholds(boards.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps))
        .graph_mode(choices.BigValueGraphMode.AREA)
        .reduce_options(widgets.ReduceDataOptions().calcs(["lastNotNull"]))
    )
    return panel.targets([_target(name).range() for name in view.queries])


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
    return _rows(panel, by="campaign", columns=views.CAMPAIGNS)


def _models(by: str) -> table.Panel:
    title = f"{views.MODELS_TITLE}: {views.KEYS[by]}"
    columns = views.models(by)
    panel = tables.panel(title, text=views.MODELS_TEXT, sort=columns[0].title, desc=True)
    return _rows(panel, by=by, columns=columns)


def _rows(panel: table.Panel, *, by: str, columns: Sequence[views.Column]) -> table.Panel:
    shown = [
        tables.QueryColumn(
            title=column.title,
            unit=column.unit,
            query=QUERIES[column.query],
            ref=_ref(column.query),
        )
        for column in columns
    ]
    return tables.joined(panel, keys={by: views.KEYS[by]}, values=shown)


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
    hidden = ("Time", "Value", *(f"Value #{_ref(name)}" for name in views.ALERTS.queries))
    return panel.with_transformation(tables.columns(views.ALERT_COLUMNS, hidden=hidden))
