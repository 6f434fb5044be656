"""Parses the formulas of KPIs.

======================================  =============================================
``orders``, ``revenue_gross - spend``   a sum of measures or distinct users
``visitors - previous(visitors)``       the same; ``previous`` is the equal period before
``clicks / impressions``                a quotient of two such sums
``spend / budget``                      with ``budget``, ``budget_due`` of a campaign's plan
``1000 * spend / impressions``          a quotient times an integer
``influence * clicks / impressions``    … or times a coefficient of the configuration
``median(dwell_ms)``, ``p90(dwell_ms)`` a quantile of a distribution
``newest(followers)``                   the newest measurement of a level
``growth(followers)``                   (newest - newest before) / newest before
``spread(orders_first, orders_last)``   how far sums differ: (max - min) / max
======================================  =============================================
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import Literal

from models.kpi.measures import (
    CREDITS,
    DISTRIBUTION_INDEX,
    LEVEL_INDEX,
    PLANNED,
    SET_INDEX,
    SUM_INDEX,
    UNIONS,
)

Terms = tuple[tuple[int, str], ...]
"""Signs (1 or -1) and names of sums, sets, unions or plans; `previous` may wrap a name."""

Coefficient = Literal["influence"]
"""A factor of the configuration: the share of the growth of sales that is due to marketing (S3)."""

_COUNTABLE = {*SUM_INDEX, *SET_INDEX, *UNIONS, *PLANNED}
_CALL = re.compile(r"(median|p\d{1,2}|newest|growth)\(\s*(\w+)\s*\)")
_SPREAD = re.compile(r"spread\(([^()]*)\)")
_TERM = re.compile(r"\s*([+-]?)\s*(previous\(\s*)?([a-z][a-z0-9_]*)(?(2)\s*\))")
_TIMES = re.compile(r"\s*(\d+|[a-z_]+)\s*\*")
_PREVIOUS = re.compile(r"previous\((\w+)\)")


def previous(name: str) -> str:
    """Return the name of a sum in the equal period before: ``previous(orders)``."""
    return f"previous({name})"


def bare(name: str) -> str:
    """Return a name without the ``previous`` around it, if there is one."""
    return _PREVIOUS.sub(r"\1", name)


@dataclass(frozen=True, slots=True)
class Total:
    """A sum."""

    terms: Terms


@dataclass(frozen=True, slots=True)
class Quotient:
    """``times * over / under``, of two sums. ``times`` is an integer or a coefficient."""

    over: Terms
    under: Terms
    times: int | Coefficient = 1


@dataclass(frozen=True, slots=True)
class Quantile:
    """The value of a distribution below which a share of its values lies, 0 to 1."""

    of: str
    share: float


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest measurement of a level."""

    of: str


@dataclass(frozen=True, slots=True)
class Spread:
    """The relative difference of sums: (max - min) / max."""

    of: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Growth:
    """The growth of a level: (newest - newest before) / newest before."""

    of: str


Formula = Total | Quotient | Quantile | Newest | Growth | Spread


class FormulaError(ValueError):
    """A formula can't be parsed, or names something that is not measured."""


def names_in(formula: Formula) -> tuple[str, ...]:
    """Return the sums, sets, unions, distributions or levels that a formula names."""
    if isinstance(formula, Total | Quotient):
        return tuple(bare(name) for _, name in _terms_of(formula))
    return formula.of if isinstance(formula, Spread) else (formula.of,)


def looks_back(formula: Formula) -> bool:
    """Return whether a formula uses the equal period before."""
    if isinstance(formula, Total | Quotient):
        return any(name != bare(name) for _, name in _terms_of(formula))
    return isinstance(formula, Growth)


def _terms_of(formula: Total | Quotient) -> Terms:
    if isinstance(formula, Total):
        return formula.terms
    return (*formula.over, *formula.under)


@lru_cache(maxsize=1024)
def parse(text: str) -> Formula:
    """Parse a formula.

    Raises:
        FormulaError: it can't be parsed, or names something that is not measured.
    """
    call = _CALL.fullmatch(text.strip())
    if call is not None:
        return _call(call[1], call[2])
    spread = _SPREAD.fullmatch(text.strip())
    if spread is not None:
        return _spread(spread[1])
    over, *rest = text.split("/")
    if not rest:
        return Total(parse_terms(over))
    if len(rest) > 1:
        raise FormulaError("one division at most; sums stand on both sides of it")
    times = _TIMES.match(over)
    if times is not None:
        over = over[times.end() :]
    return Quotient(parse_terms(over), parse_terms(rest[0]), _times(times[1]) if times else 1)


def _times(text: str) -> int | Coefficient:
    if text.isdecimal():
        return int(text)
    known: Coefficient = "influence"
    if text != known:
        raise FormulaError(f"no coefficient is named {text!r}; known: {known}")
    return known


def parse_terms(text: str) -> Terms:
    """Parse a sum of signed names, with or without parentheses around it.

    Raises:
        FormulaError: it can't be parsed, or names something that is not additive.
    """
    inner = text.strip()
    if inner.startswith("(") and inner.endswith(")"):
        inner = inner[1:-1]
    found: list[tuple[int, str]] = []
    at = 0
    while at < len(inner.rstrip()):
        match = _TERM.match(inner, at)
        if match is None or (found and not match[1]):
            raise FormulaError(
                f"can't read {inner[at:].strip()!r}; write a sum like orders + leads"
            )
        name = _known(match[3], _COUNTABLE)
        if match[2] and name in PLANNED:
            raise FormulaError(f"{name} is of the campaign, not of a period")
        found.append((-1 if match[1] == "-" else 1, previous(name) if match[2] else name))
        at = match.end()
    if not found:
        raise FormulaError("a sum is missing")
    _check_alike([name for _, name in found])
    return tuple(found)


def in_parts(terms: Terms) -> bool:
    """Return whether a sum is in parts of orders, see `models.kpi.measures.ORDER_CREDIT`."""
    return bare(terms[0][1]) in CREDITS


def _check_alike(names: Sequence[str]) -> None:
    if len({bare(name) in CREDITS for name in names}) > 1:
        raise FormulaError("parts of orders add up, and compare, with parts of orders only")


def _spread(text: str) -> Formula:
    names = tuple(_known(name.strip(), _COUNTABLE) for name in text.split(","))
    if len(names) < 2:
        raise FormulaError("a spread is of two sums at least")
    _check_alike(names)
    return Spread(names)


def _call(function: str, of: str) -> Formula:
    if function == "newest":
        return Newest(_known(of, LEVEL_INDEX))
    if function == "growth":
        return Growth(_known(of, LEVEL_INDEX))
    share = 0.5 if function == "median" else int(function[1:]) / 100
    return Quantile(_known(of, DISTRIBUTION_INDEX), share)


def _known(name: str, names: set[str] | dict[str, int]) -> str:
    if name in names:
        return name
    near = get_close_matches(name, names, n=1)
    hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(sorted(names))}"
    raise FormulaError(f"nothing named {name!r} is measured here{hint}")
