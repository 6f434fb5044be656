"""Data health: lag and incomplete sources give one alert each, never a flood."""

from __future__ import annotations

from dataclasses import dataclass

from models.alerts import Severity
from streams.alerting.verdicts import Verdict
from streams.kpis.view import Health

STARTUP_MS = 20_000
"""For so long after a start, sources may still be missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthRule:
    """A rule about the data themselves. Times are of the clock, in ms."""

    name: str
    severity: Severity
    for_ms: int
    keep_firing_for_ms: int
    summary_en: str
    summary_zh: str
    next_step: str


LAGGING = HealthRule(
    name="data-lagging",
    severity="critical",
    for_ms=0,
    keep_firing_for_ms=5_000,
    summary_en="The monitor is behind its input; KPI alerts wait",
    summary_zh="数据处理滞后，指标告警暂停",
    next_step="Look at kpi-monitor topics and the worker's log; add a worker if it can't keep up",
)
INCOMPLETE = HealthRule(
    name="data-incomplete",
    severity="critical",
    for_ms=0,
    keep_firing_for_ms=5_000,
    summary_en="Source partitions do not report; KPI alerts wait",
    summary_zh="部分数据分区没有上报，指标告警暂停",
    next_step="See which workers and partitions are down",
)

HEALTH_RULES = (LAGGING, INCOMPLETE)


def judge(
    rule: HealthRule, health: Health, *, started_ms: int, lag_limit_s: float
) -> tuple[Verdict, float | None, float]:
    """Return the verdict, the value and the limit of a rule."""
    if rule is INCOMPLETE:
        starting = health.now_ms - started_ms < STARTUP_MS
        if health.reporting >= health.expected:
            verdict = Verdict.HOLDS
        else:
            verdict = Verdict.BETWEEN if starting else Verdict.BROKEN
        return verdict, float(health.reporting), float(health.expected)
    lag_s = health.lag_s
    if lag_s is None:
        return Verdict.BETWEEN, None, lag_limit_s
    return (Verdict.BROKEN if lag_s > lag_limit_s else Verdict.HOLDS), lag_s, lag_limit_s
