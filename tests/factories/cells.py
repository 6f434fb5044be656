"""Cells, drawn by hypothesis or with clicks only, and what they hold, to be compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from models.aggregates import histogram
from models.aggregates.cell import Cell, CellWire
from models.aggregates.distinct_users import Distinct
from models.kpi.measures import (
    DISTRIBUTIONS,
    FIRST_CUSTOM,
    LEVELS,
    SUM_INDEX,
    USER_SETS,
    WIDTH,
)
from models.scope import Scope
from tests.support.at_once import BucketsAtOnce
from tests.support.cells import CUSTOM, to_wire

amounts = st.integers(0, 10**15)


def clicks_of(users: set[int]) -> CellWire:
    """Return a cell with one click of each user, given as hashes."""
    made = Cell()
    made.sums[SUM_INDEX["clicks"]] = len(users)
    made.users[0] = Distinct(users)
    return to_wire(made)


def cells_of(users: st.SearchStrategy[int]) -> st.SearchStrategy[Cell]:
    """Return a strategy for cells whose users are drawn by their hashes."""
    return st.builds(
        _cell,
        _several(st.integers(0, 10**12), WIDTH),
        _several(st.sets(users, max_size=8), len(USER_SETS)),
        _several(st.lists(amounts, max_size=8), len(DISTRIBUTIONS)),
        st.dictionaries(
            st.sampled_from([*range(len(LEVELS)), *_numbers(CUSTOM.levels)]),
            st.tuples(st.integers(0, 100), st.integers(0, 9)),
        ),
        st.dictionaries(st.sampled_from(_numbers(CUSTOM.sums)), st.integers(0, 10**12)),
    )


def _numbers(custom: Sequence[str]) -> range:
    return range(FIRST_CUSTOM, FIRST_CUSTOM + len(custom))


def _several(strategy: st.SearchStrategy[Any], count: int) -> st.SearchStrategy[list[Any]]:
    return st.lists(strategy, min_size=count, max_size=count)


def _cell(
    sums: list[int],
    users: list[set[int]],
    values: list[list[int]],
    levels: dict[int, tuple[int, int]],
    custom_sums: dict[int, int],
) -> Cell:
    cell = Cell(sums)
    for index, hashes in enumerate(users):
        if hashes:
            cell.users[index] = Distinct(hashes)
    for index, several in enumerate(values):
        if several:
            counts: dict[int, int] = {}
            for value in several:
                histogram.merge(counts, {histogram.bucket_of(value): 1})
            cell.histograms[index] = counts
    cell.levels = levels
    cell.custom_sums = custom_sums
    return cell


cells = cells_of(st.integers(0, 2**64 - 1))


def content(cell: Cell) -> tuple[Any, ...]:
    """Return everything that a cell holds, so that cells can be compared."""
    return (
        cell.sums,
        [users.estimate for users in cell.users],
        cell.histograms,
        cell.levels,
        {at: value for at, value in cell.custom_sums.items() if value},
    )


def sums_and_users(
    buckets: BucketsAtOnce, start: int, end: int
) -> dict[Scope, tuple[list[int], float]]:
    """Return the sums and the number of users of each scope in [start, end)."""
    totals = buckets.totals(start, end)
    return {scope: (one.sums, one.users_in([0]).estimate) for scope, one in totals.items()}
