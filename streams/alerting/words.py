"""Words for rules and values, in English and in Chinese: amounts, durations, KPIs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from models.kpi.definition import Kpi, KpiValue
from models.kpi.formula import Quotient
from models.kpi.measures import MODELS


class RuleText(NamedTuple):
    """A text in both languages."""

    en: str
    zh: str


NO_TEXT: Final = RuleText("", "")


class Subject(NamedTuple):
    """The subject of a rule's sentence.

    Args:
        kpi: the KPI.
        currency: the reporting currency, ISO 4217.
        title: the title of the KPI within an English sentence.
        verb: the English verb of the title: is or are.
        scopes: which scopes; it follows the KPI in English, and begins in Chinese.
        window: the window.
        lasting: for how long the rule is broken before it fires; empty if it fires at once.
    """

    kpi: Kpi
    currency: str
    title: str
    verb: str
    scopes: RuleText
    window: RuleText
    lasting: RuleText

    def beyond(self, limit: RuleText) -> RuleText:
        """Return that the KPI is beyond a limit, such as "surely below 2 %", for how long."""
        return RuleText(
            f"{self.title}{self.scopes.en} over {self.window.en} {self.verb} "
            f"{limit.en}{self.lasting.en}",
            f"{self.scopes.zh}{self.window.zh}的{self.kpi.title_zh}"
            + spaced(limit.zh + self.lasting.zh),
        )


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
"""Words for the n of a value, where they are not the name of the measure."""
_UNITS: Final = (
    (86_400, RuleText("day", "天")),
    (3_600, RuleText("h", "小时")),
    (60, RuleText("min", "分钟")),
    (1, RuleText("s", "秒")),
)


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


def spaced(chinese: str) -> str:
    """Return a text with a space at its end, where a Chinese character would follow a digit."""
    return chinese + " " if chinese[-1:].isascii() and chinese[-1:].isalnum() else chinese


def title_of(kpi: Kpi) -> str:
    """Return the English title within a sentence: acronyms keep their capitals."""
    title = kpi.title_en
    return title if title[1:2].isupper() else title[0].lower() + title[1:]


def verb_of(kpi: Kpi) -> str:
    """Return the verb of a title: new customers are, a change of unique visitors or a status is."""
    head = re.split(r",| (?:of|from|in|for|by|per|to) ", kpi.title_en)[0]
    plural = kpi.unit in {"count", "users"} and re.search(r"(?<![siu])s$", head)
    return "are" if plural else "is"


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


def needed_text(value: KpiValue | None, n: int, kpi: Kpi) -> RuleText:
    """Return from how many events on a value that is beyond a limit would break the rule.

    Args:
        value: the value; None if there is none.
        n: the number of events.
        kpi: the definition of the KPI.
    """
    some = rounded(n)
    formula = kpi.parsed
    nothing = value is not None and not value.value
    if nothing and isinstance(formula, Quotient) and len(formula.over) == 1:
        lacking = formula.over[0][1].replace("_", " ")
        return RuleText(
            f"some {some} {counted(kpi)} without {lacking} would be needed",
            f"数值仍为 0 时样本量需约 {some}",
        )
    return RuleText(
        f"at this value some {some} {counted(kpi)} would be needed", f"该数值下样本量需约 {some}"
    )


def rounded(n: int) -> str:
    """Return a number to two significant digits: it is an estimate."""
    return f"{int(float(f'{n:.2g}')):,}"
