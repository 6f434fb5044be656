"""Source partitions that wait for an external service, e.g. Redis."""

from __future__ import annotations

from collections.abc import Iterable

from models.aggregates.ingest_report import Waiting

TOLD_MS = 3_000
"""A partition waits until this long after the last heartbeat that reported it as waiting."""


class WaitingSources:
    """The partitions that workers recently reported as waiting."""

    def __init__(self) -> None:
        self._reported: dict[tuple[str, int], tuple[int, str]] = {}

    def record(self, reported: Iterable[Waiting], *, at_ms: int) -> None:
        """Record the partitions that wait, as reported at broker time ``at_ms``."""
        for waiting in reported:
            self._reported[waiting.topic, waiting.partition] = (at_ms, waiting.why)

    def at(self, now_ms: int) -> dict[tuple[str, int], str]:
        """Return the source partitions that wait now, and the reason of each."""
        return {
            source: why
            for source, (at_ms, why) in sorted(self._reported.items())
            if now_ms - at_ms <= TOLD_MS
        }
