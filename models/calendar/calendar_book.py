"""The content of a file of special days."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from models.calendar.public_holidays import countries
from models.calendar.shopping_festivals import FESTIVALS, usual_festivals
from models.calendar.special_day import WORKDAY, days_between
from models.patterns import hint

NONE: Final = "none"
"""The word for no country, no festivals, and no weekday that a day is like."""

Like = Literal[
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
    "workday",
    "none",
]
_WEEKDAYS: Final[dict[Like, int | None]] = {
    "monday": 0,
    "tuesday": 1,
    "wednesday": 2,
    "thursday": 3,
    "friday": 4,
    "saturday": 5,
    "sunday": 6,
    "workday": WORKDAY,
    "none": None,
}
_LONGEST_DAYS: Final = 366
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")


def _known_country(country: str) -> str:
    if country == NONE or country in countries():
        return country
    if country.upper() in countries():
        raise ValueError(f"write {country.upper()}")
    raise ValueError(
        f"no public holidays are known of {country!r}; give the code of a country, two capitals "
        "such as CN, DE or US, or none, and its holidays as days of your own"
    )


def _listed(given: Any) -> Any:
    """Return the list that ``none`` stands for, and numbers in a list, such as 618, as texts."""
    if given == NONE:
        return ()
    if isinstance(given, list):
        return [str(one) if type(one) is int else one for one in given]
    return given


def _known_festival(name: str) -> str:
    if name not in FESTIVALS:
        raise ValueError(f"no festival {name!r}{hint(name, FESTIVALS)}")
    return name


def _written(given: Any) -> Any:
    """Refuse numbers and times, which pydantic would take for dates."""
    if not _DATE.fullmatch(str(given)):
        raise ValueError("give a date like 2026-06-18")
    return given


_Festival = Annotated[str, AfterValidator(_known_festival)]
_Text = Annotated[str, Field(min_length=1, max_length=100)]
_Date = Annotated[dt.date, BeforeValidator(_written)]


class BothNames(BaseModel):
    """A name in English and in Chinese; one that is given in one language is used for both."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    en: _Text
    zh: _Text

    @model_validator(mode="before")
    @classmethod
    def _in_both_languages(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return {"en": given, "zh": given}
        one = given.get("en", given.get("zh"))
        return {"en": one, "zh": one, **given}


class Days(BaseModel):
    """One day, or the days from a first to a last, both included.

    Args:
        date: the only day.
        first: the first day, in the file ``from``.
        to: the last day.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    date: _Date | None = None
    first: Annotated[_Date | None, Field(alias="from")] = None
    to: _Date | None = None

    @model_validator(mode="after")
    def _is_one_range(self) -> Days:
        if self.date is not None and (self.first is not None or self.to is not None):
            raise ValueError("date: give either date, or from and to")
        if self.date is None and self.first is None:
            raise ValueError("date: is missing; give date, or from and to")
        if self.first is not None:
            _refuse_bad_end(self.first, self.to)
        return self

    @property
    def key(self) -> str:
        """The key of the first day in the file."""
        return "from" if self.date is None else "date"

    def dates(self) -> Iterator[dt.date]:
        """Yield the days."""
        first, last = self.date or self.first, self.date or self.to
        assert first is not None
        assert last is not None
        return days_between(first, last)

    def __str__(self) -> str:
        return f"{self.first} to {self.to}" if self.date is None else str(self.date)


def _refuse_bad_end(first: dt.date, last: dt.date | None) -> None:
    """Refuse a range without an end, or with one that can't be meant.

    Raises:
        ValueError: the message begins with the key.
    """
    if last is None:
        raise ValueError("to: is missing; for one day give date")
    if last < first:
        raise ValueError("to: is before from")
    if (last - first).days >= _LONGEST_DAYS:
        raise ValueError("to: is more than a year after from; give the days of each year")


class OwnDays(Days):
    """Special days of the user's own.

    Args:
        name: their name, which alerts show.
        like: what they are like: a weekday, an ordinary working day, or ``none``.
    """

    name: BothNames
    like: Like = "none"

    @property
    def weekday(self) -> int | None:
        """The weekday that they are like, 0 for Monday; None if they are like none."""
        return _WEEKDAYS[self.like]


class CalendarBook(BaseModel):
    """The content of a file of special days.

    Args:
        country: the country whose public holidays and working weekends count.
        festivals: the shopping festivals; None for those that are usual in the country.
        days: days of the user's own, which take precedence over the built-in ones.
        ordinary: built-in days that are ordinary days here.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    country: Annotated[str, AfterValidator(_known_country)]
    festivals: Annotated[tuple[_Festival, ...] | None, BeforeValidator(_listed)] = None
    days: tuple[OwnDays, ...] = ()
    ordinary: tuple[Days, ...] = ()

    @model_validator(mode="after")
    def _each_day_is_given_once(self) -> CalendarBook:
        given: dict[dt.date, tuple[str, Days]] = {}
        for key, listed in (("days", self.days), ("ordinary", self.ordinary)):
            for number, entry in enumerate(listed):
                place = f"{key}[{number}]"
                for day in entry.dates():
                    where, other = given.setdefault(day, (place, entry))
                    if where != place:
                        raise ValueError(
                            f"{place}.{entry.key}: {day} is given already, by {where}, {other}; "
                            "leave one of them out"
                        )
        return self

    @property
    def counted_festivals(self) -> tuple[str, ...]:
        """The festivals that count: those of the file, or those that are usual in the country."""
        return usual_festivals(self.country) if self.festivals is None else self.festivals
