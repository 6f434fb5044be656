"""Builds table panels: a row for each series, with its newest values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from grafana_foundation_sdk.builders import common as widgets
from grafana_foundation_sdk.builders import prometheus, table
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dashboards import variables
from dashboards.queries import Query

_NAMES: Final = "names"
"""The refId of the query whose labels name the rows of a table."""
MERGED: Final = models.DataTransformerConfig(id_val="merge", options={})
"""Transformation that joins rows of several queries which have the same labels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryColumn:
    """A column of values: its heading, Grafana unit, query and refId."""

    title: str
    unit: str
    query: Query
    ref: str


def panel(title: str, *, text: str, sort: str, desc: bool) -> table.Panel:
    """Return a table of the board's whole width, without queries.

    Args:
        title: of the panel.
        text: description of the panel.
        sort: heading of the column to sort by.
        desc: whether the largest value comes first.
    """
    order = widgets.TableSortByFieldState().display_name(sort).desc(desc)
    made = table.Panel().title(title).description(text).datasource(variables.SOURCE)
    return made.height(8).span(24).sort_by([order])


def target(query: Query, *, ref: str) -> prometheus.Dataquery:
    """Return an instant query in table format.

    Args:
        query: its series become rows.
        ref: its refId.
    """
    made = prometheus.Dataquery().ref_id(ref).datasource(variables.SOURCE).expr(query.expr)
    return made.legend_format(query.legend).instant().format(PromQueryFormat.TABLE)


def columns(names: Mapping[str, str], *, hidden: tuple[str, ...]) -> models.DataTransformerConfig:
    """Return the transformation that orders, renames and hides columns.

    Args:
        names: headings by the names of labels and values, in the order of the columns.
        hidden: names of the columns that are not shown.
    """
    settings = {
        "excludeByName": dict.fromkeys(hidden, True),
        "indexByName": {name: place for place, name in enumerate(names)},
        "renameByName": dict(names),
    }
    return models.DataTransformerConfig(id_val="organize", options=settings)


def joined(
    made: table.Panel,
    *,
    keys: Mapping[str, str],
    values: Sequence[QueryColumn],
    named_by: Query | None = None,
) -> table.Panel:
    """Add queries to a table, joined by their labels: one row for each set of labels.

    Args:
        made: a table from `panel`.
        keys: headings of the labels that name a row.
        values: the columns of values.
        named_by: a query whose labels name the rows, besides; its value is not shown.
    """
    names = dict(keys) | {f"Value #{one.ref}": one.title for one in values}
    targets = [target(one.query, ref=one.ref) for one in values]
    if named_by is not None:
        targets.append(target(named_by, ref=_NAMES))
    made.targets([*targets])
    made.with_transformation(MERGED)
    for one in values:
        made.override_by_name(one.title, properties({"unit": one.unit}))
    hidden = ("Time",) if named_by is None else ("Time", f"Value #{_NAMES}")
    return made.with_transformation(columns(names, hidden=hidden))


def properties(values: Mapping[str, object]) -> list[models.DynamicConfigValue]:
    """Return properties, by name, in the form in which they override those of a field."""
    return [models.DynamicConfigValue(id_val=name, value=value) for name, value in values.items()]
