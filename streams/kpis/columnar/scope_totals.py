"""Totals: the cells of scopes over a stretch of time, summed from cells by facet."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from copy import copy
from typing import NamedTuple

import numpy as np

from models.aggregates.cell import Cell
from models.scope import Scope
from streams.engine.steps import Steps
from streams.kpis.columnar import small_windows
from streams.kpis.columnar.cell_columns import CellColumns, GrowingColumns, together_in_steps
from streams.kpis.columnar.facet_index import FacetIndex
from streams.kpis.columnar.user_columns import UserColumns


class Summed(NamedTuple):
    """Cells of scopes, and the columns that they were summed from.

    Args:
        cells: the cells by number of the scope.
        by_scope: columns by scope.
        by_facet: columns by facet, if the window was small (`small_windows`); else None.
    """

    cells: Mapping[int, Cell]
    by_scope: Sequence[CellColumns] = ()
    by_facet: GrowingColumns | None = None


def summed(
    growing: GrowingColumns, facets: FacetIndex, *, only: Collection[int] | None = None
) -> Steps[Summed]:
    """Sum columns by facet to cells of scopes.

    Args:
        growing: the columns by facet.
        facets: the numbering of facets and scopes.
        only: the numbers of the scopes to calculate; None for all.
    """
    if growing.size <= small_windows.FEW:
        few = small_windows.cells_of(growing.parts, facets.scopes_of, only=only)
        yield
        return Summed(few, by_facet=growing)
    by_scope = yield from facets.by_scope(growing.whole())
    wanted = by_scope if only is None else by_scope.of_rows(facets.chosen(only))
    cells = yield from wanted.cells()
    return Summed(cells, by_scope=[by_scope])


class ScopeTotals(Mapping[Scope, Cell]):
    """The cell of each scope that has any entries. Cells must not be modified.

    Args:
        totals: the cells by number of the scope.
        facets: the numbering of scopes.
    """

    def __init__(self, totals: Summed, facets: FacetIndex) -> None:
        self._facets = facets
        self._summed = totals
        self._cells = {facets.scopes[row]: cell for row, cell in totals.cells.items()}

    def __getitem__(self, scope: Scope) -> Cell:
        """Return the cell of a scope.

        Raises:
            KeyError: the scope has no entries.
        """
        return self._cells[scope]

    def __iter__(self) -> Iterator[Scope]:
        """Iterate over the scopes that have a cell."""
        return iter(self._cells)

    def __len__(self) -> int:
        """Return the number of scopes that have a cell."""
        return len(self._cells)

    def only(self, wanted: Callable[[Scope], bool]) -> ScopeTotals:
        """Return totals of the wanted scopes only."""
        some = copy(self)
        some._cells = {scope: cell for scope, cell in self._cells.items() if wanted(scope)}
        return some

    def users(self) -> Steps[list[UserColumns]]:
        """Return the users of all scopes by their number, in one or more parts.

        They are complete also if cells were made of some scopes only.
        """
        by_scope = yield from self._by_scope()
        return [columns.users for columns in by_scope]

    def _by_scope(self) -> Steps[list[CellColumns]]:
        by_scope = [*self._summed.by_scope]
        if self._summed.by_facet is not None:
            by_scope.append((yield from self._facets.by_scope(self._summed.by_facet.whole())))
        return by_scope

    def together(self, groups: Collection[Iterable[Scope]]) -> Steps[list[Cell]]:
        """Return the sum of each group of scopes as one cell.

        A user of several scopes of a group counts once in it. A scope is in one group at most.
        """
        row_of = np.full(len(self._facets.scopes), -1, np.int32)
        for row, scopes in enumerate(groups):
            row_of[list(self._facets.scope_numbers(scopes))] = row
            yield
        by_scope = yield from self._by_scope()
        parts = []
        for columns in by_scope:
            parts.append(columns.by(row_of))
            yield
        whole = yield from together_in_steps(parts)
        cells = yield from whole.cells()
        return [cells.get(row) or Cell() for row in range(len(groups))]
