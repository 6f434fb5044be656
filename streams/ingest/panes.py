"""Folds events into the cells of their panes, between two reports."""

from __future__ import annotations

from collections.abc import Callable

from models import measures
from models.distinct import Distinct, hash_user
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
    """A cell that is being folded: sums, and the users by their ids."""

    __slots__ = ("buyers", "sums", "visitors")

    def __init__(self) -> None:
        self.sums = [0] * measures.WIDTH
        self.visitors: set[str] = set()
        self.buyers: set[str] = set()

    def to_wire(self) -> CellWire:
        """Return the cell as it travels."""
        return self.sums, _distinct(self.visitors), _distinct(self.buyers)


def _distinct(users: set[str]) -> bytes:
    return Distinct(map(hash_user, users)).to_bytes() if users else b""


class Panes:
    """The cells of one source partition since its last report."""

    def __init__(self) -> None:
        self._panes: dict[int, dict[tuple[str, str], FoldingCell]] = {}

    def cell(self, *, event_time: int, campaign: str, channel: str) -> FoldingCell:
        """Return the cell that an event belongs to."""
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


def fold_impression(cell: FoldingCell, event: Impression, _: int) -> None:
    """Add an impression's count."""
    cell.sums[measures.IMPRESSIONS] += event.count


def fold_click(cell: FoldingCell, event: Click, _: int) -> None:
    """Add a click and its user."""
    cell.sums[measures.CLICKS] += 1
    cell.visitors.add(event.user_id)


def fold_visit(cell: FoldingCell, event: Visit, _: int) -> None:
    """Add a visit and its user."""
    cell.sums[measures.VISITS] += 1
    cell.visitors.add(event.user_id)


def fold_order(cell: FoldingCell, event: OrderPlaced, units: int) -> None:
    """Add an order, its amount and its buyer."""
    cell.sums[measures.ORDERS] += 1
    cell.sums[measures.REVENUE_GROSS] += units
    cell.buyers.add(event.user_id)


def fold_refund(cell: FoldingCell, _: OrderRefunded, units: int) -> None:
    """Add a refund and its amount."""
    cell.sums[measures.REFUNDS] += 1
    cell.sums[measures.REVENUE_REFUNDED] += units


def fold_spend(cell: FoldingCell, _: SpendReported, units: int) -> None:
    """Add what was spent."""
    cell.sums[measures.SPEND] += units
    cell.sums[measures.SPEND_REPORTS] += 1


def _count(measure: int) -> Callable[[FoldingCell, Event, int], None]:
    def fold(cell: FoldingCell, _event: Event, _units: int) -> None:
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
