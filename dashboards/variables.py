"""The variables of the boards: the choices at their top."""

from collections.abc import Sequence
from typing import Final

from grafana_foundation_sdk.builders import dashboard as boards
from grafana_foundation_sdk.models import dashboard as models

from dashboards.queries import CURRENCIES, CURRENCY_OF, DEFAULT_WINDOW, EVERY_VALUE
from models.scope import SCOPE_KINDS
from models.window import SHOWN_WINDOWS

SOURCE: Final = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
"""The data source of all queries: the chosen Prometheus."""


def datasource() -> boards.DatasourceVariable:
    """Return the choice of a Prometheus."""
    return boards.DatasourceVariable("datasource").label("Data source 数据源").type("prometheus")


def window() -> boards.CustomVariable:
    """Return the choice of a window."""
    return _choice("window", "Window 时间窗口", SHOWN_WINDOWS, chosen=DEFAULT_WINDOW)


def scope() -> boards.CustomVariable:
    """Return the choice of a kind of scope."""
    return _choice("scope", "Scope 范围", SCOPE_KINDS, chosen="all")


def currency() -> boards.QueryVariable:
    """Return the reporting currency of the monitor, as it exports it."""
    return (
        boards.QueryVariable("currency")
        .label("Currency 货币")
        .datasource(SOURCE)
        .query({"query": CURRENCIES, "refId": "variable-currency"})
        .regex(CURRENCY_OF)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
    )


def label(name: str, *, title: str) -> boards.QueryVariable:
    """Return the choice of one or more values of a label, or of all.

    Args:
        name: of the label, and of the scope that has it, such as ``campaign``.
        title: shown beside the choice.
    """
    query = f'label_values(kpi_clicks_count{{scope="{name}"}}, {name})'
    return _of_label(name, title=title, query=query)


def rule() -> boards.QueryVariable:
    """Return the choice of rules that learn what is usual, or of all of them."""
    query = "label_values(kpi_monitor_unusual_score, rule)"
    return _of_label("rule", title="Rule 规则", query=query)


def _of_label(name: str, *, title: str, query: str) -> boards.QueryVariable:
    return (
        boards.QueryVariable(name)
        .label(title)
        .datasource(SOURCE)
        .query({"query": query, "refId": f"variable-{name}"})
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(EVERY_VALUE)
        .current(models.VariableOption(selected=True, text=["All"], value=["$__all"]))
    )


def _choice(name: str, title: str, values: Sequence[str], *, chosen: str) -> boards.CustomVariable:
    def option(value: str) -> models.VariableOption:
        return models.VariableOption(selected=value == chosen, text=value, value=value)

    return (
        boards.CustomVariable(name)
        .label(title)
        .values(",".join(values))
        .options([option(value) for value in values])
        .current(option(chosen))
    )
