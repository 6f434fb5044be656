"""A special day: its names, its kind, and the weekday that it resembles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, Literal

Kind = Literal["festival", "holiday", "workday", "own"]
"""A shopping festival, a public holiday, a weekend day that is worked (调休), or a day of the
user's own."""

WORKDAY: Final = 2
"""The weekday that stands for an ordinary working day: Wednesday, which no country has free."""


@dataclass(frozen=True, slots=True)
class SpecialDay:
    """A day that is not expected to be like other days of its weekday.

    Args:
        name_en: its name in English.
        name_zh: its name in Chinese.
        kind: its kind.
        like: the weekday that it resembles, 0 for Monday to 6 for Sunday; None if it resembles
            none, so that only a wider band can judge it.
    """

    name_en: str
    name_zh: str
    kind: Kind
    like: int | None


def days_between(first: date, last: date) -> Iterator[date]:
    """Yield the days from the first to the last, both included."""
    for number in range((last - first).days + 1):
        yield first + timedelta(days=number)
