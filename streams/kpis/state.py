"""The state of the KPI stage as it is saved."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import msgspec
import numpy as np

from models.kpi.definition import KpiValue
from models.window import DAY_MS, HOUR_MS, WindowName
from streams.kpis.coverage.gaps import Gap
from streams.kpis.coverage.observation import NOT_OBSERVED, Observation
from streams.kpis.coverage.silent_sources import QuietSince
from streams.kpis.coverage.source_rhythm import RhythmWire
from streams.kpis.windows.due_windows import Ends

VERSION = 5
"""Of the state of this stage: that of the schema with which the era came.

4: no era, days of a month only. 3: no days, and fewer measures.
"""

_STEP = np.dtype("<i8")

_QUARTERS_KEPT_MS = DAY_MS + 3 * HOUR_MS
"""How long version 4 kept quarters of an hour, which did not say from when on it has them."""


class KpiState(msgspec.Struct, array_like=True, kw_only=True):
    """Everything but the buckets; append only, with defaults for what older states lack.

    What is large and seldom changes is written when it changes, not with every checkpoint:
    each entry of ``ledger`` and each day of ``seen``.
    ``needed`` names the sums that ``seen`` is about; ``days_from_ms`` is from when
    on the buckets of business days are whole, when that is later than observation;
    before ``measured_from_ms`` cells may be of a version before 4, before
    ``customers_from_ms`` of one before 5; up to ``lost_until_ms`` there were gaps that
    are forgotten; ``pinned`` are the days whose quarters are kept; buckets of quarters are
    whole from ``quarters_from_ms`` on. ``due_ends`` has the packed ends of each window that
    wait to be closed, also those before the frontier; an older state has them in ``due``.
    ``judged`` says whether rules are judged on them; ``to_correct`` has the closed windows
    that late data changed; ``quiet_since`` says which sources are quiet, for the windows that
    are still to be closed.
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
        """The ends of each window that wait to be closed."""
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
        """Event time up to which windows are closed: they may lie behind the frontier."""
        return self.frontier_ms if self.closed_up_to_ms is None else self.closed_up_to_ms

    @property
    def quarters_whole_from_ms(self) -> int:
        """From when on all buckets of quarters are there that are not too old."""
        if self.quarters_from_ms is None:
            return self.frontier_ms - _QUARTERS_KEPT_MS
        return self.quarters_from_ms

    @property
    def observation(self) -> Observation:
        """From when on what was observed is whole."""
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
    """Return ends of windows as `KpiState.due_ends` has them.

    Eight bytes for each: by how much it is later than the one before it, which compresses well.
    """
    return {
        name: np.diff(of_window, prepend=0).astype(_STEP).tobytes()
        for name, of_window in ends.items()
    }


encode: Callable[[KpiState], bytes] = msgspec.msgpack.Encoder().encode
decode: Callable[[bytes], KpiState] = msgspec.msgpack.Decoder(KpiState).decode


def nothing() -> KpiState:
    """Return the state of a stage that has seen nothing."""
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
