"""Detectors learn what is usual for a series, and find what is not."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.alerting.usual.detector import Detector, Judgement, Point
from streams.alerting.usual.rhythm import DAY_S, WEEK_S, BandSettings
from streams.alerting.usual.value_scale import ScaleKind, ValueScale

STEP_S = 300.0
A_DAY = int(DAY_S / STEP_S)


def points(
    days: float, *, seed: int, share: float = 0.0, clicks: float = 500, step_s: float = STEP_S
) -> list[Point]:
    """Return faultless points with the shape of a day and a week: clicks, or a share of them."""
    chance = np.random.default_rng(seed)
    found = []
    for place in range(int(days * DAY_S / step_s)):
        time = 100 * WEEK_S + place * step_s
        hour, weekend = time % DAY_S / 3600, int(time // DAY_S % 7) in {2, 3}
        shape = (1 + 0.6 * math.sin(2 * math.pi * (hour - 9) / 24)) * (0.7 if weekend else 1)
        n = int(chance.poisson(clicks * shape * chance.gamma(100, 0.01)))
        over = int(chance.binomial(n, share * (1 + 0.1 * math.cos(2 * math.pi * hour / 24))))
        found.append(
            Point(time, time, over / n if n else 0.0, n) if share else Point(time, time, n)
        )
    return found


def judged(
    given: Sequence[Point], scale: ScaleKind = "auto", **options: float
) -> tuple[Detector, list[Judgement]]:
    """Return a detector of some points, and its judgements."""
    detector = Detector(BandSettings(**options), scale=scale)
    return detector, [detector.observe(point) for point in given]


def after(given: Sequence[Point], values: Sequence[float], n: float = 500) -> list[Point]:
    """Return points with some values that follow others."""
    last = given[-1]
    step = last.time_s - given[-2].time_s
    return [
        Point(last.time_s + place * step, last.clock_s + place * step, value, n)
        for place, value in enumerate(values, 1)
    ]


@pytest.mark.parametrize(("share", "scale"), [(0.0, "auto"), (0.05, "proportion")])
def test_faultless_series_are_quiet(share: float, scale: ScaleKind) -> None:
    """Six series of four weeks have no score of 1, once in 200 weeks each by chance."""
    for seed in range(6):
        _, judgements = judged(points(28, seed=seed, share=share), scale)
        scores = [one.score for one in judgements]
        assert max(scores) < 1
        assert judgements[-1].learned == 1


def test_band_holds_what_comes() -> None:
    """The band has nearly all values, and follows the time of the day."""
    given = points(21, seed=1)
    _, judgements = judged(given)
    week = list(zip(given, judgements, strict=True))[-7 * A_DAY :]
    inside = [one.low <= point.value <= one.high for point, one in week]
    assert sum(inside) > 0.999 * len(week)
    expected = [one.expected or 0.0 for _, one in week]
    assert max(expected) > 3 * min(expected)
    off = [abs(point.value - (one.expected or 0.0)) / point.value for point, one in week]
    assert sorted(off)[len(off) // 2] < 0.1


def test_outage_is_found_at_once() -> None:
    """Clicks that stop are found in the first window, and are over two windows after they return.

    Later windows of the outage do not let it resolve.
    """
    given = points(14.5, seed=2)
    detector, _ = judged(given)
    usual = given[-A_DAY].value
    found = [detector.observe(point) for point in after(given, [0] * 12 + [usual] * 3)]
    assert all(one.score >= 1 for one in found[:12])
    assert [one.side for one in found[:12]] == [-1] * 12
    assert found[0].begins
    assert not any(one.begins for one in found[1:])
    assert found[13].score < 0.5


def test_evidence_adds_up() -> None:
    """A fall by a third that each window alone might show by chance is found in some windows."""
    given = points(14.5, seed=3, share=0.1)
    detector, judgements = judged(given, "proportion")
    expected = judgements[-1].expected
    assert expected is not None
    found = [detector.observe(point) for point in after(given, [0.66 * expected] * 6)]
    assert found[0].score < 1
    assert max(one.score for one in found) >= 1
    fired = next(one for one in found if one.score >= 1)
    assert fired.windows > 1
    assert fired.low is not None
    assert 0.66 * expected > fired.low, "a single window is inside the band"


@pytest.mark.parametrize(("share", "clicks"), [(0.02, 30), (0.05, 20), (0.03, 250), (0.3, 60)])
def test_more_traffic_is_not_unusual(share: float, clicks: int) -> None:
    """Ten times as many clicks with the same conversion do not fire, however few they were."""
    for seed in range(3):
        detector, _ = judged(points(14, seed=seed, share=share, clicks=clicks), "proportion")
        more = points(15, seed=seed + 50, share=share, clicks=10 * clicks)[14 * A_DAY :]
        assert all(detector.observe(one).score < 1 for one in more if one.n)


@pytest.mark.parametrize("clicks", [0.05, 0.5, 2, 4])
def test_few_events_are_not_judged(clicks: float) -> None:
    """Where most windows have no event there is no score, and the expected number is said."""
    chance = np.random.default_rng(5)
    detector = Detector(scale="count")
    for place in range(14 * A_DAY):
        value = float(chance.poisson(clicks))
        found = detector.observe(Point(place * STEP_S, place * STEP_S, value))
        assert found.score == 0
    assert found.too_few == pytest.approx(clicks, abs=0.5 + clicks / 3)
    assert found.expected is None


def test_enough_events_from_the_first_day() -> None:
    """With some more than five events a window there is a score as soon as five days are over."""
    given = points(5.5, seed=13, clicks=60)
    _, judgements = judged(given, "count")
    last = judgements[5 * A_DAY + 1 :]
    assert all(one.too_few is None and one.expected is not None for one in last)


def test_money_of_few_orders_is_not_judged() -> None:
    """Money is judged if it rests on enough orders."""
    for many, judges in ((2, False), (30, True)):
        chance = np.random.default_rng(6)
        detector = Detector()
        for place in range(8 * A_DAY):
            n = int(chance.poisson(many))
            value = float(chance.lognormal(4, 0.6, n).sum())
            found = detector.observe(Point(place * STEP_S, place * STEP_S, value, n))
            assert found.score < 1
        assert (found.too_few is None) is judges


def test_changes_all_the_time() -> None:
    """A shift that is expected every hour does not hide a fault."""
    given = points(14, seed=12)
    detector, _ = judged(given)
    scores = []
    for place, one in enumerate(points(15, seed=12)[14 * A_DAY :]):
        fault = 0.2 if place > A_DAY / 2 else 1
        point = one._replace(value=fault * one.value, shifted_s=one.time_s // 3600 * 3600)
        scores.append(detector.observe(point).score)
    assert max(scores[: A_DAY // 2]) < 1 <= scores[A_DAY // 2 + 1]


def test_small_change_does_not_matter() -> None:
    """A change of less than ``least_change`` does not fire, however certain it is."""
    given = points(15, seed=4, share=0.3, clicks=20_000)
    for least, fires in ((0.1, False), (0.02, True)):
        detector, _ = judged(given[: 14 * A_DAY], "proportion", least_change=least)
        lower = (one._replace(value=0.94 * one.value) for one in given[14 * A_DAY :])
        assert any(detector.observe(one).score >= 1 for one in lower) is fires


def test_sensitivity() -> None:
    """The band of a rarer firing is wider."""
    given = points(14, seed=5)
    often, seldom = (judged(given, weeks=weeks)[1][-1] for weeks in (2, 2_000))
    assert often.low is not None
    assert seldom.low is not None
    assert often.low > seldom.low


def test_long_incident_becomes_usual() -> None:
    """What lasts for some days is what is usual then."""
    given = points(14, seed=6)
    detector, _ = judged(given)
    again = points(28, seed=6)[14 * A_DAY :]
    found = [detector.observe(one._replace(value=2 * one.value)) for one in again]
    assert found[3].score >= 1
    assert all(one.score < 0.5 for one in found[-A_DAY:])


def test_learning_is_shown() -> None:
    """Before five days there is no score, and the share of what is needed is said."""
    _, judgements = judged(points(6, seed=7))
    learned = [one.learned for one in judgements]
    assert learned == sorted(learned)
    assert learned[A_DAY] == pytest.approx(0.2, abs=0.01)
    early = judgements[: 5 * A_DAY - 1]
    assert all(one.score == 0 and one.learned < 1 for one in early)
    assert judgements[-1].learned == 1


def test_hours_are_enough() -> None:
    """Hourly points are judged, too."""
    given = points(21, seed=8, step_s=3_600)
    detector, judgements = judged(given)
    assert max(one.score for one in judgements) < 1
    (found,) = (detector.observe(one) for one in after(given, [0]))
    assert found.score >= 1


def test_clocks_change() -> None:
    """An hour that the clock shows twice is judged twice: the time goes on."""
    given = points(14, seed=9)
    detector, _ = judged(given)
    rest = points(15, seed=9)[14 * A_DAY :]
    found = [detector.observe(one._replace(clock_s=one.clock_s - 3_600)) for one in rest]
    assert len(found) == A_DAY
    assert all(one.learned == 1 for one in found)


def test_special_days_have_a_wider_band() -> None:
    """A special day needs more to fire, and the day after is judged without its values."""
    given = points(14.5, seed=10)
    ordinary, special = judged(given)[0], judged(given)[0]
    (point,) = after(given, [given[-1].value])
    a, b = ordinary.observe(point), special.observe(point._replace(special=True))
    assert a.expected == b.expected
    assert a.low is not None
    assert b.low is not None
    assert b.low < a.low
    day = points(16, seed=10)[int(14.5 * A_DAY) + 1 :]
    for one in day[:A_DAY]:
        special.observe(one._replace(value=1.3 * one.value, special=True))
    assert all(special.observe(one).score < 1 for one in day[A_DAY : A_DAY + 12])


def test_gaps_are_no_surprise() -> None:
    """After a day without points the next ones are judged as ever."""
    given = points(16, seed=11)
    detector, _ = judged(given[: 14 * A_DAY])
    found = [detector.observe(one) for one in given[15 * A_DAY :]]
    assert max(one.score for one in found) < 1


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_no_number_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="is no number"):
        Detector().observe(Point(1.0, 1.0, value))


def test_time_goes_on() -> None:
    detector = Detector()
    detector.observe(Point(10.0, 10.0, 1.0))
    with pytest.raises(ValueError, match="not after 10"):
        detector.observe(Point(10.0, 10.0, 1.0))


@pytest.mark.parametrize(
    "wrong", [{"weeks": 0}, {"least_change": -1}, {"echo": 0.5}, {"spans": ()}, {"spans": (0,)}]
)
def test_settings_are_checked(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        BandSettings(**wrong)


@settings(max_examples=12, deadline=None)
@given(cuts=st.sets(st.integers(0, 3 * A_DAY * 2), max_size=8), seed=st.integers(0, 3))
def test_restored_goes_on(cuts: set[int], seed: int) -> None:
    """Wherever a detector is saved and restored, its judgements are those of one that was not."""
    given_points = points(6, seed=seed, share=0.1)
    whole, restored = Detector(scale="proportion"), Detector(scale="proportion")
    for place, point in enumerate(given_points):
        if place in cuts:
            restored = Detector.decode(restored.encode())
        assert whole.observe(point) == restored.observe(point)
    assert whole.encode() == restored.encode()


@given(
    values=st.lists(st.floats(0, 1e9), min_size=1, max_size=20),
    value=st.floats(-1e9, 1e9),
    other=st.floats(-1e9, 1e9),
)
def test_scale_keeps_order(values: list[float], value: float, other: float) -> None:
    """A larger value has a higher place, and a place gives its value back."""
    scale = ValueScale.of("auto", values)
    if value < other:
        assert scale.place(value, 1) <= scale.place(other, 1)
    assert scale.value(scale.place(value, 1), 1) == pytest.approx(value, rel=1e-6, abs=1e-6)


@given(over=st.integers(0, 1_000), more=st.integers(0, 1_000))
def test_scale_of_shares(over: int, more: int) -> None:
    """The place of a share gives it back."""
    n = over + more
    if n:
        scale = ValueScale.of("proportion", [0.5])
        assert scale.value(scale.place(over / n, n), n) == pytest.approx(over / n, abs=1e-9)
