"""``kpi-monitor calendar``: list the special days of a year."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, datetime
from itertools import groupby
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from models.calendar.special_day import SpecialDay
from models.calendar.special_days import SpecialDays
from streams import settings
from streams.assembly.calendar import special_days_of
from streams.commands.options import (
    CalendarFile,
    ProjectFile,
    err,
    out,
    project_of,
    say,
    with_project,
)

_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def calendar(
    year: Annotated[
        int | None,
        typer.Option("--year", min=1970, max=2199, help="The year; this one, if left out."),
    ] = None,
    project: ProjectFile = None,
    calendar: CalendarFile = None,
) -> None:
    """List the special days of a year: shopping festivals, holidays, working weekends, own days.

    Days in a row that are the same are one line. A day is like the weekday of the last column; if
    it is like none, only a wider band can judge it.
    """
    chosen = settings.load(**with_project(project_of(project), calendar_file=calendar))
    special_days = special_days_of(chosen)
    shown_year = datetime.now(chosen.zone).year if year is None else year
    found = special_days.of_year(shown_year)
    if found:
        out.print(_table(found))
    say(out, summary(special_days, shown_year))
    if chosen.calendar_file is None:
        say(out, "no file is given; set KPI_CALENDAR_FILE, or give --calendar")
    if note := working_weekends_note(special_days, shown_year):
        say(err, note)


def summary(special_days: SpecialDays, year: int) -> str:
    """Return the number of special days of a year in words."""
    return f"{len(special_days.of_year(year))} special days in {year}"


def working_weekends_note(special_days: SpecialDays, year: int) -> str:
    """Return a note if the working weekends of a year are not known; else the empty text."""
    if special_days.knows_working_weekends(year):
        return ""
    return (
        f"note: the working weekends of {year} (调休), and the days off for them, are not known to "
        "this version; add them to the calendar as days of your own, or upgrade"
    )


def _table(found: Mapping[date, SpecialDay]) -> Table:
    table = Table()
    for head in ("date", "weekday", "name", "名称", "kind", "like"):
        table.add_column(head, no_wrap=head not in {"name", "名称"}, overflow="fold")
    for first, last, special in _runs(found):
        days, weekdays = str(first), _WEEKDAYS[first.weekday()]
        if last != first:
            days, weekdays = (
                f"{first} to {last:%m-%d}",
                f"{weekdays} to {_WEEKDAYS[last.weekday()]}",
            )
        like = "none" if special.like is None else _WEEKDAYS[special.like]
        names = (escape(special.name_en), escape(special.name_zh))
        table.add_row(days, weekdays, *names, special.kind, like)
    return table


def _runs(found: Mapping[date, SpecialDay]) -> Iterator[tuple[date, date, SpecialDay]]:
    """Yield days in a row that have the same special day: the first, the last, and it."""
    numbered = enumerate(sorted(found))
    for (special, _), group in groupby(
        numbered, key=lambda one: (found[one[1]], one[1].toordinal() - one[0])
    ):
        days = [day for _, day in group]
        yield days[0], days[-1], special
