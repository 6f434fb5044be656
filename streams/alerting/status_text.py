"""Words for the last verdicts of alert rules, in English and in Chinese."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from models.kpi.definition import Kpi
from models.rule_status import NotJudged, ScopeStatus, Why
from streams.alerting.rules.rule import Rule
from streams.alerting.words import RuleText, duration

_WORDS: Final[Mapping[Why, RuleText]] = {
    Why.FIRING: RuleText("fires", "告警中"),
    Why.NO_VALUE: RuleText("the KPI has no value here in this window", "本窗口内该指标无值"),
    Why.NO_INPUT: RuleText(
        "the KPI has no value: an input of it never came", "该指标无值：所需输入从未到达"
    ),
    Why.NOT_MEASURED: RuleText(
        "the KPI was not measured in all of the window", "窗口内并非全程测量该指标"
    ),
    Why.NOT_OBSERVED: RuleText("only a part of the window was observed", "仅观测到窗口的一部分"),
    Why.CAMPAIGN_OFF: RuleText(
        "the campaign does not run in all of the window", "活动未在整个窗口内投放"
    ),
    Why.NO_EARLIER: RuleText(
        "no judgement: the earlier period is not known, or rests on too few",
        "无法判断：对比期未知或样本量不足",
    ),
    Why.LEARNING: RuleText(
        "no judgement yet: what is usual is being learned", "尚不能判断：正在学习常态"
    ),
    Why.NOT_LEARNED: RuleText(
        "not judged: more series than the monitor learns", "未判断：超出可学习的序列数量"
    ),
    Why.NO_PLAN: RuleText(
        "no judgement: the campaign has no budget, or no planned start and end",
        "无法判断：活动未设置预算或计划起止时间",
    ),
    Why.TOO_EARLY: RuleText(
        "too early: too little of the campaign's run has passed", "为时尚早：活动进行的时间还不够长"
    ),
    Why.NO_PEERS: RuleText(
        "no judgement: fewer than five peers have enough data",
        "无法判断：数据充足的同类不足 5 个",
    ),
    Why.INCOMPLETE: RuleText(
        "the window lacks records; `for` begins again", "窗口缺少记录；持续时间重新计算"
    ),
}
NOT_JUDGED: Final[Mapping[NotJudged, RuleText]] = {
    NotJudged.WAITING: RuleText(
        "no window was judged since the worker started", "进程启动后尚无窗口被判断"
    ),
    NotJudged.INCOMPLETE: RuleText(
        "not judged: the newest window lacks records", "未判断：最新窗口缺少记录"
    ),
    NotJudged.HELD: RuleText("held: a source of the KPI is silent", "暂停：指标的数据源静默"),
    NotJudged.HELD_BACK: RuleText(
        "not judged: an alert about the data fires", "未判断：数据健康告警触发中"
    ),
}
"""Why a rule is not judged, in words."""


def explain_status(status: ScopeStatus, rule: Rule, kpi: Kpi) -> RuleText:
    """Return why a rule fires in a scope or does not, without the value and without times."""
    if status.why is Why.PENDING:
        return _pending(status, rule)
    return rule.status_text(status, kpi) or _WORDS[status.why]


def _pending(status: ScopeStatus, rule: Rule) -> RuleText:
    left_s = (status.left_ms or 0) // 1000
    broken, left = duration(max(0, rule.for_s - left_s)), duration(left_s)
    return RuleText(
        f"broken for {broken.en}; fires if it is for {left.en} more",
        f"已持续 {broken.zh}；再持续 {left.zh}后触发",
    )
