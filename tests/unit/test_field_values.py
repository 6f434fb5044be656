"""The values of fields: numbers, times, filters and helpers of a mapping."""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streams.feed.mapping.field_helpers import FieldSource
from streams.feed.mapping.number_format import NumberFormat
from streams.feed.mapping.row_errors import RowError
from streams.feed.mapping.row_filters import ColumnTest
from streams.feed.mapping.time_format import TimeFormat
from tests.factories.feed import HASH_KEY, opened

GERMAN = {"decimal": ",", "thousands": "."}


@pytest.mark.parametrize(
    ("numbers", "text", "value"),
    [
        ({}, "12.50", "12.50"),
        ({}, "-3", "-3"),
        ({}, "€ 12.50", "12.50"),
        ({}, "12.50€", "12.50"),
        ({}, "-$12.50", "-12.50"),
        ({}, "$-12.50", "-12.50"),
        ({}, "−12.50", "-12.50"),
        ({}, "12,50", None),
        ({}, "1,234.56", None),
        ({}, "12.50 EUR", None),
        ({}, "--1", None),
        ({}, "-$-1", None),
        ({}, "", None),
        ({"signs": ["EUR", "kr"]}, "12.50 EUR", "12.50"),
        ({"signs": ["EUR", "kr"]}, "kr 12", "12"),
        ({"thousands": ","}, "1,234,567.5", "1234567.5"),
        ({"thousands": ","}, "1,23.5", None),
        ({"thousands": "'"}, "CHF", None),
        ({"thousands": "'"}, "1'234.50", "1234.50"),
        ({"decimal": ",", "thousands": " "}, "1 234,50", "1234.50"),
        ({"decimal": ",", "thousands": " "}, "1\u202f234\u202f567,50\u00a0€", "1234567.50"),
        (GERMAN, "1.234,56 €", "1234.56"),
        (GERMAN, "1.234", "1234"),
        (GERMAN, "7", "7"),
        (GERMAN, "1234,5", "1234.5"),
        (GERMAN, "12.50", None),
        (GERMAN, "1.23.456", None),
        ({"decimal": ","}, "1.234", None),
    ],
)
def test_numbers(numbers: dict[str, Any], text: str, value: str | None) -> None:
    """Numbers are read in the given format only: one that may mean two things is refused."""
    read = NumberFormat.model_validate(numbers).reader()
    if value is None:
        with pytest.raises(ValueError, match="is no number"):
            read(text)
    else:
        assert str(read(text)) == value


@given(
    st.decimals(-(10**9), 10**9, places=2),
    st.sampled_from([(".", ""), (".", ","), (",", "."), (",", " "), (".", "'"), (",", "")]),
)
def test_numbers_as_they_are_written(number: Decimal, marks: tuple[str, str]) -> None:
    """A number that is written with any marks is read as itself."""
    decimal, thousands = marks
    text = f"{number:,.2f}".replace(",", "t").replace(".", decimal).replace("t", thousands)
    numbers = NumberFormat.model_validate({"decimal": decimal, "thousands": thousands})
    assert numbers.reader()(f"{text} €") == number


@pytest.mark.parametrize(
    ("time", "text", "moment"),
    [
        ({}, "2026-11-25T14:17:58Z", "2026-11-25T14:17:58Z"),
        ({}, "2026-11-25 15:17:58.1239+01:00", "2026-11-25T14:17:58.123Z"),
        ({}, "2026-11-25 15:17:58", "has no offset from UTC; set time.zone"),
        ({"zone": "Europe/Berlin"}, "2026-11-25 15:17:58", "2026-11-25T14:17:58Z"),
        ({"zone": "Europe/Berlin"}, "2026-11-25 15:17:58Z", "2026-11-25T15:17:58Z"),
        ({"format": "epoch_s"}, "1795616278.5", "2026-11-25T14:17:58.500Z"),
        ({"format": "epoch_s"}, "soon", "'soon' is no number of seconds since the epoch"),
        ({"format": "%d.%m.%Y %H:%M"}, "25.11.2026 15:17", "2026-11-25T14:17:00Z"),
        ({"format": "%d.%m.%Y %H:%M"}, "5.1.2026 5:07", "2026-01-05T04:07:00Z"),
        ({"format": "%d.%m.%Y %H:%M"}, "11/25/2026 15:17", "does not match the format '%d.%m"),
        ({"format": "%d.%m.%Y %H:%M"}, "31.11.2026 15:17", "does not match the format"),
        ({"format": ["%d.%m.%Y %H:%M", "%d.%m.%Y"]}, "25.11.2026", "2026-11-24T23:00:00Z"),
        ({"format": ["%d.%m.%Y %H:%M", "%d.%m.%Y"]}, "2026", "does not match the format '%d.%m.%"),
        ({"format": "%b %d, %Y, %I:%M %p"}, "Nov 25, 2026, 3:17 PM", "2026-11-25T14:17:00Z"),
        ({"format": "%Y-%m-%d %H:%M %z"}, "2026-11-25 15:17 -0500", "2026-11-25T20:17:00Z"),
        # Clocks in Berlin are put forward at 02:00 on 29 March, and back at 03:00 on 25 October.
        ({"format": "%d.%m.%Y %H:%M"}, "29.03.2026 01:59", "2026-03-29T00:59:00Z"),
        ({"format": "%d.%m.%Y %H:%M"}, "29.03.2026 02:30", "does not exist in Europe/Berlin"),
        ({"format": "%d.%m.%Y %H:%M"}, "29.03.2026 03:00", "2026-03-29T01:00:00Z"),
        ({"format": "%d.%m.%Y %H:%M"}, "25.10.2026 02:30", "2026-10-25T00:30:00Z"),
        ({"format": "%d.%m.%Y %H:%M"}, "25.10.2026 03:00", "2026-10-25T02:00:00Z"),
    ],
)
def test_times(time: dict[str, Any], text: str, moment: str) -> None:
    """Times are read by their format and zone; the first of an hour that comes twice counts."""
    own_offset = "%z" in str(time) or "epoch" in str(time) or "format" not in time
    zone = {} if own_offset else {"zone": "Europe/Berlin"}
    read = TimeFormat.model_validate({**zone, **time}).reader()
    if moment.endswith("Z"):
        assert read(text) == round(datetime.fromisoformat(moment).timestamp() * 1000)
    else:
        with pytest.raises(ValueError, match=re.escape(moment)):
            read(text)


@given(
    st.datetimes(datetime(1990, 1, 2), datetime(2100, 1, 1)),  # noqa: DTZ001 - the zone follows
    st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Pacific/Apia"]),
    st.sampled_from(["%Y-%m-%d %H:%M:%S.%f", "%d/%m/%Y  %H:%M:%S", "%H.%M on %Y%m%d", "%Y-%m-%d"]),
)
@example(datetime(2026, 3, 29, 2, 30), "Europe/Berlin", "%Y-%m-%d %H:%M:%S.%f")  # noqa: DTZ001
def test_times_as_strptime(local: datetime, zone: str, pattern: str) -> None:
    """The quick way to read times gives what strptime and the zone give."""
    text = local.strftime(pattern)
    expected = datetime.strptime(text, pattern).replace(tzinfo=ZoneInfo(zone))
    read = TimeFormat(format=(pattern,), zone=zone).reader()
    whole = expected.astimezone(UTC)
    if whole.astimezone(expected.tzinfo).replace(tzinfo=None) != expected.replace(tzinfo=None):
        with pytest.raises(ValueError, match="does not exist in"):
            read(text)
    else:
        assert read(text) == (whole - datetime(1970, 1, 1, tzinfo=UTC)) // (
            datetime.resolution * 1000
        )


@given(st.text(alphabet="0123456789.: -/", max_size=22))
@example("2026-11-25 14:17")
@example("2026-11-25   14:7")
@example("2026-1-5 4:17")
@example("0000-11-25 14:17")
def test_broken_times_as_strptime(text: str) -> None:
    """The quick way to read times refuses what strptime refuses."""
    pattern = "%Y-%m-%d %H:%M"
    try:
        expected = datetime.strptime(text, pattern).replace(tzinfo=UTC)
    except ValueError:
        expected = None
    read = TimeFormat(format=(pattern,), zone="UTC").reader()
    if expected is None:
        with pytest.raises(ValueError, match="does not match the format"):
            read(text)
    else:
        assert read(text) == expected.timestamp() * 1000


@pytest.mark.parametrize(
    ("test", "met", "not_met"),
    [
        ("paid", ["paid"], ["Paid", "unpaid", None]),
        (404, ["404", 404], ["4040", None]),
        (["paid", "shipped"], ["paid", "shipped"], ["open", None]),
        ({"in": "paid"}, ["paid"], ["open"]),
        ({"equals": "a*"}, ["a*"], ["ab"]),
        ({"glob": "/shop/*"}, ["/shop/", "/shop/a\nb"], ["/x/shop/", None]),
        ({"glob": ["a?", "[b]*"]}, ["ab", "[b]c"], ["a", "bc", None]),
        ({"regex": "[a-z]+[0-9]"}, ["ab1"], ["ab1x", "x ab1", None]),
        ({"empty": True}, [None], ["x", 0]),
        ({"empty": False}, ["x", 0], [None]),
        ({"above": 10}, ["10,01", "1.000", 11], ["10", "9", None]),
        ({"at_least": 10, "below": 20}, ["10", "19,99"], ["9,99", "20", None]),
        ({"at_most": 0}, ["0", "-1"], ["0,01", None]),
        ({"not": "test"}, ["x", None], ["test"]),
        ({"not": ["a", "b"], "empty": False}, ["c"], ["a", "b", None]),
        ({"not": {"not": "a"}}, ["a"], ["b", None]),
    ],
)
def test_filters(test: Any, met: list[Any], not_met: list[Any]) -> None:
    """A condition on a column holds for these values, and not for those; None is absent."""
    numbers = NumberFormat.model_validate(GERMAN)
    holds = ColumnTest.model_validate(test).predicate("c", numbers)
    assert [value for value in met if not holds(value)] == []
    assert [value for value in not_met if holds(value)] == []


def test_filter_compares_numbers() -> None:
    """A row whose value is compared and is no number is refused, and not just left out."""
    holds = ColumnTest.model_validate({"above": 0}).predicate("total", NumberFormat())
    with pytest.raises(RowError, match="total: '12,50' is no number; if it has a decimal comma"):
        holds("12,50")
    with pytest.raises(RowError, match="total: "):
        holds("NaN")


LINK = "https://shop.example/a?utm_campaign=Black%20Friday&utm_source=&x=1#top"


@pytest.mark.parametrize(
    ("source", "row", "value"),
    [
        ("{a} {b}", {"a": "x", "b": "y"}, "x y"),
        ("{a} {b}", {"a": "x"}, None),
        ("constant", {}, "constant"),
        ({"value": "{a}", "default": "d"}, {}, "d"),
        ({"value": "{a}", "default": "d"}, {"a": "x"}, "x"),
        ({"value": "{a}", "nulls": ["-"]}, {"a": "-"}, None),
        ({"value": "{a}", "query": "utm_campaign"}, {"a": LINK}, "Black Friday"),
        ({"value": "{a}", "query": "utm_source"}, {"a": LINK}, None),
        ({"value": "{a}", "query": "utm_term"}, {"a": LINK}, None),
        ({"value": "{a}", "query": "x"}, {"a": "http://[broken?x=1"}, None),
        ({"value": "{a}", "split": "/", "part": 2}, {"a": "google / cpc"}, "cpc"),
        ({"value": "{a}", "split": "/", "part": -1}, {"a": "a/b/c"}, "c"),
        ({"value": "{a}", "split": "/", "part": 3}, {"a": "a/b"}, None),
        ({"value": "{a}", "split": "/", "part": 1}, {"a": " /b"}, None),
        ({"value": "{a}", "case": "lower"}, {"a": "Anna@X.example"}, "anna@x.example"),
        ({"value": "{a}", "case": "upper"}, {"a": "eur"}, "EUR"),
        ({"value": "{a}", "lookup": {"x": "1", "y*": "2", "*": None}}, {"a": "x"}, "1"),
        ({"value": "{a}", "lookup": {"x": "1", "y*": "2", "*": None}}, {"a": "yes"}, "2"),
        ({"value": "{a}", "lookup": {"x": "1", "y*": "2", "*": None}}, {"a": "z"}, None),
        ({"value": "{a}", "lookup": {"x": "1"}, "keep_others": True}, {"a": "z"}, "z"),
        ({"value": "{a}", "lookup": {"5": "five"}}, {"a": 5}, "five"),
        ({"value": "{a}", "date": "%d.%m.%Y"}, {"a": "25.11.2026"}, "2026-11-25"),
        (
            {"value": "{a}", "time": {"format": "%d.%m.%Y", "zone": "UTC"}},
            {"a": "25.11.2026"},
            1_795_564_800_000,
        ),
        (
            {"value": "{a}", "split": "/", "part": 2, "case": "lower", "lookup": {"cpc": "ads"}},
            {"a": "google / CPC"},
            "ads",
        ),
    ],
)
def test_helpers(source: Any, row: dict[str, Any], value: Any) -> None:
    """Helpers change the value of a template in the order of the reference."""
    get = FieldSource.model_validate(source).getter("f", lambda c: lambda r: r.get(c), hash_key=b"")
    assert get(row) == value
    assert get(row) == value, "what is found once is found again"


@pytest.mark.parametrize(
    ("source", "value", "why"),
    [
        (
            {"value": "{a}", "lookup": {"paid": "x"}},
            "payd",
            "'payd' is not in its lookup table",
        ),
        ({"value": "{a}", "date": "%d.%m.%Y"}, "11/25/2026", "does not match the date format"),
        ({"value": "{a}", "time": {"format": "epoch_s"}}, "x", "'x' is no number of seconds"),
    ],
)
def test_refused_values(source: Any, value: str, why: str) -> None:
    """A value that a helper can't read refuses its row."""
    get = FieldSource.model_validate(source).getter("f", lambda _: lambda r: r, hash_key=b"")
    with pytest.raises(RowError) as caught:
        get(value)
    assert why in str(caught.value)
    assert value not in caught.value.reason


def test_hash(tmp_path: Path) -> None:
    """A hashed value is the keyed hash of the text; the text itself is not in the event."""
    source = FieldSource.model_validate({"value": "{mail}", "case": "lower", "hash": True})
    get = source.getter("user_id", lambda _: lambda row: row, hash_key=HASH_KEY)
    expected = hmac.new(HASH_KEY, b"anna@x.example", hashlib.sha256).hexdigest()[:32]
    assert get("Anna@x.example") == expected
    assert source.getter("user_id", lambda _: lambda row: row, hash_key=b"k")("a") != get("a")
    mapping = {
        "time": {"value": "{at}"},
        "events": [{"type": "click", "fields": {"user_id": {"value": "{m}", "hash": True}}}],
    }
    assert opened(tmp_path, "", mapping).mapping.hashes
