"""Tables of the boards: the newest value of several queries side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from grafana_foundation_sdk.builders import common as widgets
from grafana_foundation_sdk.builders import prometheus, table
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dashboards.queries import Query
from dashboards.variables import SOURCE


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryColumn:
    """A column of values: its heading, its unit, its query and the query's refId."""

    title: str
    unit: str
    query: Query
    ref: str


MERGED: Final = models.DataTransformerConfig(id_val="merge", options={})
"""Puts rows of several queries that have the same labels into one."""


def titled(title: str, *, text: str, sort: str, desc: bool) -> table.Panel:
    """Return an empty table, sorted by the column with a heading."""
    order = widgets.TableSortByFieldState().display_name(sort).desc(desc)
    panel = table.Panel().title(title).description(text).datasource(SOURCE)
    return panel.height(8).span(24).sort_by([order])


def joined(
    panel: table.Panel, *, keys: Mapping[str, str], columns: Sequence[QueryColumn]
) -> table.Panel:
    """Return a table with a row for what the queries have in common.

    Args:
        panel: as `titled` returns it.
        keys: the headings of the labels that name a row.
        columns: the values beside them.
    """
    names = dict(keys) | {f"Value #{column.ref}": column.title for column in columns}
    panel.targets([instant(column.query, ref=column.ref) for column in columns])
    panel.with_transformation(MERGED)
    for column in columns:
        panel.override_by_name(column.title, properties({"unit": column.unit}))
    return panel.with_transformation(organized(names, hidden=("Time",)))


def instant(query: Query, *, ref: str) -> prometheus.Dataquery:
    """Return what asks for the newest values of a query, as rows."""
    return (
        prometheus.Dataquery()
        .ref_id(ref)
        .datasource(SOURCE)
        .expr(query.expr)
        .legend_format(query.legend)
        .instant()
        .format(PromQueryFormat.TABLE)
    )


def organized(names: Mapping[str, str], *, hidden: tuple[str, ...]) -> models.DataTransformerConfig:
    """Return what puts columns in the order of their names, and gives them their headings."""
    settings = {
        "excludeByName": dict.fromkeys(hidden, True),
        "indexByName": {name: place for place, name in enumerate(names)},
        "renameByName": dict(names),
    }
    return models.DataTransformerConfig(id_val="organize", options=settings)


def properties(values: Mapping[str, object]) -> list[models.DynamicConfigValue]:
    """Return what overrides the settings of a field."""
    return [models.DynamicConfigValue(id_val=name, value=value) for name, value in values.items()]
