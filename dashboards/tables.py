"""Tables of the boards: a row for each series of the newest values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from grafana_foundation_sdk.builders import common as widgets
from grafana_foundation_sdk.builders import prometheus, table
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dashboards import variables
from dashboards.queries import Query

MERGED: Final = models.DataTransformerConfig(id_val="merge", options={})
"""Puts rows of several queries that have the same labels into one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryColumn:
    """A column of values: its heading, its unit, its query and what Grafana calls that."""

    title: str
    unit: str
    query: Query
    ref: str


def panel(title: str, *, text: str, sort: str, desc: bool) -> table.Panel:
    """Return a table of the board's whole width, without queries.

    Args:
        title: of the panel.
        text: its description.
        sort: the heading of the column that it is sorted by.
        desc: whether the largest comes first.
    """
    order = widgets.TableSortByFieldState().display_name(sort).desc(desc)
    made = table.Panel().title(title).description(text).datasource(variables.SOURCE)
    return made.height(8).span(24).sort_by([order])


def target(query: Query, *, ref: str) -> prometheus.Dataquery:
    """Return a query for rows.

    Args:
        query: its series become rows.
        ref: what Grafana calls it.
    """
    made = prometheus.Dataquery().ref_id(ref).datasource(variables.SOURCE).expr(query.expr)
    return made.legend_format(query.legend).instant().format(PromQueryFormat.TABLE)


def columns(names: Mapping[str, str], *, hidden: tuple[str, ...]) -> models.DataTransformerConfig:
    """Return how the columns are ordered and called.

    Args:
        names: of labels and values, in their order, with their headings.
        hidden: what is not shown.
    """
    settings = {
        "excludeByName": dict.fromkeys(hidden, True),
        "indexByName": {name: place for place, name in enumerate(names)},
        "renameByName": dict(names),
    }
    return models.DataTransformerConfig(id_val="organize", options=settings)


def joined(
    made: table.Panel, *, keys: Mapping[str, str], values: Sequence[QueryColumn]
) -> table.Panel:
    """Return a table with a row for what several queries have in common.

    Args:
        made: as `panel` returns it.
        keys: the labels that name a row, with their headings.
        values: what stands beside them.
    """
    names = dict(keys) | {f"Value #{one.ref}": one.title for one in values}
    made.targets([target(one.query, ref=one.ref) for one in values])
    made.with_transformation(MERGED)
    for one in values:
        made.override_by_name(one.title, properties({"unit": one.unit}))
    return made.with_transformation(columns(names, hidden=("Time",)))


def properties(values: Mapping[str, object]) -> list[models.DynamicConfigValue]:
    """Return what overrides the settings of a field."""
    return [models.DynamicConfigValue(id_val=name, value=value) for name, value in values.items()]
