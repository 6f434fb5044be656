"""Converts cells to and from their wire format."""

from __future__ import annotations

from models.aggregates.cell import Cell, CellWire
from models.aggregates.distinct_users import Distinct
from models.kpi.measures import WIDTH


def to_wire(cell: Cell) -> CellWire:
    """Return the wire format of a cell."""
    natural, buyers, *others = [users.to_bytes() for users in cell.users]
    return CellWire(cell.sums, natural, buyers, others, cell.histograms, cell.levels)


def from_wire(wire: CellWire) -> Cell:
    """Return a cell from its wire format, also from one with fewer measures than there are now."""
    cell = Cell(wire.sums + [0] * (WIDTH - len(wire.sums)))
    for index, users in enumerate((wire.natural, wire.buyers, *wire.users)):
        if users:
            cell.users[index] = Distinct.from_bytes(users)
    for index, counts in enumerate(wire.histograms):
        cell.histograms[index] = counts
    cell.levels = wire.levels
    return cell
