"""Campaigns beyond the largest are what their cells come to, one by one."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.aggregates.cell import Cell
from models.aggregates.distinct_users import EXACT_LIMIT, Distinct, hash_user
from models.aggregates.ingest_report import FacetCell
from models.kpi.catalogue import CATALOGUE
from models.kpi.measures import SUM_INDEX
from models.scope import Scope
from models.window import PANE_MS
from streams.engine.steps import at_once
from streams.kpis.calculation.kpi_calculator import KpiCalculator, KpiValues
from streams.kpis.calculation.scope_calculation import Cells, calculate, calculate_together
from tests.factories.cells import cells_of, content
from tests.factories.times import UTC_DAY as DAY
from tests.support.at_once import BucketsAtOnce
from tests.support.cells import CUSTOM, to_wire, total
from tests.support.offline import NOON

EVALUATOR = KpiCalculator(CATALOGUE)
CAMPAIGNS = ("k0", "k1", "k2", "k3", "k4")


class Made(NamedTuple):
    """A cell of a campaign's channel, in the window or in the period before."""

    before: bool
    campaign: str
    channel: str
    cell: Cell


made_cells = st.lists(
    st.builds(
        Made,
        st.booleans(),
        st.sampled_from(CAMPAIGNS),
        st.sampled_from(["search", "feed"]),
        cells_of(st.integers(1, 30)),
    ),
    max_size=12,
)
inputs_seen = st.dictionaries(
    st.sampled_from(CAMPAIGNS), st.integers(0, 2 ** len(CATALOGUE.needed) - 1)
)


class Found(NamedTuple):
    """The campaigns beyond the largest, and their KPIs together."""

    small: frozenset[str]
    other: KpiValues


def calculated(made: list[Made], seen: dict[str, int], *, top_campaigns: int) -> Found:
    """Return what two panes of cells come to, the first the period before the second."""
    buckets = BucketsAtOnce(DAY, custom=CUSTOM)
    for offset, (before, campaign, channel, cell) in enumerate(made):
        pane = NOON - PANE_MS if before else NOON
        cells = [FacetCell(campaign, channel, to_wire(cell))]
        buckets.apply({pane: cells}, retracted={}, at_offset=offset)
    both = Cells(buckets.totals(NOON, NOON + PANE_MS), before=buckets.totals(NOON - PANE_MS, NOON))
    inputs = {Scope("campaign", campaign): inputs for campaign, inputs in seen.items()}
    found = at_once(calculate(both, inputs, evaluator=EVALUATOR))
    small = found.beyond_the_largest(top_campaigns)
    together = reduce(or_, (inputs.get(scope, 0) for scope in small), 0)
    return Found(
        frozenset(scope.campaign for scope in small),
        at_once(calculate_together(small, both, inputs=together, evaluator=EVALUATOR))
        if small
        else {},
    )


def one_by_one(made: list[Made], small: frozenset[str], *, before: bool) -> Cell:
    cells = [one.cell for one in made if one.campaign in small and one.before == before]
    return total([Cell(), *cells])


@settings(max_examples=60, deadline=None)
@example([Made(False, "k0", "search", Cell())], {"k1": 0}, 1)
@given(made_cells, inputs_seen, st.integers(1, 4))
def test_other_is_what_its_campaigns_come_to(
    made: list[Made], seen: dict[str, int], top_campaigns: int
) -> None:
    found = calculated(made, seen, top_campaigns=top_campaigns)
    # A campaign that had nothing and of which no input was seen is not there.
    present = {
        campaign
        for campaign in CAMPAIGNS
        if campaign in seen
        or content(one_by_one(made, frozenset({campaign}), before=False)) != content(Cell())
    }
    assert len(found.small) == max(0, len(present) - top_campaigns)
    if not found.small:
        assert found.other == {}
        return
    now, then = (one_by_one(made, found.small, before=before) for before in (False, True))
    inputs = reduce(or_, (seen.get(campaign, 0) for campaign in found.small))
    assert found.other == EVALUATOR.evaluate(
        now, inputs=EVALUATOR.inputs_in(now) | inputs, before=then
    )


@pytest.mark.parametrize("count", [EXACT_LIMIT, 5 * EXACT_LIMIT])
def test_a_user_of_several_other_campaigns_is_one_visitor(count: int) -> None:
    def cell(users: range) -> Cell:
        made = Cell()
        made.sums[SUM_INDEX["clicks"]] = len(users)
        made.users[0] = Distinct(hash_user(b"%d" % user) for user in users)
        return made

    # The largest campaign has users of its own; each of the others shares half with the next.
    step = count // 4
    ranges = [
        range(10**6, 10**6 + count),
        *(range(at, at + 2 * step) for at in (0, step, 2 * step)),
    ]
    made = [
        Made(before, campaign, "search", cell(users))
        for before in (True, False)
        for campaign, users in zip(CAMPAIGNS, ranges, strict=False)
    ]
    found = calculated(made, {}, top_campaigns=1)
    assert found.small == {"k1", "k2", "k3"}
    assert found.other["clicks"].value == 3 * 2 * step
    together = total([one.cell for one in made[1:4]])
    assert found.other["unique_visitors"].value == together.counts()[0]
    assert abs(together.counts()[0] - count) <= (0 if count <= EXACT_LIMIT else 0.05 * count)
    assert found.other["visitors_change"].value == 0
