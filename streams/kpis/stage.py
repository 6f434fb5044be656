"""The KPI stage as the engine runs it."""

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
    """Return the stage; its topic has one partition, so one worker runs it."""

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
