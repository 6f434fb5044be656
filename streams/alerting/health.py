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
    holds_kpi_alerts: bool = True
    """Whether KPI rules wait while it fires."""


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

GAP = HealthRule(
    name="data-gap",
    severity="critical",
    for_ms=0,
    keep_firing_for_ms=0,
    summary_en="Records were lost before they were read; windows that lack them are not judged",
    summary_zh="部分数据在读取前丢失，相关窗口不作判断",
    next_step="Give the source topics a longer retention; see kpi-monitor dead-letters",
    holds_kpi_alerts=False,
)

HEALTH_RULES = (LAGGING, INCOMPLETE, GAP)
HOLDING = frozenset(rule.name for rule in HEALTH_RULES if rule.holds_kpi_alerts)
"""The rules whose alerts hold KPI alerts back; a gap only takes its windows out."""


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
    if rule is GAP:
        return (Verdict.BROKEN if health.gaps else Verdict.HOLDS), float(health.gaps), 0.0
    lag_s = health.lag_s
    if lag_s is None:
        return Verdict.BETWEEN, None, lag_limit_s
    return (Verdict.BROKEN if lag_s > lag_limit_s else Verdict.HOLDS), lag_s, lag_limit_s
