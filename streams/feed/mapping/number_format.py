"""Reads numbers as files write them: ``1.234,56 €`` is 1234.56.

Example: with ``decimal: ","`` and ``thousands: "."``, ``1.234,5`` is 1234.5 and ``12.50`` is
refused, because it could be either 12.5 or 1250.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

_CURRENCY_SIGNS = "$¢-¥฿₠-⃀＄￠￡￥￦"
_SPACES = " \u00a0\u2009\u202f"
"""Blanks that group digits: ordinary, no-break, thin and narrow no-break."""


class NumberFormat(BaseModel):
    """The way in which numbers are written. Signs of currencies, such as €, are left out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    decimal: Literal[".", ","] = "."
    """The decimal mark."""
    thousands: Literal["", ".", ",", "'", " "] = ""
    """The mark between groups of three digits; empty if there is none."""
    signs: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Texts beside numbers to leave out besides currency signs, such as ``kr`` or ``EUR``."""

    @model_validator(mode="after")
    def _marks_differ(self) -> NumberFormat:
        if self.decimal == self.thousands:
            raise ValueError("thousands: is the decimal mark, too; give another one")
        return self

    def reader(self) -> Callable[[str], Decimal]:
        """Return a function that reads a number, and raises `ValueError` if a text is none."""
        has_point = self.decimal == "."
        shape = _shape(self)
        grouping = _SPACES if self.thousands == " " else self.thousands
        ungrouped = str.maketrans("", "", grouping)

        def read(text: str) -> Decimal:
            if has_point:
                try:
                    return Decimal(text)
                except InvalidOperation:
                    pass
            found = shape.fullmatch(text.strip())
            if found is None:
                raise ValueError(f"{text!r} is no number{self._advice(text)}")
            before, after, whole, fraction = found.groups()
            if before and after:
                raise ValueError(f"{text!r} is no number: it has two signs")
            sign = "-" if (before or after) in {"-", "−"} else ""
            digits = whole.translate(ungrouped)
            return Decimal(f"{sign}{digits}.{fraction}" if fraction else f"{sign}{digits}")

        return read

    def _advice(self, text: str) -> str:
        other = "," if self.decimal == "." else "."
        if other not in text or not any(character.isdigit() for character in text):
            return ""
        if self.decimal == ".":
            return (
                "; if it has a decimal comma, set numbers.decimal in the mapping; if the comma "
                "groups thousands, numbers.thousands"
            )
        return "; if the point groups thousands, set numbers.thousands in the mapping"


def _shape(numbers: NumberFormat) -> re.Pattern[str]:
    signs = "|".join([f"[{_CURRENCY_SIGNS}]", *map(re.escape, numbers.signs)])
    grouping = f"[{_SPACES}]" if numbers.thousands == " " else re.escape(numbers.thousands)
    groups = rf"\d{{1,3}}(?:{grouping}\d{{3}})+|" if numbers.thousands else ""
    return re.compile(
        rf"([+\-−]?)\s*(?:{signs})?\s*([+\-−]?)\s*({groups}\d+)"
        rf"(?:{re.escape(numbers.decimal)}(\d+))?\s*(?:{signs})?"
    )
