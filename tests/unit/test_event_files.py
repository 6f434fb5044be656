"""Files that are fed: what is absent, what is refused, and what is a wrong mapping."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from streams.errors import ConfigError, FeedError
from streams.operations import event_files
from streams.operations.event_files import EventFile
from streams.settings import Settings

ORDERS: dict[str, Any] = {
    "time": {"column": "at", "format": "epoch_ms"},
    "events": [
        {
            "type": "order_placed",
            "fields": {
                "user_id": "{user}",
                "order_id": "{order}",
                "amount": "{amount}",
                "currency": "CNY",
                "items": "{items}",
                "channel": "{channel}",
                "campaign_id": "{campaign}",
            },
        }
    ],
}
VISITS: dict[str, Any] = {
    "time": {"column": "at", "format": "epoch_ms"},
    "events": [{"type": "visit", "fields": {"user_id": "{user}", "pages": "{pages}"}}],
}
HEAD = "at,user,order,amount,items,channel,campaign"
AT = 1_700_000_000_000


def opened(
    folder: Path, text: str | bytes, mapping: dict[str, Any], *, name: str = "log.csv"
) -> EventFile:
    """Write a log and its mapping, and return the file of events."""
    log, mapped = folder / name, folder / "map.yaml"
    log.write_bytes(text if isinstance(text, bytes) else text.encode())
    mapped.write_text(yaml.safe_dump(mapping, sort_keys=False))
    return EventFile(
        log,
        event_files.load_mapping(mapped),
        topics=("clicks", "orders", "campaigns"),
        largest_bytes=Settings.model_fields["largest_record_bytes"].default,
        refused_path=log.with_name(f"{name}.refused.ndjson"),
    )


def events(rows: EventFile) -> list[dict[str, Any]]:
    """Return the events of a file without their type, id and time."""
    common = {"type", "event_id", "event_time"}
    return [
        {name: value for name, value in json.loads(record.value).items() if name not in common}
        for record in rows.records()
    ]


def refused(rows: EventFile) -> list[dict[str, Any]]:
    """Return the refused rows that are kept."""
    return [json.loads(line) for line in rows.refused_path.read_text().splitlines()]


FULL = {
    "user_id": "u1",
    "order_id": "o1",
    "amount": "12.50",
    "currency": "CNY",
    "items": 2,
    "channel": "search",
    "campaign_id": "c1",
}


@pytest.mark.parametrize(
    ("row", "absent"),
    [
        (f"{AT},u1,o1,12.50,2,search,c1", set()),
        (f"{AT},u1,o1,12.50,,,", {"items", "channel", "campaign_id"}),
        (f"{AT},u1,o1,12.50,2, ,c1", {"channel"}),
        (f"{AT},u1,o1,12.50,2", {"channel", "campaign_id"}),
        (f"{AT},u1,o1,12.50", {"items", "channel", "campaign_id"}),
        (f"{AT},u1,o1,12.50,2.0,search,c1", set()),
    ],
)
def test_empty_is_absent(row: str, absent: set[str], tmp_path: Path) -> None:
    """An empty cell, and one that a short row does not have, is as if the field was not there."""
    rows = opened(tmp_path, f"{HEAD}\n{row}\n", ORDERS)
    assert events(rows) == [{name: one for name, one in FULL.items() if name not in absent}]
    assert rows.refused == 0


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({}, FULL | {"order_id": 7, "amount": "12.5"}),
        ({"campaign": None, "channel": None, "items": None}, {"order_id": 7, "amount": "12.5"}),
        ({"order": "o1", "amount": "12.50"}, FULL),
        ({"items": "2"}, FULL | {"order_id": 7, "amount": "12.5"}),
        ({"amount": 182.45000000000002}, FULL | {"order_id": 7, "amount": "182.45000000000002"}),
    ],
)
def test_null_is_absent(row: dict[str, Any], expected: dict[str, Any], tmp_path: Path) -> None:
    """In NDJSON a null is as if the field was not there, and numbers keep their digits."""
    whole = {
        "at": AT,
        "user": "u1",
        "order": 7,
        "amount": 12.5,
        "items": 2,
        "channel": "search",
        "campaign": "c1",
    }
    text = json.dumps(whole | row)
    (event,) = events(opened(tmp_path, text, ORDERS, name="log.ndjson"))
    assert {name: event[name] for name in expected if name in event} == {
        name: one for name, one in expected.items() if name in event
    }
    assert set(event) == {name for name in FULL if (whole | row)[_column(name)] is not None}
    assert "None" not in event.values()


def _column(field: str) -> str:
    template = ORDERS["events"][0]["fields"][field]
    return str(template).strip("{}") if template != "CNY" else "at"


def test_nested_objects(tmp_path: Path) -> None:
    """A column of NDJSON may be within an object, or have a point in its name."""
    mapping = {
        "time": {"column": "meta.at", "format": "epoch_s"},
        "events": [{"type": "click", "fields": {"user_id": "{user.id}", "channel": "{via.x}"}}],
    }
    text = '{"meta":{"at":1700000000},"user":{"id":"u"},"via.x":"mail"}\n{"meta":{},"user":null}\n'
    rows = opened(tmp_path, text, mapping, name="log.ndjson")
    assert events(rows) == [{"user_id": "u", "channel": "mail"}]
    assert refused(rows)[0]["_why"] == "user_id: no value in user.id"


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (f"{AT},,o1,12.50,2,search,c1", "user_id: no value in user"),
        (f"{AT}", "user_id: no value in user"),
        (f"{AT},u1,o1,,2,search,c1", "amount: no value in amount"),
        (f'{AT},u1,o1,"12,50",2,search,c1', "amount: '12,50' is no number; for 1.234,56 set"),
        (f"{AT},u1,o1,1e400,2,search,c1", "amount: '1e400': "),
        (f"{AT},u1,o1,NaN,2,search,c1", "amount: 'NaN': "),
        (f"{AT},u1,o1,12.50,two,search,c1", "items: 'two' is no number"),
        (f"{AT},u1,o1,12.50,2.5,search,c1", "items: '2.5' is no whole number"),
        (f"{AT},u1,o1,12.50,1e400,search,c1", "items: '1e400' is no whole number"),
        (f"{AT},u1,o1,12.50,nan,search,c1", "items: 'nan' is no whole number"),
        (f"{AT},u1,o1,12.50,-2,search,c1", "invalid_shape: "),
        (f"{AT},u1,o1,12,50,2,search,c1", "has 8 fields, and the file 7 columns; a delimiter"),
        (",u1,o1,12.50,2,search,c1", "at: no time"),
        ("noon,u1,o1,12.50,2,search,c1", "at: invalid literal"),
        (f"{10**17},u1,o1,12.50,2,search,c1", "beyond the calendar"),
        (f"{AT},u1,{'o' * 300},12.50,2,search,c1", "invalid_shape: "),
    ],
)
def test_refused_row(row: str, why: str, tmp_path: Path) -> None:
    """A row whose event can't be read is kept with its line and the reason; the others are sent."""
    good = f"{AT},u1,o1,12.50,2,search,c1"
    rows = opened(tmp_path, f"{HEAD}\n{good}\n\n{row}\n{good}\n", ORDERS)
    assert events(rows) == [FULL, FULL]
    (kept,) = refused(rows)
    assert (kept["_line"], rows.refused) == (4, 1)
    assert why in kept["_why"]
    assert rows.first_refusal == f"{tmp_path / 'log.csv'}: line 4: {kept['_why']}"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b'{"at":', "is not JSON"),
        (b"[1]", "is no object"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"at":1700000000000,"user":"\xff","pages":1}', "is not UTF-8"),
        (b'{"at":1700000000000,"user":"u","pages":"many"}', "pages: 'many' is no number"),
        (b'{"at":1700000000000,"user":"u","pages":[1]}', "pages: '[1]' is no number"),
        (b'{"at":1700000000000,"user":["u"],"pages":1}', "invalid_shape"),
        (b'{"at":true,"user":"u"}', "at: invalid literal"),
        (b'{"at":1700000000000,"user":"a\\u0000"}', "nul_character"),
    ],
)
def test_refused_line(line: bytes, why: str, tmp_path: Path) -> None:
    """A line of NDJSON that can't be read is refused alone."""
    good = b'{"at":1700000000000,"user":"u","pages":1}'
    rows = opened(tmp_path, b"\n".join([good, line, good]), VISITS, name="log.ndjson")
    assert events(rows) == [{"user_id": "u", "pages": 1}] * 2
    (kept,) = refused(rows)
    assert kept["_line"] == 2
    assert why in kept["_why"]


def test_mended_rows_are_fed_by_the_same_mapping(tmp_path: Path) -> None:
    """The file of refused rows of a CSV is NDJSON, and has the columns of the CSV."""
    rows = opened(tmp_path, f'{HEAD}\n{AT},u1,o1,"12,50",2,search,c1\n', ORDERS)
    assert events(rows) == []
    mended = rows.refused_path.read_text().replace('"12,50"', '"12.50"')
    again = opened(tmp_path, mended, ORDERS, name="mended.ndjson")
    assert events(again) == [FULL]
    assert not again.refused_path.exists()


@pytest.mark.parametrize(
    ("told", "value"),
    [
        ("12,50", "12.50"),
        ("1.234,56", "1234.56"),
        ("1.234", "1234.0"),
        ("-3,5", "-3.5"),
        ("7", "7.0"),
        ("12.50", None),
        ("1,234.56", None),
        ("1.23.456", None),
    ],
)
def test_decimal_comma(told: str, value: str | None, tmp_path: Path) -> None:
    """With `decimal_comma` 1.234,56 is a number, and 12.50 is refused: it may mean either."""
    text = f"{HEAD}\n{AT};u1;o1;{told};1.000;search;c1\n".replace(",at", "at")
    text = text.replace(HEAD, HEAD.replace(",", ";"))
    rows = opened(tmp_path, text, {**ORDERS, "decimal_comma": True, "delimiter": ";"})
    found = events(rows)
    assert [(one["amount"], one["items"]) for one in found] == (
        [] if value is None else [(value, 1000)]
    )
    assert rows.refused == (value is None)
    if value is None:
        assert "is no number with a decimal comma" in rows.first_refusal


def test_decimal_comma_is_for_texts(tmp_path: Path) -> None:
    """A number of JSON has a decimal point, whatever the texts of the file have."""
    text = json.dumps(
        {"at": AT, "user": "u1", "order": "o1", "amount": 1.234, "items": "2,0", "channel": "x"}
    )
    rows = opened(tmp_path, text, {**ORDERS, "decimal_comma": True}, name="log.jsonl")
    (event,) = events(rows)
    assert (event["amount"], event["items"]) == ("1.234", 2)


def test_rows_to_leave_out(tmp_path: Path) -> None:
    """Rows that `leave_out` names, and rows that are no event, are counted and not sent."""
    mapping = {
        **VISITS,
        "leave_out": [{"status": ["test*", "cancelled"]}, {"user": "bot-*", "pages": ""}],
        "events": [{**VISITS["events"][0], "when": {"status": ["ok", "test*", ""]}}],
    }
    text = (
        "at,user,pages,status\n"
        f"{AT},u1,1,ok\n{AT},u2,1,test-1\n{AT},u3,1,cancelled\n{AT},bot-1,,ok\n"
        f"{AT},bot-2,3,ok\n{AT},u4,1,other\n{AT},u5,1\n"
    )
    rows = opened(tmp_path, text, mapping)
    assert [one["user_id"] for one in events(rows)] == ["u1", "bot-2", "u5"]
    assert (rows.left_out, rows.refused) == (4, 0)
    assert not rows.refused_path.exists()


@pytest.mark.parametrize(
    ("changed", "where"),
    [
        ({"time": {"column": "at", "zone": "Mars/Olympus"}}, "time.zone: no time zone named"),
        ({"time": {"column": "at", "format": "%Q"}}, "time.format: 'Q' is a bad directive"),
        ({"time": {"column": "at", "format": "%"}}, "time.format: "),
        ({"delimiter": ";;"}, "delimiter: give one character"),
        ({"delimiter": ""}, "delimiter: give one character"),
        ({"delimiter": "\n"}, "delimiter: give one character"),
        ({"skip_lines": -1}, "skip_lines: "),
        ({"event_id": "{row"}, "event_id: "),
        ({"events": [{"type": "clik", "fields": {}}]}, "no event type 'clik'; did you mean click?"),
        ({"events": [{"type": "click", "fields": {}}]}, "fields: click needs user_id, too"),
        (
            {"events": [{"type": "order_placed", "fields": {"user_id": "{u}", "order_id": "1"}}]},
            "fields: order_placed needs amount and currency, too",
        ),
        (
            {"events": [{"type": "click", "fields": {"user_id": "{u}", "chanel": "x"}}]},
            "fields.chanel: no field of click; did you mean channel?",
        ),
        ({"events": [{"type": "click", "fields": {"user_id": "{}"}}]}, "write columns as"),
        ({"events": [{"type": "click", "fields": {"user_id": "{u:>9}"}}]}, "without a format"),
        ({"events": [{"type": "click", "fields": {"user_id": "{u!r}"}}]}, "without a format"),
        ({"events": [{"type": "click", "fields": {"user_id": "u}"}}]}, "Single '}'"),
        ({"leve_out": []}, "leve_out: there is no such key; did you mean leave_out?"),
    ],
)
def test_wrong_mapping(changed: dict[str, Any], where: str, tmp_path: Path) -> None:
    """A mapping that can't work is refused with its line and key, before anything is sent."""
    with pytest.raises(ConfigError) as caught:
        opened(tmp_path, "", {**VISITS, **changed})
    assert where in str(caught.value)
    assert f"{tmp_path / 'map.yaml'}: line " in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "mapping", "why"),
    [
        ("log.csv", f"at,usr,pages\n{AT},u,1\n", {}, "line 1: no column 'user'; did you mean usr?"),
        ("log.csv", "\n\nx,y\n", {"skip_lines": 2}, "line 3: no column 'at'; it has: x, y"),
        (
            "log.csv",
            f"at,user,user,pages\n{AT},u,u,1\n",
            {},
            "line 1: column 'user' is there twice",
        ),
        ("log.csv", "at;user;pages\n", {}, "no column 'at'"),
        ("log.csv", f"{AT},u,1\n", {"columns": ["at", "user"]}, "no column 'pages'"),
        ("log.csv", "at user\n1 u\n", {"delimiter": "whitespace"}, "line 1: no column 'pages'"),
        ("log.csv", 'at,user,pages\n1,"' + "x" * 200_000, {}, "line 2: field larger than"),
        ("log.ndjson", '{"at":1,"usr":"u"}\n', {}, "no column 'user'; did you mean usr?"),
        ("log.ndjson", '{"user":"u"}\n{"user":"v"}\n', {}, "no column 'at'; it has: user"),
    ],
)
def test_wrong_file(
    name: str, text: str, mapping: dict[str, Any], why: str, tmp_path: Path
) -> None:
    """A file that does not fit the mapping is one message, with the file and the line."""
    rows = opened(tmp_path, text, {**VISITS, **mapping}, name=name)
    with pytest.raises(FeedError) as caught:
        list(rows.records())
    assert str(caught.value).startswith(str(tmp_path / name))
    assert why in str(caught.value)


def test_optional_columns_may_be_missing(tmp_path: Path) -> None:
    """NDJSON need not have the columns of optional fields; a later row may have them."""
    text = f'{{"at":{AT},"user":"u1"}}\n{{"at":{AT},"user":"u2","pages":4}}\n'
    rows = opened(tmp_path, text, VISITS, name="log.ndjson")
    assert events(rows) == [{"user_id": "u1"}, {"user_id": "u2", "pages": 4}]


def test_missing_file(tmp_path: Path) -> None:
    rows = opened(tmp_path, "", VISITS)
    (tmp_path / "log.csv").unlink()
    with pytest.raises(FeedError, match="can't be read: No such file"):
        list(rows.records())


def test_refused_rows_need_a_place(tmp_path: Path) -> None:
    """If refused rows can't be kept, nothing is refused silently."""
    rows = opened(tmp_path, "at,user,pages\n1,u,many\n", VISITS)
    rows.refused_path = tmp_path / "nowhere" / "file"
    with pytest.raises(FeedError, match=r"can't be written: .* --refused"):
        list(rows.records())


def test_sorted(tmp_path: Path) -> None:
    """With `sort` records are in the order of event time; ids are those of the rows."""
    text = "at,user,pages\n3000,u3,1\n1000,u1,1\n,u2,1\n2000,u2,1\n"
    rows = opened(tmp_path, text, {**VISITS, "sort": True})
    made = [json.loads(record.value) for record in rows.records()]
    assert [(one["event_id"], one["event_time"]) for one in made] == [
        ("log-2", 1000),
        ("log-4", 2000),
        ("log-1", 3000),
    ]
    assert rows.refused == 1


def test_example_mappings(repository: Path) -> None:
    """The mappings of config/ are valid."""
    for name in ("shop-log.yaml", "cdnow.yaml"):
        assert event_files.load_mapping(repository / "config" / name).events
