"""Declares the KPI stage to the engine."""

from __future__ import annotations

from collections.abc import Callable

from streams.engine.contracts import Saved, SourcePartition, Stage
from streams.kpis.job import KpiJob

TABLE = "kpis"


def stage(
    *,
    reports_topic: str,
    checkpoint_interval_s: float,
    new_job: Callable[[Saved | None], KpiJob],
) -> Stage:
    """Return the KPI stage. Its topic has one partition, so one worker at a time runs its job.

    Args:
        reports_topic: topic of the reports of ingest.
        checkpoint_interval_s: time between checkpoints in s.
        new_job: returns the job with a saved state, or a new one for None.
    """

    def open_job(source: SourcePartition, *, epoch: int, saved: Saved | None) -> KpiJob:
        del source, epoch
        return new_job(saved)

    return Stage(
        name=TABLE,
        topics=(reports_topic,),
        partitions=1,
        checkpoint_interval_s=checkpoint_interval_s,
        open_job=open_job,
        records_at_once=1,
        segments_know_offsets=True,
    )
