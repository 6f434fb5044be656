"""Which ends are due, in which order, and how those that wait are saved."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from models.window import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    PANE_MS,
    WINDOWS,
    Window,
    WindowName,
    first_end_after,
)
from streams.kpis import state as saved_states
from streams.kpis.windows.due_windows import DueWindows
from tests.factories.times import NEW_YORK_DAY as DAY

BEGAN = 1_700_000_000_000
NAMES = [window.name for window in WINDOWS]
PANES = st.lists(st.integers(0, 40 * DAY_MS // PANE_MS).map(lambda n: BEGAN + n * PANE_MS))


def scheduled(panes: list[int]) -> DueWindows:
    schedule = DueWindows(DAY)
    for pane in panes:
        schedule.pane_changed(pane, frontier_ms=0)
    return schedule


def taken(schedule: DueWindows, frontier_ms: int) -> list[tuple[Window, int]]:
    ends = []
    while (due := schedule.take(frontier_ms=frontier_ms)) is not None:
        ends.append(due)
    return ends


@given(PANES, st.integers(BEGAN, BEGAN + 100 * DAY_MS))
def test_saved(panes: list[int], frontier_ms: int) -> None:
    """What waits is the same after it was saved, in order, each end once."""
    schedule = scheduled(panes)
    state = saved_states.nothing()
    state.due = saved_states.pack(schedule.ends())
    again = DueWindows(DAY, saved_states.decode(saved_states.encode(state)).ends)
    waiting = schedule.waiting(frontier_ms=frontier_ms, windows=NAMES)
    due = taken(schedule, frontier_ms)
    assert len(due) == waiting == len(set(due))
    assert due == sorted(due, key=lambda one: (one[1], NAMES.index(one[0].name)))
    assert taken(again, frontier_ms) == due
    assert saved_states.pack(again.ends()) == saved_states.pack(schedule.ends())


@given(PANES.filter(bool), st.sets(st.integers(0, 40), max_size=6))
def test_regular_ends(panes: list[int], saves: set[int]) -> None:
    """Regular ends come once each, in order, without a gap, also if the queue is saved between."""
    regular: dict[WindowName, int] = {"1h": HOUR_MS, "5m": 5 * MINUTE_MS}
    schedule = DueWindows(DAY, regular=regular)
    for pane in panes:
        schedule.pane_changed(pane, frontier_ms=0)
    plain = scheduled(panes)
    ends: list[tuple[Window, int]] = []
    first_ms = min(panes)
    for number in range(40):
        frontier_ms = first_ms + number * HOUR_MS
        ends += taken(schedule, frontier_ms)
        if number in saves:
            schedule = DueWindows(DAY, schedule.ends(), regular=regular)
    assert len(set(ends)) == len(ends)
    assert [end for _, end in ends] == sorted(end for _, end in ends)
    assert set(taken(plain, frontier_ms)) <= set(ends)
    for name, every_ms in regular.items():
        found = [end for window, end in ends if window.name == name and end % every_ms == 0]
        begins = first_end_after(ends[0][1], step_ms=every_ms)
        assert {*range(begins, frontier_ms + 1, every_ms)} <= {*found}


def test_regular_ends_of_a_long_gap() -> None:
    """In a year without events, regular ends are taken for some days, and then again."""
    regular: dict[WindowName, int] = {"5m": 5 * MINUTE_MS}
    schedule = DueWindows(DAY, regular=regular)
    later = BEGAN + 365 * DAY_MS
    for pane in (BEGAN, later):
        schedule.pane_changed(pane, frontier_ms=0)
    ends = taken(schedule, later + DAY_MS)
    assert len(ends) < 4_000, "a year of five minutes would be 105,120"
    found = [end for window, end in ends if window.name == "5m" and end % (5 * MINUTE_MS) == 0]
    first = first_end_after(BEGAN + PANE_MS, step_ms=5 * MINUTE_MS)
    assert {*range(first, first + DAY_MS, 5 * MINUTE_MS)} <= {*found}
    again = first_end_after(later, step_ms=5 * MINUTE_MS)
    assert {*range(again, again + DAY_MS - 5 * MINUTE_MS, 5 * MINUTE_MS)} <= {*found}


@given(PANES.filter(bool))
def test_waiting(panes: list[int]) -> None:
    """Only ends that the frontier passed are counted, of the windows that were asked for."""
    schedule = scheduled(panes)
    first_ms = schedule.next_end(frontier_ms=BEGAN + 100 * DAY_MS)
    assert first_ms is not None
    assert schedule.waiting(frontier_ms=first_ms - 1, windows=NAMES) == 0
    assert schedule.take(frontier_ms=first_ms - 1) is None
    of_each = [schedule.waiting(frontier_ms=first_ms, windows=[name]) for name in NAMES]
    assert of_each == [int(first_ms in ends) for ends in schedule.ends().values()]
