"""Cells by facet in buckets of 10 s, a minute, a quarter of an hour, a business day, an era.

A delta is added at once to the buckets that hold its pane, of those levels that
are kept of its time, so that late data need nothing special, and a long window is
the sum of few coarse buckets and the fine ones at its edges. Every bucket
remembers the offset of the report it last took, so that a replay adds nothing
twice. A business day is summed up from its quarters once it is settled: while it
goes on, it would be written anew with every checkpoint. The era takes the days
that are not kept any more. Days on which windows begin at a moment of their own
are pinned: their quarters are kept as long as days are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from models.aggregates.ingest_report import FacetCell, PanesWire
from models.scope import Scope
from models.window import (
    BEGINNING_MS,
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    PANE_MS,
    QUARTER_MS,
    WINDOWS,
    BusinessDay,
    align_down,
)
from streams.engine.steps import StepOf, Steps, in_groups
from streams.kpis.columnar.cell_columns import CellColumns, GrowingColumns, columns_of
from streams.kpis.columnar.facet_index import FacetIndex
from streams.kpis.columnar.scope_totals import ScopeTotals, Summed, summed
from streams.kpis.storage.all_time_bucket import ALL_TIME_LEVEL, AllTimeBucket
from streams.kpis.storage.bucket import Bucket, Segment
from streams.kpis.storage.bucket_level import BucketLevel
from streams.kpis.storage.campaign_sums import CampaignSums
from streams.kpis.storage.running_sums import RunningSums
from streams.kpis.storage.spilled_buckets import Spill, SpilledBuckets

QUARTER_LEVEL, DAY_LEVEL = 2, 3
STEPS = (PANE_MS, MINUTE_MS, QUARTER_MS, DAY_MS)
"""How long a bucket of a level is; business days may be an hour off."""

_LONGEST_DAYS = max(window.days for window in WINDOWS)
KEPT_MS = (
    30 * MINUTE_MS,
    DAY_MS + 2 * HOUR_MS,
    8 * DAY_MS + 4 * HOUR_MS,
    (2 * _LONGEST_DAYS + 2) * DAY_MS,
)
"""How long before the frontier the buckets of a level are kept: their longest window and
the period before it, its edge, and the longest correction horizon of the default
settings. Minutes are the edge of the day before, up to the same time of day. Quarters are
the edges of the same 24 hours a week before, and of the day before a change of a campaign
that long ago, and an hour for a change of the clock; they are in the cold store, so a week
of them takes little memory."""


LONGEST_FINE_MS = 5 * MINUTE_MS + PANE_MS
"""The longest window that closes every pane, and one pane."""


FROZEN_AFTER_MS = (LONGEST_FINE_MS + PANE_MS, LONGEST_FINE_MS, QUARTER_MS, QUARTER_MS)
"""So long after its end a bucket of a level is seldom looked at: it is kept in the cold store."""

SETTLED_AFTER_MS = 2 * QUARTER_MS
"""So long before a window's end its buckets do not change any more, but for very late data."""
LOOKED_THROUGH_EVERY_MS = (MINUTE_MS, MINUTE_MS, QUARTER_MS, QUARTER_MS)
"""How often, in event time, the buckets of a level are looked through for those to expire."""
PANES_A_STEP = 10
"""So many panes of a report, or parts of them, are added in one step, up to 5 ms."""
CELLS_A_STEP = 300
"""So many cells of a pane are added in one step, up to 5 ms."""
BUCKETS_READ_A_STEP = 8
"""So many buckets are added up in one step."""
BUCKETS_A_STEP = 50
"""So many buckets are restored, forgotten or frozen in one step, up to 5 ms."""
ENTRIES_A_STEP = 20_000
"""Fewer buckets are, if they have more entries than that together."""

LONG_MS = 3 * HOUR_MS
"""Longer windows that begin with a business day are summed from where they were summed before."""


class BucketStore:
    """All cells that windows may still need.

    Args:
        day: the business day.
        cold: where buckets are kept that are seldom looked at.
    """

    def __init__(self, day: BusinessDay, cold: Spill | None = None) -> None:
        self._frontier_ms = 0
        self._day = day
        self._facets = FacetIndex()
        self._spilled = SpilledBuckets(self._facets, {} if cold is None else cold)
        self._levels = tuple(BucketLevel() for _ in STEPS)
        self._expired: list[bytes] = []
        self._all_time = AllTimeBucket(self._spilled)
        self._running_sums = RunningSums(self._facets, self.cover)
        self._campaign_sums = CampaignSums(self._facets, self.cover)
        self._days_until = 0
        self.quarters_from_ms = 0
        """An older version may have forgotten quarters before that time."""
        self._pinned: frozenset[int] = frozenset()
        self._pinned_quarters: frozenset[int] = frozenset()
        self._applied = -1
        self._stored_up_to = -1

    def apply(self, panes: PanesWire, *, undo: PanesWire, at_offset: int) -> Steps[None]:
        """Take ``undo`` back and add ``panes``, unless this offset was applied before.

        Until the last step some buckets have a part of it only, and are not to be stored.
        """
        self._applied = at_offset
        taking: set[Bucket] = set()
        for cells_of, sign in ((undo, -1), (panes, 1)):
            for group in in_cells(cells_of):
                for start, cells in group:
                    delta = columns_of(cells, self._facets.number)
                    self._add(start, delta.retraction if sign < 0 else delta, at_offset, taking)
                yield

    def _add(self, start: int, delta: CellColumns, at_offset: int, taking: set[Bucket]) -> None:
        """Add a pane to the buckets that hold it.

        Args:
            start: of the pane.
            delta: what it has.
            at_offset: where it was reported.
            taking: the buckets that have another part of the same report already.
        """
        for bucket in self._holding(start):
            if bucket.offset < at_offset or bucket in taking:
                taking.add(bucket)
                bucket.add(delta, at_offset=at_offset)
        self._running_sums.changed(start)
        self._campaign_sums.changed(start)

    def _holding(self, start: int) -> Iterator[Bucket]:
        """Yield the buckets that hold a pane."""
        for level, buckets in enumerate(self._levels):
            aligned = self._aligned(level, start)
            bucket = buckets.get(aligned)
            if bucket is None:
                if not self._keeps(level, aligned):
                    continue
                bucket = Bucket(_key(level, aligned), self._spilled)
                buckets.put(aligned, bucket)
            elif bucket.frozen:
                buckets.thawed(aligned)
            yield bucket
        if self._all_time.holds(start):
            yield self._all_time.bucket

    def _keeps(self, level: int, start: int) -> bool:
        """Say whether buckets of a level are kept of that time; days are once they are settled."""
        if level == ALL_TIME_LEVEL:
            return True
        if level == DAY_LEVEL and self._day.end_of(start) > self._frontier_ms - SETTLED_AFTER_MS:
            return False
        if self._all_time.holds(start):
            return False
        return start >= self._kept_from_ms(level) or self._is_pinned(level, start)

    def _kept_from_ms(self, level: int) -> int:
        kept_from_ms = self._frontier_ms - KEPT_MS[level]
        return max(kept_from_ms, self.quarters_from_ms) if level == QUARTER_LEVEL else kept_from_ms

    def _is_pinned(self, level: int, start: int) -> bool:
        return level == QUARTER_LEVEL and start in self._pinned_quarters

    @property
    def pinned(self) -> list[int]:
        """The starts of the days whose quarters are kept as long as days are."""
        return sorted(self._pinned)

    def pin(self, days: Iterable[int]) -> bool:
        """Keep the quarters of these business days, and no others, as long as days are kept.

        A day whose quarters are gone already is left out: late data would make a part of it
        look like all.

        Args:
            days: their starts.

        Returns:
            Whether others are pinned than before.
        """
        before = self._pinned
        self._pin(day for day in days if day in before or self._keeps(QUARTER_LEVEL, day))
        return self._pinned != before

    def _pin(self, days: Iterable[int]) -> None:
        pinned = frozenset(day for day in days if not self._all_time.holds(day))
        if pinned != self._pinned:
            self._pinned = pinned
            self._pinned_quarters = frozenset(
                quarter
                for day in pinned
                for quarter in range(day, self._day.end_of(day), QUARTER_MS)
            )

    def _keeps_days_from(self, start: int) -> bool:
        """Say whether a business day begins there, from which on all days are kept."""
        kept = start >= self._kept_from_ms(DAY_LEVEL) and not self._all_time.holds(start)
        return kept and self._day.start_of(start) == start

    def holds(self, start: int, end: int) -> bool:
        """Say whether [start, end) can still be summed up exactly."""
        for level in range(DAY_LEVEL):
            # From here on it is made of buckets of this level or coarser ones.
            if start >= self._kept_from_ms(level):
                return True
            if start % STEPS[level + 1] or end % STEPS[level + 1]:
                break
        in_quarters_from_ms = self._kept_from_ms(QUARTER_LEVEL)
        in_quarters = self._day.start_of(end) >= in_quarters_from_ms and not end % QUARTER_MS
        if in_quarters and self._keeps_days_from(start):
            return True
        return end >= self._all_time.until_ms and all(
            self._keeps(level, at) for level, at in self._pieces(start, end)
        )

    def _aligned(self, level: int, time_ms: int) -> int:
        if level == DAY_LEVEL:
            return self._day.start_of(time_ms)
        return time_ms - time_ms % STEPS[level]

    def _end(self, level: int, start: int) -> int:
        return self._day.end_of(start) if level == DAY_LEVEL else start + STEPS[level]

    def cover(self, start: int, end: int) -> Iterator[Bucket]:
        """Yield the buckets that together are [start, end), coarse where possible."""
        for level, at in self._pieces(start, end):
            bucket = (
                self._all_time.bucket if level == ALL_TIME_LEVEL else self._levels[level].get(at)
            )
            if bucket is not None:
                yield bucket

    def _pieces(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield the level and the start of each bucket that [start, end) is made of."""
        at = start
        if start == BEGINNING_MS:
            yield ALL_TIME_LEVEL, start
            at = max(self._all_time.until_ms, self._oldest_day(before=end))
        turn = at if self._day.start_of(at) == at else self._day.end_of(at)
        while at < end:
            if at == turn:
                turn = self._day.end_of(at)
                if turn <= end and not self._in_quarters(at):
                    yield DAY_LEVEL, at
                    at = turn
                    continue
            level = QUARTER_LEVEL
            while at % STEPS[level] or at + STEPS[level] > end:
                level -= 1
                if level < 0:  # pragma: no cover - ends and starts are multiples of a pane
                    raise ValueError(f"[{start}, {end}) is not made of panes")
            yield level, at
            at += STEPS[level]

    def _oldest_day(self, *, before: int) -> int:
        """Return where the oldest day begins that has anything before that time."""
        oldest = (self._levels[QUARTER_LEVEL].oldest, self._levels[DAY_LEVEL].oldest)
        return self._day.start_of(min([start for start in oldest if start is not None] + [before]))

    def _in_quarters(self, day: int) -> bool:
        """Say whether a day is not summed up, or empty, so that its quarters say what it has."""
        return day not in self._levels[DAY_LEVEL] and self._keeps(QUARTER_LEVEL, day)

    def totals(
        self, start: int, end: int, *, only: Collection[Scope] | None = None
    ) -> Steps[ScopeTotals]:
        """Return what each scope had over [start, end).

        Args:
            start: a multiple of a pane.
            end: as well.
            only: the scopes that are wanted; None wants all.
        """
        numbers = None if only is None else self._facets.scope_numbers(only)
        found = yield from self._summed(start, end, only=numbers)
        return ScopeTotals(found, self._facets)

    def scopes_in(self, start: int, end: int) -> Steps[set[Scope]]:
        """Return the scopes that had anything over [start, end)."""
        facets: set[int] = set()
        yield from self._read(
            start, end, take=lambda columns: facets.update(columns.rows().tolist())
        )
        return self._facets.scopes_with(facets)

    def totals_of(self, campaigns: Collection[str], start: int, end: int) -> Steps[ScopeTotals]:
        """Return what campaigns and their channels had over [start, end)."""
        settled = max(start, self._settled_before(end))
        growing = yield from self._campaign_sums.over(campaigns, start, settled, end)
        found = yield from summed(growing, self._facets)
        totals = ScopeTotals(found, self._facets)
        return totals.only(lambda scope: scope.campaign in campaigns)

    def _summed(self, start: int, end: int, *, only: Collection[int] | None) -> Steps[Summed]:
        settled = self._settled_before(end)
        grows = start == BEGINNING_MS or self._day.start_of(start) == start
        if end - start > LONG_MS and grows and self.holds(start, settled):
            found = yield from self._running_sums.over(start, settled, end, only=only)
            return found
        growing = GrowingColumns()
        yield from self._read(start, end, take=growing.add)
        return (yield from summed(growing, self._facets, only=only))

    def _read(self, start: int, end: int, *, take: Callable[[CellColumns], None]) -> Steps[None]:
        """Hand over the columns of the buckets that together are [start, end)."""
        step = StepOf(BUCKETS_READ_A_STEP, entries=ENTRIES_A_STEP)
        for bucket in self.cover(start, end):
            columns = bucket.columns()
            take(columns)
            if step.enough(columns.size):
                yield
        yield

    @staticmethod
    def _settled_before(end: int) -> int:
        """Return up to where buckets do not change any more, a whole quarter of an hour."""
        return align_down(end - SETTLED_AFTER_MS, step_ms=QUARTER_MS)

    def panes(self) -> Iterable[int]:
        """Return the starts of the panes that are kept."""
        return self._levels[0].keys()

    def panes_after(self, frontier_ms: int) -> int:
        """Return how many panes have events and end after the frontier."""
        return sum(start + PANE_MS > frontier_ms for start in self._levels[0])

    def expire(self, frontier_ms: int) -> Steps[None]:
        """Sum up what is over, forget what no window will need, freeze what is seldom looked at."""
        if self._applied < self._stored_up_to:
            return  # what was applied before a crash is read again, and may miss in what is summed
        looked_at_ms, self._frontier_ms = self._frontier_ms, frontier_ms
        yield from self._sum_up_days(before=frontier_ms - SETTLED_AFTER_MS)
        yield from self._move_to_the_era(before=frontier_ms - KEPT_MS[DAY_LEVEL])
        self._pin(self._pinned)
        self._all_time.freeze()
        for level, step_ms in enumerate(LOOKED_THROUGH_EVERY_MS):
            if looked_at_ms // step_ms != frontier_ms // step_ms:
                yield from self._expire_level(level, frontier_ms)
        oldest_ms = frontier_ms - KEPT_MS[QUARTER_LEVEL]
        self._running_sums.forget_before(oldest_ms)
        self._running_sums.expire()
        self._campaign_sums.expire(frontier_ms, oldest_ms=oldest_ms)

    def _expire_level(self, level: int, frontier_ms: int) -> Steps[None]:
        buckets = self._levels[level]
        old = buckets.older_than(
            frontier_ms - KEPT_MS[level], kept=lambda start: self._is_pinned(level, start)
        )
        for starts in in_groups(old, of=BUCKETS_A_STEP):
            for start in starts:
                self._forget(level, start)
            yield
        cold = buckets.to_freeze(frontier_ms - STEPS[level] - FROZEN_AFTER_MS[level])
        step = StepOf(BUCKETS_A_STEP, entries=ENTRIES_A_STEP)
        for bucket in cold:
            size = bucket.columns().size
            bucket.freeze()
            if step.enough(size):
                yield

    def _move_to_the_era(self, *, before: int) -> Steps[None]:
        """Add the days that began before that time to the era."""
        days = self._levels[DAY_LEVEL]
        for start in days.older_than(before, kept=lambda _: False):
            self._all_time.take(days[start])
            self._forget(DAY_LEVEL, start)
            yield
        until_ms = self._day.start_of(before)
        self._all_time.extend(until_ms if until_ms == before else self._day.end_of(before))

    def _forget(self, level: int, start: int) -> None:
        self._levels[level].pop(start).forget()
        self._expired.append(_key(level, start))

    def take_segments(self) -> Iterator[Segment]:
        """Yield the buckets changed since the last call, and the expired ones, to be written."""
        for key in self._expired:
            yield Segment(key)
        self._expired = []
        for level, buckets in enumerate(self._levels):
            for start, bucket in buckets.items():
                if bucket.dirty:
                    bucket.dirty = False
                    yield Segment(_key(level, start), bucket.as_it_is())
            buckets.stored()
        yield from self._all_time.take_segments()

    def restore(
        self,
        segments: Mapping[bytes, bytes],
        *,
        frontier_ms: int = 0,
        offset: int = -1,
        quarters_from_ms: int = 0,
        pinned: Iterable[int] = (),
    ) -> Steps[None]:
        """Take up saved buckets.

        Args:
            segments: what `take_segments` yielded; some may be newer than the rest.
            frontier_ms: up to where everything was complete.
            offset: the last that was applied.
            quarters_from_ms: what it was.
            pinned: the days that were pinned then.
        """
        self._frontier_ms, self._applied = frontier_ms, offset
        self.quarters_from_ms = quarters_from_ms
        for group in in_groups(segments.items(), of=BUCKETS_A_STEP):
            for key, data in group:
                level, start = map(int, key.split(b"/")[1:])
                if level == ALL_TIME_LEVEL:
                    self._expired.extend(self._all_time.restore(start, data))
                else:
                    self._levels[level].put(start, Bucket.from_bytes(key, data, self._spilled))
            yield
        for day in [start for start in self._levels[DAY_LEVEL] if self._all_time.holds(start)]:
            self._forget(DAY_LEVEL, day)
        held = [self._all_time.bucket, *(one for level in self._levels for one in level.values())]
        self._stored_up_to = max(bucket.offset for bucket in held)
        yield from self._move_to_the_era(before=frontier_ms - KEPT_MS[DAY_LEVEL])
        self._pin(pinned)

    def _sum_up_days(self, *, before: int) -> Steps[None]:
        """Make the days that ended before that time, from their quarters."""
        if before < self._days_until:
            return
        days = self._levels[DAY_LEVEL]
        ended: defaultdict[int, list[Bucket]] = defaultdict(list)
        for start, quarter in self._levels[QUARTER_LEVEL].items():
            if self._day.end_of(start) <= before:
                ended[self._day.start_of(start)].append(quarter)
        for day, quarters in ended.items():
            if day in days or self._all_time.holds(day):
                continue  # after a crash its quarters may still be there
            bucket = Bucket(_key(DAY_LEVEL, day), self._spilled)
            days.put(day, bucket)
            for quarter in quarters:
                bucket.add(quarter.columns(), at_offset=max(bucket.offset, quarter.offset))
                yield
        self._days_until = self._day.end_of(before)

    def days_from_ms(self, *, partial: bool) -> int:
        """Return where the oldest whole day begins that is held; the first may be partial."""
        day = self._oldest_day(before=self._frontier_ms)
        return self._day.end_of(day) if partial else day

    def __len__(self) -> int:
        """Return how many buckets are held."""
        return sum(len(buckets) for buckets in self._levels)


def in_cells(panes: PanesWire) -> Iterator[list[tuple[int, list[FacetCell]]]]:
    """Yield what is added in one step: some panes of few cells, or a part of a larger one."""
    group: list[tuple[int, list[FacetCell]]] = []
    room = CELLS_A_STEP
    for start, cells in panes.items():
        for some in in_groups(cells, of=CELLS_A_STEP) if cells else ([],):
            if group and (len(some) > room or len(group) == PANES_A_STEP):
                yield group
                group, room = [], CELLS_A_STEP
            group.append((start, some))
            room -= len(some)
    if group:
        yield group


def _key(level: int, start: int) -> bytes:
    return b"bucket/%d/%d" % (level, start)
