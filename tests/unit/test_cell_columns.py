"""Cells in columns are what they are one by one, however they were merged."""

from __future__ import annotations

from functools import partial
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.aggregates.cell import Cell
from models.aggregates.distinct_users import EXACT_LIMIT, Distinct, hash_user
from models.aggregates.ingest_report import FacetCell
from models.kpi.measures import SUM_INDEX, WIDTH
from models.scope import Facet
from streams.engine.steps import at_once
from streams.kpis.columnar import small_windows
from streams.kpis.columnar.cell_columns import (
    NOTHING,
    CellColumns,
    GrowingColumns,
    columns_of,
    together,
)
from streams.kpis.columnar.facet_index import FacetIndex
from streams.kpis.storage import bucket_codec
from tests.factories.cells import cells, content
from tests.support.cells import CUSTOM, to_wire, total

CAMPAIGNS = ("c1", "c2", "c3")

rows = st.lists(st.tuples(st.sampled_from(CAMPAIGNS), cells), max_size=4)
Rows = list[tuple[str, Cell]]


def columns(made: Rows, facets: FacetIndex) -> CellColumns:
    faceted = [FacetCell(campaign, "search", to_wire(cell)) for campaign, cell in made]
    return columns_of(faceted, facets.number, facets.custom)


def held(columns: CellColumns, facets: FacetIndex) -> dict[str, tuple[Any, ...]]:
    """Return what is in each cell, which is nothing where all is 0."""
    by_row = at_once(together([columns]).cells())
    return {facets.named[row].campaign: content(cell) for row, cell in by_row.items()}


def one_by_one(made: Rows) -> dict[str, tuple[Any, ...]]:
    by_campaign = {
        name: content(total([Cell(), *(cell for campaign, cell in made if campaign == name)]))
        for name in CAMPAIGNS
    }
    return {name: cell for name, cell in by_campaign.items() if cell != content(Cell())}


@settings(max_examples=30, deadline=None)
@given(rows, rows, rows)
def test_columns_add_up_in_any_order(a: Rows, b: Rows, c: Rows) -> None:
    """Columns add up to the same as their cells, in any order and grouping."""
    facets = FacetIndex(CUSTOM)
    parts = [columns(made, facets) for made in (a, b, c)]
    expected = one_by_one([*a, *b, *c])
    for one, two, three in permutations(parts):
        assert held(together([one, together([two, three])]), facets) == expected
        assert held(together([one, one.retraction, two, three, one]), facets) == expected


@settings(max_examples=40, deadline=None)
@given(st.lists(rows, max_size=3), st.lists(rows, max_size=2))
def test_few_cells_add_up_one_by_one_as_they_do_in_columns(
    made: list[Rows], taken_back: list[Rows]
) -> None:
    facets = FacetIndex(CUSTOM)
    parts = [columns(several, facets) for several in (*made, *taken_back)]
    parts += [columns(several, facets).retraction for several in taken_back]
    expected = at_once(at_once(facets.by_scope(together([NOTHING, *parts]))).cells())
    one_by_one = small_windows.cells_of(parts, facets.scopes_of)
    assert {row: list(cell.counts()) for row, cell in one_by_one.items()} == {
        row: list(cell.counts()) for row, cell in expected.items()
    }
    assert {row: content(cell) for row, cell in one_by_one.items()} == {
        row: content(cell) for row, cell in expected.items()
    }


@settings(max_examples=30, deadline=None)
@given(rows, rows)
def test_retraction_leaves_nothing(a: Rows, b: Rows) -> None:
    """Retracted cells leave nothing in sums and histograms."""
    facets = FacetIndex(CUSTOM)
    one, two = columns(a, facets), columns(b, facets)
    left = together([one, two, two.retraction])
    assert (left.places.tolist(), left.values.tolist()) == (
        (alone := together([one])).places.tolist(),
        alone.values.tolist(),
    )


@settings(max_examples=30, deadline=None)
@given(rows)
def test_columns_are_read_with_other_facet_numbers(made: Rows) -> None:
    """Stored columns are read correctly when facets have other numbers than when written."""
    facets, others = FacetIndex(CUSTOM), FacetIndex(CUSTOM)
    written = bucket_codec.encode(7, together([columns(made, facets)]), facets)
    others.number(Facet("another"))
    assert bucket_codec.offset_in(written) == 7
    assert held(bucket_codec.decode(written, others), others) == one_by_one(made)


def users(numbers: range) -> Cell:
    cell = Cell()
    cell.users[0] = Distinct(hash_user(b"%d" % number) for number in numbers)
    cell.users[1] = Distinct(hash_user(b"%d" % number) for number in numbers[::7])
    return cell


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.builds(range, st.integers(0, 3_000), st.integers(3_001, 9_000)), min_size=1, max_size=5
    ),
    st.integers(1, 5),
)
def test_many_users_are_sketched_as_they_are_one_by_one(numbers: list[range], step: int) -> None:
    facets = FacetIndex(CUSTOM)
    made = [("c1", users(several)) for several in numbers]
    growing = GrowingColumns()
    for first in range(0, len(made), step):
        growing.add(together([columns(made[first : first + step], facets)]))
    assert held(growing.whole(), facets) == one_by_one(made)
    ((_, cell),) = at_once(growing.whole().cells()).items()
    counts = cell.counts()
    assert counts[:2] == [distinct.estimate for distinct in cell.users[:2]]
    assert cell.counts() == counts  # of the sets themselves, now that they were asked for


@pytest.mark.parametrize("count", [EXACT_LIMIT, EXACT_LIMIT + 1, 5 * EXACT_LIMIT])
def test_users_are_sketched_above_the_limit_only(count: int) -> None:
    facets = FacetIndex(CUSTOM)
    halves = [columns([("c1", users(range(first, count, 2)))], facets) for first in (0, 1)]
    ((_, cell),) = at_once(together(halves * 3).cells()).items()
    assert cell.users[0].is_exact == (count <= EXACT_LIMIT)
    assert cell.users[1].is_exact
    assert abs(cell.counts()[0] - count) < (1 if count <= EXACT_LIMIT else 0.05 * count)


def test_users_with_colliding_keys() -> None:
    """Users of two rows whose keys collide are kept apart."""
    facets = FacetIndex(CUSTOM)
    hashes = [0x9E37_79B9_7F4A_7C15, 0]
    made = []
    for campaign, user in zip(CAMPAIGNS, hashes, strict=False):
        cell = Cell()
        cell.users[4] = Distinct([user])
        made.append((campaign, cell))
    both = columns(made, facets)
    assert len(set(both.users.keys.tolist())) == 1
    assert held(together([both, both]), facets) == one_by_one(made)


def test_a_sum_that_leaves_64_bits_stays_at_their_end() -> None:
    facets = FacetIndex(CUSTOM)
    cell = Cell([2**62] * WIDTH)
    made = columns([("c1", cell)], facets)
    sums = partial(lambda columns: at_once(columns.cells())[0].sums[SUM_INDEX["spend"]])
    assert sums(together([made])) == 2**62
    assert sums(together([made] * 3)) == 2**63 - 1
    assert sums(together([made.retraction] * 3)) == -(2**63 - 1)
    assert sums(together([columns([("c1", Cell([2**64] * WIDTH))], facets)])) == 2**63 - 1
    for parts, end in (([made] * 3, 2**63 - 1), ([made.retraction] * 3, -(2**63 - 1))):
        assert small_windows.cells_of(parts, [[0]])[0].sums[SUM_INDEX["spend"]] == end
