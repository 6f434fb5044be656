"""Converts cells to and from their wire format, and adds them up one by one."""

from __future__ import annotations

from collections.abc import Sequence

from models.aggregates import histogram
from models.aggregates.cell import Cell, CellWire
from models.aggregates.distinct_users import Distinct
from models.kpi.measures import WIDTH


def to_wire(cell: Cell) -> CellWire:
    """Return the wire format of a cell."""
    users = [users.to_bytes() for users in cell.users]
    return CellWire(cell.sums, users, cell.histograms, cell.levels)


def from_wire(wire: CellWire) -> Cell:
    """Return a cell from its wire format, also from one with fewer measures than there are now."""
    cell = Cell(wire.sums + [0] * (WIDTH - len(wire.sums)))
    for index, users in enumerate(wire.users):
        if users:
            cell.users[index] = Distinct.from_bytes(users)
    for index, counts in enumerate(wire.histograms):
        cell.histograms[index] = counts
    cell.levels = wire.levels
    return cell


def total(cells: Sequence[Cell]) -> Cell:
    """Return the sum of one or more cells: what the columns of the KPI stage are compared with."""
    summed = Cell(list(map(sum, zip(*(cell.sums for cell in cells), strict=True))))
    by_set = zip(*(cell.users for cell in cells), strict=True)
    summed.users[:] = [Distinct.union_of(users) for users in by_set]
    for cell in cells:
        for index, counts in enumerate(cell.histograms):
            histogram.merge(summed.histograms[index], counts)
        for index, level in cell.levels.items():
            summed.levels[index] = max(level, summed.levels.get(index, level))
    return summed
