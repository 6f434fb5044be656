"""Bucket store: cells by facet in buckets of 10 s, 1 min, 15 min, a business day, and all time.

A reported pane is added to its bucket of every level that is still kept for its time. Late data
therefore need no special handling. A window is the sum of the coarsest buckets that fit into it:

    1h ending at 12:07        8 minutes, 3 quarters, 7 minutes     [11:07, 12:07)
    5m ending at 12:07:30     3 panes, 4 minutes, 3 panes          [12:02:30, 12:07:30)
    week ending at 12:15      6 business days, 49 quarters         today is not summed up yet
    so_far ending at 12:15    all time, the days kept, 49 quarters

Each bucket stores the offset of the last record of reports that it contains. After a crash, buckets
may be newer than the head. A replayed report is added only to buckets with a smaller offset.

The bucket of a business day is built from its quarters once the day is settled. Before that it
would change, and be rewritten, with every checkpoint. Days that expire are added to the all-time
bucket. Days on which a phase of a campaign begins are *pinned*: their quarters are kept as long
as days are, so that a window that begins within such a day stays exact.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from models.aggregates.ingest_report import FacetCell, PanesWire
from models.aggregates.period_cost import PeriodCost
from models.kpi.measures import NO_CUSTOM, CustomNames
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
from streams.kpis.storage.cost_book import PREFIX as COSTS
from streams.kpis.storage.cost_book import CostBook, CostCounts, Recorded
from streams.kpis.storage.running_sums import RunningSums
from streams.kpis.storage.spilled_buckets import Spill, SpilledBuckets
from streams.kpis.storage.traffic_by_day import Counts, TrafficByDay
from streams.kpis.storage.user_stocks import Past, StockFigures, UserStocks

QUARTER_LEVEL, DAY_LEVEL = 2, 3
STEPS = (PANE_MS, MINUTE_MS, QUARTER_MS, DAY_MS)
"""The length of a bucket of each level, in ms; business days may be an hour longer or shorter."""


def _longest_ms(step_ms: int) -> int:
    """Return the longest length of a window that closes at least every step, in ms."""
    return max(window.length_ms or 0 for window in WINDOWS if window.step_ms <= step_ms)


CUSTOMER_DAYS = 60
"""The default of KPI_CUSTOMER_DAYS."""


def kept_ms(customer_days: int = CUSTOMER_DAYS) -> tuple[int, int, int, int]:
    """Return the time before the frontier for which buckets of each level are kept, in ms.

    Each covers the longest window that needs the level, the period before that window, its edges,
    and the longest correction horizon, 15 min. Minutes are needed for the day before, up to the
    same time of day. Quarters are needed for the same 24 hours a week before, for the day before a
    change of a campaign at that time, and for one hour of daylight saving time. Old quarters are
    spilled, so a week of them takes little memory. Days are kept for the longest window of business
    days and the period before it, or for the customers before it, whichever begins earlier.

    Example:
        The longest window that closes every pane has 5 min: panes are kept for 2 x 5 + 20 min. The
        longest window of a fixed length has 24 h: quarters are kept for 7 + 1 days and 4 hours.

    Args:
        customer_days: the number of business days from which customers are counted.
    """
    days = max(window.days for window in WINDOWS)
    return (
        2 * _longest_ms(PANE_MS) + 20 * MINUTE_MS,
        max(2 * _longest_ms(MINUTE_MS), DAY_MS) + 2 * HOUR_MS,
        7 * DAY_MS + _longest_ms(QUARTER_MS) + 4 * HOUR_MS,
        (max(2 * days, days + customer_days) + 2) * DAY_MS,
    )


LONGEST_FINE_MS = _longest_ms(PANE_MS) + PANE_MS
"""The longest window that closes every pane, plus one pane, in ms."""


SPILLED_AFTER_MS = (LONGEST_FINE_MS + PANE_MS, LONGEST_FINE_MS, QUARTER_MS, QUARTER_MS)
"""The time after its end at which a bucket of each level is spilled, in ms: it is seldom read."""

SETTLED_AFTER_MS = 2 * QUARTER_MS
"""Buckets that end so long before a window's end are settled: only very late data change them."""
LOOKED_THROUGH_EVERY_MS = (MINUTE_MS, MINUTE_MS, QUARTER_MS, QUARTER_MS)
"""The interval at which buckets of each level are checked for expiry and spilling, in ms."""
PANES_A_STEP = 10
"""The most panes of a report, or parts of panes, added in one step of up to 5 ms."""
CELLS_A_STEP = 300
"""The most cells added in one step of up to 5 ms."""
BUCKETS_READ_A_STEP = 8
"""The most buckets read for a window in one step."""
BUCKETS_A_STEP = 50
"""The most buckets restored, removed or spilled in one step of up to 5 ms."""
ENTRIES_A_STEP = 20_000
"""A step of reading or spilling ends early once its buckets have this many entries."""

LONG_MS = 3 * HOUR_MS
"""Longer windows that begin with a business day, or with all time, use running sums."""


class BucketStore:
    """All cells that windows may still need.

    All times are event times in ms. Long work is returned as `Steps`.

    Args:
        day: where business days begin and end.
        spill: stores spilled buckets; None for a dict in memory.
        custom: the custom measures that are declared.
        customer_days: the number of business days from which customers are counted.
    """

    def __init__(
        self,
        day: BusinessDay,
        spill: Spill | None = None,
        *,
        custom: CustomNames = NO_CUSTOM,
        customer_days: int = CUSTOMER_DAYS,
    ) -> None:
        self.kept_ms = kept_ms(customer_days)
        self._frontier_ms = 0
        self._day = day
        self._facets = FacetIndex(custom)
        self._spilled = SpilledBuckets(self._facets, {} if spill is None else spill)
        self._levels = tuple(BucketLevel() for _ in STEPS)
        self._expired: list[bytes] = []
        self._all_time = AllTimeBucket(self._spilled)
        self._running_sums = RunningSums(self._facets, self.cover)
        self._campaign_sums = CampaignSums(self._facets, self.cover)
        self._costs = CostBook(day, self._facets.number)
        self._stocks = UserStocks(self._facets, self.cover, day)
        self._traffic = TrafficByDay(self._facets, self.cover, day)
        self._days_until = 0
        self._pinned: frozenset[int] = frozenset()
        self._pinned_quarters: frozenset[int] = frozenset()
        self._applied = -1
        self._stored_up_to = -1

    @property
    def levels(self) -> tuple[BucketLevel, ...]:
        """The kept buckets by their start: panes, minutes, quarters of an hour, business days."""
        return self._levels

    def apply(self, panes: PanesWire, *, retracted: PanesWire, at_offset: int) -> Steps[None]:
        """Retract ``retracted`` and add ``panes`` in all buckets that do not have this offset yet.

        Until the last step some buckets contain only a part of the report. No snapshot may be
        taken before.

        Args:
            panes: cells by the start of their pane.
            retracted: the cells of a replaced report, by the start of their pane.
            at_offset: of the record of reports.
        """
        self._applied = at_offset
        taking: set[Bucket] = set()
        for cells_of, sign in ((retracted, -1), (panes, 1)):
            for group in in_cells(cells_of):
                for start, cells in group:
                    delta = columns_of(cells, self._facets.number, self._facets.custom)
                    self._add(start, delta.retraction if sign < 0 else delta, at_offset, taking)
                yield

    def record_cost(self, cost: PeriodCost, *, at_offset: int) -> Recorded:
        """Record a cost of a period, from the record of reports at an offset."""
        return self._costs.record(cost, at_offset=at_offset)

    @property
    def cost_counts(self) -> CostCounts:
        """The number of costs of periods that are kept, and how often they were restated."""
        return self._costs.counts

    def _add(self, start: int, delta: CellColumns, at_offset: int, taking: set[Bucket]) -> None:
        """Add cells of a pane to the buckets that contain the pane.

        Args:
            start: the start of the pane.
            delta: its cells.
            at_offset: the offset of the record of reports.
            taking: the buckets to which a part of the same report was added already. Their offset
                is ``at_offset`` because of that part, and not because of a replay.
        """
        for bucket in self._holding(start):
            if bucket.offset < at_offset or bucket in taking:
                taking.add(bucket)
                bucket.add(delta, at_offset=at_offset)
        self._running_sums.changed(start)
        self._campaign_sums.changed(start)
        self._traffic.changed(start)
        if delta.users.size:
            self._stocks.changed(start)

    def _holding(self, start: int) -> Iterator[Bucket]:
        """Yield the buckets that contain a pane, and create those that are missing."""
        for level, buckets in enumerate(self._levels):
            aligned = self._aligned(level, start)
            bucket = buckets.get(aligned)
            if bucket is None:
                if not self._keeps(level, aligned):
                    continue
                bucket = Bucket(_key(level, aligned), self._spilled)
                buckets.put(aligned, bucket)
            elif bucket.spilled:
                buckets.loaded(aligned)
            yield bucket
        if self._all_time.holds(start):
            yield self._all_time.bucket

    def _keeps(self, level: int, start: int) -> bool:
        """Return whether a level keeps buckets of that time; of days, only settled ones."""
        if level == ALL_TIME_LEVEL:
            return True
        if level == DAY_LEVEL and self._day.end_of(start) > self._frontier_ms - SETTLED_AFTER_MS:
            return False
        if self._all_time.holds(start):
            return False
        return start >= self._kept_from_ms(level) or self._is_pinned(level, start)

    def _kept_from_ms(self, level: int) -> int:
        return self._frontier_ms - self.kept_ms[level]

    def _is_pinned(self, level: int, start: int) -> bool:
        return level == QUARTER_LEVEL and start in self._pinned_quarters

    @property
    def pinned(self) -> list[int]:
        """The starts of the days whose quarters are kept as long as days are, ascending."""
        return sorted(self._pinned)

    def pin(self, days: Iterable[int]) -> bool:
        """Keep the quarters of these business days, and of no others, as long as days are kept.

        A day whose quarters have expired already is not pinned: late data would recreate some of
        them, and the part would pass for the whole day.

        Args:
            days: the starts of the days.

        Returns:
            Whether the set of pinned days changed.
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
        """Return whether a business day begins at ``start``, and days are kept from there on."""
        kept = start >= self._kept_from_ms(DAY_LEVEL) and not self._all_time.holds(start)
        return kept and self._day.start_of(start) == start

    def holds(self, start: int, end: int) -> bool:
        """Return whether the buckets kept still add up to exactly [start, end)."""
        for level in range(DAY_LEVEL):
            # Start and end are multiples of this step: no finer level is needed.
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
        """Yield the buckets that together cover [start, end), as coarse as possible.

        Stretches without events have no bucket.
        """
        for level, at in self._pieces(start, end):
            bucket = (
                self._all_time.bucket if level == ALL_TIME_LEVEL else self._levels[level].get(at)
            )
            if bucket is not None:
                yield bucket

    def _pieces(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield the level and the start of each bucket that [start, end) consists of."""
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
        """Return the start of the oldest day held, or of the day of ``before`` if it is earlier."""
        oldest = (self._levels[QUARTER_LEVEL].oldest, self._levels[DAY_LEVEL].oldest)
        return self._day.start_of(min([start for start in oldest if start is not None] + [before]))

    def _in_quarters(self, day: int) -> bool:
        """Return whether a day must be read from its quarters: it has no bucket of its own."""
        return day not in self._levels[DAY_LEVEL] and self._keeps(QUARTER_LEVEL, day)

    def totals(
        self, start: int, end: int, *, only: Collection[Scope] | None = None
    ) -> Steps[ScopeTotals]:
        """Return the cell of each scope over [start, end).

        Args:
            start: a multiple of `PANE_MS`.
            end: a multiple of `PANE_MS`.
            only: the scopes to calculate; None for all.
        """
        numbers = None if only is None else self._facets.scope_numbers(only)
        found = yield from self._summed(start, end, only=numbers)
        return ScopeTotals(found, self._facets)

    def scopes_in(self, start: int, end: int) -> Steps[set[Scope]]:
        """Return the scopes that have cells in [start, end)."""
        costs = yield from self._costs.columns(start, end)
        facets = set(costs.rows().tolist())
        yield from self._read(
            start, end, take=lambda columns: facets.update(columns.rows().tolist())
        )
        return self._facets.scopes_with(facets)

    def totals_of(self, campaigns: Collection[str], start: int, end: int) -> Steps[ScopeTotals]:
        """Return the cells of campaigns and of their channels over [start, end)."""
        settled = max(start, self._settled_before(end))
        growing = yield from self._campaign_sums.over(campaigns, start, settled, end)
        growing.add((yield from self._costs.columns(start, end)))
        found = yield from summed(growing, self._facets)
        totals = ScopeTotals(found, self._facets)
        return totals.only(lambda scope: scope.campaign in campaigns)

    def stocks(
        self, past: Past, totals: ScopeTotals, *, only: Collection[Scope] | None
    ) -> Steps[Callable[[Scope], StockFigures]]:
        """Return a function that returns the users of the last business days of a scope.

        Args:
            past: the days before a window.
            totals: the totals of the window.
            only: the scopes that will be asked for; None for all.
        """
        return (yield from self._stocks.over(past, totals, only=only))

    def traffic(self, start: int, end: int, *, at_ms: int) -> Steps[Counts]:
        """Return the counts of everything over [start, end), of which ``start`` begins a day.

        Args:
            start: start of the stretch, ms of event time.
            end: end of the stretch, ms.
            at_ms: end of the window for which it is asked, ms.
        """
        return (yield from self._traffic.over(start, end, settled=self._settled_before(at_ms)))

    def _summed(self, start: int, end: int, *, only: Collection[int] | None) -> Steps[Summed]:
        settled = self._settled_before(end)
        grows = start == BEGINNING_MS or self._day.start_of(start) == start
        costs = yield from self._costs.columns(start, end)
        if end - start > LONG_MS and grows and self.holds(start, settled):
            found = yield from self._running_sums.over(start, settled, end, beside=costs, only=only)
            return found
        growing = GrowingColumns(costs)
        yield from self._read(start, end, take=growing.add)
        return (yield from summed(growing, self._facets, only=only))

    def _read(self, start: int, end: int, *, take: Callable[[CellColumns], None]) -> Steps[None]:
        """Pass the columns of the buckets of [start, end) to ``take``."""
        step = StepOf(BUCKETS_READ_A_STEP, entries=ENTRIES_A_STEP)
        for bucket in self.cover(start, end):
            columns = bucket.columns()
            take(columns)
            if step.enough(columns.size):
                yield
        yield

    @staticmethod
    def _settled_before(end: int) -> int:
        """Return the end of a window's settled part, a multiple of a quarter of an hour."""
        return align_down(end - SETTLED_AFTER_MS, step_ms=QUARTER_MS)

    def panes(self) -> Iterable[int]:
        """Return the starts of the panes that are kept."""
        return self._levels[0].keys()

    def panes_after(self, frontier_ms: int) -> int:
        """Return the number of panes that have events and end after the frontier."""
        return sum(start + PANE_MS > frontier_ms for start in self._levels[0])

    def expire(self, frontier_ms: int) -> Steps[None]:
        """Sum up settled days, drop expired buckets, and spill buckets that are seldom read."""
        if self._applied < self._stored_up_to:
            return  # reports are being replayed after a crash: some buckets still lack them
        looked_at_ms, self._frontier_ms = self._frontier_ms, frontier_ms
        yield from self._sum_up_days(before=frontier_ms - SETTLED_AFTER_MS)
        yield from self._move_to_all_time(before=frontier_ms - self.kept_ms[DAY_LEVEL])
        self._pin(self._pinned)
        self._all_time.spill()
        for level, step_ms in enumerate(LOOKED_THROUGH_EVERY_MS):
            if looked_at_ms // step_ms != frontier_ms // step_ms:
                yield from self._expire_level(level, frontier_ms)
        oldest_ms = frontier_ms - self.kept_ms[QUARTER_LEVEL]
        self._running_sums.forget_before(oldest_ms)
        self._running_sums.expire()
        self._campaign_sums.expire(frontier_ms, oldest_ms=oldest_ms)

    def _expire_level(self, level: int, frontier_ms: int) -> Steps[None]:
        buckets = self._levels[level]
        old = buckets.older_than(
            frontier_ms - self.kept_ms[level], kept=lambda start: self._is_pinned(level, start)
        )
        for starts in in_groups(old, of=BUCKETS_A_STEP):
            for start in starts:
                self._forget(level, start)
            yield
        spill = buckets.to_spill(frontier_ms - STEPS[level] - SPILLED_AFTER_MS[level])
        step = StepOf(BUCKETS_A_STEP, entries=ENTRIES_A_STEP)
        for bucket in spill:
            size = bucket.columns().size
            bucket.spill()
            if step.enough(size):
                yield

    def _move_to_all_time(self, *, before: int) -> Steps[None]:
        """Add the days that began before that time to the all-time bucket."""
        days = self._levels[DAY_LEVEL]
        for start in days.older_than(before, kept=lambda _: False):
            self._all_time.take(days[start])
            self._forget(DAY_LEVEL, start)
            yield
        until_ms = self._day.start_of(before)
        self._all_time.extend(until_ms if until_ms == before else self._day.end_of(before))
        for costs in self._costs.expire(self._all_time.until_ms):
            self._all_time.take_costs(costs)
            self._running_sums.changed(BEGINNING_MS)  # The cached sum of all time lacks them.
            yield

    def _forget(self, level: int, start: int) -> None:
        self._levels[level].pop(start).forget()
        self._expired.append(_key(level, start))

    def take_segments(self) -> Iterator[Segment]:
        """Yield the buckets that changed since the last call, and removals of the expired ones."""
        for key in self._expired:
            yield Segment(key)
        self._expired = []
        for level, buckets in enumerate(self._levels):
            for start, bucket in buckets.items():
                if bucket.dirty:
                    bucket.dirty = False
                    yield Segment(_key(level, start), bucket.writer())
            buckets.stored()
        yield from self._costs.take_segments()
        yield from self._all_time.take_segments()

    def restore(
        self,
        segments: Mapping[bytes, bytes],
        *,
        frontier_ms: int = 0,
        offset: int = -1,
        pinned: Iterable[int] = (),
    ) -> Steps[None]:
        """Restore stored buckets. All of them are spilled until they change.

        Args:
            segments: the segments of `take_segments`; after a crash some may be newer than the
                head.
            frontier_ms: up to which expiry had advanced, from the head.
            offset: the last applied offset, from the head.
            pinned: the saved `pinned`.
        """
        self._frontier_ms, self._applied = frontier_ms, offset
        for group in in_groups(segments.items(), of=BUCKETS_A_STEP):
            for key, data in group:
                if key.startswith(COSTS):
                    self._costs.restore(key, data)
                    continue
                level, start = map(int, key.split(b"/")[1:])
                if level == ALL_TIME_LEVEL:
                    self._expired.extend(self._all_time.restore(start, data))
                else:
                    self._levels[level].put(start, Bucket.from_bytes(key, data, self._spilled))
            yield
        for day in [start for start in self._levels[DAY_LEVEL] if self._all_time.holds(start)]:
            self._forget(DAY_LEVEL, day)
        self._costs.forget(self._all_time.until_ms)
        held = [self._all_time.bucket, *(one for level in self._levels for one in level.values())]
        stored_up_to = max(bucket.offset for bucket in held)
        self._stored_up_to = max(stored_up_to, self._costs.stored_up_to)
        yield from self._move_to_all_time(before=frontier_ms - self.kept_ms[DAY_LEVEL])
        self._pin(pinned)

    def _sum_up_days(self, *, before: int) -> Steps[None]:
        """Build the buckets of the days that ended before that time from their quarters."""
        if before < self._days_until:
            return
        days = self._levels[DAY_LEVEL]
        ended: defaultdict[int, list[Bucket]] = defaultdict(list)
        for start, quarter in self._levels[QUARTER_LEVEL].items():
            if self._day.end_of(start) <= before:
                ended[self._day.start_of(start)].append(quarter)
        for day, quarters in ended.items():
            if day in days or self._all_time.holds(day):
                continue  # summed up already; its quarters have not expired yet
            bucket = Bucket(_key(DAY_LEVEL, day), self._spilled)
            days.put(day, bucket)
            for quarter in quarters:
                bucket.add(quarter.columns(), at_offset=max(bucket.offset, quarter.offset))
                yield
        self._days_until = self._day.end_of(before)

    def __len__(self) -> int:
        """Return the number of buckets, without the all-time bucket."""
        return sum(len(buckets) for buckets in self._levels)


def in_cells(panes: PanesWire) -> Iterator[list[tuple[int, list[FacetCell]]]]:
    """Split panes into groups, each of which is added in one step.

    A group has at most `PANES_A_STEP` panes and `CELLS_A_STEP` cells; larger panes are split. A
    pane without cells is yielded with an empty list.
    """
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
