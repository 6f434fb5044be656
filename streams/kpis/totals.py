"""What scopes had over a stretch of time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from models.cells import Cell
from models.scopes import Scope
from streams.kpis import columns, plain
from streams.kpis.columns import Columns
from streams.kpis.facets import Facets


class Totals(Mapping[Scope, Cell]):
    """Each scope's cell; they are only to be read.

    Args:
        parts: what is to be added up, by facet.
        facets: the scopes that each adds to.
    """

    def __init__(self, parts: Sequence[Columns], facets: Facets) -> None:
        self._parts = parts
        self._facets = facets
        self._by_scope: Columns | None = None
        few = sum(part.size for part in parts) <= plain.FEW
        by_row = plain.cells_of(parts, facets.scopes_of) if few else self._columns().cells()
        self._cells = {facets.scopes[row]: cell for row, cell in by_row.items()}

    def __getitem__(self, scope: Scope) -> Cell:
        """Return a scope's cell."""
        return self._cells[scope]

    def __iter__(self) -> Iterator[Scope]:
        """Iterate over the scopes that had anything."""
        return iter(self._cells)

    def __len__(self) -> int:
        """Return how many scopes had anything."""
        return len(self._cells)

    def together(self, scopes: Iterable[Scope]) -> Cell:
        """Return the sum over some scopes; a user of several counts once."""
        wanted = set(scopes)
        row_of = np.array([-1 + (scope in wanted) for scope in self._facets.scopes], np.int32)
        return columns.together([self._columns().by(row_of)]).cells().get(0) or Cell()

    def _columns(self) -> Columns:
        if self._by_scope is None:
            by_facet = columns.together([columns.NOTHING, *self._parts])
            self._by_scope = columns.together(
                [by_facet.by(rows) for rows in self._facets.scopes_by_facet()]
            )
        return self._by_scope
