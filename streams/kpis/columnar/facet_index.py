"""Numbering of facets and scopes, which are the rows of columns, and of custom measures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from models.kpi.measures import NO_CUSTOM, CustomNames
from models.scope import ALL, Facet, Scope, scopes_of
from streams.engine.steps import Steps
from streams.kpis.columnar.cell_columns import CellColumns, together_in_steps
from streams.kpis.columnar.custom_index import CustomIndex
from streams.kpis.columnar.user_columns import Bools, Rows

_MOST_SCOPES = 4
"""The most scopes that one facet adds to (`scopes_of`)."""


class FacetIndex:
    """Numbers facets and scopes from 0, in the order in which they are first seen.

    `named` and `scopes` list them by number; `scopes_of` lists the scopes that each facet adds to.
    Numbers are valid within one worker only: stored buckets name their facets.

    Args:
        custom: the custom measures that are declared; `custom` numbers them.
    """

    def __init__(self, custom: CustomNames = NO_CUSTOM) -> None:
        self.custom = CustomIndex(custom)
        self.named: list[Facet] = []
        self.scopes: list[Scope] = []
        self._numbers: dict[Facet, int] = {}
        self._scope_numbers: dict[Scope, int] = {}
        self.scopes_of: list[list[int]] = []
        self._scopes_of_facets: Rows = np.empty((0, _MOST_SCOPES), np.int32)
        self._channels_of: defaultdict[str, list[int]] = defaultdict(list)
        self._into_all: list[int] = []

    def number(self, facet: Facet) -> int:
        """Return the number of a facet; a new facet gets the next one."""
        number = self._numbers.get(facet)
        if number is None:
            number = self._numbers[facet] = len(self.named)
            self.named.append(facet)
            scopes = scopes_of(facet)
            self.scopes_of.append([self._scope_number(scope) for scope in scopes])
            self._into_all.append(0 if ALL in scopes else -1)
            if not facet.region:
                self._channels_of[facet.campaign].append(number)
        return number

    def numbers(self, facets: Sequence[Facet]) -> Rows:
        """Return the number of each facet, shape (facets,)."""
        numbers = list(map(self._numbers.get, facets))  # faster than a call of `number` for each
        if None in numbers:
            numbers = list(map(self.number, facets))
        return np.array(numbers, np.int32)

    def of_campaigns(self, campaigns: Collection[str]) -> Rows:
        """Return a mapping of rows, for `CellColumns.by`, that keeps the facets of some campaigns.

        Facets of a campaign and a region are dropped: their events are also in the facets of the
        campaign and its channels.

        Args:
            campaigns: the ids of the campaigns.

        Returns:
            For each facet its own number, or -1 to drop it; shape (facets,).
        """
        rows = np.full(len(self.named), -1, np.int32)
        numbers = [
            number for campaign in campaigns for number in self._channels_of.get(campaign, ())
        ]
        rows[numbers] = numbers
        return rows

    def into_all(self) -> Rows:
        """Return a mapping of rows, for `CellColumns.by`, that sums everything in row 0."""
        return np.array(self._into_all, np.int32)

    def by_scope(self, columns: CellColumns) -> Steps[CellColumns]:
        """Convert columns by facet to merged columns by scope: a scope is the sum of its facets."""
        parts = []
        for rows in self._padded().T:
            parts.append(columns.by(rows))
            yield
        return (yield from together_in_steps(parts))

    def scopes_with(self, facets: Iterable[int]) -> set[Scope]:
        """Return the scopes to which any of these facets adds."""
        return {self.scopes[number] for facet in facets for number in self.scopes_of[facet]}

    def scope_numbers(self, scopes: Iterable[Scope]) -> set[int]:
        """Return the numbers of these scopes, without those that were never seen."""
        numbers = self._scope_numbers
        return {numbers[scope] for scope in scopes if scope in numbers}

    @property
    def numbers_of_scopes(self) -> Mapping[Scope, int]:
        """The number of each scope that was seen."""
        return self._scope_numbers

    def chosen(self, scopes: Collection[int]) -> Bools:
        """Return a mask of the scopes with these numbers, shape (scopes,)."""
        chosen = np.zeros(len(self.scopes), np.bool_)
        chosen[list(scopes)] = True
        return chosen

    def _padded(self) -> Rows:
        """Return the scopes of each facet, shape (facets, 4), padded with -1."""
        known = len(self._scopes_of_facets)
        if known < len(self.scopes_of):
            news = [
                scopes + [-1] * (_MOST_SCOPES - len(scopes)) for scopes in self.scopes_of[known:]
            ]
            self._scopes_of_facets = np.append(
                self._scopes_of_facets, np.array(news, np.int32), axis=0
            )
        return self._scopes_of_facets

    def _scope_number(self, scope: Scope) -> int:
        number = self._scope_numbers.setdefault(scope, len(self.scopes))
        if number == len(self.scopes):
            self.scopes.append(scope)
        return number
