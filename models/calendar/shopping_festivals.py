"""Shopping festivals and their phases.

Platforms announce their dates each year, and no two have the same. The dates here are those of
Tmall, rounded to days; where a year has none of its own, those of the year before hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from typing import Final, NamedTuple

from models.calendar.public_holidays import countries, lunar_new_year
from models.calendar.special_day import SpecialDay, days_between

MonthDay = tuple[int, int]
_THURSDAY: Final = 3


class Phase(NamedTuple):
    """A part of a festival, such as its pre-sale, with its first and last day."""

    name_en: str
    name_zh: str
    first: date
    last: date


_PRESALES_618: Final[Mapping[int, MonthDay]] = {2020: (5, 25), 2024: (5, 20), 2025: (5, 13)}
"""The first day of the pre-sale, by the first year in which it held; before, there was none."""
_PRESALES_DOUBLE11: Final[Mapping[int, MonthDay]] = {
    2016: (10, 20),
    2022: (10, 24),
    2024: (10, 14),
    2025: (10, 15),
}


def _held_in(year: int, dates: Mapping[int, MonthDay]) -> date | None:
    """Return the date of a year: that of the newest entry which is not after it."""
    held = [since for since in dates if since <= year]
    return date(year, *dates[max(held)]) if held else None


def _618(year: int) -> Iterator[Phase]:
    if year < 2010:
        return
    presale = _held_in(year, _PRESALES_618)
    if presale is not None:
        yield Phase("618 pre-sale", "618 预售", presale, date(year, 5, 31))
    yield Phase("618 warm-up", "618 预热", date(year, 6, 1), date(year, 6, 15))
    yield Phase("618 peak", "618 爆发", date(year, 6, 16), date(year, 6, 18))
    yield Phase("618 encore", "618 返场", date(year, 6, 19), date(year, 6, 20))


def _double11(year: int) -> Iterator[Phase]:
    if year < 2009:
        return
    presale = _held_in(year, _PRESALES_DOUBLE11)
    if presale is not None:
        yield Phase("Double 11 pre-sale", "双11 预售", presale, date(year, 10, 31))
    yield Phase("Double 11 warm-up", "双11 预热", date(year, 11, 1), date(year, 11, 9))
    yield Phase("Double 11 peak", "双11 爆发", date(year, 11, 10), date(year, 11, 11))
    if year >= 2025:
        yield Phase("Double 11 encore", "双11 返场", date(year, 11, 12), date(year, 11, 14))


def _double12(year: int) -> Iterator[Phase]:
    if year >= 2012:
        yield Phase("Double 12", "双12", date(year, 12, 12), date(year, 12, 12))


def _womens_day(year: int) -> Iterator[Phase]:
    if year >= 2016:
        yield Phase("Women's Day sale", "38 女王节", date(year, 3, 1), date(year, 3, 8))


def _new_year_goods(year: int) -> Iterator[Phase]:
    """Yield the sale before the lunar new year; it ends when parcels no longer arrive in time."""
    new_year = lunar_new_year(year)
    if year >= 2016 and new_year is not None:
        first, last = (new_year - timedelta(days=days) for days in (28, 3))
        yield Phase("New Year goods sale", "年货节", first, last)


def _black_friday(year: int) -> Iterator[Phase]:
    """Yield Black Friday, the day after the fourth Thursday of November, until Cyber Monday."""
    november = date(year, 11, 1)
    thursday = november + timedelta(days=(_THURSDAY - november.weekday()) % 7, weeks=3)
    friday, saturday, sunday, monday = (thursday + timedelta(days=days) for days in range(1, 5))
    yield Phase("Black Friday", "黑色星期五", friday, friday)
    yield Phase("Black Friday weekend", "黑五周末", saturday, sunday)
    yield Phase("Cyber Monday", "网络星期一", monday, monday)


FESTIVALS: Final[Mapping[str, Callable[[int], Iterator[Phase]]]] = {
    "618": _618,
    "double11": _double11,
    "double12": _double12,
    "new_year_goods": _new_year_goods,
    "womens_day": _womens_day,
    "black_friday": _black_friday,
}
"""The phases of each festival in a year."""

_IN_CHINA: Final = tuple(name for name in FESTIVALS if name != "black_friday")


def usual_festivals(country: str) -> tuple[str, ...]:
    """Return the festivals that are usual in a country; without one, with another code, none."""
    if country == "CN":
        return _IN_CHINA
    return ("black_friday",) if country in countries() else ()


def festival_days(festival: str, year: int) -> Iterator[tuple[date, SpecialDay]]:
    """Yield the days of a festival, some of which may be in December of the year before."""
    for phase in FESTIVALS[festival](year):
        special = SpecialDay(phase.name_en, phase.name_zh, "festival", like=None)
        for day in days_between(phase.first, phase.last):
            yield day, special
