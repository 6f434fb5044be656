"""Estimates the broker's time, which all workers share, whatever their own clocks say.

Completeness, lag and lateness are in broker time. A worker learns it from acknowledgements:
the broker stamped the record with T before it acknowledged it, so its clock showed at least
T when the acknowledgement arrived. Between acknowledgements the monotonic clock goes on. The
estimate is never ahead of the broker, so no worker claims completeness too early.

Example: a record stamped 12:00:00.000 is acknowledged at 50.0 s of the monotonic clock, and
one stamped 12:00:00.530 at 50.5 s. The second is the tighter bound, by 30 ms. At 51.0 s the
estimate is 12:00:01.030.
"""

from __future__ import annotations

import time
from collections.abc import Callable

FORGET_S = 30.0
"""Length of a stretch, in s. The tightest bound of this stretch and the one before counts.

Older bounds are dropped, because clocks drift.
"""
SILENCE_S = 2.0
"""An acknowledgement that took longer, in s, shows that the broker did not answer meanwhile."""


class BrokerClock:
    """An estimate of the broker's time.

    Args:
        monotonic: a clock in seconds that never steps.
    """

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._ahead_ms: float | None = None
        """The tightest bound of this stretch: broker time less monotonic time, in ms."""
        self._ahead_before_ms: float | None = None
        self._since = 0.0
        self.answering_since_ms = 0
        """Broker time since which it has answered without a break, in ms; 0 if it always has."""

    @property
    def known(self) -> bool:
        """Whether the broker's time is known, from a first acknowledgement."""
        return self._ahead_ms is not None

    def record(self, broker_ms: int, *, sent_at: float, acked_at: float) -> None:
        """Record an acknowledgement.

        Args:
            broker_ms: the time with which the broker stamped the record.
            sent_at: when the record was sent, in s of the monotonic clock.
            acked_at: when the acknowledgement arrived, in s of the monotonic clock.
        """
        ahead_ms = broker_ms - acked_at * 1000
        if self._ahead_ms is None or acked_at - self._since > FORGET_S:
            self._ahead_before_ms, self._ahead_ms = self._ahead_ms, ahead_ms
            self._since = acked_at
        else:
            self._ahead_ms = max(self._ahead_ms, ahead_ms)
        if acked_at - sent_at > SILENCE_S:
            self.answering_since_ms = max(self.answering_since_ms, broker_ms)

    def at_ms(self, moment: float) -> int | None:
        """Return broker time in ms at a moment of the monotonic clock in s; None if unknown."""
        if self._ahead_ms is None:
            return None
        ahead_ms = self._ahead_ms
        if self._ahead_before_ms is not None:
            ahead_ms = max(ahead_ms, self._ahead_before_ms)
        return int(moment * 1000 + ahead_ms)

    def now_ms(self) -> int:
        """Return the broker's time now, in ms; this machine's time until the broker's is known."""
        now_ms = self.at_ms(self._monotonic())
        return int(time.time() * 1000) if now_ms is None else now_ms

    def skew_s(self) -> float:
        """Return by how many seconds this machine's clock is ahead of the broker's."""
        return (time.time() * 1000 - self.now_ms()) / 1000
