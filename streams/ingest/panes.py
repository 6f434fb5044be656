"""Folds events into the cells of their panes, between two reports."""

from __future__ import annotations

from collections.abc import Callable

from models import measures
from models.distinct import Distinct
from models.events import (
    Click,
    Event,
    Impression,
    Lead,
    Measurement,
    OrderPlaced,
    OrderRefunded,
    Registration,
    SpendReported,
    Survey,
    Visit,
)
from models.measures import CellWire
from models.scopes import NO_CHANNEL
from models.windows import PANE_MS


class FoldingCell:
    """A cell that is being folded: sums, and the hashes of its users."""

    __slots__ = ("buyers", "sums", "visitors")

    def __init__(self) -> None:
        self.sums = [0] * measures.WIDTH
        self.visitors: set[int] = set()
        self.buyers: set[int] = set()

    def to_wire(self) -> CellWire:
        """Return the cell as it travels."""
        return self.sums, _distinct(self.visitors), _distinct(self.buyers)


def _distinct(users: set[int]) -> bytes:
    return Distinct(users).to_bytes() if users else b""


class Panes:
    """The cells of one source partition since its last report."""

    def __init__(self) -> None:
        self._panes: dict[int, dict[tuple[str, str], FoldingCell]] = {}

    def cell(self, event_time: int, campaign: str, channel: str) -> FoldingCell:
        """Return the cell that an event of a campaign and channel belongs to."""
        start = event_time - event_time % PANE_MS
        cells = self._panes.get(start)
        if cells is None:
            cells = self._panes[start] = {}
        key = (campaign, channel or NO_CHANNEL)
        cell = cells.get(key)
        if cell is None:
            cell = cells[key] = FoldingCell()
        return cell

    def take(self) -> dict[int, list[tuple[str, str, CellWire]]]:
        """Return the panes as they travel, and start anew."""
        taken = {
            start: [
                (campaign, channel, cell.to_wire()) for (campaign, channel), cell in cells.items()
            ]
            for start, cells in self._panes.items()
        }
        self._panes = {}
        return taken


def fold_impression(cell: FoldingCell, event: Impression, _user: int, _units: int) -> None:
    """Add an impression's count."""
    cell.sums[measures.IMPRESSIONS] += event.count


def fold_click(cell: FoldingCell, _: Click, user: int, _units: int) -> None:
    """Add a click and its user."""
    cell.sums[measures.CLICKS] += 1
    cell.visitors.add(user)


def fold_visit(cell: FoldingCell, _: Visit, user: int, _units: int) -> None:
    """Add a visit and its user."""
    cell.sums[measures.VISITS] += 1
    cell.visitors.add(user)


def fold_order(cell: FoldingCell, _: OrderPlaced, user: int, units: int) -> None:
    """Add an order, its amount and its buyer."""
    cell.sums[measures.ORDERS] += 1
    cell.sums[measures.REVENUE_GROSS] += units
    cell.buyers.add(user)


def fold_refund(cell: FoldingCell, _: OrderRefunded, _user: int, units: int) -> None:
    """Add a refund and its amount."""
    cell.sums[measures.REFUNDS] += 1
    cell.sums[measures.REVENUE_REFUNDED] += units


def fold_spend(cell: FoldingCell, _: SpendReported, _user: int, units: int) -> None:
    """Add what was spent."""
    cell.sums[measures.SPEND] += units
    cell.sums[measures.SPEND_REPORTS] += 1


def _count(measure: int) -> Callable[[FoldingCell, Event, int, int], None]:
    def fold(cell: FoldingCell, _event: Event, _user: int, _units: int) -> None:
        cell.sums[measure] += 1

    return fold


FOLDS: dict[type[Event], Callable[..., None]] = {
    Impression: fold_impression,
    Click: fold_click,
    Visit: fold_visit,
    OrderPlaced: fold_order,
    OrderRefunded: fold_refund,
    SpendReported: fold_spend,
    Registration: _count(measures.REGISTRATIONS),
    Lead: _count(measures.LEADS),
    Survey: _count(measures.SURVEYS),
    Measurement: _count(measures.MEASUREMENTS),
}
"""How each type of event is folded; types without an entry carry no measure."""
