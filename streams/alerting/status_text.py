"""Words for the last verdicts of alert rules, in English and in Chinese."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from models.alerts import AnyRule, ThresholdRule
from models.kpi.definition import Kpi
from models.kpi.formula import Quotient
from models.rule_status import NotJudged, ScopeStatus, Why
from streams.alerting.rule_text import RuleText, amount, counted, duration

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


def explain_status(status: ScopeStatus, rule: AnyRule, kpi: Kpi) -> RuleText:
    """Return why a rule fires in a scope or does not, without the value and without times.

    Example:
        A conversion of 0 % from 6 clicks, with ``below: 0.01``: "not significant; some 380 clicks
        without orders would be needed".
    """
    match status.why:
        case Why.PENDING:
            return _pending(status, rule)
        case Why.NOT_SIGNIFICANT:
            en, zh = _needed(status, kpi)
            return RuleText(f"not significant; {en}", f"不显著；{zh}")
        case Why.TOO_FEW if isinstance(rule, ThresholdRule):
            n = 0 if status.value is None else status.value.n
            few = RuleText(
                f"too few: {n:,} of at least {rule.min_n:,} {counted(kpi)}",
                f"样本量不足：{n:,}，至少需 {rule.min_n:,}",
            )
            if (status.required_n or 0) <= rule.min_n:
                return few
            en, zh = _needed(status, kpi)
            return RuleText(f"{few.en}; {en}", f"{few.zh}；{zh}")
        case Why.WITHIN if not isinstance(rule, ThresholdRule):
            return RuleText("there is traffic", "有流量")
        case Why.WITHIN if status.required_n:
            some = _rounded(status.required_n)
            return RuleText(
                f"within the limit; below some {some} {counted(kpi)} it can't fire",
                f"未超限；样本量不足约 {some} 时不会触发",
            )
        case Why.WITHIN:
            return RuleText("within the limit", "未超限")
    return _WORDS[status.why]


def limit_text(rule: AnyRule, kpi: Kpi, *, currency: str) -> RuleText:
    """Return the limit of a rule with its unit, such as "below 1 %"; "none" of an absence rule."""
    if not isinstance(rule, ThresholdRule):
        return RuleText("none", "为 0")
    limit = amount(rule.limit, kpi, currency=currency)
    if rule.below is not None:
        return RuleText(f"below {limit.en}", f"低于 {limit.zh}")
    return RuleText(f"above {limit.en}", f"高于 {limit.zh}")


def _pending(status: ScopeStatus, rule: AnyRule) -> RuleText:
    left_s = (status.left_ms or 0) // 1000
    broken, left = duration(max(0, rule.for_s - left_s)), duration(left_s)
    return RuleText(
        f"broken for {broken.en}; fires if it is for {left.en} more",
        f"已持续 {broken.zh}；再持续 {left.zh}后触发",
    )


def _needed(status: ScopeStatus, kpi: Kpi) -> RuleText:
    some = _rounded(status.required_n or 0)
    formula = kpi.parsed
    nothing = status.value is not None and not status.value.value
    if nothing and isinstance(formula, Quotient) and len(formula.over) == 1:
        lacking = formula.over[0][1].replace("_", " ")
        return RuleText(
            f"some {some} {counted(kpi)} without {lacking} would be needed",
            f"数值仍为 0 时样本量需约 {some}",
        )
    return RuleText(
        f"at this value some {some} {counted(kpi)} would be needed", f"该数值下样本量需约 {some}"
    )


def _rounded(n: int) -> str:
    """Return a number to two significant digits: it is an estimate."""
    return f"{int(float(f'{n:.2g}')):,}"
