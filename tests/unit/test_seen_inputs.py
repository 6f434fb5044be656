"""Each scope knows when it first had each sum of a day, whatever the order of the panes."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from models.aggregates.cell import CellWire
from models.kpi.measures import SUM_INDEX, WIDTH
from models.scope import Scope
from models.window import DAY_MS, PANE_MS
from streams.kpis.coverage.seen_inputs import SeenInputs

NEEDED = ("clicks", "visits", "orders", "bonus")
"""Three sums of the monitor, and a custom one."""
SCOPES = [Scope("all"), Scope("campaign", "summer")]
NEVER = 2**62


class Shown(NamedTuple):
    """Sums that scopes had in a pane of a day."""

    day: int
    pane: int
    scopes: tuple[Scope, ...]
    sums: frozenset[str]

    @property
    def start(self) -> int:
        return self.day * DAY_MS + self.pane * PANE_MS

    def record(self, seen: SeenInputs) -> bool:
        sums = [0] * WIDTH
        for name in self.sums - {"bonus"}:
            sums[SUM_INDEX[name]] = 1
        cell = CellWire(sums, custom_sums={"bonus": 1} if "bonus" in self.sums else {})
        return seen.record(self.scopes, cell, day_start=self.day * DAY_MS, pane_start=self.start)


shown = st.builds(
    Shown,
    st.integers(0, 2),
    st.integers(0, 6),
    st.lists(st.sampled_from(SCOPES), min_size=1, unique=True).map(tuple),
    st.frozensets(st.sampled_from(NEEDED)),
)
Firsts = dict[tuple[int, Scope], dict[str, int]]
"""By day and scope, the first pane of each sum, and of any event under the name ''."""


def firsts_of(panes: list[Shown]) -> Firsts:
    found: Firsts = {}
    for pane in panes:
        for scope in pane.scopes:
            of_scope = found.setdefault((pane.day, scope), {})
            for name in ("", *pane.sums):
                of_scope[name] = min(of_scope.get(name, NEVER), pane.start)
    return found


def check(seen: SeenInputs, firsts: Firsts, needed: tuple[str, ...] = NEEDED) -> None:
    """Compare all that can be asked of seen inputs with the first panes."""
    for day in range(3):
        start = day * DAY_MS
        assert {*seen.on(start)} == {scope for at, scope in firsts if at == day}
        for pane in range(8):
            end = start + pane * PANE_MS
            known = {
                scope: sum(1 << i for i, name in enumerate(needed) if times.get(name, NEVER) < end)
                for (at, scope), times in firsts.items()
                if at == day and times[""] < end
            }
            assert dict(seen.inputs(SCOPES, day_start=start, end=end)) == known
            news = {
                scope
                for (at, scope), times in firsts.items()
                if at == day
                and any(end <= times.get(name, NEVER) < end + PANE_MS for name in ("", *needed))
            }
            assert news <= seen.news(end, end + PANE_MS, day_start=start)


@given(st.lists(shown, max_size=12), st.integers(0, 12))
def test_first_panes(panes: list[Shown], saved_after: int) -> None:
    """Each sum is known from its first pane on, also over a restart; only news are news."""
    seen = SeenInputs(NEEDED)
    before: Firsts = {}
    for count, pane in enumerate(panes):
        if count == saved_after:
            seen = SeenInputs(NEEDED, seen.to_wire(), wire_needed=NEEDED)
        now = firsts_of(panes[: count + 1])
        assert pane.record(seen) == (now != before)
        before = now
        seen.to_wire()
    check(seen, before)
    check(SeenInputs(NEEDED, seen.to_wire(), wire_needed=NEEDED), before)


@given(st.lists(shown, max_size=8), st.permutations(NEEDED), st.integers(1, 4))
def test_other_needed_sums(panes: list[Shown], order: list[str], width: int) -> None:
    """The needed sums may change over a restart: a sum that is new counts as not seen."""
    seen = SeenInputs(NEEDED[1:])
    for pane in panes:
        pane.record(seen)
    now = tuple(order[:width])
    restored = SeenInputs(now, seen.to_wire(), wire_needed=NEEDED[1:])
    firsts = firsts_of(panes)
    for times in firsts.values():
        times.pop(NEEDED[0], None)
    check(restored, firsts, now)


def test_many_custom_sums() -> None:
    """The sums may be more than the bits of an integer of any machine."""
    needed = tuple(f"custom{number}" for number in range(150))
    seen = SeenInputs(needed)
    cell = CellWire([0] * WIDTH, custom_sums={"custom149": 1})
    assert seen.record(SCOPES, cell, day_start=0, pane_start=0)
    restored = SeenInputs(needed, seen.to_wire(), wire_needed=needed)
    assert dict(restored.inputs(SCOPES, day_start=0, end=PANE_MS)) == dict.fromkeys(
        SCOPES, 1 << 149
    )


def test_older_state() -> None:
    """A state with the first pane of each sum in a list is read."""
    day = DAY_MS
    firsts = [day, day, NEVER, day + PANE_MS, NEVER]
    wire = msgspec.msgpack.encode((day, [("campaign", "summer", "", firsts)]))
    seen = SeenInputs(NEEDED, [msgspec.Raw(wire)], wire_needed=NEEDED)
    check(seen, {(1, SCOPES[1]): {"": day, "clicks": day, "orders": day + PANE_MS}})
