"""What a worker shows of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from streams.engine.runtime.running_job import EngineStats, RecoveryProgress
from streams.kpis.view import KpiView


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerView:
    """A worker at a moment. ``kpis`` is None on workers that do not own them."""

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
