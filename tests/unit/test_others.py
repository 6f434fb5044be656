"""The scopes of a kind beyond its largest are, as one, what their cells come to."""

from __future__ import annotations

from collections.abc import Mapping
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
from models.kpi.user_catalogue import Largest
from models.scope import SCOPE_KINDS, Facet, Scope, ScopeKind, others_of, parts_of, scopes_of
from models.window import PANE_MS, WindowName
from streams.engine.steps import at_once
from streams.kpis.calculation.kpi_calculator import KpiCalculator, KpiValues
from streams.kpis.calculation.scope_calculation import Cells, calculate, calculate_together
from streams.kpis.windows import largest_scopes
from streams.kpis.windows.largest_scopes import LargestScopes
from tests.factories.cells import cells_of, content
from tests.factories.times import UTC_DAY as DAY
from tests.support.at_once import BucketsAtOnce
from tests.support.cells import CUSTOM, to_wire, total
from tests.support.offline import NOON

EVALUATOR = KpiCalculator(CATALOGUE)
CAMPAIGNS = ("k0", "k1", "k2", "k3", "k4")
CHANNELS = ("search", "feed", "email")
FACETS = (
    *(Facet(campaign, channel) for campaign in CAMPAIGNS for channel in CHANNELS),
    *(Facet(campaign, region=region) for campaign in CAMPAIGNS for region in ("east", "west")),
    *(Facet(segment=segment) for segment in ("new", "member", "guest")),
)


class Made(NamedTuple):
    """A cell of a facet, in the window or in the period before."""

    before: bool
    facet: Facet
    cell: Cell


made_cells = st.lists(
    st.builds(Made, st.booleans(), st.sampled_from(FACETS), cells_of(st.integers(1, 30))),
    max_size=14,
)
inputs_seen = st.dictionaries(
    st.sampled_from(
        [Scope("campaign", one) for one in CAMPAIGNS] + [Scope("segment", segment="new")]
    ),
    st.integers(0, 2 ** len(CATALOGUE.needed) - 1),
)
counts = st.builds(Largest, **{kind: st.integers(1, 3) for kind in SCOPE_KINDS if kind != "all"})


class Found(NamedTuple):
    """The scopes beyond the largest of each kind, their KPIs together, and all volumes."""

    small: Mapping[ScopeKind, list[Scope]]
    other: Mapping[Scope, KpiValues]
    volumes: Mapping[Scope, int]


def calculated(made: list[Made], seen: dict[Scope, int], largest: Largest) -> Found:
    """Return what two panes of cells come to, the first the period before the second."""
    buckets = BucketsAtOnce(DAY, custom=CUSTOM)
    for offset, (before, facet, cell) in enumerate(made):
        pane = NOON - PANE_MS if before else NOON
        cells = [FacetCell(facet.campaign, facet.channel, to_wire(cell), *facet[2:])]
        buckets.apply({pane: cells}, retracted={}, at_offset=offset)
    both = Cells(buckets.totals(NOON, NOON + PANE_MS), before=buckets.totals(NOON - PANE_MS, NOON))
    found = at_once(calculate(both, seen, evaluator=EVALUATOR))
    small = at_once(LargestScopes(largest.by_kind).beyond(found.volumes))
    inputs = {
        others_of(kind): reduce(or_, (seen.get(scope, 0) for scope in scopes))
        for kind, scopes in small.items()
    }
    groups = {others_of(kind): scopes for kind, scopes in small.items()}
    other = at_once(calculate_together(groups, both, inputs=inputs, evaluator=EVALUATOR))
    return Found(small, other, found.volumes)


def one_by_one(made: list[Made], small: list[Scope], *, before: bool) -> Cell:
    """Return the sum of the cells of some scopes of one kind."""
    cells = [
        one.cell
        for one in made
        if one.before == before and not {*small}.isdisjoint(scopes_of(one.facet))
    ]
    return total([Cell(), *cells])


@settings(max_examples=80, deadline=None)
@example(
    [Made(False, Facet("k0", "search"), Cell())], {Scope("campaign", "k1"): 0}, Largest(campaign=1)
)
@given(made_cells, inputs_seen, counts)
def test_others_are_what_their_scopes_come_to(
    made: list[Made], seen: dict[Scope, int], largest: Largest
) -> None:
    """Sums, users and ratios of others are those of all events of the scopes left over."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(largest_scopes, "SCOPES_A_STEP", 2)
        found = calculated(made, seen, largest)
    present = {
        scope
        for one in made
        if not one.before and content(one.cell) != content(Cell())
        for scope in scopes_of(one.facet)
    } | seen.keys()
    hidden = {
        (part, scope.labels[part])
        for kind, scopes in found.small.items()
        if len(parts_of(kind)) == 1
        for scope in scopes
        for part in parts_of(kind)
    }
    for kind, count in largest.by_kind.items():
        of_kind = {scope for scope in present if scope.kind == kind}
        small = found.small.get(kind, [])
        # A pair is shown only if both of its names are.
        fit = {
            one
            for one in of_kind
            if len(parts_of(kind)) == 1 or hidden.isdisjoint(one.labels.items())
        }
        expected = sorted(fit, key=lambda one: (-found.volumes[one], one))[:count]
        assert of_kind.difference(small) == set(expected)
        if not small:
            assert others_of(kind) not in found.other
            continue
        now, then = (one_by_one(made, small, before=before) for before in (False, True))
        inputs = reduce(or_, (seen.get(scope, 0) for scope in small))
        assert found.other[others_of(kind)] == EVALUATOR.evaluate(
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
        Made(before, Facet(campaign, "search"), cell(users))
        for before in (True, False)
        for campaign, users in zip(CAMPAIGNS, ranges, strict=False)
    ]
    found = calculated(made, {}, Largest(campaign=1))
    assert {scope.campaign for scope in found.small["campaign"]} == {"k1", "k2", "k3"}
    other = found.other[others_of("campaign")]
    assert other["clicks"].value == 3 * 2 * step
    together = total([one.cell for one in made[1:4]])
    assert other["unique_visitors"].value == together.counts()[0]
    assert abs(together.counts()[0] - count) <= (0 if count <= EXACT_LIMIT else 0.05 * count)
    assert other["visitors_change"].value == 0


def ranked(largest: Largest, **windows: dict[str, int]) -> LargestScopes:
    """Return a ranking of campaigns by their clicks in windows of these names."""
    made = LargestScopes(largest.by_kind)
    for name, clicks in windows.items():
        window: WindowName = "24h" if name == "last" else "so_far"
        volumes = {Scope("campaign", one): count for one, count in clicks.items()}
        at_once(made.record(window, NOON, volumes))
    return made


def shown(made: LargestScopes, **clicks: int) -> set[str]:
    """Return the campaigns that are shown on their own in a window with these clicks."""
    volumes = {Scope("campaign", one): count for one, count in clicks.items()}
    small = at_once(made.beyond(volumes)).get("campaign", [])
    return {scope.campaign for scope in volumes.keys() - set(small)}


def test_largest_of_either_window() -> None:
    """The largest of the last 24 hours and of all time are shown, whatever a minute has."""
    made = ranked(Largest(campaign=2), last={"c3": 50, "c2": 20}, so_far={"c1": 900, "c3": 60})
    assert shown(made, c1=0, c2=7, c3=0) == {"c1", "c3"}
    assert shown(made, c2=7, c4=9) == set()


def test_new_names_are_shown_while_there_is_room() -> None:
    """Scopes that are not ranked yet take the room that is left, the largest first."""
    made = ranked(Largest(campaign=3), last={"c1": 5, "idle": 0})
    assert shown(made, c1=0, c7=1, c8=3, c9=2) == {"c1", "c8", "c9"}
    assert shown(LargestScopes({"campaign": 1}), c1=2, c2=3) == {"c2"}


def test_ranking_is_of_the_newest_window() -> None:
    """A window that is evaluated again at an older end does not change the ranking."""
    made = ranked(Largest(campaign=1), last={"c1": 5})
    at_once(made.record("24h", NOON - 1, {Scope("campaign", "c2"): 9}))
    at_once(made.record("5m", NOON + 1, {Scope("campaign", "c3"): 99}))
    assert shown(made, c1=1, c2=9, c3=9) == {"c1"}
    at_once(made.record("24h", NOON + 1, {Scope("campaign", "c2"): 9}))
    assert shown(made, c1=1, c2=9, c3=9) == {"c2"}


@given(
    st.lists(st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 9)), max_size=3),
    st.integers(1, 4),
)
def test_names_are_bounded(windows: list[dict[str, int]], count: int) -> None:
    """In each window at most as many names are shown as are wanted, and the ranked ones are."""
    made = LargestScopes({"campaign": count})
    for number, clicks in enumerate(windows):
        volumes = {Scope("campaign", one): n for one, n in clicks.items()}
        at_once(made.record("24h", NOON + number, volumes))
        found = shown(made, **clicks)
        assert len(found) == min(count, len(clicks))
        assert found == set(sorted(clicks, key=lambda one: (-clicks[one], one))[:count])


class CountedScope(Scope):
    """A scope that counts how often any is looked up."""

    looked_up = 0

    def __hash__(self) -> int:
        """Return the hash of the scope."""
        CountedScope.looked_up += 1
        return super().__hash__()


def test_steps_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """No step goes through all scopes of a kind, however many are not shown."""
    monkeypatch.setattr(largest_scopes, "SCOPES_A_STEP", 10)
    volumes = {CountedScope("campaign", f"c{n}"): n for n in range(300)}
    volumes |= {CountedScope("campaign_channel", f"c{n}", "web"): n for n in range(300)}
    made = LargestScopes({"campaign": 5, "campaign_channel": 5})
    counts = []
    for steps in (made.record("24h", NOON, volumes), made.beyond(volumes)):
        CountedScope.looked_up = 0
        for _ in steps:
            counts.append(CountedScope.looked_up)
            CountedScope.looked_up = 0
        counts.append(CountedScope.looked_up)
    assert sum(counts) > 1_000
    assert max(counts) <= 100
