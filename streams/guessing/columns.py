"""Guesses what each column of a file has: times, numbers, e-mail addresses, and which of a shop."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from streams.guessing.file_probe import Probe
from streams.guessing.value_formats import NumberGuess, TimeGuess, guess_number, guess_time

NULL_WORDS: Final = frozenset(
    {
        *("(not set)", "(none)", "(empty)", "(blank)", "-", "--", "\\N", "#N/A", "NULL", "null"),
        *("Null", "N/A", "n/a", "NA", "None", "NaN", "nan", "NONE", "undefined", "n.a."),
    }
)
"""Texts that stand for no value."""
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_URL: Final = re.compile(r"https?://\S+|/\S*")
_CURRENCY: Final = re.compile(r"[A-Za-z]{3}")
CURRENCIES: Final = frozenset(
    {
        *("AED", "AUD", "BRL", "CAD", "CHF", "CLP", "CNY", "COP", "CZK", "DKK", "EUR", "GBP"),
        *("HKD", "HUF", "IDR", "ILS", "INR", "JPY", "KRW", "MXN", "MYR", "NOK", "NZD", "PHP"),
        *("PLN", "RON", "SAR", "SEK", "SGD", "THB", "TRY", "TWD", "UAH", "USD", "VND", "ZAR"),
    }
)


class Role(StrEnum):
    """The role of a column in the events of a shop."""

    TIME = "time"
    CLOCK = "clock"
    USER = "user_id"
    ORDER = "order_id"
    AMOUNT = "amount"
    CURRENCY = "currency"
    ITEMS = "items"
    STATUS = "status"
    REFUND = "refund amount"
    REFUND_TIME = "refund time"
    COST = "spend"
    EVENT = "kind of event"
    CAMPAIGN = "campaign"
    CHANNEL = "channel"
    REGION = "region"
    SEGMENT = "segment"
    PAGE = "page"
    UNUSED = "-"


@dataclass(slots=True)
class Column:
    """A column of a file.

    Args:
        name: its name.
        values: its values in the order of rows, without those that are absent.
        rows: the number of rows.
        nulls: the words for absent values that it has.
        time: the format of its times, if it has times.
        number: the format of its numbers, if it has numbers.
    """

    name: str
    values: list[str]
    rows: int
    nulls: set[str] = field(default_factory=set)
    time: TimeGuess | None = None
    number: NumberGuess | None = None
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def words(self) -> str:
        """The name as words in small letters: ``orderId`` is ``order id``."""
        spaced = re.sub(r"(?<=[a-zäöüß])(?=[A-ZÄÖÜ])", " ", self.name)
        return re.sub(r"[\W_]+", " ", spaced).strip().lower()

    @property
    def absent(self) -> int:
        """The number of rows without a value."""
        return self.rows - len(self.values)

    @property
    def is_email(self) -> bool:
        """Whether it has e-mail addresses."""
        return self._share(_EMAIL) >= 0.9

    @property
    def is_url(self) -> bool:
        """Whether it has links or paths."""
        return self._share(_URL) >= 0.9

    @property
    def is_currency(self) -> bool:
        """Whether it has codes of currencies."""
        return bool(self.counts) and all(one.upper() in CURRENCIES for one in self.counts)

    @property
    def is_unique(self) -> bool:
        """Whether all its values differ."""
        return bool(self.values) and len(self.counts) == len(self.values)

    @property
    def has_few(self) -> bool:
        """Whether its values are few words that come again."""
        return 0 < len(self.counts) <= max(2, min(60, len(self.values) // 3))

    def _share(self, expression: re.Pattern[str]) -> float:
        found = sum(n for one, n in self.counts.items() if expression.fullmatch(one))
        return found / len(self.values) if self.values else 0.0


def columns_of(probe: Probe) -> list[Column]:
    """Return the columns of a file with their formats."""
    found = []
    for name in probe.names:
        texts = [text for row in probe.rows if (text := row.get(name))]
        nulls = {*texts} & NULL_WORDS
        values = [text for text in texts if text not in nulls] if nulls else texts
        column = Column(name, values, len(probe.rows), nulls, counts=Counter(values))
        column.time = guess_time(values)
        column.number = (
            None
            if column.time and column.time.formats[0] in {"rfc3339"}
            else (guess_number(values))
        )
        found.append(column)
    return found


def _named(column: Column, pattern: str) -> bool:
    return re.search(rf"\b(?:{pattern})\b", column.words) is not None


_MONEY: Final = (
    r"(?:total|amount|revenue|value|price|sales|paid|gross|net|sum|dollars?|turnover|"
    r"betrag|summe|umsatz|gesamt\w*|preis|montant|importe|wert)"
)
_NO_MONEY: Final = "tax|shipping|discount|fee|steuer|versand\\w*|rabatt|mwst|vat|fees|tip|duties"


def roles_of(columns: list[Column]) -> dict[str, Role]:
    """Return the role of each column by its name. A role but that of a time is given once.

    Example: of ``Customer ID`` and ``E-mail``, the first is the user, and the other not used.
    """
    roles = dict.fromkeys((one.name for one in columns), Role.UNUSED)
    free = [one for one in columns if one.values]

    def give(role: Role, wanted: list[tuple[Column, float]]) -> Column | None:
        wanted = [(one, score) for one, score in wanted if score > 0]
        if not wanted:
            return None
        chosen = max(wanted, key=lambda pair: pair[1])[0]
        roles[chosen.name] = role
        free.remove(chosen)
        return chosen

    give(Role.REFUND_TIME, [(one, _refund_time(one)) for one in free])
    time = give(Role.TIME, [(one, _event_time(one)) for one in free])
    if time is not None and time.time is not None and not time.time.has_clock:
        give(Role.CLOCK, [(one, _clock(one)) for one in free])
    for role, score in _SCORES.items():
        give(role, [(one, score(one)) for one in free])
    if Role.AMOUNT not in roles.values() and Role.COST not in roles.values():
        others = [(one, float(_is_decimal(one))) for one in free]
        give(Role.AMOUNT, others if sum(score for _, score in others) == 1 else [])
    return roles


def _refund_time(one: Column) -> float:
    return float(
        one.time is not None and _named(one, r"refund\w*|returned|erstattet|rückerstattet")
    )


_TIME_NAMES: Final = (
    r"time(?:stamp)?|created|ordered|date|day|when|at|ts|datum|tag|zeit\w*|bestellt|"
    r"bestelldatum|fecha"
)


def _event_time(one: Column) -> float:
    if one.time is None or one.time.fits < 0.9:
        return 0
    digits_only = all(text.replace(".", "").isdigit() for text in [*one.counts][:20])
    named = 0.0
    if _named(one, _TIME_NAMES):
        named = 2.0
    if _named(one, r"updated|modified|shipped|delivered|birth\w*|expires?|expiry|ended?|due"):
        named = 0.2
    if digits_only and not named:
        return 0.1 if one.time.formats[0] == "%Y%m%d" else 0
    named += 0.5 * _named(one, r"created|ordered|placed|bestellt")
    return 1 + named + one.time.has_clock - one.absent / max(1, one.rows)


def _clock(one: Column) -> float:
    values = [*one.counts][:50]
    shaped = all(re.fullmatch(r"\d{1,2}:\d\d(:\d\d)?", text) for text in values)
    return float(bool(values) and shaped and not one.absent)


def _is_decimal(one: Column) -> bool:
    return one.number is not None and any(re.search(r"\d[.,]\d", text) for text in one.counts)


def _is_number(one: Column) -> bool:
    return one.number is not None and not one.is_url


def _currency(one: Column) -> float:
    named = _named(one, r"currency|währung|waehrung|devise|moneda")
    return float(one.is_currency) * (2 if named else 1 if len(one.values) == one.rows else 0)


def _status(one: Column) -> float:
    if _is_number(one) or not one.has_few:
        return 0
    known = any(status_of(text) for text in one.counts)
    if _named(one, r"status|zustand|statut|estado") or (known and _named(one, "state")):
        return 3 + known + _named(one, "financial|payment|order") - 2 * _named(one, "fulfil\\w*")
    return 0


def _event(one: Column) -> float:
    if one.time or not one.has_few or _named(one, "id|value|category|label"):
        return 0
    return 2.0 * _named(one, r"event(?: name| type)?|action|aktion|event_name") + 0.5 * (
        one.words in {"type", "kind"}
    )


def _refund(one: Column) -> float:
    named = _named(one, r"refund\w*|erstattung\w*|rückerstattung\w*|returned")
    return float(_is_number(one) and named)


def _cost(one: Column) -> float:
    named = _named(one, r"cost|costs|spend|spent|ad spend|kosten|werbekosten|ausgaben|gasto|coût")
    per = _named(one, r"per|cpc|cpm|avg|average|pro|conversion|conv")
    return float(_is_number(one) and named and not per)


def _amount(one: Column) -> float:
    if not _is_number(one) or not _named(
        one, f"{_MONEY}|{_MONEY} \\w+|transaction value|order value"
    ):
        return 0
    score = 2.0 + _named(one, "grand|total|gesamt\\w*|order") + 0.3 * _is_decimal(one)
    score -= 1.5 * _named(one, "sub|subtotal|unit|einzel\\w*|item|line|refunded|outstanding")
    return 0 if _named(one, _NO_MONEY) else score


def _items(one: Column) -> float:
    named = _named(
        one, r"items?|quantity|qty|anzahl|menge|units|number of \w+|artikel|pieces|stück"
    )
    whole = one.number is not None and all(re.fullmatch(r"\d+", text) for text in one.counts)
    return float(named and whole)


def _order(one: Column) -> float:
    if _is_decimal(one) or one.is_email or (one.has_few and not one.is_unique):
        return 0
    spread = len(one.counts) / len(one.values)
    if _named(
        one,
        r"(?:order|bestell|auftrags|transaction|invoice|receipt|purchase|checkout) ?"
        r"(?:id|no|nr|number|ref|reference)|bestellnummer|bestellnr|auftragsnummer|"
        r"rechnungsnummer",
    ):
        return 3 + spread
    if one.words in {
        "order",
        "bestellung",
        "auftrag",
        "commande",
        "pedido",
        "ordine",
        "transaction",
        "invoice",
        "receipt",
    }:
        return 2.5 + spread
    if one.words in {"id", "name", "charge", "number", "nr"} and spread > 0.95:
        return 1 + spread
    return 0


def _user(one: Column) -> float:
    if one.is_url or (_is_decimal(one) and not _named(one, "id")):
        return 0
    named = _named(
        one,
        r"(?:user|visitor|customer|client|cookie|member|buyer|kunden?|käufer|besucher|"
        r"session|device|account|person|contact|shopper)\w*(?: pseudo)?(?: (?:id|nr|no|number|"
        r"key|ref))?|kundennummer|uid|cid",
    )
    score = 2.0 * named + 1.0 * _named(one, "id|nr|nummer|no|key") * named
    score -= 2.5 * _named(
        one,
        "name|group|type|segment|backet|bucket|phone|country|city|agent|"
        "note\\w*|order|language|since|tier",
    )
    score -= 1.0 * _named(one, "session|device")
    return max(score, 1.5 * one.is_email, 0.5 * (one.words == "id" and not one.is_unique))


def _campaign(one: Column) -> float:
    if one.is_url and not one.has_few:
        return 0
    named = _named(one, r"campaign|utm campaign|kampagne\w*|campaña|campagne")
    return named * (2 + 0.5 * (not _named(one, "id|type|status|budget")))


def _channel(one: Column) -> float:
    if _is_number(one) or one.is_url:
        return 0
    return (
        3.0 * _named(one, r"source medium|channel|kanal|canal")
        + 2.0 * _named(one, r"utm source|source|quelle|network|platform|referrer")
        + 1.0 * _named(one, r"utm medium|medium")
        - 1.0 * _named(one, "name")
    )


def _region(one: Column) -> float:
    if _is_number(one):
        return 0
    return float(one.has_few) * (
        2.0 * _named(one, r"region|country|land|staat|pays|país|bundesland|shipping country")
        + 1.0 * _named(one, r"state|province|city|stadt|geo")
    )


def _segment(one: Column) -> float:
    named = _named(
        one,
        r"segment|tier|customer group|kundengruppe|loyalty|user backet|bucket|"
        r"cohort|variant",
    )
    return float(one.has_few and named)


def _page(one: Column) -> float:
    named = _named(one, r"page|url|link|landing page|path|seite|referer")
    return float(one.is_url) * (1 + named) + 0.5 * (named and not _is_number(one))


_SCORES: Final = {
    Role.EVENT: _event,
    Role.STATUS: _status,
    Role.CURRENCY: _currency,
    Role.REFUND: _refund,
    Role.ORDER: _order,
    Role.USER: _user,
    Role.COST: _cost,
    Role.AMOUNT: _amount,
    Role.ITEMS: _items,
    Role.CAMPAIGN: _campaign,
    Role.CHANNEL: _channel,
    Role.REGION: _region,
    Role.SEGMENT: _segment,
    Role.PAGE: _page,
}

_STATUSES: Final = {
    "refunded": r"\w*refund\w*|\w*erstattet|chargeback|zurückgezahlt|reembolsado|remboursé",
    "cancelled": r"cancel\w*|storn\w*|void\w*|failed|declined|abandoned|expired|rejected|denied|"
    r"abgebrochen|annulé|cancelado|test",
    "open": r"pending|open|unpaid|draft|offen|ausstehend|on hold|awaiting \w+|created|new|neu",
    "paid": r"paid|complete|completed|shipped|delivered|fulfilled|succe\w*|bezahlt|versandt|"
    r"geliefert|abgeschlossen|processing|captured|authorized|closed|ok|pagado|payé|placed",
}


def status_of(text: str) -> str:
    """Return what a status of an order means: paid, refunded, cancelled, open; empty if unknown."""
    words = re.sub(r"[\W_]+", " ", text).strip().lower()
    if re.search(r"\bpart\w*\b|\bteil\w*\b", words) and re.search("refund|erstatt", words):
        return "part"
    return next((name for name, words_of in _STATUSES.items() if re.fullmatch(words_of, words)), "")


_EVENTS: Final = {
    "order_refunded": r"refund\w*|order refunded",
    "order_placed": r"purchase\w*|payment done|payment completed|order placed|order completed?|"
    r"order created|checkout completed?|transaction|order|sale|bought",
    "click": r"(?:ad )?clicks?(?:ed)?|ad click",
    "impression": r"(?:ad )?impressions?|ad views?",
    "registration": r"sign ?up\w*|regist\w*|account created|complete registration",
}


def event_of(text: str) -> str:
    """Return the type of event that a kind of event in a file probably is; ``visit`` if unknown."""
    words = re.sub(r"[\W_]+", " ", text).strip().lower()
    return next(
        (name for name, words_of in _EVENTS.items() if re.fullmatch(words_of, words)), "visit"
    )
