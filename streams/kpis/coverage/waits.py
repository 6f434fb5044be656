"""Source partitions that can't go on because a service outside does not answer."""

from __future__ import annotations

from collections.abc import Iterable

from models.aggregates.ingest_report import Waiting

TOLD_MS = 3_000
"""Workers tell it with every heartbeat; it is over when they do not any more."""


class WaitingSources:
    """What workers told lately."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, int], tuple[int, str]] = {}

    def record(self, told: Iterable[Waiting], *, at_ms: int) -> None:
        """Take note of who waits, as told at a time of the broker."""
        for waiting in told:
            self._told[waiting.topic, waiting.partition] = (at_ms, waiting.why)

    def at(self, now_ms: int) -> dict[tuple[str, int], str]:
        """Return what each source that waits now waits for."""
        return {
            source: why
            for source, (at_ms, why) in sorted(self._told.items())
            if now_ms - at_ms <= TOLD_MS
        }
