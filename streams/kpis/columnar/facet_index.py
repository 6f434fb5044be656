"""Facets and scopes by number, so that cells can be held in columns."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

import numpy as np

from models.scope import Facet, Scope, scopes_of
from streams.engine.steps import Steps
from streams.kpis.columnar.cell_columns import CellColumns, together_in_steps
from streams.kpis.columnar.user_columns import Bools, Rows

_MOST_SCOPES = 4
"""Of one facet."""


class FacetIndex:
    """The numbers of facets and scopes, in the order in which they were first seen."""

    def __init__(self) -> None:
        self.named: list[Facet] = []
        self.scopes: list[Scope] = []
        self._numbers: dict[Facet, int] = {}
        self._scope_numbers: dict[Scope, int] = {}
        self.scopes_of: list[list[int]] = []
        self._scopes_of_facets: Rows = np.empty((0, _MOST_SCOPES), np.int32)
        self._channels_of: defaultdict[str, list[int]] = defaultdict(list)

    def number(self, facet: Facet) -> int:
        """Return the number of a facet."""
        number = self._numbers.get(facet)
        if number is None:
            number = self._numbers[facet] = len(self.named)
            self.named.append(facet)
            self.scopes_of.append([self._scope_number(scope) for scope in scopes_of(facet)])
            if not facet.region:
                self._channels_of[facet.campaign].append(number)
        return number

    def numbers(self, facets: Sequence[Facet]) -> Rows:
        """Return the number of each facet."""
        numbers = list(map(self._numbers.get, facets))  # quicker than one by one
        if None in numbers:
            numbers = list(map(self.number, facets))
        return np.array(numbers, np.int32)

    def of_campaigns(self, campaigns: Collection[str]) -> Rows:
        """Return the number of each facet of campaigns and their channels; -1 for the others.

        Args:
            campaigns: their ids.
        """
        rows = np.full(len(self.named), -1, np.int32)
        numbers = [
            number for campaign in campaigns for number in self._channels_of.get(campaign, ())
        ]
        rows[numbers] = numbers
        return rows

    def by_scope(self, columns: CellColumns) -> Steps[CellColumns]:
        """Return merged columns by scope: each is the sum of its facets."""
        parts = []
        for rows in self._padded().T:
            parts.append(columns.by(rows))
            yield
        return (yield from together_in_steps(parts))

    def scopes_with(self, facets: Iterable[int]) -> set[Scope]:
        """Return the scopes that any of these facets adds to."""
        return {self.scopes[number] for facet in facets for number in self.scopes_of[facet]}

    def scope_numbers(self, scopes: Iterable[Scope]) -> set[int]:
        """Return the numbers of these scopes; those that were never seen have none."""
        numbers = self._scope_numbers
        return {numbers[scope] for scope in scopes if scope in numbers}

    def chosen(self, scopes: Collection[int]) -> Bools:
        """Return for each scope, by its number, whether it is among these."""
        chosen = np.zeros(len(self.scopes), np.bool_)
        chosen[list(scopes)] = True
        return chosen

    def _padded(self) -> Rows:
        """Return the scopes of each facet, -1 where it has fewer than the most."""
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
