"""Links of an alert: to its card on the page, to the board, and to what is to be done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlencode

from models.alerts import Alert

BOARD: Final = "kpi-live"
"""Id of the board with everything, campaigns and channels."""
ALL_KPIS_BOARD: Final = "kpi-catalogue"
"""Id of the board with every KPI of a chosen kind of scope."""
_CHOICES: Final = {
    BOARD: ("window", "campaign", "channel"),
    ALL_KPIS_BOARD: ("scope", "window", "campaign"),
}
"""The variables of each board that an alert chooses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """Where people reach the parts of the monitor. What is None has no links.

    Args:
        page: URL of the live page.
        boards: URL of Grafana.
        runbooks: URL of the page with a heading for each data-health alert.
    """

    page: str | None = None
    boards: str | None = None
    runbooks: str | None = None

    def page_of(self, alert: Alert) -> str:
        """Return the URL of an alert's card on the page; an empty string without a page."""
        return "" if self.page is None else f"{_folder(self.page)}#alert={quote(alert.id, safe='')}"

    def board_of(self, alert: Alert) -> str:
        """Return the URL of the board that shows the scope of an alert, with its window and names.

        Regions and segments are on the board of all KPIs, which chooses kinds of scope.

        Example: ``https://grafana.example/d/kpi-live?var-window=5m&var-campaign=618-main``.
        """
        if self.boards is None:
            return ""
        board = ALL_KPIS_BOARD if alert.scope.region or alert.scope.segment else BOARD
        known = {"scope": alert.scope.kind, "window": alert.window, **alert.scope.labels}
        query = urlencode([(f"var-{name}", known[name]) for name in _CHOICES[board] if known[name]])
        return f"{_folder(self.boards)}d/{board}" + (f"?{query}" if query else "")

    def runbook_of(self, alert: Alert) -> str:
        """Return the URL of what is to be done about an alert; an empty string if there is none.

        It is that of the rule, or the heading of a data-health alert in the monitor's runbooks.
        """
        if alert.runbook or alert.category == "kpi" or self.runbooks is None:
            return alert.runbook
        return f"{self.runbooks}#{alert.rule}"


def _folder(url: str) -> str:
    return url.rstrip("/") + "/"
