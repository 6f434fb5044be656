"""Ends a worker that has work and does none.

A Kafka consumer can stop silently; a process that is gone is replaced by its
supervisor and its partitions by the group, a process that hangs by nobody.
"""

from __future__ import annotations

import asyncio
import time

from streams.engine.contracts import Position, SourcePartition
from streams.engine.process_fence import end_process
from streams.engine.runtime.job_runner import JobRunner


class Watchdog:
    """Watches every source for lag without progress."""

    def __init__(self, runner: JobRunner, *, limit_s: float) -> None:
        self.runner = runner
        self.limit_s = limit_s

    def stuck(
        self, positions: dict[SourcePartition, Position], *, now: float
    ) -> list[SourcePartition]:
        """Return the sources with records to read and no progress for too long."""
        return [
            source
            for source, running in self.runner.running.items()
            if now - running.progressed_at > self.limit_s
            and source in positions
            and positions[source].behind > 0
        ]

    async def run(self) -> None:
        """Look every few seconds; end the process when a source is stuck."""
        while True:
            await asyncio.sleep(min(5.0, self.limit_s / 4))
            app = self.runner.app
            if app.rebalancing or app.in_recovery:
                for running in self.runner.running.values():
                    running.progressed_at = time.monotonic()
                continue
            self.runner.refuse_grown(app.consumer._thread)
            stuck = self.stuck(self.runner.positions(), now=time.monotonic())
            if stuck:
                end_process(
                    "no progress for %.0f s with records waiting in %s; ending this worker so that "
                    "its partitions move",
                    self.limit_s,
                    ", ".join(f"{topic}[{partition}]" for topic, partition in stuck),
                )
