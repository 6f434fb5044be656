"""The level of a series, and the shape of its day and its week.

Four expectations compete: the level alone, with the hours of the day, with the bins of the day
(finer), and with the hours of the week. The one whose errors were smallest of late is used. The
hours of a weekday are trusted the more, the more weeks they rest on, and the more that weekday
differs from the others.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from streams.alerting.usual.rhythm import (
    DAY_S,
    HOURS_OF_WEEK,
    WEEK_S,
    BandSettings,
    Floats,
    Rhythm,
    clipped,
    zeros,
)

_WEEK_PRIOR = 2.0
"""Weeks, of a point an hour, that count as no deviation of a weekday before any are seen."""


class Place(NamedTuple):
    """The place of a time in the day and the week: between the middles of two hours.

    Args:
        day_bin: the bin of the day.
        hour: the hour of the day.
        hours: the two hours of the day.
        week_hours: the two hours of the week.
        shares: the share of each of the two.
    """

    day_bin: int
    hour: int
    hours: tuple[int, int]
    week_hours: tuple[int, int]
    shares: tuple[float, float]


def place_of(clock_s: float, rhythm: Rhythm) -> Place:
    """Return the place of a time of the local clock, in s since a Thursday 0:00."""
    day_bin = int(clock_s % DAY_S / DAY_S * rhythm.bins)
    hour = int(clock_s % DAY_S / 3600)
    if rhythm.per_hour > 1:
        middle = clock_s % WEEK_S / 3600 + HOURS_OF_WEEK - 0.5
        part = middle % 1
        first, second = int(middle) % HOURS_OF_WEEK, int(middle + 1) % HOURS_OF_WEEK
        return Place(day_bin, hour, (first % 24, second % 24), (first, second), (1 - part, part))
    only = int(clock_s % WEEK_S / 3600)
    return Place(day_bin, hour, (only % 24, only % 24), (only, only), (1.0, 0.0))


class Deviation(NamedTuple):
    """The deviation of a value from what was expected.

    Args:
        residual: from the expectation that is used.
        from_hours: from the level and the hours of the day.
        from_day: from the level, the hours and the bin of the day.
        from_base: from the better of these two.
        of_day: the shape of the bin.
        of_week: the shape of the hour of the week.
    """

    residual: float
    from_hours: float
    from_day: float
    from_base: float
    of_day: float
    of_week: float


class Season(msgspec.Struct, array_like=True):
    """The level and the shapes of a series, on the scale of its values.

    Args:
        level: the level.
        hour: the shape of the hours of the day.
        hour_n: the number of points that each rests on; likewise below.
        day: the shape of the bins of the day, beside the hours.
        week: the shape of the hours of the week, beside the day.
        errors: the mean error of each expectation, in deviations.
        chosen: the expectation that is used.
        weekday_differs: how much today's weekday differs from all days, in squared deviations.
        today: the number of today.
    """

    level: float
    hour: Floats
    hour_n: Floats
    day: Floats
    day_n: Floats
    week: Floats
    week_n: Floats
    errors: list[float]
    chosen: int = 0
    weekday_differs: float = 1.0
    today: int = -1

    @classmethod
    def unknown(cls, level: float, rhythm: Rhythm) -> Season:
        """Return a season of which only the level is known."""
        return cls(
            level,
            hour=zeros(24),
            hour_n=zeros(24),
            day=zeros(rhythm.bins),
            day_n=zeros(rhythm.bins),
            week=zeros(HOURS_OF_WEEK),
            week_n=zeros(HOURS_OF_WEEK),
            errors=[0.0] * 4,
        )

    def without_shapes_but_hours(self, rhythm: Rhythm) -> None:
        """Forget all but the level and the hours of the day."""
        self.day, self.day_n = zeros(rhythm.bins), zeros(rhythm.bins)
        self.week, self.week_n = zeros(HOURS_OF_WEEK), zeros(HOURS_OF_WEEK)
        self.errors, self.chosen, self.weekday_differs, self.today = [0.0] * 4, 0, 1.0, -1

    def begin_day(self, day: int, typical: npt.NDArray[np.float32]) -> None:
        """Note which day it is, and how much its weekday differs from all days.

        Args:
            day: the number of the day, Thursdays being multiples of 7.
            typical: the standard deviation of each hour.
        """
        self.today = day
        weekday = 24 * (day % 7)
        off = np.frombuffer(self.week, np.float32)[weekday : weekday + 24]
        self.weekday_differs = max(1.0, min(100.0, float(np.mean((off / typical) ** 2))))

    def deviation(
        self, at: Place, value: float, *, size: float, gain: float, rhythm: Rhythm
    ) -> Deviation:
        """Return how a value deviates; then choose the expectation for the next one.

        Args:
            at: the place of its time.
            value: the value, on the scale.
            size: 1 over the standard deviation, by which errors are compared.
            gain: the gain of the errors.
            rhythm: the rhythm of the series.
        """
        (hour, next_hour), (week, next_week), (rest, part) = at[2:]
        of_hour = rest * self.hour[hour] + part * self.hour[next_hour]
        of_week = rest * self.week[week] + part * self.week[next_week]
        weeks = rest * self.week_n[week] + part * self.week_n[next_week]
        of_day = self.day[at.day_bin]
        prior = _WEEK_PRIOR * math.sqrt(rhythm.per_hour) / self.weekday_differs
        errors, chosen = self.errors, self.chosen
        from_level = value - self.level
        from_hours = from_level - of_hour
        from_day = from_hours - of_day
        from_base = from_day if errors[2] < errors[1] else from_hours
        found = (from_level, from_hours, from_day, from_base - weeks / (weeks + prior) * of_week)
        least = math.inf
        for which in range(4):
            error = abs(found[which]) * size
            errors[which] += gain * ((error if error < 6.0 else 6.0) - errors[which])
            weighed = errors[which] if which == chosen else 1.02 * errors[which]
            if weighed < least:
                least, self.chosen = weighed, which
        return Deviation(found[chosen], from_hours, from_day, from_base, of_day, of_week)

    def learn(
        self,
        at: Place,
        deviation: Deviation,
        *,
        level_gain: float | None,
        most: float,
        weight: float,
        adopts: bool,
        count: int,
        rhythm: Rhythm,
        settings: BandSettings,
    ) -> None:
        """Learn from a deviation; a stray value teaches little.

        Args:
            at: the place of its time.
            deviation: the deviation.
            level_gain: the share of it by which the level moves; None for the usual one.
            most: what more than that teaches no more.
            weight: the weight of the point.
            adopts: whether the level moves to where the values are now.
            count: the number of points so far.
            rhythm: the rhythm of the series.
            settings: the settings.
        """
        if level_gain is not None:
            self.level += level_gain * deviation.residual
        elif adopts:
            self.level += rhythm.adopt_gain * deviation.residual
        else:
            gain = max(1 / (count + rhythm.per_week / 7), rhythm.level_gain)
            self.level += gain * weight * clipped(deviation.residual, most)
        per_hour = rhythm.per_hour
        off = deviation.from_hours
        off = off if count <= 3 * per_hour * 24 else clipped(off, 2 * most)
        slowest = 1 / (settings.day_memory * per_hour)
        _towards(self.hour, self.hour_n, at.hours, at.shares, weight * off, slowest)
        self.day_n[at.day_bin] += 1
        seen = self.day_n[at.day_bin]
        gain = max(1 / seen, 1 / (settings.day_memory * rhythm.per_bin))
        off = deviation.from_day if seen <= 2 else clipped(deviation.from_day, most)
        self.day[at.day_bin] = deviation.of_day + weight * gain * off
        off = clipped(deviation.from_base - deviation.of_week, 1.5 * most)
        slowest = 1 / (settings.week_memory * per_hour)
        _towards(self.week, self.week_n, at.week_hours, at.shares, weight * off, slowest)


def _towards(
    shape: Floats,
    seen: Floats,
    places: tuple[int, int],
    shares: tuple[float, float],
    off: float,
    slowest: float,
) -> None:
    """Move the shape at one or two places by what a point was off, by its share of the place."""
    for place, share in zip(places, shares, strict=True):
        if share:
            seen[place] = count = seen[place] + share
            shape[place] += share * max(1 / max(1.0, count), slowest) * off
