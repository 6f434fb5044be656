"""Ends a worker that has records to read and makes no progress.

A Kafka consumer can stop silently. When a process ends, its supervisor starts it again and the
consumer group moves its partitions. When a process hangs, neither happens.
"""

from __future__ import annotations

import asyncio
import time

from streams.engine.contracts import Position, SourcePartition
from streams.engine.process_fence import end_process
from streams.engine.runtime.job_runner import JobRunner


class Watchdog:
    """Watches every source for lag without progress.

    Args:
        runner: has the jobs.
        limit_s: how long a source with waiting records may make no progress, in s.
    """

    def __init__(self, runner: JobRunner, *, limit_s: float) -> None:
        self.runner = runner
        self.limit_s = limit_s

    def stuck(
        self, positions: dict[SourcePartition, Position], *, now: float
    ) -> list[SourcePartition]:
        """Return the sources with records to read and no progress for too long.

        Args:
            positions: how far each source is read.
            now: the monotonic clock, in s.
        """
        return [
            source
            for source, running in self.runner.running.items()
            if now - running.progressed_at > self.limit_s
            and source in positions
            and positions[source].behind > 0
        ]

    async def run(self) -> None:
        """Check every few seconds, and end the process if a source is stuck."""
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
