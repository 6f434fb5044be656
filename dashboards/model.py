"""A dashboard in Grafana's classic JSON model: what the SDK leaves to do, written and read back."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

COLUMNS: Final = 24
"""A row of a dashboard is so wide."""

OLDEST_GRAFANA: Final = "9.4.0"
"""The oldest version that loads the boards. Panels say it: without a version Grafana takes them
for those of version 6, and changes them as it did when it left that."""


def numbered(dashboard: models.Dashboard) -> models.Dashboard:
    """Give every panel and every variable an id of its own, and every panel its version."""
    for number, panel in enumerate(dashboard.panels or (), start=1):
        panel.id_val = number  # the SDK leaves panels without one and gives every row 0
        if isinstance(panel, models.Panel):
            panel.plugin_version = OLDEST_GRAFANA
    for variable in dashboard.templating.list_val or ():
        # The SDK gives all the same, and Grafana 9 then keeps only the last of them.
        variable.id_val = variable.name
    return dashboard


def to_json(dashboard: models.Dashboard) -> str:
    """Return the dashboard as JSON that stays the same while the dashboard does."""
    encoder = JSONEncoder(sort_keys=True, indent=2, ensure_ascii=False)
    return encoder.encode(dashboard) + "\n"


def panels_of(dashboard_json: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the panels and rows of a dashboard, those inside of rows too."""
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
