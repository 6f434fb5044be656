"""What scopes had over a stretch of time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from copy import copy
from typing import NamedTuple

import numpy as np

from models.cells import Cell
from models.scopes import Scope
from streams.kpis import columns, plain
from streams.kpis.columns import Columns, Growing
from streams.kpis.facets import Facets


class Summed(NamedTuple):
    """Cells, and what they were made of.

    Args:
        cells: by the number of their scope.
        parts: returns columns by scope that add up to them.
    """

    cells: Mapping[int, Cell]
    parts: Callable[[], Sequence[Columns]]


def summed(growing: Growing, facets: Facets, *, only: Collection[int] | None = None) -> Summed:
    """Return the cells of scopes that columns by facet add up to.

    Args:
        growing: the columns.
        facets: what they are numbered by.
        only: the numbers of the scopes whose cells are wanted; None wants all.
    """
    if growing.size <= plain.FEW:
        cells = plain.cells_of(growing.parts, facets.scopes_of, only=only)
        return Summed(cells, lambda: [facets.by_scope(growing.whole())])
    by_scope = facets.by_scope(growing.whole())
    wanted = by_scope if only is None else by_scope.of_rows(facets.chosen(only))
    return Summed(wanted.cells(), lambda: [by_scope])


class Totals(Mapping[Scope, Cell]):
    """Each scope's cell; they are only to be read.

    Args:
        totals: by the number of their scope.
        facets: what scopes are numbered by.
    """

    def __init__(self, totals: Summed, facets: Facets) -> None:
        self._facets = facets
        self._parts = totals.parts
        self._cells = {facets.scopes[row]: cell for row, cell in totals.cells.items()}

    def __getitem__(self, scope: Scope) -> Cell:
        """Return a scope's cell."""
        return self._cells[scope]

    def __iter__(self) -> Iterator[Scope]:
        """Iterate over the scopes that had anything."""
        return iter(self._cells)

    def __len__(self) -> int:
        """Return how many scopes had anything."""
        return len(self._cells)

    def only(self, wanted: Callable[[Scope], bool]) -> Totals:
        """Return the same of some scopes."""
        some = copy(self)
        some._cells = {scope: cell for scope, cell in self._cells.items() if wanted(scope)}
        return some

    def together(self, scopes: Iterable[Scope]) -> Cell:
        """Return the sum over some scopes; a user of several counts once."""
        wanted = set(scopes)
        row_of = np.array([-1 + (scope in wanted) for scope in self._facets.scopes], np.int32)
        parts = [part.by(row_of) for part in self._parts()]
        return columns.together(parts).cells().get(0) or Cell()
