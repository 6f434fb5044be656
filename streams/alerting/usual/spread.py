"""The distance of values from what is expected, by hour of the day."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt

from streams.alerting.usual.rhythm import BandSettings, Floats, Rhythm

_POOL = 4.0
"""The spread of all hours counts as so many days of an hour's own."""
_SQRT_HALF_PI = 1.2533141373155
"""A standard deviation over the mean absolute deviation, of normal values."""


class Spread(msgspec.Struct, array_like=True):
    """The spread of a series, in units of `ValueScale.unit`.

    Args:
        overall: that of all hours.
        floor: the least.
        by_hour: that of each hour of the day.
        days: the number of days that each of them rests on.
    """

    overall: float
    floor: float
    by_hour: Floats
    days: Floats

    def deviation(self, hour: int, unit: float) -> float:
        """Return the standard deviation at an hour: its own, pooled with that of all hours."""
        own, days = self.by_hour[hour], self.days[hour]
        pooled = (_POOL * self.overall**2 + days * own * own) / (_POOL + days)
        return unit * max(math.sqrt(pooled), self.floor)

    def typical(self, unit: float) -> npt.NDArray[np.float32]:
        """Return the standard deviation of each hour, not far below that of all."""
        by_hour = np.maximum(np.frombuffer(self.by_hour, np.float32), self.overall / 2)
        return np.asarray(unit * by_hour)

    def learn(
        self,
        hour: int,
        residual: float,
        *,
        deviation: float,
        unit: float,
        weight: float,
        count: int,
        rhythm: Rhythm,
        settings: BandSettings,
    ) -> None:
        """Learn from the distance of a value from what was expected; a stray one teaches little."""
        far = abs(residual) / unit
        overall = self.overall
        self.overall = max(
            overall
            + weight
            * max(1 / count, rhythm.spread_gain)
            * (min(far, 4 * overall) * _SQRT_HALF_PI - overall),
            self.floor,
        )
        own = self.by_hour[hour]
        self.days[hour] = days = min(self.days[hour] + 1 / rhythm.per_hour, settings.spread_days)
        self.by_hour[hour] = own + weight * min(1.0, 1 / days / rhythm.per_hour) * (
            min(far, 4 * deviation / unit) * _SQRT_HALF_PI - own
        )
