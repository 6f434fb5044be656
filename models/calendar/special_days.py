"""Finds the special day of a date."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Final

from models.calendar.calendar_book import NONE, CalendarBook
from models.calendar.public_holidays import PublicHolidays
from models.calendar.shopping_festivals import festival_days
from models.calendar.special_day import SpecialDay

_KNOWN_YEARS: Final = 64
"""The size of the cache of years, about 2 MB."""


class SpecialDays:
    """The special days of a calendar.

    A date has one special day at most. A day of the user's own takes precedence over a festival,
    and a festival over a public holiday or working weekend: its orders are like those of no
    weekday.

    Example, the country CN with its usual festivals: 2026-06-19 is Dragon Boat Festival and in the
    encore of 618, so it is the latter. 2026-06-21, a Sunday, is Dragon Boat Festival.

    Args:
        book: the content of a file of special days.
    """

    def __init__(self, book: CalendarBook) -> None:
        self._holidays = None if book.country == NONE else PublicHolidays(book.country)
        self._festivals = book.counted_festivals
        self._own = {
            day: SpecialDay(entry.name.en, entry.name.zh, "own", entry.weekday)
            for entry in book.days
            for day in entry.dates()
        }
        self._ordinary = frozenset(day for entry in book.ordinary for day in entry.dates())
        self._years: dict[int, Mapping[date, SpecialDay]] = {}

    def of(self, day: date) -> SpecialDay | None:
        """Return the special day of a date; None for an ordinary day."""
        return self.of_year(day.year).get(day)

    def of_year(self, year: int) -> Mapping[date, SpecialDay]:
        """Return the special days of a year in their order; each year is worked out once."""
        known = self._years.get(year)
        if known is None:
            if len(self._years) >= _KNOWN_YEARS:
                self._years.clear()
            known = self._years[year] = self._worked_out(year)
        return known

    def knows_working_weekends(self, year: int) -> bool:
        """Return whether the working weekends of a year are known, if the country has them."""
        return self._holidays is None or self._holidays.knows_working_weekends(year)

    def _worked_out(self, year: int) -> dict[date, SpecialDay]:
        found = {} if self._holidays is None else self._holidays.of_year(year)
        found.update(self._festival_days(year))
        found.update(self._own)
        return {
            day: found[day]
            for day in sorted(found)
            if day.year == year and day not in self._ordinary
        }

    def _festival_days(self, year: int) -> Iterator[tuple[date, SpecialDay]]:
        """Yield the days of festivals of a year and of the next, whose sale may begin before it."""
        for festival in self._festivals:
            for edition in (year, year + 1):
                yield from festival_days(festival, edition)
