"""What rules have learned is stored in segments: whatever happens, it is that of the last head."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.scope import Scope
from models.window import DAY_MS
from streams.alerting.usual.detector import SETTINGS, Point
from streams.alerting.usual.learned_series import (
    KEPT_WITHOUT_VALUES_MS,
    SERIES_A_SEGMENT,
    About,
    LearnedSeries,
    Learner,
)
from streams.engine.steps import at_once
from streams.errors import StateError
from streams.kpis.judging import LEARNED_PREFIX

ABOUT = About("unusual", "clicks", "5m", "count", "clicks")
LEARNER = Learner(SETTINGS, "count")
STEP_MS = 300_000
Store = dict[bytes, bytes]


def place(number: int) -> Scope:
    return Scope("campaign", f"c{number}")


def observe(series: LearnedSeries, number: int, end_ms: int, value: float = 5.0) -> object:
    """Observe a value of one of many scopes."""
    point = Point(end_ms / 1000, end_ms / 1000, value)
    return series.observe(ABOUT, place(number), point, LEARNER, end_ms=end_ms)


def write(series: LearnedSeries, kept: Store) -> list[bytes]:
    """Write the changed segments; return the keys that are removed after the head."""
    removed = []
    for key, written in series.take_segments():
        if written is None:
            removed.append(key)
        else:
            kept[key] = written()
    return removed


def restored(kept: Store, live: list[int]) -> LearnedSeries:
    """Return what a worker reads from stored segments."""
    series = LearnedSeries()
    at_once(series.restore(dict(kept), live=live, is_known=lambda _, __: True))
    return series


def all_of(series: LearnedSeries) -> set[tuple[Scope, float]]:
    """Return the scopes, with what they have learned."""
    scopes = series.scopes(ABOUT.rule)
    return {(scope, series.learned(ABOUT.rule, scope, LEARNER)) for scope in scopes}


@given(
    st.lists(
        st.tuples(st.sets(st.integers(0, 45), max_size=12), st.sampled_from(["head", "die", ""])),
        max_size=12,
    )
)
def test_head_decides(steps: list[tuple[set[int], str]]) -> None:
    """Whenever a worker dies, its successor has what was learned up to the last head."""
    series, kept = LearnedSeries(), Store()
    head: list[int] = []
    at_head: set[tuple[Scope, float]] = set()
    for number, (scopes, then) in enumerate(steps, 1):
        for scope in scopes:
            observe(series, scope, number * DAY_MS)
        if not then:
            continue
        removed = write(series, kept)
        if then == "head":
            head, at_head = list(series.live_segments), all_of(series)
            for key in removed:
                kept.pop(key, None)
        series = restored(kept, head)
        assert all_of(series) == at_head


def test_segments_are_small() -> None:
    """A checkpoint writes the segments of what changed, and no others."""
    series, kept = LearnedSeries(), Store()
    for number in range(3 * SERIES_A_SEGMENT):
        observe(series, number, STEP_MS)
    write(series, kept)
    assert len(kept) == 3
    observe(series, 0, 2 * STEP_MS)
    again: Store = {}
    assert len(write(series, again)) == 1
    assert len(again) == 1
    assert all(key.startswith(LEARNED_PREFIX) for key in (*kept, *again))


def test_window_is_learned_once() -> None:
    """A window that is judged again after a restart keeps its judgement."""
    series, kept = LearnedSeries(), Store()
    for number in range(40):
        first = observe(series, 0, (1 + number) * STEP_MS, 5.0)
    write(series, kept)
    after = restored(kept, list(series.live_segments))
    before = all_of(after)
    assert observe(after, 0, 40 * STEP_MS, 999.0) == first
    assert all_of(after) == before


def test_room_is_bounded() -> None:
    """Scopes for which there is no room are not learned; those that are learned go on."""
    series = LearnedSeries(most=2)
    assert observe(series, 0, STEP_MS) is not None
    assert observe(series, 1, STEP_MS) is not None
    assert observe(series, 2, STEP_MS) is None
    assert observe(series, 1, 2 * STEP_MS) is not None
    assert len(series) == 2


def test_old_series_are_forgotten() -> None:
    """A series without values for 35 days makes room; zeros are no values."""
    series, kept = LearnedSeries(), Store()
    observe(series, 0, STEP_MS)
    observe(series, 1, STEP_MS)
    end_ms = KEPT_WITHOUT_VALUES_MS + 2 * STEP_MS
    observe(series, 0, end_ms, 0.0)
    observe(series, 1, end_ms, 1.0)
    series.forget_old(ABOUT.rule, at_ms=end_ms)
    assert series.scopes(ABOUT.rule) == {place(1)}
    write(series, kept)
    assert all_of(restored(kept, list(series.live_segments))) == all_of(series)


def test_other_rules_are_dropped() -> None:
    """What a rule learned of another KPI or window is of no use to it."""
    series, kept = LearnedSeries(), Store()
    observe(series, 0, STEP_MS)
    write(series, kept)
    after = LearnedSeries()
    live = list(series.live_segments)
    at_once(after.restore(kept, live=live, is_known=lambda about, _: about.kpi == "orders"))
    assert len(after) == 0
    assert write(after, {}) == list(kept)


def test_missing_segment() -> None:
    with pytest.raises(StateError, match="the learned series of segment 7 are missing"):
        restored({}, [7])
