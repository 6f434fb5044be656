"""How much is done in a second: records read, windows closed."""

from __future__ import annotations

MEASURED_OVER_MS = 3_000


class Pace:
    """What a count grows by per second, over the last few seconds."""

    def __init__(self) -> None:
        self._since: tuple[int, int] | None = None
        self._per_second = 0.0

    def at(self, now_ms: int, *, count: int) -> float:
        """Return the pace, given the count by now."""
        if self._since is None:
            self._since = (now_ms, count)
        since_ms, before = self._since
        if now_ms - since_ms >= MEASURED_OVER_MS:
            self._per_second = (count - before) * 1000 / (now_ms - since_ms)
            self._since = (now_ms, count)
        return self._per_second
