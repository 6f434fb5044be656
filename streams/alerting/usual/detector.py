"""Learns what is usual for a series of KPI values, and judges each point by it.

A `Detector` sees one point at a time and judges it by the points before it. It learns the level of
the series and the shape of its day and week (`season`), and how far values stray from them, by
hour (`spread`). It compares averages of the surprise with those that were usual (`surprise`). It
fires on what would happen by chance about once in `BandSettings.weeks` weeks.

The package has no input or output, and no clock: the same points give the same result. A detector
is saved and restored whole, see `encode` and `decode`, in some 9 kB with five-minute points.

Example, with five-minute points of a conversion of 3 % from 500 clicks each: for two days points
are kept, then the shape of the day is drawn from them. After five days points are judged. At 20:00,
2.9 % is expected and 0.7 to 5.7 % is usual for one window. Four windows of 1.5 % each are inside
that band, and their average is not usual: it fires.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from struct import Struct
from typing import Final, NamedTuple

import msgspec
import numpy as np

from streams.alerting.usual.rhythm import DAY_S, BandSettings, Floats, Rhythm, rhythm_of, zeros
from streams.alerting.usual.season import Season, place_of
from streams.alerting.usual.spread import Spread
from streams.alerting.usual.surprise import REFIT, Surprise
from streams.alerting.usual.value_scale import ScaleKind, ValueScale

SETTINGS: Final = BandSettings()
_KEPT_DAYS, _KEPT_POINTS, _KEPT_MOST = 2.0, 24, 1_500
"""Points are kept until there are so many and they are of so many days, but never more."""
_POINT = Struct("<4d")
_SETTLE_S, _SETTLE_POINTS = 3_600.0, 3
"""After an expected shift there is no judgement for so long, and so many points."""
_RELEVEL_POINTS = 24
"""So many points teach the level anew after an expected shift, all alike."""
_ALERT_WEIGHT = 0.25
"""Points in an alert teach so much less, and so do those of special days."""
_JUST_NOT = 0.99
"""The score of a change that is certain, and too small to matter."""
LEAST_EVENTS: Final = 5.0
"""Values from fewer expected events are not judged."""
_EVENT_DAYS = 7.0
"""The number of events behind a point is averaged over so many days."""
USUAL_AGAIN: Final = 0.5
"""Evidence below so much of what an alert needs is no reason to alert any longer."""
SPECIAL_WIDTH: Final = 1.5
"""The band of a special day is so much wider."""


class Point(NamedTuple):
    """A value of a series.

    Args:
        time_s: event time in s, after that of the point before.
        clock_s: the time that the local clock shows, in s since a Thursday 0:00, for the season.
        value: the value.
        n: the number of trials behind a proportion; of other values than counts, the number of
            events that they rest on, infinity if there is no such number.
        special: whether it is of a special day: it needs more to fire.
        teaches: whether it teaches as others do; of a day that is like no other it teaches less.
        shifted_s: when a shift of the series was last expected, event time in s: the next points
            teach the level anew, and are judged once these are enough. A shift within a day of the
            last one is ignored: what changes all the time is judged by its level.
    """

    time_s: float
    clock_s: float
    value: float
    n: float = math.inf
    special: bool = False
    teaches: bool = True
    shifted_s: float = -math.inf


class Judgement(NamedTuple):
    """The verdict on one point.

    Args:
        learned: the past that is known, as a share of what a judgement needs, at most 1.
        score: the evidence as a share of what an alert needs; 1 or more is a reason to alert.
        expected: the expected value; None while too little is known.
        low: the low end of the band for a single point.
        high: the high end of it.
        windows: the number of points over which the evidence is strongest.
        side: 1 if they are above what was expected, -1 if below.
        begins: whether an incident begins here, by the detector's own count of incidents.
        settles: whether the level is learned anew after an expected shift, so there is no score.
        too_few: the number of events that are expected, if they are too few for a score.
    """

    learned: float
    score: float = 0.0
    expected: float | None = None
    low: float | None = None
    high: float | None = None
    windows: int = 1
    side: int = 1
    begins: bool = False
    settles: bool = False
    too_few: float | None = None


class Kept(msgspec.Struct, array_like=True, tag="kept"):
    """The first points of a series, from which its scale and bins follow.

    Args:
        scale: the kind of its scale.
        points: time, clock, value and n of each, as eight bytes each, one after the other.
    """

    scale: ScaleKind
    points: bytes = b""

    def add(self, point: Point) -> None:
        """Add a point."""
        self.points += _POINT.pack(*point[:4])

    @property
    def count(self) -> int:
        """The number of points."""
        return len(self.points) // _POINT.size

    @property
    def time_s(self) -> float | None:
        """The time of the last point, in s; None before any."""
        return self._time(self.count - 1) if self.points else None

    @property
    def days(self) -> float:
        """The days from the first to the last."""
        return (self._time(self.count - 1) - self._time(0)) / DAY_S if self.points else 0.0

    def columns(self) -> Iterator[list[float]]:
        """Yield the times, the clocks, the values and the n."""
        rows = np.frombuffer(self.points, "<f8").reshape(-1, 4)
        yield from rows.T.tolist()

    def _time(self, place: int) -> float:
        time: float = _POINT.unpack_from(self.points, place * _POINT.size)[0]
        return time

    @property
    def is_enough(self) -> bool:
        """Whether the scale and the bins can be chosen."""
        enough = self.days >= _KEPT_DAYS and self.count >= _KEPT_POINTS
        return enough or self.count >= _KEPT_MOST


class Known(msgspec.Struct, array_like=True, tag="known"):
    """The knowledge of a series.

    Args:
        scale: the scale of its values.
        interval_s: the interval between points, in s.
        first_s: the time of the first point.
        time_s: that of the last one.
        count: the number of points.
        season: the level and the shapes.
        spread: how far values stray from them.
        surprise: the averages of surprise, and those that were usual.
        alert: whether an incident is on.
        alert_began_s: when the last one began.
        alert_last_s: when there was reason for it last.
        special: whether the last point was of a special day.
        fires_by: the index of the span whose evidence is a reason to alert; -1 if there is none.
        fires_side: the side of that evidence.
        shifted_s: when a shift was expected last.
        since_shift: the number of points since then.
        events: the number of events behind a point, by hour of the day.
        scored_s: the time of the last point with enough events.
    """

    scale: ValueScale
    interval_s: float
    first_s: float
    time_s: float
    count: int
    season: Season
    spread: Spread
    surprise: Surprise
    events: Floats
    alert: bool = False
    alert_began_s: float = -math.inf
    alert_last_s: float = -math.inf
    special: bool = False
    fires_by: int = -1
    fires_side: int = 1
    shifted_s: float = -math.inf
    since_shift: int = 0
    scored_s: float = -math.inf

    def settles(self, at_s: float) -> bool:
        """Return whether too little came since the last expected shift for a judgement."""
        early = self.since_shift <= _SETTLE_POINTS or at_s - self.shifted_s <= _SETTLE_S
        return self.since_shift > 0 and early

    def learned(self, at_s: float, settings: BandSettings) -> float:
        """Return the past that is known, as a share of what a judgement needs."""
        days = (at_s - self.first_s) / DAY_S
        return min(1.0, days / settings.learn_days, self.count / settings.learn_points)


class Detector:
    """Judges one series, point by point.

    Args:
        settings: how to judge.
        scale: ``proportion`` for fractions of a known n, ``count`` for numbers of events, ``auto``
            for anything else.
    """

    def __init__(self, settings: BandSettings = SETTINGS, *, scale: ScaleKind = "auto") -> None:
        self.settings = settings
        self._state: Kept | Known = Kept(scale)

    @property
    def time_s(self) -> float | None:
        """The time of the last point, in s; None before any."""
        return self._state.time_s

    def observe(self, point: Point) -> Judgement:
        """Judge a point, then learn from it.

        Raises:
            ValueError: the point is not after the last one, or its value is no number.
        """
        if not math.isfinite(point.value):
            raise ValueError(f"value {point.value} is no number")
        before_s = self.time_s
        if before_s is not None and point.time_s <= before_s:
            raise ValueError(f"time {point.time_s} is not after {before_s}")
        state = self._state
        if isinstance(state, Known):
            judgement = _judged(state, point, self.settings)
            state.time_s = point.time_s
            return judgement
        state.add(point)
        if state.is_enough:
            self._state = known = _begun(state, self.settings)
            return Judgement(known.learned(known.time_s, self.settings))
        return Judgement(self.learned)

    @property
    def learned(self) -> float:
        """The past that is known, as a share of what a judgement needs, at most 1."""
        state, settings = self._state, self.settings
        if isinstance(state, Known):
            return state.learned(state.time_s, settings)
        share = min(state.days / settings.learn_days, state.count / settings.learn_points)
        return min(1.0, share)

    def encode(self) -> bytes:
        """Return all that the detector knows."""
        return _encoder.encode(self._state)

    @classmethod
    def decode(cls, data: bytes, settings: BandSettings = SETTINGS) -> Detector:
        """Return the detector that was encoded, with settings that have the same spans."""
        detector = cls(settings)
        detector._state = _decoder.decode(data)
        return detector


def _begun(kept: Kept, settings: BandSettings) -> Known:
    """Return what is known of a series by its first points."""
    times, clocks, values, ns = kept.columns()
    interval_s = float(np.median(np.diff(times)))
    rhythm = rhythm_of(settings, interval_s)
    scale = ValueScale.of(kept.scale, values)
    places = [scale.place(*one) for one in zip(values, ns, strict=True)]
    level = float(np.median(places))
    units = np.array([scale.unit(n) for n in ns])
    off = np.abs(np.array(places) - level) / units
    floor = 1e-3 * float(np.quantile(off, 0.9))
    floor += 1e-3 if scale.offset else 1e-9 * (1 + abs(level))
    overall = max(float(np.median(off)) * 1.4826, floor)
    known = Known(
        scale=scale,
        interval_s=interval_s,
        first_s=times[0],
        time_s=times[-1],
        count=0,
        season=Season.unknown(level, rhythm),
        spread=Spread(overall, floor, zeros(24), zeros(24)),
        surprise=Surprise.unknown(rhythm, at_s=times[-1]),
        events=zeros(24),
    )
    for _ in range(2):  # the second time, the hours are known already
        known.season.without_shapes_but_hours(rhythm)
        known.spread.by_hour, known.spread.days = zeros(24), zeros(24)
        known.events = zeros(24)
        known.count = 0
        for point in zip(times, clocks, values, ns, strict=True):
            _learned(known, Point(*point), rhythm, settings)
    known.surprise.fit(known.count, rhythm=rhythm, settings=settings)
    return known


class _Expected(NamedTuple):
    """The expectation for a point: on the scale, with the deviation of the point from it.

    Args:
        place: the expected place.
        deviation: the standard deviation there.
        residual: the distance of the point.
        weight: how much the point taught.
        hour: the hour of the day.
    """

    place: float
    deviation: float
    residual: float
    weight: float
    hour: int


def _learned(known: Known, point: Point, rhythm: Rhythm, settings: BandSettings) -> _Expected:
    """Learn from a point; return what was expected before it."""
    scale, season, spread = known.scale, known.season, known.spread
    place, unit = scale.place(point.value, point.n), scale.unit(point.n)
    known.count += 1
    at = place_of(point.clock_s, rhythm)
    today = int(point.clock_s // DAY_S)
    if today != season.today:
        season.begin_day(today, spread.typical(unit))
    off = season.deviation(
        at,
        place,
        size=1 / (max(spread.overall, spread.floor) * unit),
        gain=max(1 / known.count, rhythm.season_gain),
        rhythm=rhythm,
    )
    noise = scale.noise(place - off.residual, point.n)
    deviation = max(spread.deviation(at.hour, unit), noise)
    adopts = known.alert and point.time_s - known.alert_began_s >= settings.adopt_days * DAY_S
    teaches_less = (known.alert and not adopts) or not point.teaches
    weight = _ALERT_WEIGHT if teaches_less else 1.0
    _count_events(known, at.hour, scale.events(point.value, point.n), rhythm)
    relevels = 0 < known.since_shift <= _RELEVEL_POINTS
    season.learn(
        at,
        off,
        level_gain=1 / known.since_shift if relevels else None,
        most=3 * deviation,
        weight=weight,
        adopts=adopts,
        count=known.count,
        rhythm=rhythm,
        settings=settings,
    )
    spread.learn(
        at.hour,
        off.residual,
        deviation=deviation,
        unit=unit,
        weight=weight,
        count=known.count,
        rhythm=rhythm,
        settings=settings,
    )
    return _Expected(place - off.residual, deviation, off.residual, weight, at.hour)


def _count_events(known: Known, hour: int, events: float, rhythm: Rhythm) -> None:
    """Learn how many events there are behind a point at an hour, over some days."""
    if math.isfinite(events):
        seen = min(known.spread.days[hour], _EVENT_DAYS) * rhythm.per_hour
        known.events[hour] += (events - known.events[hour]) / (seen + 1)


def _judged(known: Known, point: Point, settings: BandSettings) -> Judgement:
    """Judge a point, and learn from it."""
    rhythm = rhythm_of(settings, known.interval_s)
    surprise = known.surprise
    if point.shifted_s > max(known.shifted_s + DAY_S, known.first_s):
        known.shifted_s, known.since_shift = point.shifted_s, 0
        surprise.begin_anew()
    if known.shifted_s > known.first_s:
        known.since_shift += 1
    expected = _learned(known, point, rhythm, settings)
    if point.special != known.special:
        known.special = point.special
        surprise.begin_anew()
    too_few = _too_few(known, expected, point)
    if too_few is not None:
        _keep_alert(known, 0.0, point.time_s, settings)
        return Judgement(known.learned(point.time_s, settings), too_few=too_few)
    evidence = surprise.add(
        expected.residual / expected.deviation,
        missed=_missed(known, point, rhythm),
        weight=expected.weight,
        alert=known.alert,
        rhythm=rhythm,
        echo=settings.echo,
    )
    if known.count % REFIT == 0:
        surprise.refit(known.count, at_s=point.time_s, rhythm=rhythm, settings=settings)
    learned = known.learned(point.time_s, settings)
    width = SPECIAL_WIDTH if point.special else 1.0
    if known.fires_by >= 0 and evidence[known.fires_by] * known.fires_side <= 0:
        evidence = evidence[: known.fires_by + 1]
        _end_reason(known)
    scores = _scores(known, evidence, expected, point, settings)
    span = max(range(len(scores)), key=lambda which: scores[which])
    settles = known.settles(point.time_s)
    score = scores[span] / width if learned >= 1 and not settles else 0.0
    _keep_reason(known, score, span, side=1 if evidence[span] > 0 else -1)
    begins = _keep_alert(known, score, point.time_s, settings)
    there = known.scale.value(expected.place, point.n)
    if known.scale.offset:
        there = max(0.0, there)
    low, high = _band(known, width * expected.deviation, expected.place, point.n, rhythm)
    least = settings.least_change * abs(there)
    low, high = min(low, there - least), max(high, there + least)
    if known.scale.kind == "proportion":
        low, high = max(0.0, low), min(1.0, high)
    return Judgement(
        learned=learned,
        score=score,
        expected=there,
        low=low,
        high=high,
        windows=rhythm.spans[span],
        side=1 if evidence[span] > 0 else -1,
        begins=begins,
        settles=settles,
    )


def _missed(known: Known, point: Point, rhythm: Rhythm) -> int:
    """Return how many points lack since the last one that was scored; note that this one is."""
    before_s = known.scored_s if math.isfinite(known.scored_s) else known.time_s
    known.scored_s = point.time_s
    return round((point.time_s - before_s) / rhythm.interval_s) - 1


def _too_few(known: Known, expected: _Expected, point: Point) -> float | None:
    """Return the number of events that are expected if they are too few; None if they are enough.

    With few events the shape of the noise depends on their number, so that more traffic alone would
    be unusual, and most values are 0, of which no tail can be drawn.
    """
    scale = known.scale
    if scale.kind == "auto" and not math.isfinite(point.n):
        return None
    events = float(known.events[expected.hour])
    if scale.kind != "auto":
        events = min(events, scale.events(scale.value(expected.place, point.n), point.n))
    return events if events < LEAST_EVENTS else None


def _band(
    known: Known, deviation: float, place: float, n: float, rhythm: Rhythm
) -> tuple[float, float]:
    """Return the values that a single point needs to be a reason to alert.

    Args:
        known: what is known.
        deviation: the standard deviation on the scale.
        place: the expected place there.
        n: the n of the point.
        rhythm: the rhythm of the series.
    """
    scale, reach = known.scale, known.surprise.reach
    low = scale.value(place - reach(-1, rhythm=rhythm) * deviation, n)
    high = scale.value(place + reach(1, rhythm=rhythm) * deviation, n)
    return (max(0.0, low) if scale.offset else low), high


def _scores(
    known: Known,
    evidence: list[float],
    expected: _Expected,
    point: Point,
    settings: BandSettings,
) -> list[float]:
    """Return the score of each span's evidence; below 1 where the change is too small to matter.

    While there is reason to alert, longer spans do not count: they would remember it for long.
    """
    if known.fires_by >= 0:
        return [max(0.0, one * known.fires_side) for one in evidence[: known.fires_by + 1]]
    scale, n = known.scale, point.n
    there = scale.value(expected.place, n)
    least = settings.least_change * abs(there)

    def matters(span: int) -> bool:
        off = known.surprise.averages[span] * expected.deviation
        moved = scale.value(expected.place + off, n) if span else point.value
        return abs(moved - there) >= least

    return [
        abs(one) if abs(one) < 1 or matters(span) else _JUST_NOT
        for span, one in enumerate(evidence)
    ]


def _keep_reason(known: Known, score: float, span: int, *, side: int) -> None:
    """Note which span is the reason to alert, and on which side, until it is so no longer."""
    if known.fires_by >= 0 and score < USUAL_AGAIN:
        _end_reason(known)
    if known.fires_by < 0 and score >= 1:
        known.fires_by, known.fires_side = span, side


def _end_reason(known: Known) -> None:
    """Forget the averages that are longer than the reason: they rest on what is over."""
    known.surprise.begin_anew(after=known.fires_by)
    known.fires_by = -1


def _keep_alert(known: Known, score: float, at_s: float, settings: BandSettings) -> bool:
    """Note whether there is reason to alert; return whether an incident begins."""
    if score < 1:
        if known.alert and at_s - known.alert_last_s > settings.quiet_days * DAY_S:
            known.alert = False
        return False
    begins = not known.alert
    if begins:
        known.alert, known.alert_began_s = True, at_s
    known.alert_last_s = at_s
    return begins


def _to_bytes(value: object) -> bytes:
    if not isinstance(value, array):
        raise NotImplementedError(type(value))
    return value.tobytes()


def _from_bytes(kind: type, value: bytes) -> Floats:
    if kind is not array:
        raise NotImplementedError(kind)
    numbers: Floats = array("f")
    numbers.frombytes(value)
    return numbers


_encoder = msgspec.msgpack.Encoder(enc_hook=_to_bytes)
_decoder = msgspec.msgpack.Decoder(Kept | Known, dec_hook=_from_bytes)
