"""The settings of detectors, and what follows from them and the interval between points."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Floats = array[float]
else:
    Floats = array
"""An array of numbers of four bytes each; with its runtime type, which structs need."""

DAY_S = 86_400.0
WEEK_S = 7 * DAY_S
HOURS_OF_WEEK = 168


@dataclass(frozen=True, slots=True)
class BandSettings:
    """The settings by which a series is judged.

    One setting is meant for all series. A rule may change ``weeks`` and ``least_change``. The
    numbers were chosen on the series of the Numenta Anomaly Benchmark and on generated ones, see
    benchmarks/README.md.
    """

    weeks: float = 200.0
    """Sensitivity: by chance, a faultless series fires about once in so many weeks."""
    least_change: float = 0.10
    """A change of less than this share of the expected value never fires, however certain."""
    learn_days: float = 5.0
    """Days of the past that a judgement needs."""
    learn_points: int = 48
    """Points that a judgement needs, for series with a few points a day."""
    spans: tuple[int, ...] = (1, 4, 16, 64)
    """Numbers of points over which surprise is averaged."""
    longest_days: float = 2.0
    """Longer spans are left out: a change of days is one of the level."""
    quiet_days: float = 1.0
    """A detector teaches itself little until so long after the last reason to alert."""
    level_days: float = 14.0
    """Time constant of the level."""
    day_memory: float = 7.0
    """Number of days from which the shape of the day is averaged."""
    week_memory: float = 6.0
    """Number of weeks from which the shape of the week is averaged."""
    spread_days: float = 56.0
    """Time constant of the spread; half-life of an echo, and of the averages that were usual."""
    echo: float = 1.25
    """After an alert, evidence that is not above that alert's must pass the bar times this."""
    lag_days: float = 1.0
    """Averages count as usual only after so long, so that an incident doesn't raise its own bar."""
    adopt_days: float = 3.0
    """An alert that lasts longer is the new normal: the level moves there within a day or so."""

    def __post_init__(self) -> None:
        if not self.weeks > 0 or not self.least_change >= 0 or not self.echo >= 1:
            raise ValueError("weeks must be above 0, least_change at least 0, echo at least 1")
        if not self.spans or min(self.spans) < 1:
            raise ValueError("spans: give one or more numbers of points")


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Constants that follow from the settings and the interval between points.

    Args:
        interval_s: the interval between points, in s.
        bins: number of bins of the shape of the day.
        per_bin: points a day in a bin.
        per_hour: points an hour.
        per_week: points a week.
        spans: the spans that are used.
        gains: the gain of the exponential average of each span.
        deviations: the standard deviation of each average of white noise.
        level_gain: the gain of the level.
        adopt_gain: the gain of the level while it adopts a long alert.
        spread_gain: the gain of the spread.
        season_gain: the gain of the errors by which the season is chosen.
        fade: by what an echo fades from point to point.
    """

    interval_s: float
    bins: int
    per_bin: float
    per_hour: float
    per_week: float
    spans: tuple[int, ...]
    gains: tuple[float, ...]
    deviations: tuple[float, ...]
    level_gain: float
    adopt_gain: float
    spread_gain: float
    season_gain: float
    fade: float


_SEASON_DAYS = 2.0
"""Half-life of the errors by which the season is chosen, in days."""
_MOST_BINS = 288


@lru_cache(maxsize=256)
def rhythm_of(settings: BandSettings, interval_s: float) -> Rhythm:
    """Return what follows from settings and the interval between points, in s."""
    days = interval_s / DAY_S
    bins = int(min(_MOST_BINS, max(1, round(DAY_S / interval_s))))
    longest_s = settings.longest_days * DAY_S
    spans = tuple(span for span in settings.spans if span * interval_s <= longest_s) or (1,)
    gains = tuple(2 / (span + 1) for span in spans)
    return Rhythm(
        interval_s=interval_s,
        bins=bins,
        per_bin=max(1.0, DAY_S / bins / interval_s),
        per_hour=max(1.0, 3600 / interval_s),
        per_week=WEEK_S / interval_s,
        spans=spans,
        gains=gains,
        deviations=tuple(math.sqrt(gain / (2 - gain)) for gain in gains),
        level_gain=1 - math.exp(-days / settings.level_days),
        adopt_gain=1 - math.exp(-2 * days),
        spread_gain=1 - math.exp(-days / settings.spread_days),
        season_gain=1 - 0.5 ** (days / _SEASON_DAYS),
        fade=0.5 ** (days / settings.spread_days),
    )


def clipped(x: float, most: float) -> float:
    """Return a number, at most ``most`` from 0."""
    if x > most:
        return most
    return -most if x < -most else x


def zeros(count: int) -> Floats:
    """Return an array of zeros of four bytes each."""
    return array("f", bytes(4 * count))
