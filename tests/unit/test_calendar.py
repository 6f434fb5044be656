"""Special days: shopping festivals, public holidays, working weekends, and own days."""

from __future__ import annotations

import dataclasses
import re
import time
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner, Result

from models.calendar.calendar_book import CalendarBook
from models.calendar.public_holidays import countries, lunar_new_year
from models.calendar.shopping_festivals import FESTIVALS, usual_festivals
from models.calendar.special_day import SpecialDay, days_between
from models.calendar.special_days import SpecialDays
from streams import config
from streams.assembly.calendar import special_days_of
from streams.cli import cli
from streams.commands import calendar
from streams.errors import ConfigError
from streams.settings import Settings

WEDNESDAY, FRIDAY, SATURDAY, SUNDAY = 2, 4, 5, 6
CHINA = SpecialDays(CalendarBook(country="CN"))
HOLIDAYS_OF_CHINA = SpecialDays(CalendarBook(country="CN", festivals=()))


def special_days(**given: Any) -> SpecialDays:
    """Return the special days of a calendar file with these keys."""
    return SpecialDays(CalendarBook.model_validate(given))


def kinds(days: SpecialDays, first: str, last: str) -> list[str | None]:
    """Return the kind of each day from the first to the last."""
    between = days_between(date.fromisoformat(first), date.fromisoformat(last))
    return [None if (found := days.of(day)) is None else found.kind for day in between]


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calendar, "out", Console(width=160))


def run(*arguments: str | Path) -> Result:
    """Run the command."""
    return CliRunner().invoke(cli, [str(one) for one in arguments])


def rows_of(listed: str) -> list[list[str]]:
    """Return the cells of the table that the command prints."""
    return [[cell.strip() for cell in row.split("│")[1:-1]] for row in listed.splitlines()]


# ---- public holidays and working weekends


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("2024-02-10", "2024-02-17"),
        ("2025-01-28", "2025-02-04"),
        ("2025-05-01", "2025-05-05"),
        ("2025-10-01", "2025-10-08"),
        ("2026-01-01", "2026-01-03"),
        ("2026-02-15", "2026-02-23"),
        ("2026-10-01", "2026-10-07"),
        ("2023-12-30", "2024-01-01"),
    ],
)
def test_days_off_in_a_row(first: str, last: str) -> None:
    """A row of days off is all holiday, its weekends too, and the days beside it are not."""
    found = kinds(HOLIDAYS_OF_CHINA, first, last)
    assert set(found) == {"holiday"}
    for beside in (
        date.fromisoformat(first) - timedelta(days=1),
        date.fromisoformat(last) + timedelta(days=1),
    ):
        special = HOLIDAYS_OF_CHINA.of(beside)
        assert special is None or special.kind == "workday"


@pytest.mark.parametrize(
    "day", ["2024-02-04", "2025-01-26", "2025-09-28", "2025-10-11", "2026-01-04", "2026-10-10"]
)
def test_working_weekend(day: str) -> None:
    """A weekend day that is worked (调休) is like an ordinary working day."""
    assert date.fromisoformat(day).weekday() in {SATURDAY, SUNDAY}
    assert HOLIDAYS_OF_CHINA.of(date.fromisoformat(day)) == SpecialDay(
        "Working weekend", "调休上班", "workday", WEDNESDAY
    )


@pytest.mark.parametrize(
    ("day", "name_en", "name_zh"),
    [
        ("2025-01-28", "Chinese New Year's Eve", "农历除夕"),
        ("2025-01-29", "Chinese New Year (Spring Festival)", "春节"),
        ("2026-02-15", "Chinese New Year (Spring Festival)", "春节"),
        ("2026-02-17", "Chinese New Year (Spring Festival)", "春节"),
        ("2025-10-04", "National Day", "国庆节"),
        ("2025-10-06", "Mid-Autumn Festival", "中秋节"),
        ("2025-10-08", "National Day", "国庆节"),
        ("2026-10-05", "National Day", "国庆节"),
    ],
)
def test_names_of_holidays(day: str, name_en: str, name_zh: str) -> None:
    """Holidays have their names; other days off in the row have the name of most of its days."""
    assert HOLIDAYS_OF_CHINA.of(date.fromisoformat(day)) == SpecialDay(
        name_en, name_zh, "holiday", SUNDAY
    )


def test_ordinary_days() -> None:
    """An ordinary Wednesday and an ordinary weekend are not special."""
    assert kinds(CHINA, "2026-07-08", "2026-07-12") == [None] * 5


def test_working_weekends_of_a_year_that_is_not_announced() -> None:
    """Holidays by law are known years ahead; working weekends are not, and that is said."""
    assert HOLIDAYS_OF_CHINA.knows_working_weekends(2026)
    assert not HOLIDAYS_OF_CHINA.knows_working_weekends(2090)
    assert special_days(country="DE").knows_working_weekends(2090)
    assert special_days(country="none").knows_working_weekends(2090)
    special = HOLIDAYS_OF_CHINA.of(date(2090, 10, 1))
    assert special is not None
    assert special.name_zh == "国庆节"


def test_other_countries() -> None:
    """Elsewhere a holiday is one day, like the country's day of rest; weekends beside it are not.

    A country without Chinese names has the English ones, or its own.
    """
    germany = special_days(country="DE")
    assert germany.of(date(2026, 4, 3)) == SpecialDay("Good Friday", "Good Friday", "holiday", 6)
    assert kinds(germany, "2026-04-03", "2026-04-06") == ["holiday", None, None, "holiday"]
    saudi = special_days(country="SA").of(date(2026, 9, 23))
    assert saudi is not None
    assert (saudi.kind, saudi.like) == ("holiday", FRIDAY)
    hungary = special_days(country="HU").of(date(2024, 8, 3))
    assert hungary is not None
    assert (hungary.kind, hungary.like) == ("workday", WEDNESDAY)
    hong_kong = special_days(country="HK").of(date(2026, 4, 5))
    assert hong_kong is not None
    assert (hong_kong.name_en, hong_kong.name_zh) == ("Tomb-Sweeping Day", "清明节")


def test_every_country() -> None:
    """The library has names and a day of rest for every country, whatever its language."""
    for country in countries():
        for day, special in special_days(country=country, festivals="none").of_year(2026).items():
            assert special.name_en, (country, day)
            assert special.name_zh, (country, day)
            expected = {WEDNESDAY} if special.kind == "workday" else {FRIDAY, SATURDAY, SUNDAY}
            assert special.like in expected, (country, day)


# ---- festivals


@pytest.mark.parametrize(
    ("day", "name_zh"),
    [
        ("2025-05-13", "618 预售"),
        ("2023-05-25", "618 预售"),
        ("2025-06-15", "618 预热"),
        ("2025-06-18", "618 爆发"),
        ("2025-06-20", "618 返场"),
        ("2024-10-14", "双11 预售"),
        ("2025-11-01", "双11 预热"),
        ("2025-11-11", "双11 爆发"),
        ("2025-11-14", "双11 返场"),
        ("2025-12-12", "双12"),
        ("2026-03-08", "38 女王节"),
        ("2025-01-01", "年货节"),
        ("2022-12-25", "年货节"),
        ("2026-02-14", "年货节"),
    ],
)
def test_festival(day: str, name_zh: str) -> None:
    """A day of a festival is like no weekday; it takes precedence over holidays in it."""
    special = CHINA.of(date.fromisoformat(day))
    assert special is not None
    assert (special.name_zh, special.kind, special.like) == (name_zh, "festival", None)


@pytest.mark.parametrize(
    "day", ["2025-05-12", "2025-06-21", "2024-11-12", "2025-12-11", "2009-06-18"]
)
def test_no_festival(day: str) -> None:
    """The days beside a festival, and those before its first year, are ordinary."""
    assert CHINA.of(date.fromisoformat(day)) is None


def test_new_year_goods_follow_the_moon() -> None:
    """The sale begins four weeks before the lunar new year, and ends three days before it."""
    assert [lunar_new_year(year) for year in (2025, 2026)] == [date(2025, 1, 29), date(2026, 2, 17)]
    goods = special_days(country="none", festivals=["new_year_goods"])
    assert list(goods.of_year(2026)) == list(days_between(date(2026, 1, 20), date(2026, 2, 14)))
    december = [day for day in goods.of_year(2022) if day.month == 12]
    assert december == list(days_between(date(2022, 12, 25), date(2022, 12, 31)))
    assert lunar_new_year(2150) is None


def test_black_friday() -> None:
    """Black Friday is the day after the fourth Thursday of November, also if that is the 22nd."""
    found = special_days(country="US").of_year(2024)
    names = {day: one.name_en for day, one in found.items() if one.kind == "festival"}
    assert names == {
        date(2024, 11, 29): "Black Friday",
        date(2024, 11, 30): "Black Friday weekend",
        date(2024, 12, 1): "Black Friday weekend",
        date(2024, 12, 2): "Cyber Monday",
    }
    first = special_days(country="US").of(date(2018, 11, 23))
    assert first is not None
    assert first.name_zh == "黑色星期五"


def test_usual_festivals() -> None:
    """China has its own, other countries Black Friday, and no country none."""
    assert {*usual_festivals("CN"), "black_friday"} == set(FESTIVALS)
    assert usual_festivals("US") == ("black_friday",)
    assert special_days(country="none").of_year(2026) == {}
    assert CHINA.of(date(2026, 11, 27)) is None
    both = special_days(country="CN", festivals=[618, "black_friday"])
    assert kinds(both, "2026-06-18", "2026-06-18") == ["festival"]
    assert kinds(both, "2026-11-27", "2026-11-27") == ["festival"]
    assert kinds(both, "2026-12-12", "2026-12-12") == [None]


def test_phases_follow_each_other() -> None:
    """Each phase of a festival begins on the day after the one before it."""
    for festival in FESTIVALS.values():
        for year in range(2005, 2035):
            phases = list(festival(year))
            for before, after in pairwise(phases):
                assert after.first == before.last + timedelta(days=1)
            assert all(phase.first <= phase.last for phase in phases)


# ---- own days


def test_own_days() -> None:
    """An own day takes precedence, and is like the weekday that the file says."""
    days = special_days(
        country="CN",
        days=[
            {"date": date(2026, 6, 18), "name": "盘点", "like": "sunday"},
            {"from": date(2026, 8, 17), "to": date(2026, 8, 18), "name": {"en": "Sale"}},
            {"date": date(2027, 2, 20), "name": {"zh": "调休", "en": "Swap"}, "like": "workday"},
        ],
        ordinary=[{"date": date(2026, 12, 12)}],
    )
    assert days.of(date(2026, 6, 18)) == SpecialDay("盘点", "盘点", "own", SUNDAY)
    assert days.of(date(2026, 8, 17)) == SpecialDay("Sale", "Sale", "own", None)
    assert days.of(date(2026, 8, 19)) is None
    assert days.of(date(2027, 2, 20)) == SpecialDay("Swap", "调休", "own", WEDNESDAY)
    assert days.of(date(2026, 12, 12)) is None


@given(
    st.dates(date(2020, 1, 1), date(2035, 12, 31)),
    st.sampled_from(["CN", "US", "DE", "SA", "none"]),
)
def test_every_date(day: date, country: str) -> None:
    """Any date is ordinary, or special with both names and a weekday."""
    special = special_days(country=country).of(day)
    if special is None:
        return
    assert special.name_en
    assert special.name_zh
    assert special.kind in {"festival", "holiday", "workday"}
    assert special.like is None or 0 <= special.like <= SUNDAY
    assert (special.like is None) == (special.kind == "festival")
    with pytest.raises(dataclasses.FrozenInstanceError):
        special.like = 0


def test_ten_years_are_fast() -> None:
    """The days of ten years take well under a second, a known day about a microsecond."""
    days = SpecialDays(CalendarBook(country="CN"))
    dates = list(days_between(date(2018, 1, 1), date(2027, 12, 31)))
    start = time.perf_counter()
    found = [days.of(day) for day in dates]
    assert time.perf_counter() - start < 2
    start = time.perf_counter()
    assert [days.of(day) for day in dates] == found
    assert time.perf_counter() - start < 0.2


def test_far_dates() -> None:
    """Dates that no table reaches have the festivals that need none."""
    assert CHINA.of(date(1971, 6, 18)) is None
    assert kinds(CHINA, "2199-06-18", "2199-06-18") == ["festival"]
    for year in range(1900, 2000):
        CHINA.of_year(year)
    assert CHINA.of(date(2026, 6, 18)) is not None


# ---- the file


@pytest.mark.parametrize(
    ("text", "where", "why"),
    [
        ("festivals: none\n", "line 1: country", "is missing"),
        ("country: XX\n", "line 1: country", "no public holidays are known of 'XX'; give the code"),
        ("country: cn\n", "line 1: country", "write CN"),
        ("country: NO\n", "line 1: country", "give a text; a number, a date, yes and no need"),
        ("country: CN\nfestivals: [619]\n", "line 2: festivals[0]", "did you mean 618?"),
        ("country: CN\nfestivals: 618\n", "line 2: festivals", "give a list"),
        ("country: CN\nfestival: []\n", "line 2: festival", "did you mean festivals?"),
        (
            "country: CN\ndays:\n  - {date: 2026-02-30, name: A}\n",
            "line 3: days[0].date",
            "give a date like 2026-06-18",
        ),
        (
            "country: CN\ndays:\n  - {date: 20260618, name: A}\n",
            "line 3: days[0].date",
            "give a date like 2026-06-18",
        ),
        (
            "country: CN\ndays:\n  - {date: 2026-06-18T20:00:00, name: A}\n",
            "line 3: days[0].date",
            "give a date like 2026-06-18",
        ),
        (
            "country: CN\ndays:\n  - {name: A}\n",
            "line 3: days[0].date",
            "is missing; give date, or",
        ),
        (
            "country: CN\ndays:\n  - {date: 2026-06-18, to: 2026-06-19, name: A}\n",
            "line 3: days[0].date",
            "give either date, or from and to",
        ),
        (
            "country: CN\ndays:\n  - {to: 2026-06-19, name: A}\n",
            "line 3: days[0].date",
            "is missing; give date, or from and to",
        ),
        (
            "country: CN\ndays:\n  - {from: 2026-06-19, name: A}\n",
            "line 3: days[0].to",
            "is missing; for one day give date",
        ),
        (
            "country: CN\ndays:\n  - from: 2026-06-19\n    to: 2026-06-18\n    name: A\n",
            "line 4: days[0].to",
            "is before from",
        ),
        (
            "country: CN\nordinary:\n  - {from: 2026-06-19, to: 2027-06-20}\n",
            "line 3: ordinary[0].to",
            "is more than a year after from",
        ),
        ("country: CN\ndays:\n  - date: 2026-06-18\n", "line 3: days[0].name", "is missing"),
        (
            "country: CN\ndays:\n  - {date: 2026-06-18, name: ''}\n",
            "line 3: days[0].name",
            "at least",
        ),
        (
            "country: CN\ndays:\n  - {date: 2026-06-18, name: 618}\n",
            "line 3: days[0].name",
            "give a text",
        ),
        (
            "country: CN\ndays:\n  - {date: 2026-06-18, name: {}}\n",
            "line 3: days[0].name",
            "give a text",
        ),
        (
            "country: CN\ndays:\n  - {date: 2026-06-18, name: A, like: sonday}\n",
            "line 3: days[0].like",
            "'sunday'",
        ),
        (
            "country: CN\n"
            "days:\n"
            "  - {date: 2026-06-18, name: A}\n"
            "  - {date: 2026-06-18, name: B}\n",
            "line 4: days[1].date",
            "2026-06-18 is given already, by days[0], 2026-06-18; leave one of them out",
        ),
        (
            "country: CN\n"
            "days:\n"
            "  - {from: 2026-06-01, to: 2026-06-20, name: A}\n"
            "  - name: B\n"
            "    from: 2026-06-20\n"
            "    to: 2026-06-22\n",
            "line 5: days[1].from",
            "2026-06-20 is given already, by days[0], 2026-06-01 to 2026-06-20; leave one of",
        ),
        (
            "country: CN\n"
            "days:\n"
            "  - {date: 2026-12-12, name: A}\n"
            "ordinary:\n"
            "  - {date: 2026-12-12}\n",
            "line 5: ordinary[0].date",
            "2026-12-12 is given already, by days[0], 2026-12-12; leave one of them out",
        ),
    ],
)
def test_wrong_file(tmp_path: Path, text: str, where: str, why: str) -> None:
    """A calendar with a fault is refused, with file, line and key."""
    path = tmp_path / "calendar.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        config.load_calendar(path)
    assert error.value.source == str(path)
    assert error.value.where.startswith(where)
    assert why in error.value.why


def test_documented_files(tmp_path: Path, repository: Path) -> None:
    """The files of the page are valid, and its rows are those of the command."""
    page = (repository / "docs" / "how-to" / "calendar.md").read_text(encoding="utf-8")
    first, second = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    path = tmp_path / "calendar.yaml"
    path.write_text(second, encoding="utf-8")
    assert len(config.load_calendar(path).days) == 2
    path.write_text(first, encoding="utf-8")
    listed = run("calendar", "--calendar", path, "--year", "2026").output
    given = re.findall(r"^\| (2026-.*) \|$", page, re.MULTILINE)
    assert len(given) == 6
    assert set(given) <= {" | ".join(row) for row in rows_of(listed)}


def test_example_file(repository: Path) -> None:
    """The example file is of China, with a day that is ordinary here."""
    settings = Settings(calendar_file=repository / "config" / "calendar.yaml")
    days = special_days_of(settings)
    assert kinds(days, "2026-05-20", "2026-05-20") == ["own"]
    assert kinds(days, "2026-12-12", "2026-12-12") == [None]
    assert kinds(days, "2026-10-01", "2026-10-01") == ["holiday"]


def test_no_file() -> None:
    """Without a file no day is special: whose holidays count is for a person to say."""
    assert special_days_of(Settings(calendar_file=None)).of_year(2026) == {}


# ---- the commands


def test_command(repository: Path) -> None:
    """`calendar` lists the days of a year, days in a row in one line."""
    example = repository / "config" / "calendar.yaml"
    listed = run("calendar", "--calendar", example, "--year", "2026")
    rows = rows_of(listed.output)
    assert ["2026-10-01 to 10-07", "Thu to Wed", "National Day", "国庆节", "holiday", "Sun"] in rows
    assert ["2026-05-20", "Wed", "Members' day", "会员日", "own", "none"] in rows
    assert "note:" not in listed.output
    later = run("calendar", "--calendar", example, "--year", "2090")
    assert "note: the working weekends of 2090 (调休)" in later.output
    none = run("calendar", "--year", "2026")
    assert "0 special days in 2026\nno file is given; set KPI_CALENDAR_FILE" in none.output
    assert {listed.exit_code, later.exit_code, none.exit_code} == {0}


def test_check(tmp_path: Path, repository: Path) -> None:
    """`check` counts the special days of this year, and refuses a wrong file."""
    example = repository / "config" / "calendar.yaml"
    checked = run("check", "--offline", "--calendar", example)
    assert re.search(
        r"^calendar  [1-9]\d+ special days in 2\d{3} ok$", checked.output, re.MULTILINE
    )
    path = tmp_path / "calendar.yaml"
    path.write_text("country: CNN\n")
    refused = run("check", "--offline", "--calendar", path).exception
    assert isinstance(refused, ConfigError)
    assert str(refused).startswith(
        f"{path}: line 1: country: no public holidays are known of 'CNN'"
    )
