"""What scopes had over a stretch of time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from models.cells import Cell
from models.scopes import Scope
from streams.kpis import columns
from streams.kpis.columns import Columns


class Totals(Mapping[Scope, Cell]):
    """Each scope's cell; they are only to be read.

    Args:
        by_scope: the cells, merged.
        scopes: by number.
    """

    def __init__(self, by_scope: Columns, scopes: Sequence[Scope]) -> None:
        self._by_scope = by_scope
        self._width = len(scopes)
        cells = by_scope.cells()
        self._cells = {scopes[row]: cell for row, cell in cells.items()}
        self._rows = dict(zip(self._cells, cells, strict=True))

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
        row_of = np.full(self._width, -1, np.int32)
        row_of[[self._rows[scope] for scope in scopes if scope in self._rows]] = 0
        merged = columns.together([self._by_scope.by(row_of)])
        return merged.cells().get(0) or Cell()
