"""Files that are fed: what is absent, what is refused, what is a wrong mapping, what is counted."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import duckdb
import pytest

from streams.errors import ConfigError, FeedError
from streams.feed.mapping.mapping_file import load_mapping
from tests.factories.feed import AT, VISITS, events, opened, read, refused, sent, whole_events

ORDERS: dict[str, Any] = {
    "time": {"value": "{at}", "format": "epoch_ms"},
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
HEAD = "at,user,order,amount,items,channel,campaign"
FULL = {
    "user_id": "u1",
    "order_id": "o1",
    "amount": "12.50",
    "currency": "CNY",
    "items": 2,
    "channel": "search",
    "campaign_id": "c1",
}
GOOD = f"{AT},u1,o1,12.50,2,search,c1"
GERMAN = {"decimal": ",", "thousands": "."}


@pytest.mark.parametrize(
    ("row", "absent"),
    [
        (GOOD, set()),
        (f"{AT}, u1 ,o1,12.50,2,search,c1", set()),
        (f"{AT},u1,o1,12.50,,,", {"items", "channel", "campaign_id"}),
        (f"{AT},u1,o1,12.50,2, ,c1", {"channel"}),
        (f"{AT},u1,o1,12.50,2", {"channel", "campaign_id"}),
        (f"{AT},u1,o1,12.50", {"items", "channel", "campaign_id"}),
        (f"{AT},u1,o1,12.50,2.0,search,c1", set()),
    ],
)
def test_empty_is_absent(row: str, absent: set[str], tmp_path: Path) -> None:
    """An empty cell, and one that a short row does not have, is as if the field was not there."""
    rows = read(tmp_path, f"{HEAD}\n{row}\n", ORDERS)
    assert events(rows) == [{name: one for name, one in FULL.items() if name not in absent}]
    assert rows.report.refused == 0


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
    (event,) = events(read(tmp_path, json.dumps(whole | row), ORDERS, name="log.ndjson"))
    columns = {"user_id": "user", "campaign_id": "campaign", "order_id": "order"}
    given = {name for name in FULL if (whole | row).get(columns.get(name, name), "CNY") is not None}
    assert event == {name: expected.get(name, FULL[name]) for name in given}


def test_nested_objects(tmp_path: Path) -> None:
    """A column of NDJSON may be within an object, or have a point in its name."""
    mapping = {
        "time": {"value": "{meta.at}", "format": "epoch_s"},
        "events": [{"type": "click", "fields": {"user_id": "{user.id}", "channel": "{via.x}"}}],
    }
    text = '{"meta":{"at":1700000000},"user":{"id":"u"},"via.x":"mail"}\n'
    text += '{"meta":{},"user":{"id":"v"}}\n'
    rows = read(tmp_path, text, mapping, name="log.ndjson")
    assert events(rows) == [{"user_id": "u", "channel": "mail"}]
    assert refused(rows)[0]["_why"] == "time: no value"


def test_row_without_a_user(tmp_path: Path) -> None:
    """A row without a user is an event of a guest; its time spreads guests over the partitions."""
    (made,) = sent(read(tmp_path, f"{HEAD}\n{AT},,o1,12.50,2,search,c1\n", ORDERS))
    assert made.key == str(AT).encode()
    assert "user_id" not in json.loads(made.value)


def test_refused_numbers_stay_numbers(tmp_path: Path) -> None:
    """A refused row of NDJSON has its number, so that it reads the same once it is mended."""
    mapping = {**ORDERS, "numbers": {"decimal": ","}}
    text = '{"at": 5, "user": "u1", "order": "o1", "amount": 1.234}\n'
    text += f'{{"at": {AT}, "user": "u1", "order": "o2", "amount": 1.234}}\n'
    rows = read(tmp_path, text, mapping, name="log.ndjson")
    (kept,) = refused(rows)
    assert kept["amount"] == 1.234


@pytest.mark.parametrize(
    ("row", "reason", "why"),
    [
        (f"{AT}", "amount: no value", "amount: no value"),
        (f"{AT},u1,,1", "order_id: no value", "order_id: no value"),
        (f'{AT},u1,o1,"12,50",2,search,c1', "amount: is no number", "'12,50' is no number; if it"),
        (f"{AT},u1,o1,1e400,2,search,c1", "amount: too large", "amount: '1e400': "),
        (f"{AT},u1,o1,NaN,2,search,c1", "amount: not a finite number", "amount: 'NaN': "),
        (f"{AT},u1,o1,-12.50,2,search,c1", "amount: is negative", "set absolute: true"),
        (f"{AT},u1,o1,12.50,two,search,c1", "items: is no number", "items: 'two' is no number"),
        (f"{AT},u1,o1,12.50,2.5,search,c1", "items: is no whole number", "'2.5' is no whole"),
        (f"{AT},u1,o1,12.50,1e400,search,c1", "items: is no whole number", "'1e400' is no"),
        (f"{AT},u1,o1,12.50,nan,search,c1", "items: is no whole number", "'nan' is no whole"),
        (f"{AT},u1,o1,12.50,{'9' * 20},search,c1", "items: is no whole", "is no whole number"),
        (f"{AT},u1,o1,12.50,-2,search,c1", "invalid_shape: ", "invalid_shape: "),
        (f"{AT},u1,o1,12,50,2,search,c1", "has more fields", "has 8 fields, and the file 7"),
        (",u1,o1,12.50,2,search,c1", "time: no value", "time: no value"),
        ("noon,u1,o1,12.50,2,search,c1", "time: can't be read", "'noon' is no whole number of ms"),
        (f"{10**17},u1,o1,12.50,2,search,c1", "time: can't be read", "beyond the calendar"),
        ("17000,u1,o1,12.50,2,search,c1", "time: is before 1990", "'17000' is before 1990"),
        (f"{AT},u1,{'o' * 300},12.50,2,search,c1", "invalid_shape: ", "invalid_shape: "),
    ],
)
def test_refused_row(row: str, reason: str, why: str, tmp_path: Path) -> None:
    """A row whose event can't be read is kept with its line and the reason; the others are sent."""
    rows = read(tmp_path, f"{HEAD}\n{GOOD}\n\n{row}\n{GOOD}\n", ORDERS)
    assert events(rows) == [FULL, FULL]
    (kept,) = refused(rows)
    assert (kept["_line"], rows.report.refused, rows.report.rows) == (4, 1, 3)
    assert why in kept["_why"]
    ((counted, refusals),) = rows.report.refusals.items()
    assert counted.startswith(reason)
    assert (refusals.count, refusals.first) == (1, [(4, kept["_why"])])
    assert f"      line 4: {kept['_why']}" in rows.report.lines()


@pytest.mark.parametrize(
    ("told", "value"),
    [("12,50", "12.50"), ("1.234,56 €", "1234.56"), ("12.50", None), ("1,234.56", None)],
)
def test_decimal_comma(told: str, value: str | None, tmp_path: Path) -> None:
    """With a decimal comma 1.234,56 is a number, and 12.50 is refused: it may mean either."""
    row = f"{AT};u1;o1;{told};1.000;search;c1\n"
    text = f"{HEAD.replace(',', ';')}\n{AT};u1;o1;7;7;search;c1\n{row}"
    rows = read(tmp_path, text, {**ORDERS, "numbers": GERMAN, "delimiter": ";"})
    found = [(one["amount"], one["items"]) for one in events(rows)[1:]]
    assert found == ([] if value is None else [(value, 1000)])
    assert rows.report.refused == (value is None)


def test_decimal_comma_is_for_texts(tmp_path: Path) -> None:
    """A number of JSON has a decimal point, whatever the texts of the file have; so has YAML."""
    text = json.dumps(
        {"at": AT, "user": "u1", "order": "o1", "amount": 1.234, "items": "2,0", "channel": "x"}
    )
    (event,) = events(read(tmp_path, text, {**ORDERS, "numbers": GERMAN}, name="log.jsonl"))
    assert (event["amount"], event["items"]) == ("1.234", 2)
    mapping = {**with_fields(amount=100.5), "time": VISITS["time"], "numbers": GERMAN}
    (event,) = events(read(tmp_path, f"at,u,o\n{AT},u1,o1\n", mapping))
    assert event["amount"] == "100.5"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b'{"at":', "is not JSON"),
        (b"[1]", "is no object"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"at":1700000000000,"user":"\xff","pages":1}', "is not utf-8; set encoding"),
        (b'{"at":1700000000000,"user":"u","pages":"many"}', "pages: 'many' is no number"),
        (b'{"at":1700000000000,"user":"u","pages":[1]}', "pages: '[1]' is no number"),
        (b'{"at":1700000000000,"user":["u"],"pages":1}', "invalid_shape"),
        (b'{"at":true,"user":"u"}', "time: 'true' is no whole number"),
        (b'{"at":1700000000000,"user":"a\\u0000"}', "nul_character"),
    ],
)
def test_refused_line(line: bytes, why: str, tmp_path: Path) -> None:
    """A line of NDJSON that can't be read is refused alone."""
    good = b'{"at":1700000000000,"user":"u","pages":1}'
    rows = read(tmp_path, b"\n".join([good, line, good]), VISITS, name="log.ndjson")
    assert events(rows) == [{"user_id": "u", "pages": 1}] * 2
    (kept,) = refused(rows)
    assert kept["_line"] == 2
    assert why in kept["_why"]


def test_mended_rows_are_fed_by_the_same_mapping(tmp_path: Path) -> None:
    """The file of refused rows of a CSV is NDJSON, and has the columns of the CSV."""
    mapping = {**ORDERS, "encoding": "utf-16", "skip_lines": 1}
    text = f'export of today\n{HEAD}\n{AT},ü,o1,"12,50",2,search,c1\n{GOOD}\n'
    rows = read(tmp_path, text.encode("utf-16"), mapping)
    assert events(rows) == [FULL]
    mended = rows.report.refused_path.read_text().replace('"12,50"', '"12.50"')
    again = read(tmp_path, mended, mapping, name="mended.ndjson")
    assert events(again) == [FULL | {"user_id": "ü"}]
    assert refused(again) == []


def test_every_row_is_counted_once(tmp_path: Path) -> None:
    """Rows are events, left out, without an entry, or refused; a row may be several events."""
    mapping = {
        **VISITS,
        "leave_out": [{"status": {"glob": ["test*", "cancelled"]}}, {"pages": {"empty": True}}],
        "events": [
            {**VISITS["events"][0], "when": {"status": ["ok", "both"]}},
            {"type": "click", "when": {"status": "both"}, "fields": {"user_id": "{user}"}},
            {"type": "registration", "when": {"status": "new"}, "fields": {"user_id": "{user}"}},
        ],
    }
    text = (
        "at,user,pages,status\n"
        f"{AT},u1,1,ok\n{AT},u2,1,test-1\n{AT},u3,1,cancelled\n{AT},u4,,ok\n"
        f"{AT},u5,3,both\n{AT},u6,1,other\n{AT},u7,many,ok\n{AT},u8,1,Ok\n"
    )
    rows = read(tmp_path, text, mapping)
    assert [(one["type"], one["user_id"]) for one in whole_events(rows)] == [
        ("visit", "u1"),
        ("visit", "u5"),
        ("click", "u5"),
    ]
    report = rows.report
    assert report.rows == 8
    assert (report.mapped_rows, report.left_out, report.unmatched, report.refused) == (2, 3, 2, 1)
    assert (report.several, report.first_unmatched) == (1, 7)
    assert report.events == {"visit": 2, "click": 1}
    lines = "\n".join(report.lines())
    assert "8 rows\n  3 events: 2 visit, 1 click\n  1 row gave several events\n" in lines
    assert "2 rows matched no entry of events; the first is line 7" in lines
    assert "events[2]: no row matched registration" in lines


def test_refused_row_gives_no_event(tmp_path: Path) -> None:
    """If one of a row's events can't be read, none is sent: the mended row gives both."""
    click = {"type": "click", "fields": {"user_id": "{user}"}}
    mapping = {**VISITS, "events": [click, *VISITS["events"]]}
    rows = read(tmp_path, f"at,user,pages\n{AT},u1,many\n{AT},u2,1\n", mapping)
    assert [one["user_id"] for one in events(rows)] == ["u2", "u2"]


@pytest.mark.parametrize(
    ("name", "text", "mapping", "whys"),
    [
        (
            "log.csv",
            f"at,usr,pags\n{AT},u,1\n",
            {"leave_out": {"state": "x"}},
            [
                "map.yaml: line 7: events[0].fields.user_id: ",
                "has no column 'user'; did you mean usr?",
                "has no column 'pages'; did you mean pags?",
                "leave_out.state: ",
                "it has: at, usr, pags",
            ],
        ),
        ("log.csv", "\n\nx,y\n", {"skip_lines": 2}, ["no column 'at'", "it has: x, y"]),
        ("log.csv", f"at,user,user,pages\n{AT},u,u,1\n", {}, ["column 'user' is there twice"]),
        ("log.csv", "at;user;pages\n", {}, ["one column, 'at;user;pages'; set delimiter: "]),
        ("log.csv", f"{AT},u,1\n", {"columns": ["at", "user"]}, ["no column 'pages'"]),
        ("log.csv", "at user\n1 u\n", {"delimiter": "whitespace"}, ["no column 'pages'"]),
        ("log.csv", 'at,user,pages\n1,"' + "x" * 200_000, {}, ["line 2: field larger than"]),
        ("log.csv", "", {}, ["line 1: no header line; the file is empty"]),
        ("log.csv", "at,Käufer\n".encode("latin-1"), {}, ["line 1: is not utf-8; set encoding"]),
        ("log.csv.gz", b"\x1f\x8b not really", {}, ["is damaged"]),
        ("log.csv.gz", gzip.compress(b"at,user,pages\n" * 99, mtime=0)[:-9], {}, ["is damaged"]),
        ("log.ndjson", '{"at":1,"usr":"u"}\n', {}, ["no column 'user'; did you mean usr?"]),
        ("log.ndjson", '{"user":"u"}\n{"user":"v"}\n', {}, ["no column 'at'", "it has: user"]),
        (
            "log.ndjson",
            f'{{"user":"u","at":{AT}}}\n',
            {"events": [{**VISITS["events"][0], "when": {"stat": "ok"}}]},
            ["events[0].when.stat: ", "no column 'stat'"],
        ),
        ("log.parquet", "PAR1 not really", {}, ["can't be read as Parquet"]),
        ("log.csv", f"at,user,pages\n{AT},u,x\n", {}, ["no row became an event", "1 row: "]),
        (
            "log.csv",
            f"at,user,pages\n{AT},u,1\n",
            {"events": [{**VISITS["events"][0], "when": {"user": "v"}}]},
            ["no row became an event, and nothing is sent", "1 row matched no entry"],
        ),
        (
            "log.csv",
            f"at,user,pages,file\n{AT},u,1,a\n",
            {"event_id": "{file}-{row}"},
            ["'row'; ids of rows and files change with corrections: {event_id} does not"],
        ),
        (
            "log.csv",
            f"at,user,pages\n{AT},u,1\n{AT - 1},u,1\n",
            {"out_of_order": "refuse"},
            ["line 3: is older than a row before it; sort the file, or set out_of_order: sort"],
        ),
    ],
)
def test_wrong_file(
    name: str, text: str | bytes, mapping: dict[str, Any], whys: list[str], tmp_path: Path
) -> None:
    """A file that does not fit the mapping is refused, with all that does not fit."""
    with pytest.raises(FeedError) as caught:
        read(tmp_path, text, {**VISITS, **mapping}, name=name)
    assert str(caught.value).startswith(str(tmp_path))
    assert not [why for why in whys if why not in str(caught.value)], str(caught.value)


def test_file_without_rows(tmp_path: Path) -> None:
    """An export of a day without rows is no mistake."""
    rows = read(tmp_path, "at,user,pages\n", VISITS)
    assert list(rows.report.lines()) == [f"{tmp_path / 'log.csv'}: 0 rows", "  0 events"]
    rows = read(
        tmp_path, f"at,user,pages\n{AT},test,1\n", {**VISITS, "leave_out": {"user": "test"}}
    )
    assert "  1 row left out by leave_out" in rows.report.lines()


def test_optional_columns_may_be_missing(tmp_path: Path) -> None:
    """NDJSON need not have the columns of optional fields; a later row may have them."""
    text = f'{{"at":{AT},"user":"u1"}}\n{{"at":{AT},"user":"u2","pages":4}}\n'
    rows = read(tmp_path, text, VISITS, name="log.ndjson")
    assert events(rows) == [{"user_id": "u1"}, {"user_id": "u2", "pages": 4}]
    assert rows.report.notes == []
    rows = read(tmp_path, f'{{"at":{AT},"user":"u1","page":1}}\n', VISITS, name="log.ndjson")
    assert rows.report.notes == ["no row has 'pages'; did you mean page?"]


@pytest.mark.parametrize("name", ["log.csv", "log.ndjson", "log.parquet"])
def test_missing_file(name: str, tmp_path: Path) -> None:
    rows = opened(tmp_path, "", VISITS, name=name)
    (tmp_path / name).unlink()
    with pytest.raises(FeedError, match="can't be read"):
        rows.read()


def test_refused_rows_need_a_place(tmp_path: Path) -> None:
    """If refused rows can't be kept, nothing is refused silently."""
    rows = opened(tmp_path, "at,user,pages\n1,u,many\n", VISITS)
    rows.report.refused_path = tmp_path / "nowhere" / "file"
    with pytest.raises(FeedError, match=r"can't be written: .* --refused"):
        rows.read()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "latin-1", "utf-16"])
@pytest.mark.parametrize("compressed", [True, False])
def test_encodings(encoding: str, compressed: bool, tmp_path: Path) -> None:
    """Files are read in their encoding, with or without a byte order mark, and through gzip."""
    content = f"at,user,pages\n{AT},Jörg,1\n".encode(encoding)
    mapping = {**VISITS, "encoding": "utf-8" if encoding == "utf-8-sig" else encoding}
    name = "log.csv.gz" if compressed else "log.csv"
    rows = read(tmp_path, gzip.compress(content) if compressed else content, mapping, name=name)
    assert events(rows) == [{"user_id": "Jörg", "pages": 1}]


def test_latin_1_read_as_utf_8(tmp_path: Path) -> None:
    """Rows with bytes that are no UTF-8 are refused, with the key that helps."""
    content = f"at,user,pages\n{AT},Jörg,1\n{AT},Anna,1\n".encode("latin-1")
    rows = read(tmp_path, content, VISITS)
    assert events(rows) == [{"user_id": "Anna", "pages": 1}]
    (kept,) = refused(rows)
    assert kept["_why"] == "is not utf-8; set encoding in the mapping, such as cp1252 or latin-1"


def test_parquet(tmp_path: Path) -> None:
    """Parquet has typed columns: decimals keep their digits, times with a zone need none."""
    duckdb.sql(
        "COPY (SELECT 'u1' u, 12.30::DECIMAL(9,2) amount, 2::DOUBLE items, NULL::VARCHAR c, "
        "TIMESTAMPTZ '2026-11-25 15:17:58.123+01' t, 'o' || i o FROM range(2) r(i)) "
        f"TO '{tmp_path}/source.parquet' (FORMAT parquet)"
    )
    changed = with_fields(items="{items}", channel="{c}", amount="{amount}")
    mapping = {"time": {"value": "{t}"}, **changed}
    content = (tmp_path / "source.parquet").read_bytes()
    rows = read(tmp_path, content, mapping, name="orders [1]*.parquet")
    fields = {"user_id": "u1", "amount": "12.30", "items": 2, "currency": "EUR"}
    assert events(rows) == [fields | {"order_id": "o0"}, fields | {"order_id": "o1"}]
    assert {one["event_time"] for one in whole_events(rows)} == {1_795_616_278_123}


def test_parquet_needs_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "duckdb", None)
    with pytest.raises(FeedError, match="needs the extra parquet: pip install"):
        read(tmp_path, "", VISITS, name="log.parquet")


def test_whitespace_and_no_header(tmp_path: Path) -> None:
    """Columns may be between blanks, and their names in the mapping."""
    mapping = {**VISITS, "delimiter": "whitespace", "columns": ["at", "user", "pages"]}
    rows = read(tmp_path, f"  {AT}  u1   3 \n\n{AT} u2 4\n", mapping)
    assert events(rows) == [{"user_id": "u1", "pages": 3}, {"user_id": "u2", "pages": 4}]


def test_example_mappings(repository: Path) -> None:
    """The mappings of config/ are valid."""
    for name in ("shop-log.yaml", "cdnow.yaml", "shop-export.yaml"):
        assert load_mapping(repository / "config" / name).events


EXPORT = """\
Ordered;E-mail;Order;Total;Refund;Refunded;Status;Link;Source / Medium;Country
25.11.2026 15:17:58;Anna@x.example;R1;1.234,56 €;;;paid;https://s.example/?utm_campaign=brand;\
Google / cpc;Österreich
25.11.2026 14:17:58;bob@x.example;R2;12,50;-2,50;26.11.2026 10:00:00;refunded;https://s.example/;\
(not set);Schweiz (DE)
25.11.2026 15:18:58;c@test.example;R3;1,00;;;paid;;;
25.11.2026 15:19:58;d@x.example;R4;12.50;;;paid;;-;Deutschland
25.11.2026 15:19:59;e@x.example;R5;1,00;;;cancelled;;-;Deutschland
25.11.2026 15:20:00;e@x.example;R6;1,00;;;paid;;-;Frankreich
"""


def test_shop_export(repository: Path, tmp_path: Path) -> None:
    """The example of a shop's export: totals, refunds, local times, and no e-mail address."""
    mapping = (repository / "config" / "shop-export.yaml").read_text()
    rows = read(tmp_path, EXPORT.encode("cp1252"), mapping)
    first, second, refund = whole_events(rows)
    assert (first["order_id"], first["amount"], first["event_time"]) == (
        "R2",
        "12.50",
        1_795_612_678_000,
    )
    assert (second["campaign"], second["channel"], second["region"]) == ("brand", "google", "at")
    assert (refund["type"], refund["amount"], refund["event_time"]) == (
        "order_refunded",
        "2.50",
        1_795_683_600_000,
    )
    assert {"campaign", "channel"}.isdisjoint(first)
    assert refund["user_id"] == first["user_id"]
    assert not [one for one in sent(rows) if b"example" in one.value + one.key]
    report = rows.report
    assert (report.rows, report.several, report.left_out, report.unmatched) == (6, 1, 1, 1)
    assert {*report.refusals} == {"amount: is no number", "region: is not in its lookup table"}


def refusal(folder: Path, mapping: dict[str, Any] | str) -> list[str]:
    """Return the message of each fault, without the file."""
    with pytest.raises(ConfigError) as caught:
        opened(folder, "", mapping)
    return [line.removeprefix(f"{folder / 'map.yaml'}: ") for line in str(caught.value).split("\n")]


def with_fields(**fields: Any) -> dict[str, Any]:
    """Return a mapping of orders with these fields besides the required ones."""
    usual = {"user_id": "{u}", "order_id": "{o}", "amount": "{a}", "currency": "EUR"}
    return {"events": [{"type": "order_placed", "fields": {**usual, **fields}}]}


def with_filter(test: Any) -> dict[str, Any]:
    """Return a mapping of visits with a condition on the column state."""
    return {"events": [{**VISITS["events"][0], "when": {"state": test}}]}


@pytest.mark.parametrize(
    ("changed", "where"),
    [
        ({"time": {"value": "{at}", "zone": "CET+1"}}, "time.zone: no time zone named 'CET+1'"),
        ({"time": {"value": "{at}", "format": "%Q"}}, "time.format: 'Q' is a bad directive"),
        ({"time": {"value": "{at}", "format": "%"}}, "time.format: "),
        ({"time": {"value": "{at}", "format": "iso"}}, "time.format: 'iso': use rfc3339, epoch"),
        (
            {"time": {"value": "{at}", "format": "%d.%m.%Y"}},
            "time.zone: is missing, as '%d.%m.%Y' has no offset from UTC; give the zone of the",
        ),
        (
            {"time": {"value": "{at}", "format": ["%Y%m%d%z", "%Y%m%d"]}},
            "time.zone: is missing, as '%Y%m%d' has no",
        ),
        (
            {"time": {"value": "{at}", "format": "epoch_s", "zone": "UTC"}},
            "time.zone: an epoch has none; leave it out",
        ),
        ({"time": {"column": "at"}}, "time.column: there is no such key any more; write value, a"),
        ({"sort": True}, "sort: there is no such key any more; write out_of_order: sort"),
        ({"decimal_comma": True}, "no such key any more; write numbers: {decimal: "),
        ({"numbers": {"decimal": ",", "thousands": ","}}, "numbers.thousands: is the decimal mark"),
        ({"numbers": {"decimals": ","}}, "numbers.decimals: there is no such key; did you mean"),
        ({"delimiter": ";;"}, "delimiter: give one character"),
        ({"delimiter": ""}, "delimiter: give one character"),
        ({"delimiter": "\n"}, "delimiter: give one character"),
        ({"skip_lines": -1}, "skip_lines: "),
        ({"encoding": "uft-8"}, "encoding: no encoding named 'uft-8'; did you mean utf-8?"),
        ({"encoding": "base64"}, "encoding: 'base64' is no encoding of text"),
        ({"event_id": "{row"}, "event_id: "),
        ({"event_id": "x{event_id}"}, "event_id: {event_id} is the id itself; leave event_id out"),
        ({"events": []}, "events: is empty; give at least one entry"),
        ({"nulls": [None]}, "nulls[0]: give a text"),
        ({"leve_out": []}, "leve_out: there is no such key; did you mean leave_out?"),
        (
            {"events": [{"type": "clik", "fields": {}}]},
            "events[0].type: no event type 'clik'; did you mean click?",
        ),
        (
            {"events": [{"type": "click", "fields": {}}]},
            "events[0].fields: click needs user_id, too",
        ),
        (
            {"events": [{"type": "order_placed", "fields": {"user_id": "{u}", "order_id": "1"}}]},
            "fields: order_placed needs amount and currency, too",
        ),
        (
            {"events": [{"type": "click", "fields": {"userid": "{u}"}}]},
            "fields.userid: no field of click; did you mean user_id?",
        ),
        ({"events": [{"type": "click", "fields": {"user_id": "{}"}}]}, "write columns as"),
        ({"events": [{"type": "click", "fields": {"user_id": "{u:>9}"}}]}, "without a format"),
        ({"events": [{"type": "click", "fields": {"user_id": "{u!r}"}}]}, "without a format"),
        ({"events": [{"type": "click", "fields": {"user_id": "u}"}}]}, "Single '}'"),
        (
            {"events": [{"type": "click", "fields": {"user_id": "{event_id}"}}]},
            "fields.user_id: {event_id} is another one in each event; leave user_id out",
        ),
        (
            {**with_fields(order_id="{event_id}"), "event_id": "{u}"},
            "events[0].fields.order_id: {event_id} stands for the id that is made",
        ),
        (with_fields(amount="free"), "events[0].fields.amount: 'free' is no number"),
        (with_fields(items=True), "items: give a template, such as '{column}', in quotes; not"),
        (with_fields(region={"value": "{r}", "divide": 100}), "region.divide: region is no number"),
        (with_fields(region={"value": "{r}", "splt": "/"}), "region.splt: there is no such key; d"),
        (with_fields(region={"value": "{r}", "split": "/"}), "fields.region.part: is missing"),
        (with_fields(region={"value": "{r}", "part": 1}), "fields.region.split: is missing"),
        (with_fields(region={"value": "{r}", "split": "/", "part": 0}), "part: the first is 1"),
        (with_fields(region={"value": "{r}", "keep_others": True}), "keep_others: belongs to"),
        (with_fields(region={"value": "{r}", "date": "dmy"}), "date: 'dmy' is no date format"),
        (with_fields(region={"lookup": {"a": "b"}}), "events[0].fields.region.value: is missing"),
        (with_filter("product*"), 'write {glob: "product*"}, or {equals: "product*"}'),
        (with_filter(["a", "b?"]), 'write {glob: "b?"}'),
        (with_filter(""), "events[0].when.state: an empty text is no value; write {empty: true}"),
        (with_filter(True), "when.state: YAML reads True here, whose text in the file may differ"),
        (with_filter(1.5), "when.state: YAML reads 1.5 here"),
        (with_filter(None), "when.state: null is no text; write {empty: true}"),
        (with_filter({"regex": "("}), "when.state.regex: '(' is no regular expression"),
        (with_filter({"equal": "a"}), "when.state.equal: there is no such key; did you mean equal"),
        (with_filter({"above": "much"}), "when.state.above: "),
        (with_filter({}), "when.state: says nothing; give one of equals"),
        ({**with_filter("-"), "nulls": ["-"]}, "when: state: '-' is one of nulls and never found"),
        (
            {"leave_out": [{"x": {"not": "-"}}], "nulls": ["-"]},
            "leave_out: x: '-' is one of nulls and never found; write {empty: true}",
        ),
    ],
)
def test_wrong_mapping(changed: dict[str, Any], where: str, tmp_path: Path) -> None:
    """A mapping that can't work is refused with its line and key, before anything is read."""
    lines = refusal(tmp_path, {**VISITS, **changed})
    assert [line for line in lines if where in line], lines
    assert not [line for line in lines if not line.startswith("line ")]


def test_every_fault_at_once(tmp_path: Path) -> None:
    """All faults of a mapping are reported together, in the order of their lines."""
    assert refusal(
        tmp_path,
        """\
delimeter: ";"
time: {value: "{at}", format: "%d.%m.%Y"}
events:
  - type: clik
    when: {page: "p*"}
    fields: {user_id: "{u}"}
  - type: click
    when: {page: {glbo: "p*"}}
    fields: {chanel: mail, page: {value: "{p}", splt: "/", absolute: true}}
""",
    ) == [
        "line 1: delimeter: there is no such key; did you mean delimiter?",
        "line 2: time.zone: is missing, as '%d.%m.%Y' has no offset from UTC; give the zone of the "
        "clock that wrote the file, such as Europe/Berlin, or UTC",
        "line 4: events[0].type: no event type 'clik'; did you mean click?",
        'line 5: events[0].when.page: * and ? are ordinary characters here; write {glob: "p*"}, or '
        '{equals: "p*"} if the file has them',
        "line 8: events[1].when.page.glbo: there is no such key; did you mean glob?",
        "line 9: events[1].fields.page.splt: there is no such key; did you mean split?",
        "line 9: events[1].fields.chanel: no field of click; did you mean channel?",
        "line 9: events[1].fields.page.absolute: page is no number; leave it out",
        "line 9: events[1].fields: click needs user_id, too",
    ]
