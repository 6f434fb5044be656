"""Cells merge in any order; distributions know their values to 1 %."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from models.aggregates import histogram
from models.aggregates.cell import Cell, CellWire
from models.aggregates.distinct_users import Distinct
from models.kpi.measures import DISTRIBUTIONS, LEVELS, USER_SETS, WIDTH
from tests.support.cells import from_wire, to_wire, total

amounts = st.integers(0, 10**15)


def _cell(
    sums: list[int],
    users: list[set[int]],
    values: list[list[int]],
    levels: dict[int, tuple[int, int]],
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
    return cell


def _of(strategy: Any, count: int) -> Any:
    return st.lists(strategy, min_size=count, max_size=count)


def cells_of(users: Any) -> Any:
    """Return cells whose users are drawn by their hashes."""
    return st.builds(
        _cell,
        _of(st.integers(0, 10**12), WIDTH),
        _of(st.sets(users, max_size=8), len(USER_SETS)),
        _of(st.lists(amounts, max_size=8), len(DISTRIBUTIONS)),
        st.dictionaries(
            st.integers(0, len(LEVELS) - 1), st.tuples(st.integers(0, 100), st.integers(0, 9))
        ),
    )


cells = cells_of(st.integers(0, 2**64 - 1))


def content(cell: Cell) -> tuple[Any, ...]:
    """Return everything that a cell holds, so that cells can be compared."""
    return (
        cell.sums,
        [users.estimate for users in cell.users],
        cell.histograms,
        cell.levels,
    )


@given(cells, cells, cells)
@settings(max_examples=60, deadline=None)
def test_cells_add_up_in_any_order_and_grouping(a: Cell, b: Cell, c: Cell) -> None:
    expected = content(total([a, b, c]))
    for one, two, three in permutations((a, b, c)):
        assert content(total([one, two, three])) == expected
        assert content(total([one, total([two, three])])) == expected


@given(cells)
def test_a_cell_survives_the_wire(cell: Cell) -> None:
    data = msgspec.msgpack.encode(to_wire(cell))
    assert content(from_wire(msgspec.msgpack.decode(data, type=CellWire))) == content(cell)


def test_a_cell_of_an_older_version_reads_as_zero_where_it_has_nothing() -> None:
    older = msgspec.msgpack.encode(([1, 2], [Distinct({7}).to_bytes()]))
    cell = from_wire(msgspec.msgpack.decode(older, type=CellWire))
    assert cell.sums == [1, 2] + [0] * (WIDTH - 2)
    assert cell.users_in([0]).estimate == 1


@given(st.lists(amounts, min_size=1, max_size=60), st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]))
def test_a_quantile_is_off_by_one_percent_at_most(values: list[int], share: float) -> None:
    counts: dict[int, int] = {}
    for value in values:
        histogram.merge(counts, {histogram.bucket_of(value): 1})
    exact = sorted(values)[int(share * (len(values) - 1))]
    (found,) = histogram.at_ranks(counts, [int(share * (len(values) - 1))])
    assert abs(found - exact) <= exact * 0.0100001
    squares = sum(value**2 for value in values)
    assert abs(histogram.sum_of_squares(counts) - squares) <= squares * 0.0202
