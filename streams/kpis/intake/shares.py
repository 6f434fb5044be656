"""Shares of unusual records (late, duplicate, dead letters) in the last minutes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from models.window import MINUTE_MS

MINUTES = 5
"""The minutes of broker time in which records are counted, the present one included."""
LEAST_RECORDS = 100
"""With fewer records the share is returned as 0: they prove nothing."""


class Shares:
    """Counts by minute of broker time. They are not saved: a new worker starts without any."""

    def __init__(self) -> None:
        self._minutes: dict[int, Counter[str]] = {}

    def record(self, counts: Mapping[str, int], *, at_ms: int) -> None:
        """Record the counts of a report.

        Args:
            counts: counts by name, as `counts_of` returns them.
            at_ms: the broker time up to which the report's partition was read.
        """
        minute = at_ms // MINUTE_MS
        self._minutes.setdefault(minute, Counter()).update(counts)
        for old in [one for one in self._minutes if one <= max(self._minutes) - MINUTES]:
            del self._minutes[old]

    def share(self, name: str, *, now_ms: int) -> float:
        """Return the share of records that were counted under a name, 0 to 1.

        Args:
            name: the name of a count. One that ends in ``/`` is the sum of all names that begin
                with it, e.g. ``dead_letters/``.
            now_ms: the present broker time.
        """
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
