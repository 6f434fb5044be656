"""Defines and encodes the saved state of the KPI stage, without its buckets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import msgspec
import numpy as np

from models.kpi.definition import KpiValue
from models.window import DAY_MS, HOUR_MS, WindowName
from streams.kpis.coverage.coverage import Coverage, Sources
from streams.kpis.coverage.frontier import Frontier
from streams.kpis.coverage.gaps import Gap
from streams.kpis.coverage.observation import NOT_OBSERVED, Observation
from streams.kpis.coverage.seen_inputs import SeenInputs
from streams.kpis.coverage.silent_sources import QuietSince, SilentSources
from streams.kpis.coverage.source_rhythm import RhythmWire
from streams.kpis.windows.due_windows import Ends

VERSION = 5
"""Version of the saved state. Version 5 added the all-time bucket.

Version 4 has no all-time bucket, and buckets of days for one month only. Version 3 has no
buckets of days, and fewer measures.
"""

_STEP = np.dtype("<i8")

_QUARTERS_KEPT_MS = DAY_MS + 3 * HOUR_MS
"""Time that version 4 kept quarters of an hour. Its state lacks `KpiState.quarters_from_ms`."""


class KpiState(msgspec.Struct, array_like=True, kw_only=True):
    """The state of the KPI stage without its buckets. Times are event times in ms.

    Fields are encoded by their position: new ones are appended, with defaults for older states.
    Entries of ``ledger`` and days of ``seen`` are large and seldom change: each is kept in its
    encoded form, and encoded again only when it changes.

    Args:
        frontier_ms: the frontier.
        observed_from_ms: start of the oldest pane that was reported.
        ledger: topic, partition and the last applied report of each source partition.
        due: the ends that wait to be closed, in states without ``due_ends``.
        seen: the inputs that scopes showed, by business day.
        totals: counts of records and dead letters by topic.
        unknown: samples of campaign ids that are not defined.
        sparkline: ends and KPIs of the sparkline.
        evaluated: the last evaluated ends of each window.
        judge: the judge's state.
        gaps: stretches of time in which records were lost.
        rhythm: how often each source has events.
        silences: silences that ended.
        seen_whole_from_ms: since when all sources were observed; None: ``observed_from_ms``.
        needed: names of the sums that ``seen`` is about.
        days_from_ms: since when buckets of business days are whole, if that is later than
            ``observed_from_ms``.
        version: the state's version, see `VERSION`.
        measured_from_ms: before this time, cells may be of a version before 4.
        lost_until_ms: up to this time there were gaps that are no longer in ``gaps``.
        customers_from_ms: before this time, cells may be of a version before 5.
        pinned: starts of the business days whose quarters are kept as long as days are.
        quarters_from_ms: since when buckets of quarters are whole; None in older states.
        to_correct: closed windows that late data changed, and their ends.
        closed_up_to_ms: see `closed_ms`; None: ``frontier_ms``.
        judged: whether rules judge the windows that wait to be closed.
        quiet_since: the sources that are quiet now, and since when.
        due_ends: the ends of each window that wait to be closed, also those that the frontier
            has passed, as `pack` writes them; None in older states.
    """

    frontier_ms: int
    observed_from_ms: int
    ledger: list[tuple[str, int, msgspec.Raw]]
    due: list[tuple[WindowName, int]] = []
    seen: list[msgspec.Raw]
    totals: dict[str, dict[str, int]]
    unknown: list[str]
    sparkline: list[tuple[int, dict[str, KpiValue]]]
    evaluated: dict[WindowName, list[int]]
    judge: bytes
    gaps: list[Gap] = []
    rhythm: RhythmWire = []
    silences: list[Gap] = []
    seen_whole_from_ms: int | None = None
    needed: tuple[str, ...] = ("clicks", "impressions", "spend_reports", "visits")
    days_from_ms: int | None = None
    version: int = 3
    measured_from_ms: int = 0
    lost_until_ms: int = 0
    customers_from_ms: int = 0
    pinned: list[int] = []
    quarters_from_ms: int | None = None
    to_correct: list[tuple[WindowName, int]] = []
    closed_up_to_ms: int | None = None
    judged: bool = True
    quiet_since: list[QuietSince] = []
    due_ends: dict[WindowName, bytes] | None = None

    @property
    def ends(self) -> dict[WindowName, Ends]:
        """The ends of each window that wait to be closed, ascending."""
        if self.due_ends is not None:
            return {
                name: np.cumsum(np.frombuffer(packed, _STEP))
                for name, packed in self.due_ends.items()
            }
        ends: defaultdict[WindowName, list[int]] = defaultdict(list)
        for name, end in self.due:
            ends[name].append(end)
        return {name: np.array(sorted(of_window), _STEP) for name, of_window in ends.items()}

    @property
    def closed_ms(self) -> int:
        """Event time up to which windows are closed; it may be behind the frontier."""
        return self.frontier_ms if self.closed_up_to_ms is None else self.closed_up_to_ms

    @property
    def quarters_whole_from_ms(self) -> int:
        """Event time since which buckets of quarters are whole, unless they have expired."""
        if self.quarters_from_ms is None:
            return self.frontier_ms - _QUARTERS_KEPT_MS
        return self.quarters_from_ms

    def coverage(self, sources: Sources, *, needed: tuple[str, ...]) -> Coverage:
        """Return the coverage as it was saved.

        Args:
            sources: the sources that the stage waits for.
            needed: the sums that the KPIs of the current catalogue need.
        """
        silences = SilentSources(sources.kinds, silent_after_ms=sources.silent_after_ms)
        silences.restore(self.rhythm, self.silences, self.quiet_since)
        return Coverage(
            frontier=Frontier(sources.expected, frontier_ms=self.frontier_ms),
            observation=self._observation,
            seen=SeenInputs(needed, self.seen, wire_needed=self.needed),
            silences=silences,
        )

    @property
    def _observation(self) -> Observation:
        whole_from_ms = self.seen_whole_from_ms
        return Observation(
            from_ms=self.observed_from_ms,
            whole_from_ms=self.observed_from_ms if whole_from_ms is None else whole_from_ms,
            days_from_ms=self.days_from_ms or 0,
            measured_from_ms={4: self.measured_from_ms, 5: self.customers_from_ms},
            lost_until_ms=self.lost_until_ms,
            gaps=self.gaps,
        )


def pack(ends: dict[WindowName, Ends]) -> dict[WindowName, bytes]:
    """Return ends of windows as `KpiState.due_ends` stores them.

    Each end takes eight bytes (little-endian): the difference from the end before it. These
    differences repeat, and compress well.

    Example:
        The ends 60_000, 70_000 and 80_000 are written as 60_000, 10_000 and 10_000.
    """
    return {
        name: np.diff(of_window, prepend=0).astype(_STEP).tobytes()
        for name, of_window in ends.items()
    }


encode: Callable[[KpiState], bytes] = msgspec.msgpack.Encoder().encode
decode: Callable[[bytes], KpiState] = msgspec.msgpack.Decoder(KpiState).decode


def nothing() -> KpiState:
    """Return the state of a stage without any reports."""
    return KpiState(
        frontier_ms=0,
        observed_from_ms=NOT_OBSERVED,
        ledger=[],
        seen=[],
        totals={},
        unknown=[],
        sparkline=[],
        evaluated={},
        judge=b"[]",
        version=VERSION,
        quarters_from_ms=0,
    )
