"""Learns what is usual for a series of KPI values, and judges each point by it.

A `Detector` sees one point at a time and judges it by the points before it. It learns the level of
the series and the shape of its day and week, and how far values stray from them, by time of day.
It averages the surprise over the last 1, 4, 16, 64 points, and compares each average with those
that it saw so far. It fires on what would happen by chance about once in `Settings.weeks` weeks.

The module has no input or output, and no clock: the same points give the same result.

It is not part of the monitor yet. Rules that find what is unusual are to use it;
`benchmarks.anomaly` measures it beside simpler ones.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal, NamedTuple

import numpy as np

DAY = 86_400.0
WEEK = 7 * DAY
HOURS_OF_WEEK = 168

Scale = Literal["auto", "proportion"]
State = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings by which a series is judged.

    One setting is meant for all series; ``weeks`` and ``least_change`` are what a user may change.
    """

    weeks: float = 200.0
    """Sensitivity: by chance, a faultless series fires about once in so many weeks."""
    least_change: float = 0.10
    """A change of less than this fraction of the expected value never fires, however certain."""
    learn_days: float = 5.0
    """No judgement before so much history."""
    learn_points: int = 48
    """No judgement before so many points, for series with a few points a day."""
    spans: tuple[int, ...] = (1, 4, 16, 64)
    """Numbers of points over which surprise is averaged: a point, and longer in steps of four."""
    longest_days: float = 2.0
    """Spans that are longer are left out: a change of days is one of the level."""
    quiet_days: float = 1.0
    """An alert is over after so long without reason, so that each incident fires once."""
    level_days: float = 14.0
    """Time constant of the level."""
    day_memory: float = 7.0
    """Number of days from which the shape of the day is averaged."""
    week_memory: float = 6.0
    """Number of weeks from which the shape of the week is averaged."""
    spread_days: float = 56.0
    """Time constant of the spread; half-life of an echo, and of the averages that were usual."""
    echo: float = 1.25
    """For a while after an alert, evidence that is not above that alert's must pass the bar times
    this."""
    lag_days: float = 1.0
    """Averages count as usual only after so long, so that an incident doesn't raise its own bar."""
    adopt_days: float = 3.0
    """An alert that lasts longer is the new normal: the level moves there within a day or so."""

    def __post_init__(self) -> None:
        if not self.weeks > 0 or not self.least_change >= 0 or not self.echo >= 1:
            raise ValueError("weeks must be above 0, least_change at least 0, echo at least 1")
        if not self.spans or min(self.spans) < 1:
            raise ValueError("spans: give one or more numbers of points")


class Judgement(NamedTuple):
    """The detector's verdict on one point.

    Args:
        fires: whether an alert begins here.
        alert: whether an alert is on.
        score: evidence as a fraction of what an alert needs; 1 or more is a reason to alert.
        weeks: such evidence comes about once in so many weeks by chance; at most 1e9.
        expected: the expected value, None while there is too little history.
        low: lower end of the band for a single point.
        high: upper end of it.
        span: number of points over which the evidence is strongest.
        side: 1 if they are above what was expected, -1 if below.
        season: what the expected value rests on.
        learned: history so far, as a fraction of what a judgement needs, at most 1.
    """

    fires: bool
    alert: bool
    score: float
    weeks: float
    expected: float | None
    low: float | None
    high: float | None
    span: int
    side: int
    season: str
    learned: float


SEASONS = ("none", "hour", "day", "week")

_WARM_DAYS = 2.0  # points kept before the scale is chosen: two days have each time of day twice
_WARM_POINTS = 24
_WARM_MOST = 1_500
_OFFSET = 0.3  # log(v + 0.3 median): relative above a third of the median, absolute below it
_KNEE = 8.0  # surprise beyond it counts by its logarithm: one point can't fill all averages
_POOL = 4.0  # the spread of all hours counts as so many days of an hour's own
_WEEK_PRIOR = 2.0  # weeks (of one point an hour) of no deviation from the day, before any is seen
# ... the less, the more this day of the week differs from others, in spreads
_SELECT_DAYS = 2.0  # half-life of the errors by which the season is chosen
_ALERT_WEIGHT = 0.25  # points in an alert teach so much less
_CELLS = 64  # of the histogram of |average|, on the scale 12 log(1 + x)
_FINE = 12.0
_NEAR, _FAR = 0.20, 0.05  # tail probabilities from which the tail is drawn
_PRIOR, _PRIOR_SD = 50.0, 1.25  # normal averages that count before any are seen
_CURVED = 1.4  # the heaviest tail assumed: about exponential
_YOUNG = 3.0  # standard errors that a bar is higher while it rests on few averages
_EARLY = 3.0  # how fast the errors of the first weeks, when the shape was not known, are forgotten
_REFIT = 64  # points between fits of the bars
_SQRT_HALF_PI = 1.2533141373155

_NORMAL = NormalDist()
_Z_NEAR, _Z_FAR = -_NORMAL.inv_cdf(_NEAR), -_NORMAL.inv_cdf(_FAR)


def _clip(x: float, most: float) -> float:
    if x > most:
        return most
    return -most if x < -most else x


def _zeros(n: int) -> array[float]:
    return array("f", bytes(4 * n))


class Detector:
    """Judges one series, point by point.

    Args:
        settings: how to judge.
        scale: ``proportion`` for fractions of a known n (give n with each point); ``auto``
            for anything else.

    Its state is bounded: about 10 kB with 5-minute points, less with fewer a day.
    """

    def __init__(self, settings: Settings | None = None, *, scale: Scale = "auto") -> None:
        self.settings = settings or Settings()
        self.scale = scale
        self._warm: list[tuple[float, float, float]] | None = []
        self._time = -math.inf

    def observe(self, time: float, value: float, n: float | None = None) -> Judgement:
        """Judge a point, then learn from it.

        Args:
            time: seconds on the clock that the season follows (local time, as seconds since a
                Thursday 00:00, like Unix time), not before the last one's.
            value: the value; NaN if there is none: then nothing is judged or learned.
            n: the number of trials behind a proportion.
        """
        if not math.isfinite(value) or (self.scale == "proportion" and not n):
            return self._nothing()
        if time <= self._time:
            raise ValueError(f"time {time} is not after {self._time}")
        n = n or 1.0
        if self._warm is None:
            result = self._step(time, value, n)
            self._time = time
            return result
        self._warm.append((time, value, n))
        self._time = time
        count, first = len(self._warm), self._warm[0][0]
        if (time - first >= _WARM_DAYS * DAY and count >= _WARM_POINTS) or count >= _WARM_MOST:
            self._begin()
        return self._nothing()

    def forget_alerts(self) -> None:
        """Let past alerts not raise the bar: they were incidents, and are not what is usual."""
        if self._warm is None:
            self._peak = [[0.0, 0.0] for _ in self._spans]

    def _learned(self) -> float:
        s = self.settings
        if self._warm is not None:
            days, count = (
                (self._time - self._warm[0][0]) / DAY if self._warm else 0.0,
                len(self._warm),
            )
        else:
            days, count = (self._time - self._first) / DAY, self._count
        return max(0.0, min(1.0, days / s.learn_days, count / s.learn_points))

    def _nothing(self) -> Judgement:
        alert = self._warm is None and self._alert
        return Judgement(False, alert, 0.0, 0.0, None, None, None, 1, 1, "none", self._learned())

    def _y(self, value: float, n: float) -> float:
        """Return a value on the scale on which it is judged."""
        if self.scale == "proportion":  # Anscombe: the variance is 1 / 4n
            share = (_clip(value * n, n) + 0.375) / (n + 0.75)
            return math.asin(math.sqrt(min(1.0, max(0.0, share))))
        c = self._offset
        if c <= 0:
            return value
        return math.log(value + c) if value >= 0 else math.log(c) + value / c

    def _value(self, y: float, n: float) -> float:
        """Return the value at a place of the scale."""
        if self.scale == "proportion":
            share = math.sin(min(math.pi / 2, max(0.0, y))) ** 2
            return min(1.0, max(0.0, (share * (n + 0.75) - 0.375) / n))
        c = self._offset
        if c <= 0:
            return y
        low = math.log(c)
        return math.exp(min(y, 700.0)) - c if y >= low else (y - low) * c

    def _begin(self) -> None:
        """Choose the scale and the bins by the first points, and learn from these."""
        warm = self._warm
        assert warm is not None
        s = self.settings
        times = np.array([w[0] for w in warm])
        values = np.array([w[1] for w in warm])
        self._dt = float(np.median(np.diff(times)))
        self._first = float(times[0])
        positive = values[values > 0]
        self._offset = 0.0
        if self.scale == "auto" and values.min() >= 0:
            self._offset = _OFFSET * float(np.median(positive)) if len(positive) else 1.0
        units = np.array([self._unit(w[2]) for w in warm])
        ys = np.array([self._y(w[1], w[2]) for w in warm])
        self._level = float(np.median(ys))
        off = np.abs(ys - self._level) / units
        reach = float(np.quantile(off, 0.9))
        self._floor = 1e-3 * reach + (1e-3 if self._offset else 1e-9 * (1 + abs(self._level)))
        self._spread = max(float(np.median(off)) * 1.4826, self._floor)

        bins = int(min(288, max(1, round(DAY / self._dt))))
        self._bins = bins
        self._per_bin = max(1.0, DAY / bins / self._dt)  # points a day in a bin
        self._per_hour = max(1.0, 3600 / self._dt)
        self._hour, self._hour_n = _zeros(24), _zeros(24)
        self._spans = [k for k in s.spans if k * self._dt <= s.longest_days * DAY] or [1]
        spans = self._spans
        self._average = [0.0] * len(spans)
        self._cells = _zeros(len(spans) * 2 * _CELLS)
        x = np.abs(np.linspace(-3.5, 3.5, 2001))
        weight = np.exp(-x * x / 2)
        prior = np.bincount(
            (_FINE * np.log1p(x * _PRIOR_SD)).astype(int), weight / weight.sum(), _CELLS
        )
        for i, k in enumerate(spans):
            for side in (0, 1):
                at = (2 * i + side) * _CELLS
                self._cells[at : at + _CELLS] = array("f", prior * _PRIOR * k / 2)
        self._fresh = _zeros(len(spans) * 2 * _CELLS)
        self._merged = self._time
        self._peak = [[0.0, 0.0] for _ in spans]
        self._alert, self._alert_began, self._alert_last = False, -math.inf, -math.inf
        self._constants()
        self._warm = None
        for _ in range(2):  # the second time, the hours are known already
            self._day, self._day_n = _zeros(bins), _zeros(bins)
            self._week, self._week_n = _zeros(HOURS_OF_WEEK), _zeros(HOURS_OF_WEEK)
            self._bin_spread, self._bin_n = _zeros(24), _zeros(24)
            self._error, self._season, self._weekly, self._today = [0.0] * 4, 0, 1.0, -1
            self._count = 0
            for time, value, n in warm:
                self._step(time, value, n, judge=False)
        self._fit()

    def _constants(self) -> None:
        """Compute what follows from the settings and the interval between points."""
        s, dt = self.settings, self._dt / DAY
        self._gain = [2 / (k + 1) for k in self._spans]
        self._sd = [math.sqrt(g / (2 - g)) for g in self._gain]  # of an average of white noise
        self._level_gain = 1 - math.exp(-dt / s.level_days)
        self._spread_gain = 1 - math.exp(-dt / s.spread_days)
        self._select_gain = 1 - 0.5 ** (dt / _SELECT_DAYS)
        self._fade = 0.5 ** (dt / s.spread_days)
        self._adopt_gain = 1 - math.exp(-2 * dt)
        self._points_a_week = WEEK / self._dt

    def _unit(self, n: float) -> float:
        """Return the standard deviation by sampling alone, where n says it."""
        return 0.5 / math.sqrt(n + 0.5) if self.scale == "proportion" else 1.0

    def _step(self, time: float, value: float, n: float, *, judge: bool = True) -> Judgement:
        s = self.settings
        y, unit = self._y(value, n), self._unit(n)
        self._n = n
        b = int(time % DAY / DAY * self._bins)
        h = int(time % DAY / 3600)
        self._count += 1
        count = self._count

        # What was expected, by each season; and by the one that was right most of late.
        level = self._level
        hours, hours_n, weeks, weeks_n = self._hour, self._hour_n, self._week, self._week_n
        if self._per_hour > 1:  # between the middles of two hours
            x = time % WEEK / 3600 + 167.5
            part = x % 1
            w, w2 = int(x) % 168, int(x + 1) % 168
            h1, h2, rest = w % 24, w2 % 24, 1 - part
            of_hour = rest * hours[h1] + part * hours[h2]
            of_week = rest * weeks[w] + part * weeks[w2]
            seen = rest * weeks_n[w] + part * weeks_n[w2]
        else:
            w = w2 = int(time % WEEK / 3600)
            h1 = h2 = w % 24
            part, rest = 0.0, 1.0
            of_hour, of_week, seen = hours[h1], weeks[w], weeks_n[w]
        of_day = self._day[b]
        today = int(time // DAY)
        if today != self._today:
            self._today = today
            self._weekly = self._difference(today % 7)
        trust = seen / (seen + _WEEK_PRIOR * math.sqrt(self._per_hour) / self._weekly)
        error, season = self._error, self._season
        off = y - level
        smooth = off - of_hour
        fine = smooth - of_day
        base = fine if error[2] < error[1] else smooth
        errors = (off, smooth, fine, base - trust * of_week)
        least = math.inf
        gain = max(1 / count, self._select_gain)
        size = 1 / (max(self._spread, self._floor) * unit)
        for i in range(4):
            a = abs(errors[i]) * size
            error[i] += gain * ((a if a < 6.0 else 6.0) - error[i])
            weighed = error[i] if i == season else 1.02 * error[i]
            if weighed < least:
                least, best = weighed, i
        self._season = best
        residual = errors[season]  # the choice is for the next point
        expected = y - residual

        # How far values stray from it at this time of day.
        spread, days = self._bin_spread[h], self._bin_n[h]
        pooled = (_POOL * self._spread**2 + days * spread * spread) / (_POOL + days)
        sd = unit * max(math.sqrt(pooled), self._floor)
        z = residual / sd

        # Learn. A stray point teaches little, and so does a point in an alert, until it is adopted.
        lasted = time - self._alert_began if self._alert else 0.0
        adopted = lasted >= s.adopt_days * DAY
        weight = _ALERT_WEIGHT if self._alert and not adopted else 1.0
        most = 3 * sd
        if adopted:
            self._level += self._adopt_gain * residual
        else:
            gain = max(1 / (count + self._points_a_week / 7), self._level_gain)
            self._level += gain * weight * _clip(residual, most)
        slowest = 1 / (s.day_memory * self._per_hour)
        step = weight * (smooth if count <= 3 * self._per_hour * 24 else _clip(smooth, 2 * most))
        for at, share in ((h1, rest), (h2, part)) if part else ((h1, rest),):
            hours_n[at] = seen = hours_n[at] + share
            hours[at] += share * max(1 / max(1.0, seen), slowest) * step
        self._day_n[b] += 1
        seen = self._day_n[b]
        self._day[b] = of_day + weight * max(1 / seen, 1 / (s.day_memory * self._per_bin)) * (
            fine if seen <= 2 else _clip(fine, most)
        )
        slowest = 1 / (s.week_memory * self._per_hour)
        step = weight * _clip(base - of_week, 1.5 * most)
        for at, share in ((w, rest), (w2, part)) if part else ((w, rest),):
            weeks_n[at] = seen = weeks_n[at] + share
            weeks[at] += share * max(1 / max(1.0, seen), slowest) * step
        far = abs(residual) / unit
        self._spread += (
            weight
            * max(1 / count, self._spread_gain)
            * (min(far, 4 * self._spread) * _SQRT_HALF_PI - self._spread)
        )
        self._spread = max(self._spread, self._floor)
        self._bin_n[h] = days = min(days + 1 / self._per_hour, s.spread_days)
        self._bin_spread[h] = spread + weight * min(1.0, 1 / days / self._per_hour) * (
            min(far, 4 * sd / unit) * _SQRT_HALF_PI - spread
        )
        if not judge:
            return self._nothing()

        # Evidence: averages of surprise, each against those that were usual.
        a = abs(z)
        if a > _KNEE:
            z = math.copysign(_KNEE * (1 + math.log(a / _KNEE)), z)
        missed = round((time - self._time) / self._dt) - 1
        score, span, sign = 0.0, 0, 1
        averages, fresh = self._average, self._fresh
        for i, g in enumerate(self._gain):
            average = averages[i]
            if missed > 0:
                average *= (1 - g) ** missed
            averages[i] = average = average + g * (z - average)
            side = 0 if average > 0 else 1
            size = abs(average) / self._sd[i]
            bar, peaks = self._bar[i][side], self._peak[i]
            peaks[0] *= self._fade
            peaks[1] *= self._fade
            peak = peaks[side]
            needed = bar
            if peak > bar and not self._alert:
                needed = min(peak, s.echo * bar)
            ratio = size / needed
            if ratio > score:
                score, span, sign = ratio, i, 1 - 2 * side
            if size > bar:
                if size > peak:
                    peaks[side] = size
                size = bar
            cell = int(_FINE * math.log1p(size))
            fresh[(2 * i + side) * _CELLS + (cell if cell < _CELLS else _CELLS - 1)] += weight
        if count % _REFIT == 0:
            if time - self._merged >= s.lag_days * DAY:  # an incident doesn't raise its own bar
                np.frombuffer(self._cells, np.float32)[:] += np.frombuffer(fresh, np.float32)
                self._fresh = _zeros(len(fresh))
                self._merged = time
            self._fit()

        # Alert.
        learned = self._learned_at(time)
        if learned < 1:
            score = 0.0
        if score >= 1 and not self._alert:
            there = self._value(expected, n)
            moved = self._value(expected + averages[span] * sd, n)
            if abs(moved - there) < s.least_change * abs(there):
                score = 0.99
        fires = False
        if score >= 1:
            fires = not self._alert
            if fires:
                self._alert, self._alert_began = True, time
            self._alert_last = time
        elif self._alert and time - self._alert_last > s.quiet_days * DAY:
            self._alert = False
        up, down = self._reach
        low = self._value(expected - down * sd, n)
        if self._offset:  # no value was negative while the scale was chosen
            low = max(0.0, low)
        return Judgement(
            fires,
            self._alert,
            score,
            self._rarity(span, 0 if sign > 0 else 1) if score else 0.0,
            self._value(expected, n),
            low,
            self._value(expected + up * sd, n),
            self._spans[span],
            sign,
            SEASONS[season],
            learned,
        )

    def _difference(self, weekday: int) -> float:
        """Return how much a weekday differs from all days: in spreads, squared, 1 or more."""
        off = np.frombuffer(self._week, np.float32)[24 * weekday : 24 * weekday + 24]
        by_hour = np.maximum(np.frombuffer(self._bin_spread, np.float32), self._spread / 2)
        unit = self._unit(self._n)
        return max(1.0, min(100.0, float(np.mean((off / (unit * by_hour)) ** 2))))

    def _learned_at(self, time: float) -> float:
        s = self.settings
        return min(1.0, (time - self._first) / DAY / s.learn_days, self._count / s.learn_points)

    def _fit(self) -> None:
        """Draw the tail of each span's averages to both sides, and set the bars."""
        s, spans = self.settings, self._spans
        all_cells = np.frombuffer(self._cells, np.float32).reshape(len(spans), 2, _CELLS)
        fade = min(self._fade**_REFIT, 0.5 ** (_EARLY * _REFIT / max(self._count, _REFIT)))
        self._tail: list[list[tuple[float, float, float]]] = []
        self._bar: list[list[float]] = []
        for k, sides in zip(spans, all_cells, strict=True):
            total = float(sides.sum())
            # so many averages a week are independent, on two sides, of each span
            p = k / (s.weeks * self._points_a_week * 2 * len(spans))
            z = -_NORMAL.inv_cdf(min(p, 0.01))
            young = 1 + _YOUNG * math.sqrt(k / self._count)
            tails = []
            for cells in sides:
                above = np.cumsum(cells[::-1], dtype=float)[::-1] / total
                near, far = self._quantile(above, _NEAR), self._quantile(above, _FAR)
                curve = math.log(max(far / near, 1.0001)) / math.log(_Z_FAR / _Z_NEAR)
                tails.append((far, min(_CURVED, max(1.0, curve)), young))
            self._tail.append(tails)
            self._bar.append([far * (z / _Z_FAR) ** curve * y for far, curve, y in tails])
        all_cells *= fade
        self._reach = [_unbend(bar) for bar in self._bar[0]] if spans[0] == 1 else [math.inf] * 2

    @staticmethod
    def _quantile(above: np.ndarray[Any, Any], p: float) -> float:
        """Return the size that averages exceed with a probability, from those of the cells."""
        i = int(np.count_nonzero(above >= p)) - 1
        if i < 0:
            return 0.3
        low = float(above[i + 1]) if i + 1 < _CELLS else 0.0
        part = (float(above[i]) - p) / max(float(above[i]) - low, 1e-12)
        return max(0.3, math.expm1((i + part) / _FINE))

    def _rarity(self, i: int, side: int) -> float:
        """Return once in how many weeks such an average comes by chance."""
        far, curve, young = self._tail[i][side]
        size = abs(self._average[i]) / self._sd[i] / young
        z = _Z_FAR * (size / far) ** (1 / curve)
        p = 0.5 * math.erfc(z / math.sqrt(2))
        each = self._spans[i] / (self._points_a_week * 2 * len(self._spans))
        return min(1e9, each / max(p, 1e-300))

    def save(self) -> State:
        """Return all that the detector knows, to be given to `restore`: numbers, lists, arrays."""
        return {key: _copy(x) for key, x in self.__dict__.items() if key not in _DERIVED}

    @classmethod
    def restore(cls, state: Mapping[str, Any], settings: Settings | None = None) -> Detector:
        """Return the detector that `save` described, with the same spans."""
        detector = cls(settings, scale=state["scale"])
        for key, x in state.items():
            setattr(detector, key, _copy(x))
        if detector._warm is None:
            detector._constants()
        return detector


_DERIVED = ("settings", "_gain", "_sd")


def _copy(x: Any) -> Any:
    if isinstance(x, array):
        return x[:]
    return [_copy(e) for e in x] if isinstance(x, list) else x


def _unbend(size: float) -> float:
    """Return the surprise that the logarithm beyond the knee turns into a size."""
    return size if size <= _KNEE else _KNEE * math.exp(min(20.0, size / _KNEE - 1))
