"""The period before a window: where it is, when it changes a value, and what is said of it."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.kpi.catalogue import CATALOGUE
from models.window import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    PANE_MS,
    WINDOWS,
    BusinessDay,
    WindowName,
    previous_period,
)
from streams.kpis.windows.due_windows import DueWindows
from tests.factories.events import as_table
from tests.factories.times import NEW_YORK, ms
from tests.support import oracle
from tests.support.compare import differences
from tests.support.offline import NOON, ClosedKey, Path, event

LOOKING_BACK = {kpi.name for kpi in CATALOGUE.values() if kpi.looks_back}


@pytest.mark.parametrize(
    ("window", "end", "start", "until"),
    [
        ("day", "2023-11-04T10:00-04", "2023-11-03T00:00-04", "2023-11-03T10:00-04"),
        # The clock is put back: what it shows twice is the second time as much as it had come to.
        ("day", "2023-11-05T01:30-04", "2023-11-04T00:00-04", "2023-11-04T01:30-04"),
        ("day", "2023-11-05T01:30-05", "2023-11-04T00:00-04", "2023-11-04T02:00-04"),
        ("day", "2023-11-06T01:30-05", "2023-11-05T00:00-04", "2023-11-05T01:30-04"),
        ("day", "2023-11-06T02:00-05", "2023-11-05T00:00-04", "2023-11-05T01:00-05"),
        ("day", "2023-11-06T02:01-05", "2023-11-05T00:00-04", "2023-11-05T02:01-05"),
        # It is put forward.
        ("day", "2024-03-11T02:30-04", "2024-03-10T00:00-05", "2024-03-10T03:00-04"),
        ("week", "2023-11-08T12:00-05", "2023-10-26T00:00-04", "2023-11-01T12:00-04"),
        ("week", "2023-11-06T00:00-05", "2023-10-23T00:00-04", "2023-10-30T00:00-04"),
        ("24h", "2023-11-05T12:00-05", "2023-11-03T13:00-04", "2023-11-04T13:00-04"),
    ],
)
def test_the_period_before_goes_by_the_local_clock(
    window: WindowName, end: str, start: str, until: str
) -> None:
    expected = ms(start), ms(until)
    assert oracle.previous_period(window, ms(end), NEW_YORK) == expected
    named = {one.name: one for one in WINDOWS}[window]
    assert previous_period(named, ms(end), day=BusinessDay(ZoneInfo(NEW_YORK))) == expected


@pytest.mark.parametrize(
    ("zone", "first"),
    [
        (NEW_YORK, "2023-11-04T00:00-04"),
        (NEW_YORK, "2024-03-09T00:00-05"),
        ("Australia/Lord_Howe", "2024-04-06T00:00+11"),
        ("Australia/Lord_Howe", "2024-10-05T00:00:00+10:30"),
        ("America/Santiago", "2024-09-07T00:00-04"),
        ("Asia/Shanghai", "2026-06-18T00:00+08"),
    ],
)
def test_monitor_and_oracle_agree_on_every_period_before(zone: str, first: str) -> None:
    day = BusinessDay(ZoneInfo(zone))
    for window in WINDOWS:
        for end in range(ms(first) + 15 * MINUTE_MS, ms(first) + 3 * DAY_MS, 15 * MINUTE_MS):
            theirs = oracle.previous_period(window.name, end, zone)
            assert previous_period(window, end, day=day) == theirs


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 3 * 24 * 60 * 6),
    st.sampled_from([NEW_YORK, "Australia/Lord_Howe", "Asia/Kolkata"]),
    st.sampled_from(["2023-11-04T00:00-04", "2024-03-09T00:00-05"]),
)
def test_pane_in_the_previous_period_is_due(panes: int, zone: str, first: str) -> None:
    """A window end is due where a pane enters the period before the window."""
    day = BusinessDay(ZoneInfo(zone))
    pane = ms(first) + panes * PANE_MS
    schedule = DueWindows(day)
    schedule.pane_changed(pane, frontier_ms=0)
    due = schedule.ends()
    for window in WINDOWS:
        if not window.days:
            continue
        around = day.same_time(pane - pane % window.step_ms + window.step_ms, days=window.days)
        ends = range(around - 2 * HOUR_MS, around + 2 * HOUR_MS, window.step_ms)
        periods = [previous_period(window, end, day=day) or (0, 0) for end in ends]
        held = [start <= pane < until for start, until in periods]
        assert ends[held.index(True)] in due[window.name]


def live(minutes: range) -> list[dict[str, Any]]:
    return [
        event(at=NOON + minute * MINUTE_MS + 500, event_id=f"e{minute}", user_id=f"u{minute % 9}")
        for minute in minutes
    ]


def test_growth_needs_a_whole_period() -> None:
    """Growth is absent until a whole earlier period was observed."""
    path = Path(now_ms=NOON + 5 * HOUR_MS)
    path.feed(live(range(0, 200, 2)), batch=1)
    path.finish()
    began_ms = path.state.observed_whole_from_ms
    assert began_ms is not None
    ends = [end for window, end in path.compared if window == "1h"]
    for end in ends:
        period = path.compared["1h", end]
        assert (period is None) == (end - 2 * HOUR_MS < began_ms)
        values = path.closed.get(ClosedKey("1h", end), {})
        assert ("visitors_change" in values) == (period is not None)
    assert {path.compared["1h", end] is None for end in ends} == {True, False}
    # Of the day nothing is known but its second half, and of what was before it nothing.
    assert not any(path.compared[name, end] for name, end in path.compared if name == "day")


def test_late_data_of_the_previous_period() -> None:
    """Late data in the period before a window correct the window's growth."""
    path = Path()
    events = live(range(0, 12))
    path.feed(events, batch=1)
    late = [event(at=NOON + 6 * MINUTE_MS + 20_000, event_id="late", user_id="somebody")]
    path.feed(late, batch=1)
    path.finish()
    end = NOON + 8 * MINUTE_MS + 10_000
    assert path.compared["1m", end] == (end - 2 * MINUTE_MS, end - MINUTE_MS)
    ends = {
        (window, oracle.window_start(window, end, "UTC"), end)
        for window, end, *_ in path.closed
        if window in {"1m", "5m"}
    }
    shown = {key: values for key, values in path.closed.items() if key.window in {"1m", "5m"}}
    expected = oracle.values(as_table(events + late), ends, "UTC", compared=path.compared)
    assert not differences(shown, expected)
    assert expected[ClosedKey("1m", end)]["visitors_change"].value == -1


def test_growth_after_a_gap() -> None:
    """Growth is absent after a gap, until the period before the window is whole again."""
    path = Path()
    path.feed(live(range(0, 6)), batch=1)
    gap_ms = path.state.frontier_ms
    # A report is missing: the ledger sees a hole in the offsets.
    path.offsets["clicks", 0] += 7
    source = path.sources["clicks", 0]
    source.lost(7, before=path.offsets["clicks", 0])
    path.feed(live(range(6, 16)), batch=1)
    path.finish()
    gap = path.state.gaps[0]
    assert gap.start_ms <= gap_ms
    ends = sorted(
        end for window, end in path.compared if window == "1m" and end > NOON + 4 * 60_000
    )
    touched = [
        end for end in ends if gap.start_ms < end - MINUTE_MS and end - 2 * MINUTE_MS < gap.end_ms
    ]
    assert touched
    for end in ends:
        assert (path.compared["1m", end] is None) == (end in touched)


def test_all_that_looks_back_is_in_the_catalogue() -> None:
    assert {
        "visitors_change",
        "sales_growth",
        "engagement_growth",
        "awareness_growth",
    } == LOOKING_BACK
