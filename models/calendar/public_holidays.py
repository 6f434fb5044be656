"""Public holidays and working weekends of a country, from the library ``holidays``.

Example, National Day in China in 2025:

    Sun 09-28                a working weekend (调休), like a Wednesday
    Wed 10-01 to Fri 10-03   National Day, by law
    Sat 10-04, Sun 10-05     the weekend within the run of days off
    Mon 10-06                Mid-Autumn Festival, by law
    Tue 10-07, Wed 10-08     days off for 09-28 and 10-11
    Sat 10-11                a working weekend

The eight days in a row are all holidays, like a Sunday. Days off without a name of their own have
the name that most days of the row have, here National Day.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from datetime import date, timedelta
from functools import cache
from itertools import groupby
from typing import Final

import holidays
from holidays import HolidayBase

from models.calendar.special_day import WORKDAY, SpecialDay, days_between

_CHINA: Final = "CN"
"""Its government announces holidays as rows of days that include weekends, a year ahead."""
_LONGEST_RUN: Final = timedelta(days=14)
"""More than the days off that a row has in the year before or after."""
_REST_DAYS: Final = (6, 4, 5)
"""The days of rest, the most common first: Sunday, or Friday or Saturday if Sunday is worked."""
_NEW_YEAR: Final = "Chinese New Year (Spring Festival)"


@cache
def countries() -> tuple[str, ...]:
    """Return the codes of the countries whose holidays are known, ISO 3166-1 alpha-2."""
    return tuple(sorted(holidays.list_supported_countries(include_aliases=False)))


def lunar_new_year(year: int) -> date | None:
    """Return the date of the lunar new year (春节); None for a year that is not in the tables."""
    calendar = holidays.country_holidays(
        "CN", years=year, language="en_US", expand=False, observed=False
    )
    return min(calendar.get_named(_NEW_YEAR, lookup="exact"), default=None)


class PublicHolidays:
    """The public holidays and the working weekends of a country.

    Args:
        country: one of `countries`.
    """

    def __init__(self, country: str) -> None:
        self.country = country

    def of_year(self, year: int) -> dict[date, SpecialDay]:
        """Return the holidays and working weekends of a year."""
        english, chinese = (self._calendar(year, language) for language in ("en", "zh"))
        rest = next(day for day in _REST_DAYS if day in english.weekend)
        found = {
            day: SpecialDay("Working weekend", "调休上班", "workday", WORKDAY)
            for day in english.weekend_workdays
            if day not in english
        }
        for run in self._runs(english, year):
            named = _named_days(english, run)
            for day in run:
                name = day if day in named else _most_common(english, named, run)
                found[day] = SpecialDay(english[name], chinese[name], "holiday", rest)
        return {day: found[day] for day in sorted(found) if day.year == year}

    def knows_working_weekends(self, year: int) -> bool:
        """Return whether the working weekends of a year are known, if the country has them.

        China announces those of a year in November of the year before.
        """
        if self.country != _CHINA:
            return True
        workdays = self._calendar(year, "en").weekend_workdays
        return any(day.year == year for day in workdays)

    def _calendar(self, year: int, language: str) -> HolidayBase:
        """Return the calendar of a year, and of those before and after it for rows of days off."""
        calendar = holidays.country_holidays(self.country)
        return holidays.country_holidays(
            self.country,
            years=(year - 1, year, year + 1),
            expand=False,
            language=_nearest_language(calendar.supported_languages, language),
        )

    def _runs(self, calendar: HolidayBase, year: int) -> Iterator[list[date]]:
        """Yield rows of days off that have a public holiday; without weekends, rows of one day."""
        if self.country != _CHINA:
            yield from ([day] for day in calendar)
            return
        days = days_between(date(year, 1, 1) - _LONGEST_RUN, date(year, 12, 31) + _LONGEST_RUN)
        for works, group in groupby(days, key=calendar.is_working_day):
            run = list(group)
            if not works and any(day in calendar for day in run):
                yield run


def _nearest_language(supported: Iterable[str], language: str) -> str | None:
    """Return the supported language for ``en`` or ``zh``, or English; None for the default."""
    preferred = {"en": "en_US", "zh": "zh_CN"}[language]
    for wanted in (preferred, language, "en_US", "en"):
        for one in sorted(supported):
            if one.startswith(wanted):
                return one
    return None


def _named_days(calendar: HolidayBase, run: Iterable[date]) -> set[date]:
    """Return the holidays with a name of their own.

    Days off for another day have none: the library calls them "National Day (observed)" or "Day
    off (substituted from 09/28/2025)".
    """
    labels = (getattr(calendar, f"{kind}_label", None) for kind in ("substituted", "observed"))
    parts = [calendar.tr(label).split("%s") for label in labels if label is not None]
    return {
        day
        for day in run
        if day in calendar
        and not any(
            calendar[day].startswith(begin) and calendar[day].endswith(end) for begin, end in parts
        )
    }


def _most_common(calendar: HolidayBase, named: Collection[date], run: list[date]) -> date:
    """Return the first of the days that have the name that most days of a row have."""
    names = Counter(calendar[day] for day in sorted(named))
    if not names:
        return next(day for day in run if day in calendar)
    (name, _), *_ = names.most_common(1)
    return min(day for day in named if calendar[day] == name)
