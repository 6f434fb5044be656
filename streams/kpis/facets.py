"""Facets and scopes by number, so that cells can be held in columns."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence

import numpy as np

from models.scopes import Facet, Scope, scopes_of
from streams.kpis.columns import Columns, together
from streams.kpis.users import Rows

_MOST_SCOPES = 4
"""Of one facet."""


class Facets:
    """The numbers of facets and scopes, in the order in which they were first seen."""

    def __init__(self) -> None:
        self.named: list[Facet] = []
        self.scopes: list[Scope] = []
        self._numbers: dict[Facet, int] = {}
        self._scope_numbers: dict[Scope, int] = {}
        self.scopes_of: list[list[int]] = []
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

    def by_scope(self, columns: Columns) -> Columns:
        """Return merged columns by scope: each is the sum of its facets."""
        padded = [scopes + [-1] * (_MOST_SCOPES - len(scopes)) for scopes in self.scopes_of]
        rows_of = np.array(padded, np.int32).reshape(-1, _MOST_SCOPES)
        return together([columns.by(rows) for rows in rows_of.T])

    def _scope_number(self, scope: Scope) -> int:
        number = self._scope_numbers.setdefault(scope, len(self.scopes))
        if number == len(self.scopes):
            self.scopes.append(scope)
        return number
