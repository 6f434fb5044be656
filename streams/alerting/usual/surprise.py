"""The evidence that a series is unusual: averages of its surprise, against those that were usual.

The surprise of a point is its distance from what was expected, in standard deviations. It is
averaged over the last 1, 4, 16 and 64 points. For each span and side a histogram says how large
such averages were so far. From its tail follows the bar: the size that comes by chance about once
in `BandSettings.weeks` weeks.

Example: a week has 2,016 points of five minutes, so 126 averages over 16 of them are independent.
Once in 200 weeks, with four spans on two sides, is a probability of 16 / (200 x 2,016 x 8) = 5e-6
for each: 4.4 standard deviations, if the tail is normal. If it is heavier, the bar is higher.
"""

from __future__ import annotations

import math
from array import array
from statistics import NormalDist
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from streams.alerting.usual.rhythm import DAY_S, BandSettings, Floats, Rhythm, zeros

_KNEE = 8.0
"""Surprise beyond it counts by its logarithm, so that one point can't fill all averages."""
_CELLS = 64
_FINE = 12.0
"""The histograms have so many cells, on the scale 12 log(1 + size)."""
_NEAR, _FAR = 0.20, 0.05
"""Tail probabilities from which the tail is drawn."""
_PRIOR, _PRIOR_SD = 50.0, 1.25
"""Normal averages that count before any are seen: how many, and their standard deviation."""
_CURVED = 1.4
"""The heaviest tail that is assumed: about exponential."""
_YOUNG = 3.0
"""Standard errors that a bar is higher while it rests on few averages."""
_EARLY = 3.0
"""The errors of the first weeks, when the shape was not known, are forgotten so much faster."""
REFIT = 64
"""Points between two fits of the bars."""
_NORMAL = NormalDist()
_Z_NEAR, _Z_FAR = -_NORMAL.inv_cdf(_NEAR), -_NORMAL.inv_cdf(_FAR)
_LEAST_BAR = 0.3


class Tail(NamedTuple):
    """The tail of the averages of a span to one side.

    Args:
        far: the size that is exceeded with the probability 0.05.
        curve: 1 for a normal tail, more for a heavier one.
        young: by what the bar is higher while it rests on few averages.
    """

    far: float
    curve: float
    young: float


class Surprise(msgspec.Struct, array_like=True):
    """The averages of a series' surprise, and those that were usual.

    Args:
        averages: the average of each span.
        usual: the histograms of the sizes of averages, by span and side.
        fresh: those of the last day, which do not count yet.
        merged_s: when they were last added to the others.
        peaks: the largest sizes that passed the bar, by span and side; they fade.
        bars: the bars, by span and side.
    """

    averages: list[float]
    usual: Floats
    fresh: Floats
    merged_s: float
    peaks: list[list[float]]
    bars: list[list[float]]

    @classmethod
    def unknown(cls, rhythm: Rhythm, *, at_s: float) -> Surprise:
        """Return the surprise of a series of which no average was seen."""
        spans = rhythm.spans
        x = np.abs(np.linspace(-3.5, 3.5, 2001))
        weights = np.exp(-x * x / 2)
        places = (_FINE * np.log1p(x * _PRIOR_SD)).astype(int)
        prior = np.bincount(places, weights / weights.sum(), _CELLS)
        usual = zeros(len(spans) * 2 * _CELLS)
        for which, span in enumerate(spans):
            for side in (0, 1):
                at = (2 * which + side) * _CELLS
                usual[at : at + _CELLS] = array("f", prior * _PRIOR * span / 2)
        return cls(
            averages=[0.0] * len(spans),
            usual=usual,
            fresh=zeros(len(usual)),
            merged_s=at_s,
            peaks=[[0.0, 0.0] for _ in spans],
            bars=[],
        )

    def begin_anew(self, *, after: int = -1) -> None:
        """Forget the averages of spans after an index: what comes is not averaged with what was."""
        for which in range(after + 1, len(self.averages)):
            self.averages[which] = 0.0

    def add(
        self,
        surprise: float,
        *,
        missed: int,
        weight: float,
        alert: bool,
        rhythm: Rhythm,
        echo: float,
    ) -> list[float]:
        """Add the surprise of a point; return the evidence of each span.

        It is a share of what an alert needs: 1 or more, or -1 or less, is a reason to alert.

        Args:
            surprise: the distance from what was expected, in standard deviations.
            missed: the number of points that did not come before it.
            weight: how much the averages count as usual ones.
            alert: whether an alert is on, which past ones do not impede.
            rhythm: the rhythm of the series.
            echo: `BandSettings.echo`.
        """
        size = abs(surprise)
        if size > _KNEE:
            surprise = math.copysign(_KNEE * (1 + math.log(size / _KNEE)), surprise)
        evidence = []
        averages, fade = self.averages, rhythm.fade
        for which, gain in enumerate(rhythm.gains):
            average = averages[which]
            if missed > 0:
                average *= (1 - gain) ** missed
            averages[which] = average = average + gain * (surprise - average)
            side = 0 if average > 0 else 1
            size = abs(average) / rhythm.deviations[which]
            bar, peaks = self.bars[which][side], self.peaks[which]
            peaks[0] *= fade
            peaks[1] *= fade
            peak = peaks[side]
            needed = min(peak, echo * bar) if peak > bar and not alert else bar
            evidence.append(math.copysign(size / needed, average))
            if size > bar:
                peaks[side] = max(size, peak)
                size = bar
            cell = min(int(_FINE * math.log1p(size)), _CELLS - 1)
            self.fresh[(2 * which + side) * _CELLS + cell] += weight
        return evidence

    def refit(self, count: int, *, at_s: float, rhythm: Rhythm, settings: BandSettings) -> None:
        """Let the averages of the last day count as usual once it is over; draw the tails again."""
        if at_s - self.merged_s >= settings.lag_days * DAY_S:
            np.frombuffer(self.usual, np.float32)[:] += np.frombuffer(self.fresh, np.float32)
            self.fresh = zeros(len(self.fresh))
            self.merged_s = at_s
        self.fit(count, rhythm=rhythm, settings=settings)

    def fit(self, count: int, *, rhythm: Rhythm, settings: BandSettings) -> None:
        """Draw the tail of each span's averages to both sides, and set the bars.

        Args:
            count: the number of points so far.
            rhythm: the rhythm of the series.
            settings: the settings.
        """
        spans = rhythm.spans
        cells = np.frombuffer(self.usual, np.float32).reshape(len(spans), 2, _CELLS)
        self.bars = []
        for span, sides in zip(spans, cells, strict=True):
            total = float(sides.sum())
            p = span / (settings.weeks * rhythm.per_week * 2 * len(spans))
            z = -_NORMAL.inv_cdf(min(p, 0.01))
            young = 1 + _YOUNG * math.sqrt(span / count)
            tails = [_tail(side, total, young=young) for side in sides]
            self.bars.append([far * (z / _Z_FAR) ** curve * y for far, curve, y in tails])
        cells *= min(rhythm.fade**REFIT, 0.5 ** (_EARLY * REFIT / max(count, REFIT)))

    def reach(self, side: int, *, rhythm: Rhythm) -> float:
        """Return the surprise of a single point that would be a reason to alert.

        Args:
            side: 1 above, -1 below.
            rhythm: the rhythm of the series.
        """
        if rhythm.spans[0] != 1:
            return math.inf
        bar = self.bars[0][0 if side > 0 else 1]
        return bar if bar <= _KNEE else _KNEE * math.exp(min(20.0, bar / _KNEE - 1))


def _tail(cells: npt.NDArray[Any], total: float, *, young: float) -> Tail:
    above = np.cumsum(cells[::-1], dtype=float)[::-1] / total
    near, far = _exceeded(above, _NEAR), _exceeded(above, _FAR)
    curve = math.log(max(far / near, 1.0001)) / math.log(_Z_FAR / _Z_NEAR)
    return Tail(far, min(_CURVED, max(1.0, curve)), young)


def _exceeded(above: npt.NDArray[Any], p: float) -> float:
    """Return the size that averages exceed with a probability.

    Args:
        above: the share of the averages in each cell or a larger one.
        p: the probability.
    """
    at = int(np.count_nonzero(above >= p)) - 1
    if at < 0:
        return _LEAST_BAR
    low = float(above[at + 1]) if at + 1 < _CELLS else 0.0
    part = (float(above[at]) - p) / max(float(above[at]) - low, 1e-12)
    return max(_LEAST_BAR, math.expm1((at + part) / _FINE))
