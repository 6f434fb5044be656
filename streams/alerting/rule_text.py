"""Explains alert rules: one sentence in words, in English and in Chinese.

A sentence is a pure function of the rule and the definition of its KPI. Example::

    fires when conversion rate of any campaign like 618-* over 5 min is surely below 2 % (from at
    least 500 clicks), for 1 min; resolves once it is 2.2 % or more, for 1 min; without data it
    stays as it is for up to a day; critical, for growth
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from models.alerts import AbsenceRule, AnyRule, NoData, Rule, Severity, ThresholdRule
from models.kpi.definition import Kpi
from models.kpi.formula import Quantile, Quotient
from models.kpi.measures import MODELS
from models.patterns import is_pattern
from models.scope import parts_of
from models.window import WindowName


class RuleText(NamedTuple):
    """The sentence of a rule in both languages."""

    en: str
    zh: str


NO_TEXT: Final = RuleText("", "")

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
_WITHOUT_DATA: Final[dict[NoData, RuleText]] = {
    "keep": RuleText(
        "without data it stays as it is for up to a day", "无数据时告警最多保持 1 天不变"
    ),
    "resolve": RuleText("resolves without data", "无数据时恢复"),
    "fire": RuleText("fires without data, too", "无数据时同样触发"),
}
_COUNTED: Final = {
    "active": "active users",
    "clicks_paid": "paid clicks",
    "csat_answers": "CSAT answers",
    "customers_before": "earlier customers",
    "engaged": "engaged users",
    "lead_users": "users with a lead",
    "leads_closed": "users with a closed lead",
    "leads_mql": "leads qualified by marketing",
    "leads_open": "open leads",
    "nps_answers": "NPS answers",
    "orders_attributed": "orders of known customers",
    "participants": "visitors, buyers and engaged users",
    "reached": "users reached",
    "refunds_made": "refunds",
    "returning": "returning buyers",
    "sentiment_negative": "unfavourable mentions",
    "sentiment_neutral": "neutral mentions",
    "sentiment_positive": "favourable mentions",
    "shoppers": "visitors and buyers",
    "visits_paid": "paid visits",
}
"""What the n of a value counts, in words, where they are not the name of the measure."""
_NOTHING_IS_ZERO: Final = RuleText("nothing at all counts as 0", "没有任何事件时按 0 计")
_UNITS: Final = (
    (86_400, RuleText("day", "天")),
    (3_600, RuleText("h", "小时")),
    (60, RuleText("min", "分钟")),
    (1, RuleText("s", "秒")),
)


def explain(rule: AnyRule, kpi: Kpi, *, currency: str) -> RuleText:
    """Return what a rule does, as one sentence without a subject or a full stop.

    Args:
        rule: the rule.
        kpi: the definition of its KPI.
        currency: the reporting currency, ISO 4217.
    """
    about = _selection(rule)
    window = _WINDOWS[rule.window]
    if _only_while_it_runs(rule, kpi):
        window = RuleText(f"{window.en} while it runs", f"投放期间{window.zh}")
    verb = _verb(kpi)
    lasting = NO_TEXT
    if rule.for_s:
        lasting = RuleText(f", for {duration(rule.for_s).en}", f"，持续 {duration(rule.for_s).zh}")
    if isinstance(rule, AbsenceRule):
        fires = RuleText(
            f"fires when there {verb} no {_title(kpi)}{about.en} over {window.en}{lasting.en}",
            f"当{about.zh}{window.zh}的" + _spaced(f"{kpi.title_zh}为 0{lasting.zh}") + "时触发",
        )
        back = RuleText(f"resolves once there {verb} some", "不再为 0")
        no_data = []
    else:
        beyond = _beyond(rule, kpi, currency=currency)
        fires = RuleText(
            f"fires when {_title(kpi)}{about.en} over {window.en} {verb} {beyond.en}{lasting.en}",
            f"当{about.zh}{window.zh}的{kpi.title_zh}{_spaced(beyond.zh + lasting.zh)}时触发",
        )
        back = _back(rule, kpi, currency=currency)
        no_data = [_WITHOUT_DATA[rule.no_data]]
        if rule.below is not None and kpi.additive and not (kpi.looks_back or rule.min_n):
            no_data = [_NOTHING_IS_ZERO, *(no_data if rule.no_data != "keep" else [])]
    kept = rule.keep_firing_for_s
    resolves = RuleText(
        back.en + (f", for {duration(kept).en}" if kept else ""),
        _spaced(back.zh + (f"，持续 {duration(kept).zh}" if kept else "")) + "后恢复",
    )
    severity = _SEVERITIES[rule.severity]
    people = RuleText(
        severity.en + (f", for {rule.owner}" if rule.owner else ""),
        f"级别{severity.zh}" + (f"，负责人 {rule.owner}" if rule.owner else ""),
    )
    parts = [fires, resolves, *no_data, people]
    return RuleText("; ".join(part.en for part in parts), "；".join(part.zh for part in parts))


def duration(seconds: float) -> RuleText:
    """Return a duration in words: 5,400 s is 1 h 30 min."""
    whole, rest = divmod(Decimal(str(seconds)), 1)
    found: list[tuple[str, RuleText]] = []
    left = int(whole)
    for length, unit in _UNITS:
        count, left = divmod(left, length)
        if length == 1:
            shown = _number(count + rest)
            if shown != "0" or not found:
                found.append((shown, unit))
        elif count:
            plural = "days" if length == 86_400 and count > 1 else unit.en
            found.append((str(count), unit._replace(en=plural)))
    return RuleText(
        " ".join(f"{count} {unit.en}" for count, unit in found),
        " ".join(f"{count} {unit.zh}" for count, unit in found),
    )


def amount(value: float, kpi: Kpi, *, currency: str) -> RuleText:
    """Return a value of a KPI with its unit: 2 %, 1.5 times, 3 CNY, 1 min 30 s."""
    exact = Decimal(f"{value:.12g}")
    match kpi.shown_unit:
        case "ratio":
            return RuleText(f"{_number(100 * exact)} %", f"{_number(100 * exact)}%")
        case "multiple":
            return RuleText(f"{_number(exact)}×", f"{_number(exact)} 倍")
        case "money":
            return RuleText(*[f"{_number(exact)} {currency}"] * 2)
        case "users":
            return RuleText(f"{_number(exact)} users", f"{_number(exact)} 人")
        case "seconds" if value >= 0:
            return duration(value)
        case "score":
            return RuleText(f"{_number(exact)} points", f"{_number(exact)} 分")
    return RuleText(_number(exact), _number(exact))


def _number(value: Decimal) -> str:
    text = f"{value:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _spaced(chinese: str) -> str:
    """Return a text with a space at its end, where a Chinese character would follow a digit."""
    return chinese + " " if chinese[-1:].isascii() and chinese[-1:].isalnum() else chinese


def _title(kpi: Kpi) -> str:
    """Return the English title within a sentence: acronyms keep their capitals."""
    title = kpi.title_en
    return title if title[1:2].isupper() else title[0].lower() + title[1:]


def _verb(kpi: Kpi) -> str:
    """Return the verb of a title: new customers are, a change of unique visitors or a status is."""
    head = re.split(r",| (?:of|from|in|for|by|per|to) ", kpi.title_en)[0]
    plural = kpi.unit in {"count", "users"} and re.search(r"(?<![siu])s$", head)
    return "are" if plural else "is"


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


def _only_while_it_runs(rule: AnyRule, kpi: Kpi) -> bool:
    too_little = isinstance(rule, AbsenceRule) or (rule.below is not None and kpi.additive)
    return too_little and "campaign" in parts_of(rule.scope)


def _beyond(rule: ThresholdRule, kpi: Kpi, *, currency: str) -> RuleText:
    limit = amount(rule.limit, kpi, currency=currency)
    surely = kpi.interval != "none" or isinstance(kpi.parsed, Quantile)
    below = rule.below is not None
    en = f"{'surely ' if surely else ''}{'below' if below else 'above'} {limit.en}"
    zh = f"{'确定' if surely else ''}{'低于' if below else '高于'} {limit.zh}"
    if rule.min_n:
        en += f" (from at least {rule.min_n:,} {counted(kpi)})"
        zh += f"（样本量至少 {rule.min_n:,}）"
    return RuleText(en, zh)


def _back(rule: ThresholdRule, kpi: Kpi, *, currency: str) -> RuleText:
    edge = amount(rule.back_at, kpi, currency=currency)
    they = "they are" if _verb(kpi) == "are" else "it is"
    if rule.below is not None:
        return RuleText(f"resolves once {they} {edge.en} or more", f"回到 {_spaced(edge.zh)}或以上")
    return RuleText(f"resolves once {they} {edge.en} or less", f"回到 {_spaced(edge.zh)}或以下")


def counted(kpi: Kpi) -> str:
    """Return what the n of a KPI counts: ``nps_answers`` are NPS answers."""
    if kpi.n_terms is not None:
        terms = kpi.n_terms
    elif isinstance(kpi.parsed, Quotient):
        terms = kpi.parsed.under
    else:
        return "values"
    names = [name for _, name in terms]
    if any(name == f"orders_{model}" for name in names for model in MODELS):
        return "orders"
    added = [_COUNTED.get(name) or name.replace("_", " ") for sign, name in terms if sign > 0]
    left_out = [_COUNTED.get(name) or name.replace("_", " ") for sign, name in terms if sign < 0]
    return " without ".join(_listed(words) for words in (added, left_out) if words)


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
