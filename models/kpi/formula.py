"""Parses the formulas of KPIs.

======================================  =============================================
``orders``, ``revenue_gross - spend``   a sum of measures or distinct users
``visitors - previous(visitors)``       the same; ``previous`` is the equal period before
``clicks / impressions``                a quotient of two such sums
``spend / budget``                      with figures beside the window, such as a plan's
``1000 * spend / impressions``          a quotient times an integer
``influence * clicks / impressions``    … or times a coefficient of the configuration
``median(dwell_ms)``, ``p90(dwell_ms)`` a quantile of a distribution
``newest(followers)``                   the newest measurement of a level
``growth(followers)``                   (newest - newest before) / newest before
``spread(orders_first, orders_last)``   how far sums differ: (max - min) / max
======================================  =============================================

Custom measures, which the file of KPIs declares, are named like built-in ones.

A formula is parsed as a Python expression, of which only the nodes in this table are accepted.
Nothing is evaluated.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from keyword import iskeyword
from typing import Final, Literal, NamedTuple

from models.kpi.measures import (
    DISTRIBUTION_INDEX,
    FIGURES,
    LEVEL_INDEX,
    METRICS,
    NO_CUSTOM,
    SET_INDEX,
    SUM_INDEX,
    UNIONS,
    CustomNames,
    StoredUnit,
    stored_unit_of,
)
from models.patterns import hint

LONGEST: Final = 500
MOST_PARENTHESES: Final = 50
LARGEST_FACTOR: Final = 1_000_000_000
"""Limits of a formula: its characters, its parentheses, and the number before a quotient."""

Terms = tuple[tuple[int, str], ...]
"""Signs (1 or -1) and names of sums, sets, unions or plans; `previous` may wrap a name."""

Coefficient = Literal["influence"]
"""A factor of the configuration: the share of the growth of sales that is due to marketing (S3)."""

_COUNTABLE = frozenset({*SUM_INDEX, *SET_INDEX, *UNIONS, *FIGURES})
_SHARES = {"median": 0.5} | {f"p{n:{width}}": n / 100 for width in ("", "02") for n in range(100)}
_FOREIGN = re.compile(r"[^ a-z0-9_+*/(),-]|\*\*")
_FUNCTIONS = {*_SHARES, "newest", "growth", "spread", "previous"}
_TAKEN = {*_COUNTABLE, *DISTRIBUTION_INDEX, *LEVEL_INDEX, *METRICS, *_FUNCTIONS, "influence"}
UNIT_NAMES: Final[dict[StoredUnit, str]] = {
    "number": "numbers",
    "money": "money",
    "ms": "time",
    "parts": "parts of orders",
}
"""The names of stored units in messages."""
_USAGE = "write a sum like orders + leads, or a quotient like clicks / visits"


class _Names(NamedTuple):
    """The names that a formula may use: what can be counted, and levels."""

    countable: Collection[str]
    levels: Collection[str]


_BUILT_IN = _Names(_COUNTABLE, LEVEL_INDEX)


def is_free(name: str) -> bool:
    """Return whether a name can be that of a custom measure: it has no meaning in formulas."""
    return name not in _TAKEN and not iskeyword(name)


def previous(name: str) -> str:
    """Return the name of a sum in the equal period before: ``previous(orders)``."""
    return f"previous({name})"


def bare(name: str) -> str:
    """Return a name without the ``previous`` around it, if there is one."""
    return name.removeprefix("previous(").removesuffix(")")


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


class _NodeError(Exception):
    """Its arguments are the node that is refused, and why."""


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
def parse(text: str, custom: CustomNames = NO_CUSTOM) -> Formula:
    """Parse a formula.

    Args:
        text: the formula.
        custom: the custom measures that it may name.

    Raises:
        FormulaError: it can't be parsed, is too long, or names something that is not measured.
            The error tells the column, from 1, and the part.
    """
    text = re.sub(r"\s", " ", text.strip()[: LONGEST + 1])
    if len(text) > LONGEST or text.count("(") > MOST_PARENTHESES:
        raise FormulaError(f"longer than {LONGEST} characters, or {MOST_PARENTHESES} parentheses")
    foreign = _FOREIGN.search(text)
    names = _BUILT_IN
    if custom != NO_CUSTOM:
        names = _Names({*_COUNTABLE, *custom.sums}, {*LEVEL_INDEX, *custom.levels})
    try:
        read = ast.parse(text[: foreign.start()] + "?" if foreign else text, mode="eval")
        return _formula(read, names)
    except _NodeError as error:
        node, why = error.args
        where, part = node.col_offset + 1, text[node.col_offset : node.end_col_offset]
    except SyntaxError as error:
        where = error.offset or len(text) + 1
        part, why = text[where - 1 :], f"can't be read; {_USAGE}"
    raise FormulaError(f"column {where}: {repr(part) if part else 'what is missing'} {why}")


def parse_terms(text: str, custom: CustomNames = NO_CUSTOM) -> Terms:
    """Parse a sum of signed names, with or without parentheses around it.

    Raises:
        FormulaError: it can't be parsed, or is no sum.
    """
    formula = parse(text, custom)
    if not isinstance(formula, Total):
        raise FormulaError(f"{text!r} is no sum; write one like orders + leads")
    return formula.terms


def stored_unit(terms: Terms) -> StoredUnit:
    """Return the unit of a sum, which all its terms have."""
    return stored_unit_of(bare(terms[0][1]))


def _formula(expression: ast.Expression, names: _Names) -> Formula:
    match expression.body:
        case ast.Call(ast.Name("newest"), [of]):
            return Newest(_known(of, names.levels))
        case ast.Call(ast.Name("growth"), [of]):
            return Growth(_known(of, names.levels))
        case ast.Call(ast.Name(quantile), [of]) if quantile in _SHARES:
            return Quantile(_known(of, DISTRIBUTION_INDEX), _SHARES[quantile])
        case ast.Call(ast.Name("spread"), [_, _, *_] as args) as spread:
            return Spread(_alike(spread, tuple(_known(of, names.countable) for of in args)))
        case ast.BinOp(ast.BinOp(ast.Name("influence"), ast.Mult(), over), ast.Div(), under):
            return Quotient(_terms(over, names), _terms(under, names), "influence")
        case ast.BinOp(ast.BinOp(ast.Constant(int(n)) as at, ast.Mult(), over), ast.Div(), under):
            if not 1 <= n <= LARGEST_FACTOR:
                raise _NodeError(at, f"is no factor, which is from 1 to {LARGEST_FACTOR:,}")
            return Quotient(_terms(over, names), _terms(under, names), n)
        case ast.BinOp(over, ast.Div(), under):
            return Quotient(_terms(over, names), _terms(under, names))
        case total:
            return Total(_terms(total, names))


def _terms(node: ast.expr, names: _Names) -> Terms:
    match node:
        case ast.BinOp(left, ast.Add() | ast.Sub() as sign, right):
            terms = (
                *_terms(left, names),
                (-1 if isinstance(sign, ast.Sub) else 1, _term(right, names)),
            )
            _alike(node, tuple(name for _, name in terms))
            return terms
        case ast.UnaryOp(ast.UAdd() | ast.USub() as sign, of):
            return ((-1 if isinstance(sign, ast.USub) else 1, _term(of, names)),)
    return ((1, _term(node, names)),)


def _term(node: ast.expr, names: _Names) -> str:
    match node:
        case ast.Call(ast.Name("previous"), [ast.Name(name) as of]):
            if name in FIGURES:
                raise _NodeError(node, "is not measured in a period; name it alone")
            return previous(_known(of, names.countable))
        case ast.Call(function):
            _known(function, _FUNCTIONS)
            raise _NodeError(node, "stands alone and takes one name, spread two sums at least")
        case ast.BinOp(op=ast.Div() | ast.Mult()):
            raise _NodeError(node, "is no sum; a quotient is like 2 * (a + b) / (c + d)")
    return _known(node, names.countable)


def _alike(node: ast.expr, names: tuple[str, ...]) -> tuple[str, ...]:
    first = names[0]
    for name in names:
        units = [stored_unit_of(bare(one)) for one in (first, name)]
        if units[0] != units[1]:
            mixed = " with ".join(
                f"{UNIT_NAMES[unit]} ({one})"
                for unit, one in zip(units, (first, name), strict=True)
            )
            raise _NodeError(node, f"mixes {mixed}; only what has one unit adds up and compares")
    return names


def _known(node: ast.expr, names: Collection[str]) -> str:
    if not isinstance(node, ast.Name):
        raise _NodeError(node, f"is no name; {_USAGE}")
    if node.id in names:
        return node.id
    raise _NodeError(node, f"is not known here{hint(node.id, sorted(names))}")
