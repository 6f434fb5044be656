"""How many records are read in a second."""

from __future__ import annotations

MEASURED_OVER_MS = 3_000


class Pace:
    """Records per second over the last few seconds."""

    def __init__(self) -> None:
        self._since: tuple[int, int] | None = None
        self._per_second = 0.0

    def at(self, now_ms: int, *, records: int) -> float:
        """Return the pace, given how many records were read by now."""
        if self._since is None:
            self._since = (now_ms, records)
        since_ms, before = self._since
        if now_ms - since_ms >= MEASURED_OVER_MS:
            self._per_second = (records - before) * 1000 / (now_ms - since_ms)
            self._since = (now_ms, records)
        return self._per_second
