"""Cells merge in any order; distributions know their values to 1 %."""

from __future__ import annotations

from itertools import permutations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from models.aggregates import histogram
from models.aggregates.cell import Cell, CellWire
from models.aggregates.distinct_users import Distinct
from models.kpi.measures import WIDTH
from tests.factories.cells import amounts, cells, content
from tests.support.cells import from_wire, to_wire, total


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


def test_cell_of_an_older_version() -> None:
    """A cell of an older version is 0 in measures that it does not have."""
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
