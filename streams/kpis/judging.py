"""Defines the interface through which closed windows are judged; alerting implements it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from models.alerts import Alert
from models.rule_status import RuleStatus
from models.window import WindowName
from streams.engine.steps import Steps
from streams.kpis.view import Evaluation, Health


class Judge(Protocol):
    """Judges closed windows and the health of the data, and keeps the alerts."""

    def closed(self, evaluation: Evaluation) -> Steps[None]:
        """Judge a window that closed."""

    def awaits_correction(self, window: WindowName, end_ms: int) -> bool:
        """Return whether an alert fired on a closed window, whose late data may change it."""

    def corrected(self, evaluation: Evaluation) -> None:
        """Record the new evaluation of a closed window that late data changed."""

    def health(self, health: Health) -> bool:
        """Judge how complete the data are; return whether an alert changed."""

    @property
    def windows(self) -> frozenset[WindowName]:
        """Names of the windows whose every end is to be judged."""

    @property
    def held_back(self) -> bool:
        """Whether a data-health alert holds back judgements of windows."""

    def alerts(self) -> Sequence[Alert]:
        """Return the open alerts and those that were resolved lately."""

    def rule_statuses(self) -> Sequence[RuleStatus]:
        """Return the last verdicts of each rule."""

    def take_changes(self) -> Sequence[Alert]:
        """Return every change of an alert's state since the last call."""

    def to_bytes(self) -> bytes:
        """Return the state to save."""

    def restore(self, data: bytes) -> bool:
        """Restore a saved state; return whether alerts changed, so that it must be saved."""
