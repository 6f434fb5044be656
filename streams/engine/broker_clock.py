"""The broker's time, which all workers share, whatever their own clocks say.

Completeness, lag and lateness are said in the broker's time. A worker learns
it from acknowledgements: a record that the broker stamped with T was appended
before its acknowledgement came, so at that moment the broker's clock showed
at least T. Between acknowledgements the monotonic clock goes on. What is
returned is never ahead of the broker, so that no claim of completeness is.
"""

from __future__ import annotations

import time
from collections.abc import Callable

FORGET_S = 30.0
"""The tightest bound of the last so many seconds counts, or of those before: clocks drift."""
SILENCE_S = 2.0
"""An acknowledgement that took longer says that the broker did not answer meanwhile."""


class BrokerClock:
    """What is known of the broker's time.

    Args:
        monotonic: a clock in seconds that never steps.
    """

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._ahead_ms: float | None = None
        """By how much the best bound of this stretch is ahead of the monotonic clock."""
        self._ahead_before_ms: float | None = None
        self._since = 0.0
        self.answering_since_ms = 0
        """Since when, in its own time, the broker has answered without a break; 0 is always."""

    @property
    def known(self) -> bool:
        """Whether the broker has told its time."""
        return self._ahead_ms is not None

    def record(self, broker_ms: int, *, sent_at: float, acked_at: float) -> None:
        """Take note of an acknowledgement. Moments are of the monotonic clock, in s."""
        ahead_ms = broker_ms - acked_at * 1000
        if self._ahead_ms is None or acked_at - self._since > FORGET_S:
            self._ahead_before_ms, self._ahead_ms = self._ahead_ms, ahead_ms
            self._since = acked_at
        else:
            self._ahead_ms = max(self._ahead_ms, ahead_ms)
        if acked_at - sent_at > SILENCE_S:
            self.answering_since_ms = max(self.answering_since_ms, broker_ms)

    def at_ms(self, moment: float) -> int | None:
        """Return the broker's time at a moment of the monotonic clock; None if unknown."""
        if self._ahead_ms is None:
            return None
        ahead_ms = self._ahead_ms
        if self._ahead_before_ms is not None:
            ahead_ms = max(ahead_ms, self._ahead_before_ms)
        return int(moment * 1000 + ahead_ms)

    def now_ms(self) -> int:
        """Return the broker's time now; the machine's until the broker has told it."""
        now_ms = self.at_ms(self._monotonic())
        return int(time.time() * 1000) if now_ms is None else now_ms

    def skew_s(self) -> float:
        """Return by how much this machine's clock is ahead of the broker's, in seconds."""
        return (time.time() * 1000 - self.now_ms()) / 1000
