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

from models.aggregates.period_cost import PeriodCost, Subject
from models.kpi.measures import SUM_INDEX
from models.scope import Facet
from models.window import PANE_MS, BusinessDay
from streams.engine.steps import Steps
from streams.kpis.columnar.cell_columns import (
    NOTHING,
    CellColumns,
    sum_columns,
    together_in_steps,
)
from streams.kpis.columnar.user_columns import Integers
from streams.kpis.storage.bucket import Segment

PREFIX = b"costs/"
_REPORTS = SUM_INDEX["spend_reports"]
_LARGEST = 2**62


class _StoredDay(msgspec.Struct, array_like=True):
    """A business day as it is stored. Fields may only be appended.

    Args:
        restated: how often costs of it were restated.
        costs: its costs.
        offset: of the record of reports that changed it last.
    """

    restated: int
    costs: list[PeriodCost]
    offset: int = -1


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_StoredDay).decode


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
    """The treatment of a report, and the stretch [start, end) whose costs it changed, in ms."""

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
        self.costs: dict[Subject, PeriodCost] = {}
        self.starts_ms = _LARGEST
        self.dirty = False
        self.restated = 0
        self.offset = -1
        self._kept_as: dict[Subject, Subject] = {}
        """The key in `costs` by what a report was about as it named it."""
        self._arrays: _Arrays | None = None

    def put(self, cost: PeriodCost) -> tuple[PeriodCost | None, list[PeriodCost]]:
        """Add a report; of those about the same, keep the latest one.

        Returns:
            The report that is kept if that is a change, and those that were kept before.
        """
        known_as = self._kept_as.get(cost.named, cost.subject)
        subject = cost.subject if cost.placed else known_as
        self._kept_as[cost.named] = subject
        about = [known_as] if known_as == subject else [known_as, subject]
        before = [self.costs[one] for one in about if one in self.costs]
        latest = cost
        for other in before:
            if not latest.supersedes(other):
                latest = other
        if before == [latest]:
            return None, before
        self.costs.pop(known_as, None)
        self.costs[subject] = latest
        self.starts_ms = min(self.starts_ms, latest.from_ms)
        self.dirty = True
        self._arrays = None
        return latest, before

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
        self.stored_up_to = -1
        """Offset of the last record of reports that a restored day has costs of."""

    @property
    def counts(self) -> CostCounts:
        """The number of costs that are kept, and how often they were restated."""
        days = self._days.values()
        return CostCounts(sum(len(day.costs) for day in days), sum(day.restated for day in days))

    def record(self, cost: PeriodCost, *, at_offset: int) -> Recorded:
        """Record a report of a cost; the order and the repetition of reports do not matter.

        Args:
            cost: the cost.
            at_offset: of the record of reports. Up to `stored_up_to` reports are replayed after a
                crash: then windows that a report changed when it came first may be forgotten, and
                a repeated report changes them again.
        """
        ends_on = self._day.start_of(cost.until_ms - 1)
        if ends_on < self._kept_from_ms:
            return Recorded(Outcome.EXPIRED)
        day = self._days.setdefault(ends_on, _Day())
        kept, before = day.put(cost)
        if kept is None:
            (known,) = before
            if known.supersedes(cost):
                return Recorded(Outcome.SUPERSEDED)
            replayed = at_offset <= self.stored_up_to
            return Recorded(
                Outcome.REPEATED, (cost.from_ms, known.covered_ms) if replayed else None
            )
        day.offset = at_offset
        if not before:
            return Recorded(Outcome.NEW, (cost.from_ms, cost.covered_ms))
        day.restated += 1
        if [_counts(one) for one in before] == [_counts(kept)]:
            return Recorded(Outcome.RESTATED)
        covered = max(one.covered_ms for one in [kept, *before])
        return Recorded(Outcome.RESTATED, (cost.from_ms, covered))

    def columns(self, start: int, end: int) -> Steps[CellColumns]:
        """Return the costs of [start, end) by facet, with the number of their reports.

        Args:
            start: event time in ms, a multiple of a pane.
            end: likewise.
        """
        parts = []
        for ends_on, day in list(self._days.items()):
            if day.starts_ms < end and self._day.end_of(ends_on) > start:
                parts.append(self._columns(day, start, end))
                yield
        return (yield from together_in_steps(parts)) if parts else NOTHING

    def _columns(self, day: _Day, start: int, end: int) -> CellColumns:
        rows, places, starts, ends, units = day.arrays(self._row_of)
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
            yield self._columns(self._days.pop(ends_on), 0, self._day.end_of(ends_on))

    def take_segments(self) -> Iterator[Segment]:
        """Yield the days that changed since the last call, and removals of the expired ones."""
        for key in self._expired:
            yield Segment(key)
        self._expired = []
        for ends_on, day in self._days.items():
            if day.dirty:
                day.dirty = False
                stored = _StoredDay(day.restated, list(day.costs.values()), day.offset)
                yield Segment(_key(ends_on), partial(_encode, stored))

    def restore(self, key: bytes, data: bytes) -> None:
        """Restore a stored day."""
        day = self._days[int(key.removeprefix(PREFIX))] = _Day()
        stored = _decode(data)
        for cost in stored.costs:
            day.put(cost)
        day.restated, day.offset, day.dirty = stored.restated, stored.offset, False
        self.stored_up_to = max(self.stored_up_to, day.offset)

    def forget(self, before_ms: int) -> None:
        """Drop restored days before a time, in ms: their costs are in the all-time bucket."""
        for _ in self.expire(before_ms):
            pass


def _key(ends_on: int) -> bytes:
    return PREFIX + b"%d" % ends_on


def _counts(cost: PeriodCost) -> tuple[str, str, int, int]:
    """Return where a cost counts, how much, and until when."""
    return cost.campaign, cost.channel, cost.units, cost.covered_ms


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


def merged_stretches(stretches: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
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
