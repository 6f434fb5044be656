"""Rules about the health of the data: one alert for a fault, instead of a flood of KPI alerts.

A rule is broken while its value is above its limit, unless there is a reason to wait.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from models.alerts import Severity
from models.kpi.definition import KpiValue, ShownUnit
from models.limits import DEAD_LETTER_SHARE, ORDERS_WITHOUT_TOUCH
from models.rule_status import Why
from streams.alerting.rules.protocol import AlertFacts, Evidence, Finding, Verdict
from streams.kpis.view import Health

STARTUP_MS = 20_000
"""Time after a start during which missing sources are no reason to alert, in ms."""


def _orders_without_touch(share: KpiValue | None) -> float:
    """Return the number of the day's orders if none of them had a touch, else 0."""
    return float(share.n) if share is not None and share.value == 0 else 0.0


class HealthContext(NamedTuple):
    """The context that a rule about the data judges.

    Args:
        health: the health of the data now.
        started_ms: broker time at which judging began.
        lag_limit_s: the lag above which the data are late, in s.
    """

    health: Health
    started_ms: int
    lag_limit_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthRule:
    """A rule about the data themselves. It is broken while ``value`` is above ``limit``.

    Attributes:
        name: name of the rule.
        value: returns the value to judge; if it is None, the alert keeps its state.
        limit: the limit, in the unit of ``value``; None takes it from the settings.
        waits: returns whether a value above the limit is no reason to alert for now: the alert
            keeps its state.
        severity: severity of the alert.
        for_ms: how long the rule is broken before the alert fires, in ms of broker time.
        keep_firing_for_ms: how long the rule holds before the alert resolves, likewise.
        summary_en: what is wrong, in English.
        summary_zh: what is wrong, in Chinese.
        next_step: what a person should do, in English.
        next_step_zh: the same in Chinese.
        unit: unit of the value and of the limit.
        holds_kpi_alerts: whether no KPI rule is judged while the alert fires.
    """

    name: str
    value: Callable[[Health], float | None]
    limit: float | None = 0.0
    waits: Callable[[HealthContext], bool] = lambda _: False
    severity: Severity = "critical"
    for_ms: int = 0
    keep_firing_for_ms: int = 5_000
    summary_en: str
    summary_zh: str
    next_step: str
    next_step_zh: str
    unit: ShownUnit = "count"
    holds_kpi_alerts: bool = False

    @property
    def facts(self) -> AlertFacts:
        """The facts that all alerts of the rule have in common."""
        return AlertFacts(
            rule=self.name,
            category="data_health",
            severity=self.severity,
            for_ms=self.for_ms,
            keep_firing_for_ms=self.keep_firing_for_ms,
            summary_en=self.summary_en,
            summary_zh=self.summary_zh,
            next_step=self.next_step,
            next_step_zh=self.next_step_zh,
        )

    def judge(self, context: HealthContext) -> Finding:
        """Judge the health of the data."""
        limit = context.lag_limit_s if self.limit is None else self.limit
        value = self.value(context.health)
        if value is None:
            return Finding(Verdict.BETWEEN, Evidence(None, limit), Why.NO_VALUE)
        evidence = Evidence(KpiValue(value), limit)
        if value <= limit:
            return Finding(Verdict.HOLDS, evidence, Why.WITHIN)
        if self.waits(context):
            return Finding(Verdict.BETWEEN, evidence, Why.NOT_OBSERVED)
        return Finding(Verdict.BROKEN, evidence)


def _starting(context: HealthContext) -> bool:
    return context.health.now_ms - context.started_ms < STARTUP_MS


LAGGING = HealthRule(
    name="data-lagging",
    value=lambda health: health.lag_s,
    limit=None,
    # Records wait until the windows before them are closed: nobody has to act.
    waits=lambda context: context.health.reading_history,
    unit="seconds",
    summary_en="The monitor is behind its input; KPI alerts wait",
    summary_zh="数据处理滞后，指标告警暂停",
    next_step="Look at kpi-monitor topics and the worker's log; add a worker if it can't keep up",
    next_step_zh="查看 kpi-monitor topics 与进程日志；处理能力不足时增加进程",
    holds_kpi_alerts=True,
)
INCOMPLETE = HealthRule(
    name="data-incomplete",
    value=lambda health: float(health.expected - health.reporting),
    waits=_starting,
    summary_en="Source partitions do not report; KPI alerts wait",
    summary_zh="部分数据分区没有上报，指标告警暂停",
    next_step="See which workers and partitions are down",
    next_step_zh="检查哪些进程与分区已停止",
    holds_kpi_alerts=True,
)
GAP = HealthRule(
    name="data-gap",
    value=lambda health: float(health.gaps),
    keep_firing_for_ms=0,
    summary_en="Records were lost before they were read; windows that lack them are not judged",
    summary_zh="部分数据在读取前丢失，相关窗口不作判断",
    next_step="Give the source topics a longer retention; see kpi-monitor dead-letters",
    next_step_zh="延长数据源主题的保留时间；查看 kpi-monitor dead-letters",
)
SILENT = HealthRule(
    name="data-silent",
    value=lambda health: float(len(health.silent)),
    summary_en="A source has been silent for unusually long; alerts about its KPIs wait",
    summary_zh="数据源静默，相关指标告警暂停",
    next_step="See kpi_monitor_source_silent, and look at the producers of that topic",
    next_step_zh="查看 kpi_monitor_source_silent，并检查该主题的数据发送方",
)
CUSTOMERS_AWAY = HealthRule(
    name="data-customers-away",
    value=lambda health: float(len(health.waiting)),
    for_ms=3_000,
    summary_en="Redis does not keep the customers; sources wait for it, and so do KPI alerts",
    summary_zh="客户存储不可用，数据等待处理，指标告警暂停",
    next_step="See kpi_monitor_source_waiting and the worker's log; start Redis, or if it lost its "
    "data, kpi-monitor customers --rebuild",
    next_step_zh="查看 kpi_monitor_source_waiting 与进程日志；启动 Redis，若其数据丢失则执行"
    " kpi-monitor customers --rebuild",
    holds_kpi_alerts=True,
)
DEAD_LETTERS = HealthRule(
    name="data-dead-letters",
    value=lambda health: health.dead_letter_share,
    unit="ratio",
    limit=DEAD_LETTER_SHARE.alert,
    severity="warning",
    for_ms=10_000,
    summary_en="Too many records can't be counted",
    summary_zh="无法计入的记录过多",
    next_step="kpi-monitor dead-letters shows the reasons; mend the producer and send the events "
    "anew; --redrive sends those again that can count as they are",
    next_step_zh="用 kpi-monitor dead-letters 查看原因；修复发送方后重新发送事件；"
    "原样即可计入的记录用 --redrive 重发",
)
MIS_KEYED = HealthRule(
    name="data-mis-keyed",
    value=lambda health: health.mis_keyed_share,
    unit="ratio",
    limit=0.05,
    severity="warning",
    for_ms=10_000,
    summary_en="Too many records are not keyed by their user; distinct counts may be too high",
    summary_zh="记录键与用户不一致，去重人数可能偏高",
    next_step="Let the producers key clicks and orders by user_id, campaigns by campaign_id",
    next_step_zh="发送方应以 user_id 作为点击与订单的键，以 campaign_id 作为活动的键",
)
UNJOINED = HealthRule(
    name="data-unjoined",
    value=lambda health: _orders_without_touch(health.orders_with_touch),
    limit=ORDERS_WITHOUT_TOUCH.alert,
    severity="warning",
    for_ms=60_000,
    summary_en="No order of the day had a click of its customer; all orders count as direct",
    summary_zh="今日没有订单能匹配到客户的点击，所有订单均计为直接访问",
    next_step="Compare user_id in clicks and orders; docs/how-to/identity.md says how to link ids",
    next_step_zh="比较点击与订单中的 user_id；关联标识的方法见 docs/how-to/identity.md",
)
LATE = HealthRule(
    name="data-late",
    value=lambda health: health.late_share,
    unit="ratio",
    limit=0.2,
    severity="warning",
    for_ms=10_000,
    summary_en="Too many events come late; closed windows change after the fact",
    summary_zh="迟到事件过多，已关闭窗口会被修正",
    next_step="Look for a slow producer, or raise KPI_ALLOWED_DISORDER_S",
    next_step_zh="查找延迟的发送方，或调大 KPI_ALLOWED_DISORDER_S",
)
DUPLICATES = HealthRule(
    name="data-duplicates",
    value=lambda health: health.duplicate_share,
    unit="ratio",
    limit=0.2,
    severity="warning",
    for_ms=10_000,
    summary_en="Too many events are sent more than once; each is counted once",
    summary_zh="重复事件过多，每个事件只计一次",
    next_step="Look for a producer that retries without idempotence",
    next_step_zh="查找重试但未启用幂等的发送方",
)

HEALTH_RULES = (
    *(LAGGING, INCOMPLETE, CUSTOMERS_AWAY, GAP, SILENT),
    *(DEAD_LETTERS, MIS_KEYED, UNJOINED, LATE, DUPLICATES),
)
UNITS = {rule.name: rule.unit for rule in HEALTH_RULES}
"""Units of the values of data-health alerts, by rule."""
HOLDING = frozenset(rule.name for rule in HEALTH_RULES if rule.holds_kpi_alerts)
"""Names of the rules that inhibit all KPI rules while they fire."""
