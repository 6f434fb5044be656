"""Converts cells to and from their wire format, and adds them up one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from models.aggregates import histogram
from models.aggregates.cell import Cell, CellWire
from models.aggregates.distinct_users import Distinct
from models.kpi.measures import FIRST_CUSTOM, WIDTH, CustomNames

CUSTOM = CustomNames(
    sums=("media_exposures", "promotion_participants"),
    levels=("penetration",),
    shares=frozenset({"penetration"}),
)
"""The custom measures of tests, as config/kpis.yaml declares them."""


def to_wire(cell: Cell) -> CellWire:
    """Return the wire format of a cell, whose custom measures are numbered as in `CUSTOM`."""
    return CellWire(
        cell.sums,
        [users.to_bytes() for users in cell.users],
        cell.histograms,
        {index: level for index, level in cell.levels.items() if index < FIRST_CUSTOM},
        {CUSTOM.sums[at - FIRST_CUSTOM]: value for at, value in cell.custom_sums.items()},
        {
            CUSTOM.levels[index - FIRST_CUSTOM]: level
            for index, level in cell.levels.items()
            if index >= FIRST_CUSTOM
        },
    )


def from_wire(wire: CellWire) -> Cell:
    """Return a cell from its wire format, also from one with fewer measures than there are now."""
    cell = Cell(wire.sums + [0] * (WIDTH - len(wire.sums)))
    for index, users in enumerate(wire.users):
        if users:
            cell.users[index] = Distinct.from_bytes(users)
    for index, counts in enumerate(wire.histograms):
        cell.histograms[index] = counts
    cell.levels = wire.levels | {
        FIRST_CUSTOM + CUSTOM.levels.index(name): level
        for name, level in wire.custom_levels.items()
    }
    cell.custom_sums = {
        FIRST_CUSTOM + CUSTOM.sums.index(name): value for name, value in wire.custom_sums.items()
    }
    return cell


def total(cells: Sequence[Cell]) -> Cell:
    """Return the sum of one or more cells: what the columns of the KPI stage are compared with."""
    summed = Cell(list(map(sum, zip(*(cell.sums for cell in cells), strict=True))))
    by_set = zip(*(cell.users for cell in cells), strict=True)
    summed.users[:] = [Distinct.union_of(users) for users in by_set]
    custom: Counter[int] = Counter()
    for cell in cells:
        custom.update(cell.custom_sums)
        for index, counts in enumerate(cell.histograms):
            histogram.merge(summed.histograms[index], counts)
        for index, level in cell.levels.items():
            summed.levels[index] = max(level, summed.levels.get(index, level))
    summed.custom_sums = dict(custom)
    return summed
