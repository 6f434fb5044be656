"""Explains alert rules: one sentence in words, in English and in Chinese.

A sentence is a pure function of the rule and the definition of its KPI. Example::

    fires when conversion rate of any campaign like 618-* over 5 min is surely below 2 % (from at
    least 500 clicks), for 1 min; resolves once it is 2.2 % or more, for 1 min; without data it
    stays as it is for up to a day; critical, for growth
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from models.alerts import Severity
from models.kpi.definition import Kpi
from models.patterns import is_pattern
from models.scope import parts_of
from models.window import WindowName
from streams.alerting.rules.rule import Rule
from streams.alerting.words import NO_TEXT, RuleText, Subject, duration, spaced, title_of, verb_of

_WINDOWS: Final[dict[WindowName, RuleText]] = {
    "1m": RuleText("1 min", "最近 1 分钟"),
    "5m": RuleText("5 min", "最近 5 分钟"),
    "1h": RuleText("1 h", "最近 1 小时"),
    "24h": RuleText("24 h", "最近 24 小时"),
    "day": RuleText("the business day to date", "当日至今"),
    "week": RuleText("7 business days to date", "近 7 日至今"),
    "month": RuleText("30 business days to date", "近 30 日至今"),
    "so_far": RuleText("all time", "累计至今"),
}
_PARTS: Final = {
    "campaign": RuleText("campaign", "活动"),
    "channel": RuleText("channel", "渠道"),
    "region": RuleText("region", "地区"),
    "segment": RuleText("segment", "客群"),
}
_SEVERITIES: Final[dict[Severity, RuleText]] = {
    "critical": RuleText("critical", "严重"),
    "warning": RuleText("warning", "警告"),
    "info": RuleText("info", "提示"),
}


def explain(rule: Rule, kpi: Kpi, *, currency: str) -> RuleText:
    """Return what a rule does, as one sentence without a subject or a full stop.

    Args:
        rule: the rule.
        kpi: the definition of its KPI.
        currency: the reporting currency, ISO 4217.
    """
    window = _WINDOWS[rule.window]
    if rule.is_about_too_little(kpi) and "campaign" in parts_of(rule.scope):
        window = RuleText(f"{window.en} while it runs", f"投放期间{window.zh}")
    lasting = NO_TEXT
    if rule.for_s:
        lasting = RuleText(f", for {duration(rule.for_s).en}", f"，持续 {duration(rule.for_s).zh}")
    clauses = rule.clauses(
        Subject(
            kpi=kpi,
            currency=currency,
            title=title_of(kpi),
            verb=verb_of(kpi),
            scopes=_selection(rule),
            window=window,
            lasting=lasting,
        )
    )
    fires = RuleText(f"fires when {clauses.fires.en}", f"当{clauses.fires.zh}时触发")
    back, kept = clauses.resolves, rule.keep_firing_for_s
    resolves = RuleText(
        back.en + (f", for {duration(kept).en}" if kept else ""),
        spaced(back.zh + (f"，持续 {duration(kept).zh}" if kept else "")) + "后恢复",
    )
    severity = _SEVERITIES[rule.severity]
    people = RuleText(
        severity.en + (f", for {rule.owner}" if rule.owner else ""),
        f"级别{severity.zh}" + (f"，负责人 {rule.owner}" if rule.owner else ""),
    )
    parts = [fires, resolves, *clauses.no_data, people]
    return RuleText("; ".join(part.en for part in parts), "；".join(part.zh for part in parts))


def _selection(rule: Rule) -> RuleText:
    """Return which scopes a rule is about: it follows the KPI in English, and begins in Chinese."""
    parts = parts_of(rule.scope)
    if not parts:
        return RuleText("", "全部数据")
    said = [_names(_PARTS[part], getattr(rule.match, part)) for part in parts]
    en = " in ".join(one.en for one in reversed(said))
    zh = "".join(one.zh for one in said)
    return RuleText(f" of {en}", f"{zh}在")


def _names(part: RuleText, names: Sequence[str]) -> RuleText:
    if "*" in names:
        return RuleText(f"any {part.en}", f"任一{part.zh}")
    outright = [name for name in names if not is_pattern(name)]
    patterns = [name for name in names if is_pattern(name)]
    en, zh = [], []
    if outright:
        en.append(f"{part.en} {' or '.join(outright)}")
        zh.append(f"{part.zh} {'、'.join(outright)} ")
    if patterns:
        en.append(f"any {part.en} like {' or '.join(patterns)}")
        zh.append(f"名称形如 {'、'.join(patterns)} 的{part.zh}")
    return RuleText(", or ".join(en), "或".join(zh))
