"""Counts of users over the last business days: customers, and leads that are open.

A customer at a moment is a user who ordered in the last N business days. Of a window of business
days, three sets are counted: the customers before it, those at its end, and those of either. Who is
in the last and not in the first is new.

Example, N = 60, the window `week` that ends on Thursday 12:00. It starts on Friday of last week.
    customers before      ordered in the 60 days before that Friday
    customers             ordered in the last 60 days, of which the last is Thursday up to 12:00
    new                   ordered since that Friday, and not in the 60 days before it

The days before the window do not change while it grows. Their users are united once, and kept with
their counts; the window's own users are looked up among them. So a close costs as much as the
window has users, not as much as 60 days have.

Leads are counted alike. A lead is open if it reached a stage in the N days, and was neither won nor
lost in them. Who is open is all with a lead, less those whose lead was closed: won and lost are
stages, so the latter are among the former.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final, NamedTuple

from models.kpi.measures import SET_INDEX
from models.scope import Scope
from models.window import BusinessDay
from streams.engine.steps import Steps
from streams.kpis.columnar.cell_columns import NOTHING
from streams.kpis.columnar.facet_index import FacetIndex
from streams.kpis.columnar.scope_totals import ScopeTotals
from streams.kpis.columnar.user_columns import NO_USERS, UserColumns, united_in_steps
from streams.kpis.columnar.user_counts import UserCounts
from streams.kpis.storage.running_sums import Cover

StockFigures = dict[str, int]
"""The figures of `models.kpi.measures.STOCKS` that are known of a scope."""

_BEFORE, _NOW, _LEAD, _ACTIVE, _CLOSED = range(5)
"""The marks of a user: a customer before, a customer now, with a lead, active, closed."""
_BUYERS, _LEADS, _LEADS_CLOSED = (
    SET_INDEX[name] for name in ("buyers", "lead_users", "leads_closed")
)
_IN_WINDOW: Final = (
    (_BUYERS, _NOW),
    (_LEADS, _LEAD),
    (_LEADS, _ACTIVE),
    (_LEADS_CLOSED, _CLOSED),
)
_COUNTED: Final = (
    1 << _BEFORE,
    1 << _NOW,
    1 << _BEFORE | 1 << _NOW,
    1 << _CLOSED,
    1 << _ACTIVE | 1 << _CLOSED,
    1 << _LEAD | 1 << _ACTIVE | 1 << _CLOSED,
)
"""The unions of marks that are counted, each after those that it contains."""

KEPT = 6
"""The number of pasts kept: of the three windows of business days, today and yesterday."""
LARGEST_DAYS = 4_000_000
"""Days are kept, the least recently used dropped first, while they have up to so many entries: some
50 MB of keys, or 4 MB of sketches."""


class Past(NamedTuple):
    """The business days before a window. Times are in ms, at the starts of days.

    Args:
        start: start of the days from which customers before the window are counted.
        now_from: start of the days from which customers at its end are counted.
        end: start of the window.
    """

    start: int
    now_from: int
    end: int


class UserStocks:
    """The users of the days before windows, by scope.

    Args:
        facets: the numbering of facets and scopes.
        cover: finds the buckets of a stretch of time.
        day: where business days begin and end.
    """

    def __init__(self, facets: FacetIndex, cover: Cover, day: BusinessDay) -> None:
        self._facets = facets
        self._cover = cover
        self._day = day
        self._pasts: dict[Past, UserCounts] = {}
        self._days: dict[int, UserColumns] = {}

    def over(
        self, past: Past, totals: ScopeTotals, *, only: Collection[Scope] | None
    ) -> Steps[Callable[[Scope], StockFigures]]:
        """Return a function that returns the figures of a scope at the end of a window.

        Args:
            past: the days before the window.
            totals: the totals of the window.
            only: the scopes that will be asked for; None for all.
        """
        before = yield from self._past(past)
        chosen = None if only is None else self._facets.chosen(self._facets.scope_numbers(only))
        parts = [NO_USERS]
        for users in (yield from totals.users()):
            for piece in users.pieces():
                wanted = piece if chosen is None else piece.of_rows(chosen)
                parts.append(wanted.marked(_IN_WINDOW))
                yield
        news = yield from united_in_steps(parts)
        counts = yield from before.counts_with(news)
        rows = self._facets.numbers_of_scopes

        def figures_of(scope: Scope) -> StockFigures:
            row = rows.get(scope, len(counts))
            return _figures(counts[row].tolist()) if row < len(counts) else {}

        return figures_of

    def _past(self, past: Past) -> Steps[UserCounts]:
        known = self._pasts.pop(past, None)
        if known is None:
            parts = [NO_USERS]
            for start in self._starts_of_days(past):
                users = yield from self._of_day(start)
                parts.append(users.marked(_marks(now=start >= past.now_from)))
            users = yield from united_in_steps(parts)
            counts = yield from users.counts(height=users.height, of=_COUNTED)
            known = UserCounts(users, counts, _COUNTED)
        self._pasts[past] = known  # moved to the end: the least recently used is dropped
        for oldest in list(self._pasts)[:-KEPT]:
            del self._pasts[oldest]
        return known

    def _starts_of_days(self, past: Past) -> Iterator[int]:
        at = past.start
        while at < past.end:
            yield at
            at = self._day.end_of(at)

    def _of_day(self, start: int) -> Steps[UserColumns]:
        """Return the buyers, and the users with leads, of a business day by scope."""
        known = self._days.pop(start, None)
        if known is None:
            parts = []
            for bucket in self._cover(start, self._day.end_of(start)):
                parts.append(bucket.columns().users.marked(_KEPT_SETS))
                yield
            users = yield from united_in_steps([NO_USERS, *parts])
            by_scope = yield from self._facets.by_scope(NOTHING._replace(users=users))
            known = by_scope.users
        self._days[start] = known
        size = sum(users.size for users in self._days.values())
        for oldest in list(self._days)[:-1]:
            if size <= LARGEST_DAYS:
                break
            size -= self._days.pop(oldest).size
        return known

    def changed(self, time_ms: int) -> None:
        """Drop what was counted from that event time, because users were added to it."""
        for past in [past for past in self._pasts if past.start <= time_ms < past.end]:
            del self._pasts[past]
        self._days.pop(self._day.start_of(time_ms), None)


_KEPT_SETS: Final = tuple((index, index) for index in (_BUYERS, _LEADS, _LEADS_CLOSED))


def _marks(*, now: bool) -> Sequence[tuple[int, int]]:
    """Return the marks of the users of a day before the window.

    Args:
        now: whether the day counts for the customers at the end of the window, too.
    """
    if not now:
        return ((_BUYERS, _BEFORE),)
    return (
        (_BUYERS, _BEFORE),
        (_BUYERS, _NOW),
        (_LEADS, _LEAD),
        (_LEADS_CLOSED, _CLOSED),
    )


def _figures(counts: Sequence[int]) -> StockFigures:
    """Return the figures of a scope, given the counts of `_COUNTED`.

    Estimates may be off: who is in either is at most the sum of both.
    """
    before, now, either, closed, active_or_closed, with_lead = counts
    figures: StockFigures = {}
    if either:
        figures["customers"] = now
        figures["customers_before"] = before
        figures["customers_new"] = min(either - before, now)
    if with_lead:
        figures["leads_open"] = with_lead - closed
        figures["leads_active"] = active_or_closed - closed
    return figures
