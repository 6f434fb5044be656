"""What the export side sees of the KPI stage: immutable pictures of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from models.alerts import Alert
from models.campaigns.campaign_change import Change
from models.kpi.definition import Kpi
from models.kpi.measures import SourceKind
from models.scope import Scope
from models.window import DAY_MS, STAGE, Reference, ShownWindow, WindowName
from streams.kpis.calculation.kpi_calculator import KpiValues

HISTORY_PACE = 10.0
"""Seconds of event time in a second of the clock; after an outage it is seldom as much."""
HISTORY_AGE_MS = DAY_MS


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Evaluation:
    """The KPIs of all scopes in one closed window; equal to itself only.

    ``observed_from_ms`` is where observation began: of windows that reach back
    before it nobody knows what is missing. ``complete`` is
    False where records were lost. ``unsure`` names the kinds of source of which
    a part was silent against its rhythm in the window, or may be. ``small`` names the
    campaigns that are not exported one by one but as ``other``. ``exhausted_ms`` is when
    each campaign will have spent its budget if it goes on as it did. ``previous`` is the
    equal period before, [start, end), None where it is not known whole; ``unsure_before``
    is for that what ``unsure`` is for the window.
    """

    window: ShownWindow
    start_ms: int
    end_ms: int
    values: Mapping[Scope, KpiValues]
    observed_from_ms: int = 0
    complete: bool = True
    unsure: frozenset[SourceKind] = frozenset()
    small: frozenset[str] = frozenset()
    other: KpiValues = field(default_factory=dict)
    exhausted_ms: Mapping[str, int] = field(default_factory=dict)
    previous: tuple[int, int] | None = None
    unsure_before: frozenset[SourceKind] = frozenset()

    def tells(self, kpi: Kpi) -> bool:
        """Whether a KPI's value here rests on everything that it should rest on."""
        unsure = self.unsure | self.unsure_before if kpi.looks_back else self.unsure
        return self.complete and unsure.isdisjoint(kpi.sources)

    @property
    def observed(self) -> bool:
        """Whether the monitor saw the whole window."""
        return self.start_ms >= self.observed_from_ms


@dataclass(frozen=True, slots=True)
class Comparison:
    """A window beside its reference period, which is known whole.

    ``then`` has no KPIs that look back themselves.
    """

    reference: Reference
    now: Evaluation
    then: Evaluation

    def tells(self, kpi: Kpi) -> bool:
        """Whether both values of a KPI rest on everything that they should rest on."""
        return self.now.tells(kpi) and self.then.tells(kpi)


@dataclass(frozen=True, slots=True)
class Effect:
    """What a change of a campaign did, as far as time before and after tells.

    ``before`` are the KPIs of the campaign over the ``length_ms`` before the moment of the
    change, rounded up to a whole quarter of an hour, and ``after`` over as much after it.
    Both are empty where one of them was not observed whole or is not held any more.
    """

    change: Change
    moment_ms: int
    length_ms: int
    before: KpiValues = field(default_factory=dict)
    after: KpiValues = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How complete the data are at a moment of the clock.

    ``gaps`` counts the stretches of event time, ended lately, that lack records;
    ``silent`` names the sources that are silent against their rhythm, partition
    -1 being the topic as a whole; ``waiting`` says which wait for a service outside, and
    why. Shares are of the records of the last minutes. ``reading_history`` says that windows
    of days ago are closed, much faster than they came.
    """

    now_ms: int
    expected: int
    reporting: int
    missing: Sequence[tuple[str, int]]
    read_up_to_ms: int | None
    behind: int
    reading_history: bool = False
    gaps: int = 0
    silent: Sequence[tuple[str, int]] = ()
    waiting: Mapping[tuple[str, int], str] = field(default_factory=dict)
    dead_letter_share: float = 0.0
    mis_keyed_share: float = 0.0
    late_share: float = 0.0
    duplicate_share: float = 0.0

    @property
    def lag_s(self) -> float | None:
        """How long ago the oldest unread record was appended; None if unknown."""
        if self.read_up_to_ms is None:
            return None
        return max(0.0, (self.now_ms - self.read_up_to_ms) / 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far windows are closed, while more are complete than were closed yet.

    ``complete_ms`` is the event time up to which everything is complete,
    ``windows_waiting`` how many windows end before it that wait to be closed,
    ``windows_closed`` how many were closed since the stage was opened. ``event_pace`` is how
    many seconds of event time were closed in a second of the clock: 1 where events are
    followed live, more while history is read, 0 where nothing moves.
    """

    complete_ms: int
    windows_waiting: int
    windows_closed: int
    windows_per_second: float
    event_pace: float

    def reads_history(self, *, closed_ms: int, now_ms: int) -> bool:
        """Say whether windows of days ago are closed, much faster than they came."""
        return self.event_pace >= HISTORY_PACE and now_ms - closed_ms > HISTORY_AGE_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class KpiView:
    """Everything that is shown of the KPI stage.

    ``frontier_ms`` is the event time up to which all windows are closed.

    ``stages`` are the stages of campaigns so far, an evaluation for each moment at which
    some began; ``effects`` are the last changes of campaigns, the last first.
    """

    frontier_ms: int
    latest: Mapping[WindowName, Evaluation]
    comparisons: Mapping[tuple[ShownWindow, Reference], Comparison]
    stages: Sequence[Evaluation]
    effects: Sequence[Effect]
    sparkline: Sequence[tuple[int, KpiValues]]
    totals: Mapping[str, Mapping[str, int]]
    health: Health
    behind: Mapping[tuple[str, int], int]
    watermarks: Mapping[tuple[str, int], int]
    incomplete_panes: int
    records_per_second: float
    progress: Progress
    alerts: Sequence[Alert]
    unknown_campaigns: Sequence[str]
    overlapping_reports: int
    uncorrected_panes: int
    buckets: int
    corrections: int = field(default=0)

    @property
    def by_window(self) -> Mapping[ShownWindow, Sequence[Evaluation]]:
        """The newest evaluations: one of each window, and of stages one for each start."""
        found: dict[ShownWindow, Sequence[Evaluation]] = {
            name: (latest,) for name, latest in self.latest.items()
        }
        if self.stages:
            found[STAGE] = self.stages
        return found

    def total(self, name: str) -> int:
        """Return a count summed over the topics; a name ending in / sums its members."""
        if name.endswith("/"):
            return sum(
                count
                for counts in self.totals.values()
                for key, count in counts.items()
                if key.startswith(name)
            )
        return sum(counts.get(name, 0) for counts in self.totals.values())
