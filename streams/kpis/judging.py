"""What the KPI stage asks of whoever judges its windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from models.alerts import Alert
from models.window import WindowName
from streams.engine.steps import Steps
from streams.kpis.view import Evaluation, Health


class Judge(Protocol):
    """Decides on closed windows and on the health of the data."""

    def closed(self, evaluation: Evaluation) -> Steps[None]:
        """Judge a window that closed."""

    def awaits_correction(self, window: WindowName, end_ms: int) -> bool:
        """Say whether an alert rests on a closed window, so that late data may change it."""

    def corrected(self, evaluation: Evaluation) -> None:
        """Take note of a closed window that late data changed."""

    def health(self, health: Health) -> bool:
        """Judge how complete the data are; say whether an alert changed."""

    @property
    def windows(self) -> frozenset[WindowName]:
        """The windows of which every one that closes is to be judged."""

    @property
    def held_back(self) -> bool:
        """Whether the health of the data allows no judgement now."""

    def alerts(self) -> Sequence[Alert]:
        """Return the alerts that are open or were resolved lately."""

    def take_changes(self) -> Sequence[Alert]:
        """Return every change of an alert's state since the last call."""

    def to_bytes(self) -> bytes:
        """Return the state that is to be saved."""

    def restore(self, data: bytes) -> None:
        """Take up a saved state."""
