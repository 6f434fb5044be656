"""What scopes had over a stretch of time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy

import numpy as np

from models.cells import Cell
from models.scopes import Scope
from streams.kpis import columns
from streams.kpis.columns import Columns
from streams.kpis.facets import Facets


class Totals(Mapping[Scope, Cell]):
    """Each scope's cell; they are only to be read.

    Args:
        cells: by the number of their scope.
        facets: what scopes are numbered by.
        by_facet: the same, by facet, for those who want other sums.
    """

    def __init__(
        self, cells: Mapping[int, Cell], facets: Facets, *, by_facet: Callable[[], Columns]
    ) -> None:
        self._facets = facets
        self._by_facet = by_facet
        self._cells = {facets.scopes[row]: cell for row, cell in cells.items()}

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
        by_scope = self._facets.by_scope(self._by_facet())
        return columns.together([by_scope.by(row_of)]).cells().get(0) or Cell()
