"""Templates: text with the values of columns in it, such as ``{first name} {last name}``."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from string import Formatter
from typing import Annotated, Any

from pydantic import AfterValidator

EVENT_ID = "event_id"
"""The name that stands for the event's id in templates of fields; it is no column."""

Getter = Callable[[Any], Any]
"""Returns the value of a row, or None if it is absent."""
GetterOf = Callable[[str], Getter]
"""Returns the getter of a column."""
_Part = tuple[str, str | None]


@lru_cache(maxsize=1_000)
def _parts(template: str) -> tuple[_Part, ...]:
    """Return the texts of a template, each with the column that follows it, or None at the end.

    Raises:
        ValueError: a brace is not closed, or a column has no name or a format.
    """
    parts = []
    for text, column, spec, conversion in Formatter().parse(template):
        if column == "" or spec or conversion:
            raise ValueError(f"{template!r}: write columns as {{name}}, without a format")
        parts.append((text, column))
    return tuple(parts)


def columns_of(template: str) -> list[str]:
    """Return the names in the braces of a template, in their order."""
    return [column for _, column in _parts(template) if column is not None]


def _checked(template: str) -> str:
    try:
        columns_of(template)
    except ValueError as error:
        raise ValueError(str(error) or "a brace is not closed") from None
    return template


Template = Annotated[str, AfterValidator(_checked)]


def reader(template: str, getter_of: GetterOf) -> Getter:
    """Return a function that fills a template with the values of a row.

    The result is None if one of the columns is absent. A template of one column only gives that
    column's value as it is: in NDJSON it may be a number or a list.
    """
    parts = _parts(template)
    if len(parts) == 1 and parts[0][0] == "" and parts[0][1] is not None:
        return getter_of(parts[0][1])
    texts = [text for text, _ in parts]
    getters = [None if column is None else getter_of(column) for _, column in parts]
    if not any(getters):
        constant = "".join(texts)
        return lambda _: constant

    def fill(row: Any) -> str | None:
        filled = []
        for text, get in zip(texts, getters, strict=True):
            filled.append(text)
            if get is not None:
                value = get(row)
                if value is None:
                    return None
                filled.append(str(value))
        return "".join(filled)

    return fill
