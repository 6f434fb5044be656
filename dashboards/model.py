"""Grafana's classic JSON model: ids that the SDK does not set, writing, and reading back."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

COLUMNS: Final = 24
"""Width of a dashboard, in grid columns."""

OLDEST_GRAFANA: Final = "9.4.0"
"""The oldest version that loads the boards, written into each panel as its ``pluginVersion``.
Without it Grafana takes the panel for one of version 6 and migrates it."""


def numbered(dashboard: models.Dashboard) -> models.Dashboard:
    """Set a unique id on every panel and variable, and the version on every panel.

    The dashboard is changed in place and returned.
    """
    for number, panel in enumerate(dashboard.panels or (), start=1):
        panel.id_val = number  # the SDK leaves panels without one and gives every row 0
        if isinstance(panel, models.Panel):
            panel.plugin_version = OLDEST_GRAFANA
    for variable in dashboard.templating.list_val or ():
        # The SDK gives all variables the same id; Grafana 9 then keeps only the last of them.
        variable.id_val = variable.name
    return dashboard


def to_json(dashboard: models.Dashboard) -> str:
    """Return the dashboard as JSON; equal dashboards have equal text."""
    encoder = JSONEncoder(sort_keys=True, indent=2, ensure_ascii=False)
    return encoder.encode(dashboard) + "\n"


def panels_of(dashboard_json: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield all panels and rows of a dashboard, including panels inside rows."""
    for panel in dashboard_json.get("panels", ()):
        yield panel
        yield from panels_of(panel)


def queries_of(dashboard_json: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return each panel's title with each of its queries, in the order shown.

    Args:
        dashboard_json: as `to_json` writes it.
    """
    return [
        (panel["title"], target["expr"])
        for panel in panels_of(dashboard_json)
        for target in panel.get("targets", ())
    ]
