"""Compares ways to find what is unusual in a KPI, on generated series with known faults.

Each series has five-minute values of four weeks, with the shape of a day and a week and
over-dispersed noise. A fault begins in the fourth week, between 9:00 and 21:00. Compared are:

- the band of rules of the kind `anomaly`, which learn the season of each series;
- the average of the last day ± k standard deviations, as Prometheus rules are often written;
- the value of a week before ± k standard deviations of such differences.

For the latter two, k is set so that the faultless series fire as seldom as by the band: a way that
fires at anything finds every fault.

python -m benchmarks.anomaly --series 30
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track
from rich.table import Table

from streams.alerting.usual.detector import Detector, Point
from streams.alerting.usual.rhythm import DAY_S as DAY
from streams.alerting.usual.rhythm import WEEK_S as WEEK

Floats = npt.NDArray[np.floating[Any]]
Kind = Literal["count", "ratio"]
STEP_S: Final = 300
A_DAY: Final = int(DAY) // STEP_S
A_WEEK: Final = 7 * A_DAY
CLICKS: Final = 500
"""The average clicks of five minutes."""
JUDGED_FROM: Final = A_WEEK
"""Points of the first week are not judged by any of the ways."""
QUIET: Final = A_DAY
"""Points after a firing in which another one is the same incident."""


class Series(NamedTuple):
    """Values of five minutes each.

    Args:
        kind: ``count`` or ``ratio``.
        times: seconds of local time.
        values: the values.
        n: the clicks behind a ratio; of a count, its values.
    """

    kind: Kind
    times: Floats
    values: Floats
    n: Floats


class Fault(NamedTuple):
    """A fault: what becomes of the values, and how many points may pass until it is found."""

    name: str
    kind: Kind
    share: float
    factor: float
    points: int


FAULTS: Final = (
    Fault("conversion of 10 % falls by 30 % for 20 min", "ratio", 0.1, 0.7, 4),
    Fault("conversion of 30 % falls by 30 % for 20 min", "ratio", 0.3, 0.7, 4),
    Fault("conversion of 5 % becomes 0 for 20 min", "ratio", 0.05, 0.0, 4),
    Fault("clicks become 0 for 20 min", "count", 0, 0.0, 4),
    Fault("clicks double for 1 h", "count", 0, 2.0, 12),
    Fault("clicks fall by 30 % for 2 h", "count", 0, 0.7, 24),
    Fault("conversion of 30 % falls by 5 % for 1 day (shall not fire)", "ratio", 0.3, 0.95, A_DAY),
)


def shape(times: Floats, *, of_work: bool) -> Floats:
    """Return the shape of a week, 1 on average: of an office's days, or of evenings at home."""
    hour, day = times % DAY / 3600, (times // DAY % 7).astype(int)
    weekend = (day == 2) | (day == 3)
    if of_work:
        morning, afternoon = np.exp(-(((hour - 11) / 3) ** 2)), np.exp(-(((hour - 15.5) / 3) ** 2))
        found = (0.15 + morning + 0.9 * afternoon) * np.where(weekend, 0.45, 1.0)
    else:
        evening, noon = np.exp(-(((hour - 20.5) / 4.5) ** 2)), np.exp(-(((hour - 12) / 3) ** 2))
        found = (0.25 + 0.75 * evening + 0.5 * noon) * np.where(weekend, 1.25, 1.0)
    return np.asarray(found / found.mean())


def generated(kind: Kind, seed: int, *, share: float, weeks: int) -> Series:
    """Return a faultless series."""
    rnd = np.random.default_rng(seed)
    times = 2_900 * WEEK + np.arange(weeks * A_WEEK) * float(STEP_S)
    expected = CLICKS * shape(times, of_work=bool(seed % 2))
    clicks = rnd.poisson(expected * rnd.gamma(60, 1 / 60, len(times))).astype(np.float64)
    if kind == "count":
        return Series(kind, times, clicks, clicks)
    of_day = share * (1 + 0.12 * np.sin(2 * np.pi * (times % DAY / DAY - 0.3)))
    orders = rnd.binomial(clicks.astype(np.int64), of_day)
    return Series(kind, times, orders / np.maximum(clicks, 1), np.maximum(clicks, 1))


def with_fault(fault: Fault, seed: int) -> tuple[Series, int]:
    """Return a series with a fault, and the index of its first point."""
    series = generated(fault.kind, 5_000 + seed, share=fault.share, weeks=4)
    rnd = np.random.default_rng(seed)
    at = 3 * A_WEEK + int(rnd.integers(0, 6)) * A_DAY + int(rnd.integers(9, 21)) * 3600 // STEP_S
    faulty = slice(at, at + fault.points)
    if fault.kind == "ratio" and fault.factor < 1:
        orders = np.round(series.values[faulty] * series.n[faulty]).astype(np.int64)
        series.values[faulty] = rnd.binomial(orders, fault.factor) / series.n[faulty]
    else:
        series.values[faulty] *= fault.factor
    return series, at


def by_band(series: Series) -> list[int]:
    """Return the points at which the band fires."""
    detector = Detector(scale="proportion" if series.kind == "ratio" else "count")
    given = zip(series.times.tolist(), series.values.tolist(), series.n.tolist(), strict=True)
    return [
        place
        for place, (time, value, n) in enumerate(given)
        if detector.observe(Point(time, time, value, n)).begins
    ]


def by_last_day(series: Series) -> Floats:
    """Return how many standard deviations each value is from the average of the day before it."""
    values, count = series.values, len(series.values)
    found = np.zeros(count)
    days = np.lib.stride_tricks.sliding_window_view(values, A_DAY)[: count - A_DAY]
    spread = np.maximum(days.std(axis=1), 1e-12)
    found[A_DAY:] = np.abs(values[A_DAY:] - days.mean(axis=1)) / spread
    return found


def by_last_week(series: Series) -> Floats:
    """Return how many standard deviations each value is from that of a week before."""
    changed = series.values[A_WEEK:] - series.values[:-A_WEEK]
    weeks = np.lib.stride_tricks.sliding_window_view(changed, A_WEEK)[: len(changed) - A_WEEK]
    found = np.zeros(len(series.values))
    found[2 * A_WEEK :] = np.abs(changed[A_WEEK:]) / np.maximum(weeks.std(axis=1), 1e-12)
    return found


def firings(distances: Floats, k: float) -> list[int]:
    """Return the points at which distances exceed k, those of one incident once."""
    found: list[int] = []
    for place in np.flatnonzero(distances > k).tolist():
        if place >= JUDGED_FROM and (not found or place - found[-1] > QUIET):
            found.append(place)
    return found


def fitted_k(distances: Sequence[Floats], most: int) -> float:
    """Return the smallest k with which all series together fire ``most`` times or fewer."""
    for k in np.arange(2.0, 40.0, 0.25):
        if sum(len(firings(one, float(k))) for one in distances) <= most:
            return float(k)
    return 40.0


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--series", type=int, default=30)
    count: int = parser.parse_args().series
    kinds: tuple[Kind, ...] = ("count", "ratio")
    faultless = [
        generated(kinds[seed % 2], 1_000 + seed, share=0.02 + 0.02 * (seed % 10), weeks=8)
        for seed in range(count)
    ]
    by_chance = sum(len(by_band(one)) for one in track(faultless, "faultless", transient=True))
    simple: dict[str, Callable[[Series], Floats]] = {
        "average of a day ± k": by_last_day,
        "a week before ± k": by_last_week,
    }
    ks = {
        name: fitted_k([way(one) for one in faultless], max(by_chance, 1))
        for name, way in simple.items()
    }
    table = Table("", "band", *(f"{name}, k = {ks[name]:g}" for name in simple))
    again = [
        str(sum(len(firings(way(one), ks[name])) for one in faultless))
        for name, way in simple.items()
    ]
    weeks = count * 7
    table.add_row(f"firings of {count} faultless series, {weeks} weeks", str(by_chance), *again)
    for fault in track(FAULTS, "faults", transient=True):
        found = dict.fromkeys(("band", *simple), 0)
        for seed in range(20):
            series, at = with_fault(fault, seed)
            until = range(at, at + fault.points)
            found["band"] += any(place in until for place in by_band(series))
            for name, way in simple.items():
                found[name] += any(place in until for place in firings(way(series), ks[name]))
        table.add_row(fault.name, *(f"{number} of 20" for number in found.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
