"""The value of an event's field: a template, and helpers that change what it gives.

Helpers are applied in the order of the keys below. A value that is absent stays absent, and the
helpers after it are skipped, except ``default``.

Example: ``{value: "{Source / Medium}", split: "/", part: 2, lookup: {cpc: search}}`` makes
``search`` of ``google / cpc``.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from models.patterns import hint, is_pattern, matches
from streams.feed.mapping.number_format import NumberFormat
from streams.feed.mapping.row_errors import RowError
from streams.feed.mapping.templates import Getter, GetterOf, Template, columns_of, reader
from streams.feed.mapping.time_format import TimeFormat, date_reader

KEPT_VALUES = 50_000
"""Texts of a column for which the value of a field is kept."""
HASH_LENGTH = 32
"""Characters of a hashed value: 128 bits."""
_Step = Callable[[str], Any]


def _date_format(pattern: str) -> str:
    if not re.search("%[a-zA-Z]", pattern):
        raise ValueError(f"{pattern!r} is no date format; use one of strptime, such as %d.%m.%Y")
    return pattern


class FieldSource(BaseModel):
    """The source of a field's value. A text alone stands for ``value``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: Template
    """Template: text with ``{column}`` in it, or a constant."""
    nulls: tuple[str, ...] = ()
    """Texts that stand for no value, besides those of the file."""
    query: Annotated[str, Field(min_length=1)] | None = None
    """Name of a parameter of the URL, whose decoded value is taken, such as ``utm_campaign``."""
    split: Annotated[str, Field(min_length=1)] | None = None
    """Text at which the value is split; white space around the parts is left out."""
    part: int | None = None
    """Number of the part after ``split``: 1 is the first, -1 the last."""
    case: Literal["lower", "upper"] | None = None
    """Write the value in lower or upper case."""
    lookup: dict[str, str | None] | None = None
    """Table of values: texts or patterns with ``*`` and ``?``, and what they become; null for
    absent. A text goes before patterns, and of these the first that fits. A row with a value that
    is not in the table is refused.
    """
    keep_others: bool = False
    """Whether values that ``lookup`` does not have stay as they are."""
    date: Annotated[str, AfterValidator(_date_format)] | None = None
    """Pattern of strptime by which a date is read, to be written as 2026-11-25."""
    time: TimeFormat | None = None
    """``format`` and ``zone`` by which a time is read, to be written in ms since the epoch."""
    numbers: NumberFormat | None = None
    """Format of this number, instead of the file's."""
    divide: Annotated[int, Field(ge=2)] | None = None
    """Whole number that a number is divided by: 100 for amounts in cents."""
    absolute: bool = False
    """Whether the sign of a number is left out, for refunds that are written as -12.50."""
    hash: bool = False
    """Whether the value is replaced by its keyed hash (HMAC-SHA-256), so that e-mail addresses do
    not leave the file. The key is ``KPI_HASH_KEY``, or in the file ``KPI_HASH_KEY_FILE``.
    """
    default: str | None = None
    """Value where there is none."""

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, given: Any) -> Any:
        if isinstance(given, dict):
            return given
        if isinstance(given, bool) or not isinstance(given, str | int | float | Decimal):
            raise ValueError(  # noqa: TRY004 - pydantic reports these
                f"give a template, such as '{{column}}', in quotes; not {given!r}"
            )
        return {"value": str(given)}

    @model_validator(mode="after")
    def _helpers_fit(self) -> FieldSource:
        if (self.split is None) != (self.part is None):
            raise ValueError(f"{'part' if self.part is None else 'split'}: is missing")
        if self.part == 0:
            raise ValueError("part: the first is 1, the last -1")
        if self.keep_others and self.lookup is None:
            raise ValueError("keep_others: belongs to lookup; leave it out")
        if self.date is not None and self.time is not None:
            raise ValueError("date: can't be used with time; leave one of them out")
        return self

    @property
    def columns(self) -> list[str]:
        """The names in the braces of its template."""
        return columns_of(self.value)

    def getter(self, name: str, getter_of: GetterOf, *, hash_key: bytes) -> Getter:
        """Return a function of a row that returns the value of the field, or None if absent.

        Args:
            name: the field.
            getter_of: finds columns.
            hash_key: the key of ``hash``.
        """
        read = reader(self.value, getter_of)
        steps = tuple(self._steps(name, hash_key))
        if steps:
            read = _Helped(read, steps)
        return read if self.default is None else partial(_or_default, read, self.default)

    def _steps(self, name: str, hash_key: bytes) -> Iterator[_Step]:
        if self.nulls:
            yield partial(_unless_null, frozenset(self.nulls))
        if self.query is not None:
            yield partial(_parameter, self.query)
        if self.split is not None and self.part is not None:
            yield partial(_part, self.split, self.part - 1 if self.part > 0 else self.part)
        if self.case is not None:
            yield str.lower if self.case == "lower" else str.upper
        if self.lookup is not None:
            yield partial(_looked_up, name, self.lookup, self.keep_others)
        if self.date is not None:
            yield _refusing(name, "does not match its date format", date_reader(self.date))
        if self.time is not None:
            yield _refusing(name, "is no time in its format", self.time.reader())
        if self.hash:
            yield partial(_hashed, hash_key)


class _Helped:
    """Applies steps to a value; what came of a text is kept, as columns repeat their texts."""

    def __init__(self, read: Getter, steps: tuple[_Step, ...]) -> None:
        self._read = read
        self._steps = steps
        self._kept: dict[str, Any] = {}

    def __call__(self, row: Any) -> Any:
        value = self._read(row)
        if value is None:
            return None
        text = value if type(value) is str else str(value)
        try:
            return self._kept[text]
        except KeyError:
            pass
        for step in self._steps:
            value = step(str(value))
            if value is None:
                break
        if len(self._kept) >= KEPT_VALUES:
            self._kept.clear()
        self._kept[text] = value
        return value


def _or_default(read: Getter, default: str, row: Any) -> Any:
    value = read(row)
    return default if value is None else value


def _unless_null(nulls: frozenset[str], text: str) -> str | None:
    return None if text in nulls else text


def _parameter(name: str, url: str) -> str | None:
    try:
        found = parse_qs(urlsplit(url).query).get(name)
    except ValueError:
        return None
    return (found[0].strip() or None) if found else None


def _part(separator: str, place: int, text: str) -> str | None:
    parts = text.split(separator)
    try:
        return parts[place].strip() or None
    except IndexError:
        return None


def _hashed(key: bytes, text: str) -> str:
    return hmac.digest(key, text.encode("utf-8", "surrogateescape"), "sha256").hex()[:HASH_LENGTH]


def _refusing(name: str, reason: str, read: Callable[[str], Any]) -> _Step:
    def step(text: str) -> Any:
        try:
            return read(text)
        except ValueError as error:
            raise RowError(f"{name}: {reason}", f"{name}: {error}") from None

    return step


def _looked_up(name: str, table: dict[str, str | None], keep_others: bool, text: str) -> str | None:
    if text in table:
        return table[text]
    pattern = next((one for one in table if is_pattern(one) and matches(text, (one,))), None)
    if pattern is not None:
        return table[pattern]
    if keep_others:
        return text
    raise RowError(
        f"{name}: is not in its lookup table",
        f"{name}: {text!r} is not in its lookup table{hint(text, table)}; add it, a pattern, or "
        "keep_others: true",
    )
