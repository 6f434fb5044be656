"""Defines and encodes the saved state of the KPI stage, without its buckets and alerts."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
import numpy as np

from models.kpi import measures
from models.kpi.definition import KpiValue
from models.window import WindowName
from streams.errors import StateError
from streams.kpis.coverage.coverage import Coverage, Sources
from streams.kpis.coverage.first_inputs import FirstInputs
from streams.kpis.coverage.frontier import Frontier
from streams.kpis.coverage.gaps import Gap
from streams.kpis.coverage.observation import NOT_OBSERVED, Observation
from streams.kpis.coverage.seen_inputs import SeenInputs
from streams.kpis.coverage.silent_sources import QuietSince, SilentSources
from streams.kpis.coverage.source_rhythm import RhythmWire
from streams.kpis.windows.due_windows import Ends

NO_ALERTS = b"[]"
"""`KpiState.judge` of a state whose alerts are in segments."""
_STEP = np.dtype("<i8")


class KpiState(msgspec.Struct, array_like=True, kw_only=True):
    """The state of the KPI stage without its buckets and alerts. Times are event times in ms.

    Fields are encoded by their position: new ones are appended, with defaults for older states.
    Entries of ``ledger`` and days of ``seen`` are large and seldom change: each is kept in its
    encoded form, and encoded again only when it changes.

    Args:
        frontier_ms: the frontier.
        closed_ms: windows are closed up to there; it may be behind the frontier.
        judged: whether rules judge the windows that wait to be closed.
        observed_from_ms: start of the oldest pane that was reported.
        observed_whole_from_ms: since when all sources are observed together.
        lost_until_ms: up to this time there were gaps that are no longer in ``gaps``.
        gaps: stretches of time in which records were lost.
        ledger: topic, partition and the last applied report of each source partition.
        seen: the inputs that scopes showed, by business day.
        needed: names of the sums that ``seen`` is about.
        rhythm: how often each source has events.
        silences: silences that ended.
        quiet_since: the sources that are quiet now, and since when.
        totals: counts of records and dead letters by topic.
        unknown: samples of names that nobody defined, by kind, the newest last.
        due: the ends of each window that wait to be closed, also those that the frontier has
            passed, as `pack` writes them.
        evaluated: the last evaluated ends of each window.
        to_correct: closed windows that late data changed, and their ends.
        pinned: starts of the business days whose quarters are kept as long as days are.
        sparkline: ends and KPIs of the sparkline.
        judge: all alerts, in states of a version that had no segments for them; else empty.
        measures_version: version of the measures when the state was written. Cells of a newer
            version can't be read: such a state is refused.
        measured_from_ms: see `Observation`.
        first_inputs: the first pane of each input.
        custom_from_ms: see `Observation`; its keys are the custom sums that were declared.
        alert_segments: the numbers of the segments that hold the alerts.
        learned_segments: those of the segments that hold what rules have learned.
    """

    frontier_ms: int
    closed_ms: int
    judged: bool
    observed_from_ms: int
    observed_whole_from_ms: int
    lost_until_ms: int
    gaps: list[Gap]
    ledger: list[tuple[str, int, msgspec.Raw]]
    seen: list[msgspec.Raw]
    needed: tuple[str, ...]
    rhythm: RhythmWire
    silences: list[Gap]
    quiet_since: list[QuietSince]
    totals: dict[str, dict[str, int]]
    unknown: dict[str, list[str]]
    due: dict[WindowName, bytes]
    evaluated: dict[WindowName, list[int]]
    to_correct: list[tuple[WindowName, int]]
    pinned: list[int]
    sparkline: list[tuple[int, dict[str, KpiValue]]]
    judge: bytes
    measures_version: int
    measured_from_ms: dict[int, int]
    first_inputs: dict[str, int]
    custom_from_ms: dict[str, int] = {}
    alert_segments: list[int] = []
    learned_segments: list[int] = []

    @property
    def ends(self) -> dict[WindowName, Ends]:
        """The ends of each window that wait to be closed, ascending."""
        return {name: np.cumsum(np.frombuffer(packed, _STEP)) for name, packed in self.due.items()}

    def coverage(
        self, sources: Sources, *, needed: tuple[str, ...], custom: Iterable[str]
    ) -> Coverage:
        """Return the coverage as it was saved.

        Args:
            sources: the sources that the stage waits for.
            needed: the sums that the KPIs of the current catalogue need.
            custom: the custom sums that are declared now.
        """
        silences = SilentSources(sources.kinds, silent_after_ms=sources.silent_after_ms)
        silences.restore(self.rhythm, self.silences, self.quiet_since)
        return Coverage(
            frontier=Frontier(sources.expected, frontier_ms=self.frontier_ms),
            observation=self._observation(custom),
            first_inputs=FirstInputs(self.first_inputs),
            seen=SeenInputs(needed, self.seen, wire_needed=self.needed),
            silences=silences,
        )

    def _observation(self, custom: Iterable[str]) -> Observation:
        return Observation(
            from_ms=self.observed_from_ms,
            whole_from_ms=self.observed_whole_from_ms,
            measured_from_ms=self.measured_from_ms,
            lost_until_ms=self.lost_until_ms,
            gaps=self.gaps,
            custom_from_ms={name: self.custom_from_ms.get(name, 0) for name in custom},
        )


def pack(ends: dict[WindowName, Ends]) -> dict[WindowName, bytes]:
    """Return ends of windows as `KpiState.due` stores them.

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
_decode: Callable[[bytes], KpiState] = msgspec.msgpack.Decoder(KpiState).decode


def decode(data: bytes) -> KpiState:
    """Decode the saved state.

    Raises:
        StateError: it has measures that this version does not know.
    """
    state = _decode(data)
    if state.measures_version > measures.VERSION:
        raise StateError(
            f"the state of the KPI stage has measures of version {state.measures_version}, this "
            f"worker knows those up to {measures.VERSION}; run the version that wrote it, or a "
            "newer one"
        )
    return state


def nothing() -> KpiState:
    """Return the state of a stage without any reports."""
    return KpiState(
        frontier_ms=0,
        closed_ms=0,
        judged=True,
        observed_from_ms=NOT_OBSERVED,
        observed_whole_from_ms=NOT_OBSERVED,
        lost_until_ms=0,
        gaps=[],
        ledger=[],
        seen=[],
        needed=(),
        rhythm=[],
        silences=[],
        quiet_since=[],
        totals={},
        unknown={},
        due={},
        evaluated={},
        to_correct=[],
        pinned=[],
        sparkline=[],
        judge=NO_ALERTS,
        measures_version=measures.VERSION,
        measured_from_ms={},
        first_inputs={},
    )
