"""Windows beside the period before and last week's: which, when, and what is said of a change."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.aggregates import ingest_report
from models.kpi.catalogue import CATALOGUE
from models.kpi.definition import Kpi, KpiValue
from models.scope import ALL, Scope
from models.window import (
    COMPARED,
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    QUARTER_MS,
    WINDOWS,
    BusinessDay,
    Reference,
    Window,
    WindowName,
    reference_period,
    start_of_window,
)
from streams.analysis.differences import Difference, difference_between, difference_of
from streams.engine.contracts import Position
from streams.engine.steps import Steps, at_once
from streams.kpis.calculation import confidence_intervals
from streams.kpis.calculation.kpi_calculator import KpiValues
from streams.kpis.coverage.gaps import Gap
from streams.kpis.view import Comparison, Evaluation, Silence
from streams.kpis.windows.comparisons import KINDS, comparisons_in_turn, shown
from tests.factories.times import NEW_YORK, ms
from tests.factories.times import UTC_DAY as UTC
from tests.support.offline import NOON, Path, Record, event, taken_over

WINDOW = {window.name: window for window in WINDOWS}


@pytest.mark.parametrize(
    ("window", "end", "start", "until"),
    [
        ("1h", "2023-11-08T12:00-05", "2023-11-01T11:00-04", "2023-11-01T12:00-04"),
        ("24h", "2023-11-08T12:00-05", "2023-10-31T12:00-04", "2023-11-01T12:00-04"),
        ("day", "2023-11-08T12:00-05", "2023-11-01T00:00-04", "2023-11-01T12:00-04"),
        ("day", "2023-11-09T00:00-05", "2023-11-01T00:00-04", "2023-11-02T00:00-04"),
        ("1h", "2024-03-13T12:00-04", "2024-03-06T11:00-05", "2024-03-06T12:00-05"),
        ("day", "2024-03-13T12:00-04", "2024-03-06T00:00-05", "2024-03-06T12:00-05"),
        # On the day itself: what the clock shows twice is the second time as much as it had shown.
        ("1h", "2023-11-05T01:30-04", "2023-10-29T00:30-04", "2023-10-29T01:30-04"),
        ("1h", "2023-11-05T01:30-05", "2023-10-29T01:00-04", "2023-10-29T02:00-04"),
        # A week later it is meant the first time, and what was left out is where it went on.
        ("1h", "2023-11-12T01:30-05", "2023-11-05T00:30-04", "2023-11-05T01:30-04"),
        ("24h", "2023-11-12T12:00-05", "2023-11-04T13:00-04", "2023-11-05T12:00-05"),
        ("1h", "2024-03-17T02:30-04", "2024-03-10T01:00-05", "2024-03-10T03:00-04"),
    ],
)
def test_last_week_goes_by_the_local_clock(
    window: WindowName, end: str, start: str, until: str
) -> None:
    day = BusinessDay(ZoneInfo(NEW_YORK))
    period = reference_period("last_week", WINDOW[window], ms(end), day=day)
    assert period == (ms(start), ms(until))


@pytest.mark.parametrize(
    ("zone", "first"),
    [
        (NEW_YORK, "2023-11-04T00:00-04"),
        (NEW_YORK, "2024-03-09T00:00-05"),
        ("Australia/Lord_Howe", "2024-04-06T00:00+11"),
        ("America/Santiago", "2024-09-07T00:00-04"),
        ("Asia/Kolkata", "2024-03-09T00:00+05:30"),
    ],
)
def test_reference_period_is_a_window(zone: str, first: str) -> None:
    """A reference period is the window that ends then, at a whole quarter of an hour."""
    day = BusinessDay(ZoneInfo(zone))
    for end in range(ms(first) + QUARTER_MS, ms(first) + 10 * DAY_MS, QUARTER_MS):
        for reference, names in COMPARED.items():
            for name in names:
                period = reference_period(reference, WINDOW[name], end, day=day)
                if period is None:
                    # The day begins with an hour that the one before, or last week's, leaves out.
                    assert zone == "America/Santiago"
                    continue
                assert period[0] == start_of_window(WINDOW[name], period[1], day=day)
                assert period[1] % QUARTER_MS == 0
                assert period[1] <= max(start_of_window(WINDOW[name], end, day=day), end - DAY_MS)


def test_windows_without_comparisons() -> None:
    """The shortest windows and the all-time window are not compared."""
    day = BusinessDay(ZoneInfo("UTC"))
    compared = {
        (window.name, reference)
        for window in WINDOWS
        for reference in COMPARED
        if reference_period(reference, window, NOON, day=day) is not None
    }
    before: tuple[Reference, Reference] = ("previous", "last_week")
    assert compared == {
        *((name, reference) for name in ("1h", "day", "24h") for reference in before),
        *((name, "previous") for name in ("week", "month")),
    }


class Live:
    """A path that is followed live, quarter by quarter, and what its windows were."""

    def __init__(self, start_ms: int, *, zone: str = "UTC") -> None:
        self.path = Path(zone=zone, now_ms=start_ms)
        self.remembered: dict[tuple[WindowName, int], dict[Scope, KpiValues]] = {}
        self.fed = 0

    def happen(self, at_ms: int, kind: str = "click", **body: Any) -> None:
        """Let something happen, and be read at once."""
        self.fed += 1
        self.path.now_ms = at_ms
        self.path.feed([event(kind, at=at_ms, event_id=f"e{self.fed}", **body)])

    def reach(self, end_ms: int) -> dict[tuple[WindowName, Reference], Comparison]:
        """Let time pass to a quarter's end, and all comparisons be made."""
        self.path.now_ms = max(self.path.now_ms, end_ms + 8_000)
        for _ in range(12):
            self.path.report()
        for name in COMPARED["previous"]:
            evaluation = at_once(
                self.path.kpis.windows.evaluate(
                    WINDOW[name], end_ms, only=lambda scope: scope.kind in KINDS, looking_back=False
                )
            )
            self.remembered[name, end_ms] = dict(evaluation.values)
        view = self.path.kpis.view
        assert view is not None
        assert end_ms <= view.frontier_ms < end_ms + QUARTER_MS
        assert all(one.now.end_ms == end_ms for one in view.comparisons.values())
        return dict(view.comparisons)


happenings = st.lists(
    st.tuples(
        st.integers(0, 9 * 4 - 1),  # which of the quarters that are looked at it is before
        st.integers(1, 70),  # so many minutes
        st.sampled_from(["click", "visit", "impression", "order_placed", "spend_reported"]),
        st.sampled_from(["c1", "c2"]),
        st.integers(1, 5),
    ),
    min_size=4,
    max_size=30,
)


@settings(max_examples=5, deadline=None)
@given(happenings, st.sampled_from(["2023-11-01T00:00-04", "2024-03-06T00:00-05"]))
def test_reference_equals_the_window_then(
    happened: list[tuple[int, int, str, str, int]], first: str
) -> None:
    """The reference equals the window as it was when it was the newest."""
    day = BusinessDay(ZoneInfo(NEW_YORK))
    start_ms = ms(first)
    ends = []
    for number in range(9):
        noon = day.same_time(start_ms + 12 * HOUR_MS, days=number)
        midnight = day.end_of(noon)
        ends += [noon, noon + HOUR_MS, noon + HOUR_MS + QUARTER_MS, midnight]
    live = Live(start_ms + MINUTE_MS, zone=NEW_YORK)
    live.happen(start_ms + MINUTE_MS)
    looked_at: list[Any] = sorted(
        (ends[place] - ago * MINUTE_MS, *rest) for place, ago, *rest in happened
    )
    seen: set[tuple[WindowName, Reference]] = set()
    for end in ends:
        while looked_at and looked_at[0][0] < end:
            at, kind, campaign, user = looked_at.pop(0)
            more: dict[str, Any] = {"campaign_id": campaign}
            if kind == "spend_reported":
                more |= {"amount": "12.50", "currency": "CNY", "channel": "search"}
            else:
                more |= {"user_id": f"u{user}", "channel": "search"}
            live.happen(max(at, live.path.now_ms), kind, **more)
        for (name, reference), comparison in live.reach(end).items():
            period = reference_period(reference, WINDOW[name], end, day=day)
            assert period == (comparison.then.start_ms, comparison.then.end_ms)
            assert {scope.kind for scope in comparison.then.values} <= set(KINDS)
            if (name, period[1]) in live.remembered:
                assert comparison.then.values == live.remembered[name, period[1]]
                seen.add((name, reference))
    assert seen == {
        *((name, "previous") for name in ("1h", "day", "24h")),
        *((name, "last_week") for name in COMPARED["last_week"]),
    }


def of_a_week(*, days: int = 9) -> Live:
    """Return a shop with clicks each six hours, one more each day."""
    live = Live(NOON + MINUTE_MS)
    for number in range(days):
        for hour in (0, 6, 12, 18):
            for user in range(number + 1):
                live.happen(
                    NOON + number * DAY_MS + hour * HOUR_MS + (user + 2) * MINUTE_MS,
                    user_id=f"u{user}",
                )
    return live


def test_no_comparison_without_observation() -> None:
    """A period that was not observed whole is not compared."""
    live = of_a_week(days=1)
    assert set(live.reach(NOON + 23 * HOUR_MS)) == {("1h", "previous")}
    assert set(live.reach(NOON + 36 * HOUR_MS)) == {("1h", "previous")}
    # From the third day on there is a whole day before.
    assert set(live.reach(NOON + 50 * HOUR_MS)) == {
        *(("1h", "previous"), ("24h", "previous"), ("day", "previous")),
    }


def test_empty_hour_after_an_input_is_zero() -> None:
    """In an empty hour, inputs seen earlier that day are 0 and not absent, also a week later."""
    live = Live(NOON + MINUTE_MS)
    morning = NOON + 21 * HOUR_MS
    live.happen(NOON + MINUTE_MS)
    live.happen(morning, "spend_reported", amount="12.50", currency="CNY", channel="search")
    live.happen(morning + 1_000)
    later = live.reach(NOON + DAY_MS)
    assert later["1h", "previous"].then.values[ALL]["spend"] == KpiValue(0)
    compared = live.reach(NOON + 8 * DAY_MS)["1h", "last_week"]
    assert compared.then.values[ALL]["spend"] == KpiValue(0)
    assert compared.then.values[ALL]["clicks"] == KpiValue(0)
    assert "impressions" not in compared.then.values[ALL]
    # Of today nothing was seen.
    assert ALL not in compared.now.values


def test_a_gap_in_last_week_leaves_what_touches_it_out() -> None:
    live = of_a_week()
    end = NOON + 9 * DAY_MS
    whole = live.reach(end)
    last_week = {name for name, reference in whole if reference == "last_week"}
    assert last_week == {"1h", "day", "24h"}
    change = difference_of(CATALOGUE["clicks"], ALL, whole["24h", "last_week"])
    assert change is not None
    assert change[:3] == (count(36), count(8), 3.5)
    week_ago = end - 7 * DAY_MS
    gap = Gap("clicks", 0, week_ago - 3 * HOUR_MS, week_ago - 2 * HOUR_MS)
    live.path.kpis = taken_over(live.path, gaps=[gap])
    left = live.reach(end + QUARTER_MS)
    assert {name for name, reference in left if reference == "last_week"} == {"1h"}


def test_comparisons_after_a_restart() -> None:
    """After a restart comparisons are computed again from the buckets held."""
    live = of_a_week()
    end = NOON + 9 * DAY_MS
    before = live.reach(end)
    live.path.kpis = taken_over(live.path)
    after = live.reach(end)
    assert {key: one.then.values for key, one in after.items()} == {
        key: one.then.values for key, one in before.items()
    }


def test_no_comparisons_of_history() -> None:
    """While history is read no comparison is computed, and old ones are not shown."""
    live = of_a_week(days=2)
    path, end = live.path, NOON + 50 * HOUR_MS
    assert live.reach(end)
    path.now_ms = end + HOUR_MS
    now = Position(caught_up_at_ms=path.now_ms, behind=0)
    for job in path.sources.values():
        job.tick(now, now_ms=path.now_ms)
        told = ingest_report.encode([job.report()])
        path.kpis.apply([Record(path.reports_offset, path.now_ms, None, told)])
        path.reports_offset += 1
    path.kpis.tick(now, now_ms=path.now_ms + 60_000)
    assert path.kpis.view is not None
    assert path.kpis.view.frontier_ms > end + 2 * QUARTER_MS
    assert not path.kpis.view.comparisons


class Windows:
    """Evaluates nothing, and counts how often it was asked to."""

    def __init__(self) -> None:
        self.asked: list[tuple[WindowName, int]] = []

    def earlier_end(self, reference: Reference, window: Window, end: int) -> int:
        period = reference_period(reference, window, end, day=UTC)
        assert period is not None
        return period[1]

    def evaluate(self, window: Window, end: int, **_: Any) -> Steps[Evaluation]:
        self.asked.append((window.name, end))
        yield
        return Evaluation(window.name, start_of_window(window, end, day=UTC), end, {})


def test_one_comparison_a_tick() -> None:
    """One comparison is computed in a tick, for the newest quarter of an hour."""
    windows, closer = Windows(), SimpleNamespace(shown={}, small=frozenset())
    turns = comparisons_in_turn(windows, closer=closer)
    for number in range(3):
        at_once(turns.compute_next(NOON + 10))
        assert len(shown(turns.latest, NOON)) == number + 1
    assert windows.asked == [
        *(("1h", NOON), ("1h", NOON - HOUR_MS), ("1h", NOON - 7 * DAY_MS)),
        *(("day", NOON), ("day", NOON - DAY_MS)),
    ]
    for _ in range(5):
        at_once(turns.compute_next(NOON + 10))
    # What is evaluated already is not evaluated again, and quarters in between are left out.
    later = NOON + 3 * QUARTER_MS
    closer.shown["1h"] = Evaluation("1h", later - HOUR_MS, later, {ALL: {}})
    windows.asked.clear()
    for _ in range(8):
        at_once(turns.compute_next(later))
    made = shown(turns.latest, later)
    assert len(made) == 8
    assert {one.now.end_ms for one in made.values()} == {later}
    assert made["1h", "previous"].now is closer.shown["1h"]
    assert {end for _, end in windows.asked if end > NOON} == {later}
    assert len(windows.asked) == 4 + 8


def evaluation(values: KpiValues, **more: Any) -> Evaluation:
    return replace(Evaluation("1h", NOON - HOUR_MS, NOON, {ALL: values}), **more)


def compared(
    kpi: str, now: KpiValue | None, then: KpiValue | None, **of_then: Any
) -> Difference | None:
    comparison = Comparison(
        "previous",
        evaluation({} if now is None else {kpi: now}),
        evaluation({} if then is None else {kpi: then}, **of_then),
    )
    return difference_of(CATALOGUE[kpi], ALL, comparison)


def rate(successes: int, n: int, *, significant: bool = True) -> KpiValue:
    low, high = confidence_intervals.wilson(successes, n)
    return KpiValue(successes / n, low, high, n, significant)


def count(value: int) -> KpiValue:
    return KpiValue(value, None, None, value)


@pytest.mark.parametrize(
    ("kpi", "now", "then", "ratio", "significant"),
    [
        # The intervals overlap, 11.1 to 15.2 % and 8.3 to 12.0 %, and still the rates differ.
        ("conversion_rate", rate(130, 1000), rate(100, 1000), 0.3, True),
        ("conversion_rate", rate(100, 1000), rate(130, 1000), -0.2307692, True),
        ("conversion_rate", rate(125, 1000), rate(100, 1000), 0.25, False),
        ("conversion_rate", rate(0, 100), rate(5, 100), -1.0, True),
        ("conversion_rate", rate(13, 20, significant=False), rate(100, 1000), 5.5, False),
        ("orders", count(128), count(100), 0.28, False),
        ("orders", count(131), count(100), 0.31, True),
        ("orders", count(0), count(0), None, False),
        ("orders", count(5), count(0), None, True),
        ("unique_visitors", count(60), count(100), -0.4, True),
        ("repeat_orders", count(131), count(100), 0.31, True),
        # The difference of 10,400 and 10,000 varies as their sum does: no count.
        ("visitors_change", KpiValue(400, n=10_400), KpiValue(100, n=10_100), 3.0, None),
        # No interval, no count, or a level: whether it is chance is not told.
        ("revenue_gross", KpiValue(30_000), KpiValue(20_000), 0.5, None),
        ("followers", KpiValue(500.0), KpiValue(100.0), 4.0, None),
        ("roi", KpiValue(0.5), KpiValue(-0.5), None, None),
    ],
)
def test_significance_of_a_difference(
    kpi: str, now: KpiValue, then: KpiValue, ratio: float | None, significant: bool | None
) -> None:
    """A difference is significant if chance does not explain it."""
    change = compared(kpi, now, then)
    assert change is not None
    assert change.ratio == (None if ratio is None else pytest.approx(ratio))
    assert change.significant is significant


@pytest.mark.parametrize(
    ("formula", "n", "tested"),
    [
        ("orders", None, True),
        ("orders + leads", None, True),
        ("clicks - clicks_paid", None, True),
        ("orders - refunds", None, False),
        ("orders + previous(orders)", None, False),
        ("items", "orders", False),
    ],
)
def test_counts_are_tested(formula: str, n: str | None, tested: bool) -> None:
    """A total is tested as a count only if it is one, and no difference of counts."""
    own = {"name": "own", "title_en": "Own", "title_zh": "自有", "unit": "count"}
    kpi = Kpi.model_validate(own | {"formula": formula, "n": n})
    found = difference_between(kpi, count(400), count(100))
    assert found.significant is (True if tested else None)


def test_what_is_absent_in_either_period_has_no_change() -> None:
    assert compared("orders", count(3), None) is None
    assert compared("orders", None, count(3)) == Difference(None, count(3))


def test_no_significance_of_incomplete_values() -> None:
    """The significance of a difference between incomplete values is absent."""
    whole = compared("orders", count(200), count(100))
    lacking = compared("orders", count(200), count(100), complete=False)
    silent = compared("orders", count(200), count(100), unsure={"orders": Silence(0, None)})
    others = compared("orders", count(200), count(100), unsure={"clicks": Silence(0, None)})
    told = [change and change.significant for change in (whole, lacking, silent, others)]
    assert told == [True, None, None, True]
