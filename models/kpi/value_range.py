"""The values that a KPI can have, derived from its formula, and where it can't have one.

A limit that no value can reach, or that every value is beyond, is a mistake in a rule.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from typing import Final, NamedTuple

from models import events
from models.kpi.definition import Kpi
from models.kpi.formula import (
    Growth,
    Newest,
    Quantile,
    Quotient,
    Spread,
    Terms,
    Total,
    bare,
    names_in,
)
from models.kpi.measures import (
    FIGURES,
    PLANNED,
    SINCE_START,
    STOCKS,
    SUMS,
    UNIONS,
    USER_SETS,
    inputs_of,
)
from models.scope import PARTS, SCOPE_KINDS, ScopeKind, parts_of
from models.window import SO_FAR, WINDOWS, WindowName


class ValueRange(NamedTuple):
    """The lowest and the highest value that a KPI can have, in its unit; infinite if unbounded."""

    low: float
    high: float

    def __str__(self) -> str:
        if self.high == math.inf:
            return "any number" if self.low == -math.inf else f"{self.low:g} or more"
        return f"from {self.low:g} to {self.high:g}"


_ANY: Final = ValueRange(-math.inf, math.inf)
_NOT_NEGATIVE: Final = ValueRange(0, math.inf)
_SHARE: Final = ValueRange(0, 1)

_CREDITED: Final = frozenset({"spend", "other_cost", "lifetime_value"})
"""Sums that credits and refunds may take below 0."""
_COUNTS: Final = (
    {measure.name for measure in (*SUMS, *USER_SETS)} | UNIONS.keys() | {*FIGURES}
) - _CREDITED

_PART_OF: Final[dict[tuple[str, str], ValueRange]] = {
    ("clicks_paid", "clicks"): _SHARE,
    ("visits_paid", "visits"): _SHARE,
    ("nps_promoters", "nps_answers"): _SHARE,
    ("nps_detractors", "nps_answers"): _SHARE,
    ("csat_score", "csat_answers"): ValueRange(1, 5),
    ("first_orders", "orders_attributed"): _SHARE,
    **{
        (part, whole): _SHARE
        for part in ("first_orders", "returning")
        for whole in ("buyers", *(name for name, sets in UNIONS.items() if "buyers" in sets))
    },
    ("leads_closed", "lead_users"): _SHARE,
    ("revenue_new", "revenue_gross"): _SHARE,
    ("revenue_returning", "revenue_gross"): _SHARE,
    ("budget_due", "budget"): _SHARE,
    ("customers_new", "customers"): _SHARE,
    ("leads_active", "leads_open"): _SHARE,
    **{
        (f"visitors_{kind}_{when}", f"visitors_{when}"): _SHARE
        for kind in ("paid", "natural")
        for when in ("since_start", "before_start")
    },
    **{
        (part, whole): _SHARE
        for whole, parts in UNIONS.items()
        for part in (*parts, *(name for name in UNIONS if set(UNIONS[name]) <= set(parts)))
    },
}
"""The possible quotients of two measures, of which the first is a part of the second."""

_REST_OF: Final[dict[tuple[str, str], str]] = {("customers", "customers_new"): "customers_before"}
"""Differences of a whole and its part, and another measure that they are a part of."""


class _Where(NamedTuple):
    """The kinds of scopes and the windows in which a figure is available."""

    scopes: tuple[ScopeKind, ...]
    windows: tuple[WindowName, ...]


_WHERE: Final[dict[str, _Where]] = {
    **dict.fromkeys(PLANNED, _Where(("campaign", "campaign_channel"), (SO_FAR,))),
    "budget_today": _Where(("campaign",), ("day",)),
    **dict.fromkeys(SINCE_START, _Where(("campaign",), (SO_FAR,))),
    **dict.fromkeys(
        STOCKS, _Where(SCOPE_KINDS, tuple(window.name for window in WINDOWS if window.days))
    ),
}
"""The scopes and windows in which each of `FIGURES` is available."""

_NAMED_BY: Final[dict[str, tuple[str, ...]]] = {
    name: ("campaign", *(part for part in PARTS if part in event.__struct_fields__))
    for name, event in (
        ("impressions", events.Impression),
        ("clicks", events.Click),
        ("visits", events.Visit),
        ("orders", events.OrderPlaced),
        ("orders_touched", events.OrderPlaced),
        ("registrations", events.Registration),
        ("lead_changes", events.Lead),
        ("surveys", events.Survey),
        ("spend_reports", events.SpendReported),
        ("measurements", events.Measurement),
    )
}
"""The parts of scopes that the events of an input can name, by `models.kpi.measures.INPUTS`."""


def range_of(kpi: Kpi) -> ValueRange:
    """Return the range of a KPI's values, in its unit: ratios as fractions, money in the currency.

    Example: ``100 * (nps_promoters - nps_detractors) / nps_answers`` is from -100 to 100, and
    ``(revenue_gross - previous(revenue_gross)) / previous(revenue_gross)`` is -1 or more, as
    revenue is not negative.
    """
    counts = _COUNTS.union(kpi.custom_sums)
    match kpi.parsed:
        case Total(terms):
            return _of_total(terms, counts)
        case Quotient(over, under, times):
            low, high = _of_quotient(over, under, counts)
            if isinstance(times, int):
                low, high = low * times, high * times
            else:
                # A coefficient is above 0 and at most 1.
                low, high = min(low, 0), max(high, 0)
            if kpi.unit in {"money", "seconds"}:
                # Money or time over a count is scaled: only the sign is known.
                low, high = (0 if low >= 0 else -math.inf), (0 if high <= 0 else math.inf)
            return ValueRange(low, high)
        case Quantile():
            return _NOT_NEGATIVE
        case Newest(of):
            return _SHARE if kpi.metrics[of].kind == "share" else _NOT_NEGATIVE
        case Growth():
            return ValueRange(-1, math.inf)
        case Spread(of) if counts.issuperset(of):
            return _SHARE
    return _ANY


def is_share(kpi: Kpi) -> bool:
    """Return whether a KPI is meant as a share, 0 to 1: it has the interval of a proportion.

    Values above 1 can occur if what is counted is no part of what it is divided by, such as orders
    of earlier clicks; `range_of` says whether they can.
    """
    return kpi.unit == "ratio" and (kpi.interval == "wilson" or range_of(kpi).high <= 1)


def why_absent(kpi: Kpi, *, scope: ScopeKind, window: WindowName) -> tuple[str, str] | None:
    """Return why a KPI never has a value in a kind of scope and a window.

    Returns:
        The key of a rule that does not fit, ``scope`` or ``window``, and why; None if the KPI can
        have a value.
    """
    names = names_in(kpi.parsed)
    for figure in (name for name in FIGURES if name in kpi.figures):
        where = _WHERE[figure]
        if scope not in where.scopes:
            only = "campaigns" if len(where.scopes) == 1 else "campaigns and their channels"
            return "scope", f"{kpi.name} exists of {only} only; use scope: {_one_of(where.scopes)}"
        if window not in where.windows:
            only = "all time" if SO_FAR in where.windows else "business days"
            return (
                "window",
                f"{kpi.name} exists for {only} only; use window: {_one_of(where.windows)}",
            )
    if kpi.looks_back and window == SO_FAR:
        return "window", f"{kpi.name} compares with the period before, and all time has none"
    under = kpi.parsed.under if isinstance(kpi.parsed, Quotient) else ()
    # Without what it needs, or over nothing, it is absent.
    groups = (kpi.needs or names, tuple(bare(name) for _, name in under))
    for needed in groups:
        unnamed = _unnamed(scope, needed)
        if unnamed is not None:
            named = [kind for kind in SCOPE_KINDS if not any(_unnamed(kind, one) for one in groups)]
            return (
                "scope",
                f"{kpi.name} rests on {needed[0]}, whose events name no {unnamed}; use scope: "
                f"{_one_of(named)}",
            )
    return None


def _unnamed(scope: ScopeKind, needed: Iterable[str]) -> str | None:
    """Return a part of a kind of scope that no event of any of these measures names.

    Figures without events, such as budgets, have their own places.
    """
    inputs = frozenset().union(*map(inputs_of, needed))
    named = frozenset().union(*(_NAMED_BY[name] for name in inputs))
    return next((part for part in parts_of(scope) if inputs and part not in named), None)


def _one_of(choices: Sequence[str]) -> str:
    *first, last = choices
    return f"{', '.join(first)} or {last}" if first else last


def _counts(names: Iterable[str], counts: Collection[str]) -> bool:
    return all(bare(name) in counts for name in names)


def _of_total(terms: Terms, counts: Collection[str]) -> ValueRange:
    if not _counts((name for _, name in terms), counts):
        return _ANY
    _, rest = _rests(terms)
    return _NOT_NEGATIVE if all(sign > 0 for sign, _ in rest) else _ANY


def _rests(terms: Terms) -> tuple[list[tuple[str, str]], list[tuple[int, str]]]:
    """Return the pairs of a whole and a part that is subtracted from it, and the other terms.

    Example: of ``clicks - clicks_paid + visits``, ``[("clicks", "clicks_paid")]`` and visits.
    """
    pairs = []
    rest = list(terms)
    for part in (name for sign, name in terms if sign < 0):
        wholes = (name for sign, name in rest if sign > 0)
        whole = next((one for one in wholes if _PART_OF.get((part, one)) == _SHARE), None)
        if whole is not None:
            pairs.append((whole, part))
            rest.remove((1, whole))
            rest.remove((-1, part))
    return pairs, rest


def _of_quotient(over: Terms, under: Terms, counts: Collection[str]) -> ValueRange:
    """Return the range of a quotient whose divisor is above 0.

    If the divisor is subtracted as a whole, it is -1: ``(a - b) / b`` is ``a / b - 1``. A whole
    less a part of it is 0 at least, and at most the whole.
    """
    shift = 0
    rest = list(over)
    whole = [(-sign, name) for sign, name in under]
    if all(term in rest for term in whole):
        shift = -1
        for term in whole:
            rest.remove(term)
    pairs, rest = _rests(tuple(rest))
    parts = [_of_term(name, under, counts) for _, name in rest]
    signed = [
        part if sign > 0 else ValueRange(-part.high, -part.low)
        for (sign, _), part in zip(rest, parts, strict=True)
    ]
    for pair in pairs:
        of_another = under == ((1, _REST_OF.get(pair)),)
        high = 1 if of_another else _of_term(pair[0], under, counts).high
        signed.append(ValueRange(0, high))
    return ValueRange(
        shift + sum(part.low for part in signed), shift + sum(part.high for part in signed)
    )


def _of_term(name: str, under: Terms, counts: Collection[str]) -> ValueRange:
    """Return the range of a term over a divisor that is above 0."""
    if under == ((1, name),):
        return ValueRange(1, 1)
    if not _counts([name], counts):
        return _ANY
    if all(sign > 0 for sign, _ in under) and _counts((divisor for _, divisor in under), counts):
        if (1, name) in under:
            return _SHARE
        if len(under) == 1:
            return _PART_OF.get((name, under[0][1]), _NOT_NEGATIVE)
    return _NOT_NEGATIVE


def is_counted(kpi: Kpi) -> bool:
    """Return whether a KPI counts events or users, each as one.

    The difference of two counts is no count: its variance is their sum. What is left of a count
    without a part of it, such as ``orders_attributed - first_orders``, is one. A value with an n
    of its own, such as items with the number of their orders, does not count n events.
    """
    return (
        kpi.additive
        and kpi.unit in {"count", "users"}
        and not (kpi.looks_back or kpi.has_n)
        and range_of(kpi).low >= 0
    )
