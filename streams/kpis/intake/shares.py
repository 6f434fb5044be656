"""Shares of records that are odd, over the last minutes of the broker's time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from models.window import MINUTE_MS

MINUTES = 5
LEAST_RECORDS = 100
"""Fewer records say nothing about a share."""


class Shares:
    """Counts by minute; they start anew with the worker."""

    def __init__(self) -> None:
        self._minutes: dict[int, Counter[str]] = {}

    def record(self, counts: Mapping[str, int], *, at_ms: int) -> None:
        """Take note of a report's counts, read up to that broker time."""
        minute = at_ms // MINUTE_MS
        self._minutes.setdefault(minute, Counter()).update(counts)
        for old in [one for one in self._minutes if one <= max(self._minutes) - MINUTES]:
            del self._minutes[old]

    def share(self, name: str, *, now_ms: int) -> float:
        """Return the share of records with that count; a name ending in / sums its members."""
        total: Counter[str] = Counter()
        for minute, counts in self._minutes.items():
            if minute > now_ms // MINUTE_MS - MINUTES:
                total.update(counts)
        if total["records"] < LEAST_RECORDS:
            return 0.0
        odd = sum(
            count
            for key, count in total.items()
            if key == name or (name.endswith("/") and key.startswith(name))
        )
        return odd / total["records"]
