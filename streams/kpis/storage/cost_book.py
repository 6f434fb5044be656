"""Costs of periods: the last report of each, and what windows have of them.

The costs are not in the buckets. They are spread anew for each window that is summed up, so that a
report that replaces an earlier one changes two numbers, and not all buckets of its period. Kept
are the reports of the periods that end on a business day that is kept; the costs of older days are
added to the all-time bucket.

Example: 2,400,000 units for a day are spread over 8,640 panes. The five minutes [10:00, 10:05) have
what the day had by 10:05 less what it had by 10:00, each rounded down: 1,008,333 - 1,000,000 units.
The parts of adjacent windows add up to exactly the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import Enum, auto
from functools import partial
from typing import NamedTuple

import msgspec
import numpy as np

from models.aggregates.period_cost import PeriodCost
from models.kpi.measures import SUM_INDEX
from models.scope import Facet
from models.window import PANE_MS, BusinessDay
from streams.kpis.columnar.cell_columns import NOTHING, CellColumns, sum_columns
from streams.kpis.columnar.user_columns import Integers
from streams.kpis.storage.bucket import Segment

PREFIX = b"costs/"
_REPORTS = SUM_INDEX["spend_reports"]
_LARGEST = 2**62

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[int, list[PeriodCost]]).decode


class Outcome(Enum):
    """The treatment of a report of a cost."""

    NEW = auto()
    """The first one about its period."""
    RESTATED = auto()
    """It replaces an earlier one."""
    REPEATED = auto()
    """It is known already, perhaps because records are read again after a crash."""
    SUPERSEDED = auto()
    """A later one is known already."""
    EXPIRED = auto()
    """Its period ended on a day that is not kept any more."""


class Recorded(NamedTuple):
    """The treatment of a report, and the stretch [start, end) whose costs it changed, in ms.

    A repeated report changed costs when it came first. Windows that it changed then may have been
    forgotten in a crash.
    """

    outcome: Outcome
    changed: tuple[int, int] | None = None


class CostCounts(NamedTuple):
    """The number of costs of periods that are kept, and how often they were restated."""

    kept: int
    restated: int


class _Arrays(NamedTuple):
    """The costs of a day as arrays of one length. Times are in panes since the epoch."""

    rows: Integers
    places: Integers
    starts: Integers
    ends: Integers
    units: Integers


class _Day:
    """The reports of the periods that end on one business day."""

    def __init__(self) -> None:
        self.costs: dict[tuple[str, str, str, int, int], PeriodCost] = {}
        self.starts_ms = _LARGEST
        self.dirty = False
        self.restated = 0
        self._arrays: _Arrays | None = None

    def put(self, cost: PeriodCost) -> None:
        """Add a report, or replace the one about the same."""
        self.costs[cost.subject] = cost
        self.starts_ms = min(self.starts_ms, cost.from_ms)
        self.dirty = True
        self._arrays = None

    def arrays(self, row_of: Callable[[Facet], int]) -> _Arrays:
        """Return the costs as arrays."""
        if self._arrays is None:
            columns = [
                (
                    row_of(Facet(cost.campaign, cost.channel)),
                    SUM_INDEX[cost.measure],
                    cost.from_ms // PANE_MS,
                    cost.covered_ms // PANE_MS,
                    cost.units,
                )
                for cost in self.costs.values()
            ]
            self._arrays = _Arrays(*np.array(columns, np.int64).T)
        return self._arrays


class CostBook:
    """The last report of each cost and period.

    Args:
        day: the business day.
        row_of: returns the row of a facet.
    """

    def __init__(self, day: BusinessDay, row_of: Callable[[Facet], int]) -> None:
        self._day = day
        self._row_of = row_of
        self._days: dict[int, _Day] = {}
        self._expired: list[bytes] = []
        self._kept_from_ms = 0

    @property
    def counts(self) -> CostCounts:
        """The number of costs that are kept, and how often they were restated."""
        days = self._days.values()
        return CostCounts(sum(len(day.costs) for day in days), sum(day.restated for day in days))

    def record(self, cost: PeriodCost) -> Recorded:
        """Record a report of a cost; the order and the repetition of reports do not matter."""
        ends_on = self._day.start_of(cost.until_ms - 1)
        if ends_on < self._kept_from_ms:
            return Recorded(Outcome.EXPIRED)
        day = self._days.setdefault(ends_on, _Day())
        before = day.costs.get(cost.subject)
        if before is None:
            day.put(cost)
            return Recorded(Outcome.NEW, (cost.from_ms, cost.covered_ms))
        if before.supersedes(cost):
            return Recorded(Outcome.SUPERSEDED)
        changed = (cost.from_ms, max(before.covered_ms, cost.covered_ms))
        if not cost.supersedes(before):
            return Recorded(Outcome.REPEATED, changed)
        day.put(cost)
        day.restated += 1
        same = (before.units, before.covered_ms) == (cost.units, cost.covered_ms)
        return Recorded(Outcome.RESTATED, None if same else changed)

    def columns(self, start: int, end: int) -> CellColumns:
        """Return the costs of [start, end) by facet, with the number of their reports.

        Args:
            start: event time in ms, a multiple of a pane.
            end: likewise.
        """
        days = [
            day
            for ends_on, day in self._days.items()
            if day.starts_ms < end and self._day.end_of(ends_on) > start
        ]
        return self._columns(days, start, end) if days else NOTHING

    def _columns(self, days: Iterable[_Day], start: int, end: int) -> CellColumns:
        arrays = [day.arrays(self._row_of) for day in days]
        rows, places, starts, ends, units = map(np.concatenate, zip(*arrays, strict=True))
        first, last = start // PANE_MS, end // PANE_MS
        within = (starts < last) & (ends > first)
        rows, places, starts, ends, units = (
            column[within] for column in (rows, places, starts, ends, units)
        )
        by_end = _spread(units, np.minimum(ends, last) - starts, ends - starts)
        by_start = _spread(units, np.maximum(starts, first) - starts, ends - starts)
        return sum_columns(
            np.append(rows, rows),
            np.append(places, np.full(len(rows), _REPORTS)),
            np.append(by_end - by_start, np.ones(len(rows), np.int64)),
        )

    def expire(self, before_ms: int) -> Iterator[CellColumns]:
        """Drop the days before a time, in ms; yield the costs of each by facet."""
        self._kept_from_ms = max(self._kept_from_ms, before_ms)
        for ends_on in sorted(day for day in self._days if day < before_ms):
            self._expired.append(_key(ends_on))
            yield self._columns([self._days.pop(ends_on)], 0, self._day.end_of(ends_on))

    def take_segments(self) -> Iterator[Segment]:
        """Yield the days that changed since the last call, and removals of the expired ones."""
        for key in self._expired:
            yield Segment(key)
        self._expired = []
        for ends_on, day in self._days.items():
            if day.dirty:
                day.dirty = False
                yield Segment(
                    _key(ends_on), partial(_encode, (day.restated, list(day.costs.values())))
                )

    def restore(self, key: bytes, data: bytes) -> None:
        """Restore a stored day."""
        day = self._days[int(key.removeprefix(PREFIX))] = _Day()
        day.restated, costs = _decode(data)
        for cost in costs:
            day.put(cost)
        day.dirty = False

    def forget(self, before_ms: int) -> None:
        """Drop restored days before a time, in ms: their costs are in the all-time bucket."""
        for _ in self.expire(before_ms):
            pass


def _key(ends_on: int) -> bytes:
    return PREFIX + b"%d" % ends_on


def _spread(units: Integers, passed: Integers, length: Integers) -> Integers:
    """Return the part of each amount that falls into the first ``passed`` panes of ``length``.

    It is rounded towards 0, so that a credit is spread as a cost is.
    """
    amounts = np.abs(units)
    if len(units) and int(amounts.max()) > _LARGEST // max(1, int(length.max())):
        parts = amounts.astype(object) * passed // length
        return np.sign(units) * parts.astype(np.int64)
    spread: Integers = np.sign(units) * (amounts * passed // length)
    return spread


def changed_together(stretches: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Merge stretches of time [start, end) that overlap or touch; yield them ascending.

    Example: [1, 3), [7, 9) and [2, 5) are [1, 5) and [7, 9).
    """
    at: tuple[int, int] | None = None
    for start, end in sorted(stretches):
        if at is not None and start <= at[1]:
            at = at[0], max(at[1], end)
        else:
            if at is not None:
                yield at
            at = start, end
    if at is not None:
        yield at
