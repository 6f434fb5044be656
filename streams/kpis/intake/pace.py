"""Rates per second, e.g. of records read or windows closed."""

from __future__ import annotations

MEASURED_OVER_MS = 3_000
"""The shortest time over which a rate is measured."""


class Pace:
    """The growth of a count per second, measured every few seconds."""

    def __init__(self) -> None:
        self._since: tuple[int, int] | None = None
        self._per_second: float | None = None

    @property
    def is_measured(self) -> bool:
        """Whether the growth was measured yet."""
        return self._per_second is not None

    def at(self, now_ms: int, *, count: int) -> float:
        """Return the growth per second that was measured last; 0 before the first measurement.

        Args:
            now_ms: the present time.
            count: the count at that time.
        """
        if self._since is None:
            self._since = (now_ms, count)
        since_ms, before = self._since
        if now_ms - since_ms >= MEASURED_OVER_MS:
            self._per_second = (count - before) * 1000 / (now_ms - since_ms)
            self._since = (now_ms, count)
        return self._per_second or 0.0
