"""The scale on which values are judged: their noise is about the same everywhere on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Literal

import msgspec

from streams.alerting.usual.rhythm import clipped

ScaleKind = Literal["auto", "count", "proportion"]
_OFFSET = 0.3


class ValueScale(msgspec.Struct, array_like=True):
    """The scale of a series.

    - A proportion of a known n is judged by the arcsine of its root, whose variance is 1 / 4n
      (Anscombe, "The transformation of Poisson, binomial and negative-binomial data", 1948).
    - Values that are never negative, such as counts and money, are judged by their logarithm, with
      0.3 of their median added: relative to the value above it, absolute below. The noise of
      counts is at least that of chance, the root of what is expected.
    - Other values are judged as they are.

    Args:
        kind: ``proportion``, ``count`` for numbers of events, or ``auto`` for anything else.
        offset: what is added before the logarithm; 0 if there is none.
    """

    kind: ScaleKind
    offset: float = 0.0

    @classmethod
    def of(cls, kind: ScaleKind, values: Sequence[float]) -> ValueScale:
        """Return the scale for a series that begins with some values."""
        if kind == "proportion" or min(values) < 0:
            return cls(kind)
        positive = [value for value in values if value > 0]
        return cls(kind, _OFFSET * median(positive) if positive else 1.0)

    def place(self, value: float, n: float) -> float:
        """Return the place of a value on the scale."""
        if self.kind == "proportion":
            share = (clipped(value * n, n) + 0.375) / (n + 0.75)
            return math.asin(math.sqrt(min(1.0, max(0.0, share))))
        offset = self.offset
        if offset <= 0:
            return value
        return math.log(value + offset) if value >= 0 else math.log(offset) + value / offset

    def value(self, place: float, n: float) -> float:
        """Return the value at a place."""
        if self.kind == "proportion":
            share = math.sin(min(math.pi / 2, max(0.0, place))) ** 2
            return min(1.0, max(0.0, (share * (n + 0.75) - 0.375) / n)) if n else 0.0
        offset = self.offset
        if offset <= 0:
            return place
        low = math.log(offset)
        return math.exp(min(place, 700.0)) - offset if place >= low else (place - low) * offset

    def noise(self, place: float, n: float) -> float:
        """Return the standard deviation on the scale, at a place, that chance alone makes."""
        if self.kind == "proportion":
            return self.unit(n)
        if self.kind != "count":
            return 0.0
        expected = max(self.value(place, n), 1.0)
        return math.sqrt(expected) / (expected + self.offset)

    def events(self, value: float, n: float) -> float:
        """Return the number of events behind a value: the part of a proportion, or a count."""
        if self.kind == "proportion":
            return value * n
        return value if self.kind == "count" else n

    def unit(self, n: float) -> float:
        """Return the standard deviation by sampling alone, where n says it; else 1."""
        return 0.5 / math.sqrt(n + 0.5) if self.kind == "proportion" else 1.0
