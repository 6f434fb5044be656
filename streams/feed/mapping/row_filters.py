"""Filters: conditions that the columns of a row must meet.

Example: ``{status: [paid, shipped], page: {glob: "/shop/*"}, total: {above: 0}}`` holds for rows
whose status is one of two, whose page begins with ``/shop/``, and whose total is above 0.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from functools import partial
from operator import ge, gt, le, lt
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from models.patterns import is_pattern
from streams.feed.mapping.number_format import NumberFormat
from streams.feed.mapping.row_errors import RowError
from streams.feed.mapping.templates import Getter, GetterOf

Predicate = Callable[[Any], bool]
"""Returns whether a row is meant, or whether the value of one column is."""
_Compare = Callable[[Decimal, Decimal], bool]


def _text(given: Any) -> str:
    """Return a value to compare with as text.

    Raises:
        ValueError: YAML reads it as something whose text in the file is not known.
    """
    if isinstance(given, str):
        return given
    if isinstance(given, int) and not isinstance(given, bool):
        return str(given)
    if given is None:
        raise ValueError('null is no text; write {empty: true}, or "null" in quotes')
    raise ValueError(
        f"YAML reads {given!r} here, whose text in the file may differ; write it in quotes, "
        "as the file has it"
    )


def _texts(given: Any) -> Any:
    return tuple(map(_text, given)) if isinstance(given, list | tuple) else (_text(given),)


def _expression(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
    return pattern


Texts = Annotated[tuple[str, ...], BeforeValidator(_texts), Field(min_length=1)]


class ColumnTest(BaseModel):
    """Conditions on the value of a column, all of which must hold.

    A text alone stands for ``equals``, a list for ``in``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    equals: Annotated[str, BeforeValidator(_text)] | None = None
    """The value is this text. Upper and lower case differ."""
    one_of: Annotated[Texts | None, Field(alias="in")] = None
    """The value is one of these texts."""
    glob: Texts | None = None
    """The value fits a pattern, or one of several: ``*`` is any text, ``?`` any character."""
    regex: Annotated[str, AfterValidator(_expression)] | None = None
    """The whole value fits a regular expression of Python."""
    empty: bool | None = None
    """``true``: the value is absent. ``false``: it is there."""
    above: Decimal | None = None
    """The value is a number above this one."""
    at_least: Decimal | None = None
    """The value is this number or above."""
    below: Decimal | None = None
    """The value is a number below this one."""
    at_most: Decimal | None = None
    """The value is this number or below."""
    excluded: Annotated[ColumnTest | None, Field(alias="not")] = None
    """The value does not meet this condition; an absent value does not, except ``empty: true``."""

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, given: Any) -> Any:
        if isinstance(given, dict):
            return given
        if isinstance(given, list | tuple):
            texts = _texts(given)
            for text in texts:
                _refuse_unclear(text)
            return {"in": texts}
        text = _text(given)
        _refuse_unclear(text)
        return {"equals": text}

    @model_validator(mode="after")
    def _says_something(self) -> ColumnTest:
        if not self.model_fields_set:
            raise ValueError("says nothing; give one of equals, in, glob, regex, empty, above, …")
        return self

    @property
    def texts(self) -> Iterable[str]:
        """The texts that the value is compared with, also within ``not``."""
        own = (*(() if self.equals is None else (self.equals,)), *(self.one_of or ()))
        return own if self.excluded is None else (*own, *self.excluded.texts)

    def predicate(self, column: str, numbers: NumberFormat) -> Predicate:
        """Return a function that says whether the value of a column, None if absent, is meant."""
        tests: list[Predicate] = []
        if self.empty is not None:
            tests.append(_is_absent if self.empty else _is_there)
        if self.equals is not None:
            tests.append(partial(_is_one_of, frozenset({self.equals})))
        if self.one_of is not None:
            tests.append(partial(_is_one_of, frozenset(self.one_of)))
        if self.glob is not None:
            expressions = (fnmatch.translate(one.replace("[", "[[]")) for one in self.glob)
            tests.append(partial(_fits, re.compile("|".join(expressions))))
        if self.regex is not None:
            tests.append(partial(_fits, re.compile(self.regex)))
        limits: list[tuple[_Compare, Decimal | None]] = [
            (gt, self.above),
            (ge, self.at_least),
            (lt, self.below),
            (le, self.at_most),
        ]
        compared = [(compare, limit) for compare, limit in limits if limit is not None]
        if compared:
            tests.append(_Comparison(column, numbers, compared))
        if self.excluded is not None:
            tests.append(partial(_is_not, self.excluded.predicate(column, numbers)))
        return tests[0] if len(tests) == 1 else partial(_all_hold, tests)


Condition = dict[str, ColumnTest]
"""Tests by column, all of which must hold."""


def _listed(given: Any) -> Any:
    return (given,) if isinstance(given, dict) else given


Conditions = Annotated[tuple[Condition, ...], BeforeValidator(_listed)]
"""A condition, or a list of them of which one must hold."""


def row_predicate(
    conditions: Iterable[Condition], getter_of: GetterOf, numbers: NumberFormat
) -> Predicate:
    """Return a function that says whether a row meets one of some conditions."""
    compiled = [
        [(getter_of(column), test.predicate(column, numbers)) for column, test in one.items()]
        for one in conditions
    ]

    def meets(row: Any) -> bool:
        return any(all(test(get(row)) for get, test in tests) for tests in compiled)

    if len(compiled) == 1 and len(compiled[0]) == 1:
        ((get_only, test_only),) = compiled[0]
        return partial(_meets_one, get_only, test_only)
    return meets


def _refuse_unclear(text: str) -> None:
    if not text.strip():
        raise ValueError("an empty text is no value; write {empty: true}")
    if is_pattern(text):
        raise ValueError(
            f'* and ? are ordinary characters here; write {{glob: "{text}"}}, or '
            f'{{equals: "{text}"}} if the file has them'
        )


def _meets_one(get: Getter, test: Predicate, row: Any) -> bool:
    return test(get(row))


def _is_absent(value: Any) -> bool:
    return value is None


def _is_there(value: Any) -> bool:
    return value is not None


def _is_one_of(texts: frozenset[str], value: Any) -> bool:
    return (value if type(value) is str else str(value)) in texts and value is not None


def _fits(expression: re.Pattern[str], value: Any) -> bool:
    return value is not None and expression.fullmatch(str(value)) is not None


def _is_not(test: Predicate, value: Any) -> bool:
    return not test(value)


def _all_hold(tests: list[Predicate], value: Any) -> bool:
    return all(test(value) for test in tests)


class _Comparison:
    """Compares the value of a column with numbers; one that is absent is not compared."""

    def __init__(
        self,
        column: str,
        numbers: NumberFormat,
        compared: list[tuple[_Compare, Decimal]],
    ) -> None:
        self._column = column
        self._read = numbers.reader()
        self._plain = NumberFormat().reader()
        self._compared = compared

    def __call__(self, value: Any) -> bool:
        if value is None:
            return False
        try:
            read = self._read if isinstance(value, str) else self._plain
            number = read(str(value))
            return all(compare(number, limit) for compare, limit in self._compared)
        except (ValueError, ArithmeticError) as error:
            raise RowError(
                f"{self._column}: a filter compares it, and it is no number",
                f"{self._column}: {error}",
            ) from None
