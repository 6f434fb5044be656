"""Defines the interface through which closed windows are judged; alerting implements it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Final, NamedTuple, Protocol

from models.alerts import Alert
from models.rule_status import RuleStatus
from models.scope import ScopeKind
from models.window import Reference, WindowName
from streams.engine.steps import Steps
from streams.kpis.storage.bucket import Segment
from streams.kpis.view import Evaluation, Health

EarlierPeriod = Reference | int
"""A period that a rule refers to: a reference of comparisons, or a number of windows before."""
EarlierPeriods = Mapping[EarlierPeriod, Evaluation | None]
"""The evaluations of earlier periods; None of one that was not observed whole, or is not held."""
ALERTS_PREFIX: Final = b"alerts/"
"""Beginning of the keys of the segments of alerts; the number of the segment follows."""
LEARNED_PREFIX: Final = b"learned/"
"""Beginning of those of what rules have learned."""


class LiveSegments(NamedTuple):
    """The numbers of the segments of a judge that belong to the head.

    Args:
        alerts: those of alerts.
        learned: those of what rules have learned.
    """

    alerts: Sequence[int] = ()
    learned: Sequence[int] = ()


class Judge(Protocol):
    """Judges closed windows and the health of the data, and keeps the alerts."""

    def references(self, window: WindowName, end_ms: int) -> Mapping[EarlierPeriod, Set[ScopeKind]]:
        """Return the earlier periods that the rules about a window refer to at an end of it.

        Returns:
            The kinds of scope of these rules, by period.
        """

    def closed(self, evaluation: Evaluation, earlier: EarlierPeriods) -> Steps[None]:
        """Judge a window that closed, with the earlier periods of `references`."""

    def awaits_correction(self, window: WindowName, end_ms: int) -> bool:
        """Return whether an alert fired on a closed window, whose late data may change it."""

    def corrected(self, evaluation: Evaluation, earlier: EarlierPeriods) -> Steps[None]:
        """Record the new evaluation of a closed window that late data changed."""

    def health(self, health: Health) -> bool:
        """Judge how complete the data are; return whether an alert changed."""

    @property
    def windows(self) -> frozenset[WindowName]:
        """Names of the windows whose every end is to be judged."""

    @property
    def regular_windows(self) -> Mapping[WindowName, int]:
        """The intervals of ends that are closed also if nothing came, in ms, by window."""

    @property
    def held_back(self) -> bool:
        """Whether a data-health alert holds back judgements of windows."""

    def alerts(self) -> Sequence[Alert]:
        """Return the open alerts and those that were resolved lately."""

    def rule_statuses(self) -> Sequence[RuleStatus]:
        """Return the last verdicts of each rule."""

    def take_changes(self) -> Sequence[Alert]:
        """Return every change of an alert's state since the last call."""

    def take_segments(self) -> Iterator[Segment]:
        """Yield the segments that changed since the last call, and removals.

        Their keys begin with `ALERTS_PREFIX` or `LEARNED_PREFIX`.
        """

    @property
    def live_segments(self) -> LiveSegments:
        """The numbers of the segments that hold the judge's state, after `take_segments`."""

    def restore(
        self, data: bytes, segments: Mapping[bytes, bytes], *, live: LiveSegments
    ) -> Steps[bool]:
        """Restore saved alerts; return whether some changed, so that they must be saved.

        Args:
            data: the alerts of a state of a version that had no segments for them.
            segments: the stored segments; after a crash some may be newer than the head.
            live: the numbers of those that belong to the head.
        """
