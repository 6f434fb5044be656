"""The immutable view of a worker that the web side shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from streams.engine.runtime.running_job import EngineStats, RecoveryProgress
from streams.kpis.view import KpiView


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerView:
    """A worker at one moment.

    ``now_ms`` is that moment in broker time, and ``clock_skew_s`` by how many seconds this
    machine's clock is ahead of it. ``phase`` is "running" once the worker has its state and reads.
    ``recovery`` is the progress of rebuilding the state. ``sources`` is the number of source
    partitions that the worker owns. ``kpis`` is None on workers that do not own the KPIs.
    """

    worker: str
    now_ms: int
    phase: str
    clock_skew_s: float
    recovery: RecoveryProgress | None
    engine: EngineStats
    sources: int
    kpis: KpiView | None
    alerts_delivered: int
    delivery_failures: int


ViewSource = Callable[[], WorkerView]
