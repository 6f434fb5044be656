"""What `kpi-monitor init` guesses of files, and what it writes."""

from __future__ import annotations

import gzip
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.kpi.catalogue import CATALOGUE
from models.money.exchange_rates import Rates
from streams import config
from streams.errors import FeedError
from streams.feed import dry_run
from streams.feed.events.file_set import FileSet
from streams.feed.events.mapped_file import MappedFile
from streams.feed.mapping.number_format import NumberFormat
from streams.feed.mapping.time_format import TimeFormat
from streams.feed.project import load_project
from streams.guessing import project_guess
from streams.guessing.file_guess import Defaults, FileGuess, guess_file, mapping_text
from streams.guessing.file_probe import probe
from streams.guessing.project_guess import KEY_FILE
from streams.guessing.value_formats import PATTERNS, guess_number, guess_time
from streams.ingest.registry.campaign_index import CampaignIndex
from tests.factories import exports
from tests.factories.exports import BERLIN, Export
from tests.support import data
from tests.support.guesses import guesses
from tests.support.offline import RULES

NOW_MS = int(datetime(2027, 1, 1, tzinfo=UTC).timestamp() * 1000)
DEFAULTS = Defaults("Europe/Berlin", "EUR")
MADE = [one for one in exports.exports() if one.content is not None]
_decode = msgspec.json.Decoder(dict[str, object]).decode


def _project(folder: Path, *paths: Path) -> tuple[list[MappedFile], list[str]]:
    """Write the project of files, and return them, read by it, and what is not sure."""
    guess = project_guess.look_at(paths)
    assert not guess.unusable
    texts, notes = project_guess.written(guess, folder, "shop.yaml", DEFAULTS)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / KEY_FILE).write_text("a key of sixteen characters")
    project = load_project(folder / "shop.yaml", with_files=True)
    config.load_campaigns(project.campaigns)
    config.load_rules(project.rules)
    files = []
    for entry in project.files:
        mapped = MappedFile(
            entry.file,
            entry.mapping,
            largest_bytes=1 << 20,
            refused_path=folder / "refused.ndjson",
            hash_key=lambda: b"a key of sixteen characters",
        )
        mapped.read()
        files.append(mapped)
    return files, notes


def _guess(folder: Path, text: str | bytes, name: str = "rows.csv") -> tuple[FileGuess, str]:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    guess = guess_file(probe(path))
    return guess, mapping_text(guess, DEFAULTS)


def test_nine_of_ten_columns_are_right(tmp_path: Path, shop_log: Path, cdnow_file: Path) -> None:
    """Of the columns of 13 files, at least 9 of 10 are taken for what they are."""
    assert shop_log.exists()
    assert cdnow_file.exists()
    found = [*guesses(tmp_path, data.folder(data.repository()))]
    assert len({one.file for one in found}) >= 10
    wrong = [one for one in found if not one.is_right]
    assert len(wrong) <= len(found) / 10, wrong


@pytest.mark.parametrize("export", MADE, ids=lambda one: one.name)
def test_what_is_written_is_valid_and_every_row_counts(export: Export, tmp_path: Path) -> None:
    """The project passes the checks, no row is refused, and the dry run has no dead letter."""
    ((mapped,), _) = _project(tmp_path, export.written(tmp_path, tmp_path))
    report = mapped.report
    assert (report.refused, report.unmatched) == (0, 0)
    assert report.mapped_rows + report.left_out == report.rows
    monitor = dry_run.Monitor(
        rules=RULES,
        campaigns=CampaignIndex(()),
        rates=Rates("USD" if export.name.startswith("american") else "EUR"),
        catalogue=CATALOGUE,
        customers=True,
    )
    found = dry_run.dry_run(FileSet(mapped.path, [mapped]).named_events(), monitor, now_ms=NOW_MS)
    assert found.dead_letters == 0
    repeated = found.stats.duplicates
    assert found.stats.counted + repeated == report.events.total()
    assert (repeated > 0) == (mapped.mapping.equal_events == "once")


def test_the_three_files_of_the_review_have_the_right_totals(tmp_path: Path) -> None:
    """Totals of two styles, refunds, cancelled orders, null words and spend are as in the files."""
    (tmp_path / "clicks.csv").write_text(exports.shop_clicks())
    (tmp_path / "orders.csv").write_text(exports.shop_orders())
    (tmp_path / "spend.csv").write_text(exports.shop_spend())
    paths = [tmp_path / f"{name}.csv" for name in ("clicks", "orders", "spend")]
    files, notes = _project(tmp_path, *paths)
    sums: Counter[str] = Counter()
    ids: set[object] = set()
    for mapped in files:
        for event in mapped.sorter.events():
            fields = _decode(event.value)
            if fields["event_id"] in ids:  # A repeated row of orders.
                continue
            ids.add(fields["event_id"])
            sums[event.type] += 1
            sums[f"{event.type} money"] += Decimal(str(fields.get("amount", 0)))
            assert fields.get("campaign") != "(not set)"
            assert "@" not in str(fields.get("user_id"))
    rows = [line.split(";") for line in dict.fromkeys(exports.shop_orders().splitlines()[1:])]
    money: Counter[str] = Counter()
    for row in rows:
        total = row[3].replace(".", "").replace(",", ".") if "," in row[3] else row[3]
        money[row[4]] += Decimal(total)
    statuses = Counter(row[4] for row in rows)
    assert sums["click"] == 5_000
    assert sums["order_placed"] == statuses["paid"] + statuses["refunded"]
    assert sums["order_placed money"] == money["paid"] + money["refunded"]
    assert sums["order_refunded money"] == money["refunded"] > 0
    assert sums["spend_reported money"] == 3 * (
        Decimal("80.5") + Decimal("161.5") + Decimal("12.5")
    )
    assert (tmp_path / "campaigns.yaml").read_text().count("- id:") == 3
    assert "conversion_rate" in (tmp_path / "rules.yaml").read_text()
    for note in (
        "clicks.yaml: time.zone: Timestamp has no offset from UTC; taken for Europe/Berlin",
        "clicks.yaml: user_id: 15 of 5,000 rows have no Visitor; they count as guests",
        "orders.yaml: currency: the file names none; taken for EUR",
        "user_id: orders.csv and clicks.csv have no user in common",
    ):
        assert [one for one in notes if one.startswith(note)], note


@settings(max_examples=25)
@given(
    pattern=st.sampled_from(PATTERNS),
    start=st.datetimes(datetime(1995, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    seconds=st.integers(40_000, 400_000),
)
def test_times_are_read_as_they_were_written(pattern: str, start: datetime, seconds: int) -> None:
    """Times in order, over more than two months, are read by what gives the same times."""
    times = [start + timedelta(seconds=seconds * number) for number in range(60)]
    texts = [f"{one:{pattern}}" for one in times]
    guess = guess_time(texts)
    assert guess is not None
    assert guess.fits == 1
    read = TimeFormat(format=guess.formats, zone="UTC").reader()
    meant = TimeFormat(format=(pattern,), zone="UTC").reader()
    assert [*map(read, texts)] == [*map(meant, texts)]


@given(
    numbers=st.sampled_from([("", "."), ("", ","), (".", ","), (",", "."), (" ", ","), ("'", ".")]),
    values=st.lists(st.decimals(1, 10**7, places=2), min_size=3, max_size=40),
    sign=st.sampled_from(["", " €", " kr", "$"]),
)
def test_numbers_are_read_as_they_were_written(
    numbers: tuple[str, str], values: list[Decimal], sign: str
) -> None:
    """Amounts of any style are read as what they are."""
    thousands, decimal = numbers
    table = str.maketrans({",": thousands, ".": decimal})
    texts = [
        f"{sign}{text}" if sign == "$" else f"{text}{sign}"
        for text in (f"{value:,.2f}".translate(table) for value in values)
    ]
    guess = guess_number(texts)
    assert guess is not None
    assert not guess.is_mixed
    assert [*map(guess.numbers.reader(), texts)] == values


def test_the_order_of_rows_tells_days_from_months() -> None:
    """Days and months up to 12 are told apart by the order of rows; without it, a note says so."""
    days = [f"0{day}/0{month}/2026" for month in (1, 2, 3) for day in range(1, 10)]
    guess = guess_time(days)
    assert guess is not None
    assert (guess.formats, guess.unsure) == (("%d/%m/%Y",), "")
    unsure = guess_time(["03/04/2026"])
    assert unsure is not None
    assert "could also be" in unsure.unsure


def test_three_digits_after_a_mark_are_not_sure() -> None:
    guess = guess_number(["1.234", "2.500", "10.000"])
    assert guess is not None
    assert guess.unsure.startswith("is the point of '1.234' a decimal mark?")
    assert guess_number(["R1", "R2"]) is None
    assert guess_number(["12a", "b"]) is None
    assert NumberFormat().reader()("1.5") == Decimal("1.5")


@pytest.mark.parametrize(
    ("encoding", "compressed", "found"),
    [
        ("utf-8", False, "utf-8"),
        ("utf-8-sig", True, "utf-8"),
        ("cp1252", False, "cp1252"),
        ("utf-16", False, "utf-16"),
        ("utf-16", True, "utf-16"),
    ],
)
def test_the_encoding_is_found(encoding: str, compressed: bool, found: str, tmp_path: Path) -> None:
    """Umlauts arrive, in the encodings that shops have, also compressed."""
    text = "Käufer;Datum;Bestellung;Summe\nK1;2026-11-25 10:00:00;B1;1,50\n"
    content = text.encode(encoding)
    guess, mapping = _guess(tmp_path, gzip.compress(content) if compressed else content)
    assert "Käufer" in guess.columns
    assert guess.probe.layout.get("encoding", "utf-8") == found
    assert ("encoding:" in mapping) == (found != "utf-8")


def test_preamble_header_and_names(tmp_path: Path) -> None:
    """Lines before the header are skipped; headers that can't be used are replaced."""
    rows = "".join(f"{day}.11.2026;u{day};7,{day}\n" for day in range(10, 29))
    guess, mapping = _guess(tmp_path, f"Report\n\nNovember\nDate;User;Total\n{rows}")
    assert guess.probe.layout == {"delimiter": ";", "skip_lines": 3}
    assert [*guess.roles] == ["Date", "User", "Total"]
    guess, mapping = _guess(tmp_path, f"Date;User;\n{rows}")
    assert [*guess.roles] == ["Date", "User", "column_3"]
    assert "skip_lines: 1" in mapping
    guess, mapping = _guess(
        tmp_path, "".join(f"2026-11-{day};a@b.example;7.5{day}\n" for day in range(10, 29))
    )
    assert [*guess.roles.values()] == ["time", "user_id", "amount"]
    assert "columns: the file has no header line" in mapping


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\nx,1\ny,2\n", "no column has times"),
        ("date,total\n2026-01-01,x\n", "no column is a user, an order or a cost"),
        ('[{"a": 1}]', "is a list of JSON"),
        ("", "is empty"),
        ("date,user\n", "has no rows"),
    ],
)
def test_a_file_that_cannot_be_events_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(FeedError, match=re.escape(message)):
        _guess(tmp_path, text)


@settings(max_examples=40)
@given(
    rows=st.lists(
        st.lists(
            st.one_of(
                st.text(alphabet='abc;,"\t|{}@.-#: 019', max_size=8),
                st.sampled_from(["2026-11-25", "25.11.2026 10:00", "1,50", "a@b.example", "paid"]),
            ),
            min_size=1,
            max_size=4,
        ),
        max_size=12,
    ),
    delimiter=st.sampled_from(",;\t|"),
)
def test_any_table_gives_a_valid_mapping_or_a_reason(
    rows: list[list[str]], delimiter: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever a table has, its mapping passes the check of mappings, or the file is refused."""
    folder = tmp_path_factory.mktemp("any")
    text = "date,user,total\n".replace(",", delimiter)
    text += "".join(delimiter.join(row) + "\n" for row in rows)
    try:
        _, mapping = _guess(folder, text)
    except FeedError:
        return
    path = folder / "map.yaml"
    path.write_text(mapping, encoding="utf-8")
    mapped = MappedFile(
        folder / "rows.csv",
        path,
        largest_bytes=1 << 20,
        refused_path=folder / "refused",
        hash_key=lambda: b"a key of sixteen characters",
    )
    try:
        mapped.read()
    except FeedError as error:
        assert "no row became an event" in str(error)  # noqa: PT017 - or none is raised


def test_columns_of_a_file_without_a_column_of_users(tmp_path: Path) -> None:
    """Orders without a user count as guests', and what is below 0 is a refund."""
    text = "Order ID,Created,Total\n" + "".join(
        f"{number},2026-11-25T10:0{number}:00Z,{amount}\n"
        for number, amount in enumerate(("10.00", "20.00", "-10.00"))
    )
    guess, mapping = _guess(tmp_path, text)
    assert "no column is the user" in mapping
    assert "rows with a Total below 0 are taken for refunds" in mapping
    assert guess.time.needs_zone is False
    (tmp_path / "map.yaml").write_text(mapping)
    mapped = MappedFile(
        tmp_path / "rows.csv",
        tmp_path / "map.yaml",
        largest_bytes=9_999,
        refused_path=tmp_path / "x",
    )
    mapped.read()
    assert mapped.report.events == {"order_placed": 2, "order_refunded": 1}
    assert {_decode(event.value)["amount"] for event in mapped.sorter.events()} == {
        "10.00",
        "20.00",
    }


def test_local_times_of_the_zone(tmp_path: Path) -> None:
    """A local time is read in the zone of the project."""
    (tmp_path / "clicks.csv").write_text(exports.shop_clicks(rows=50))
    ((mapped,), _) = _project(tmp_path, tmp_path / "clicks.csv")
    first = exports.shop_clicks(rows=50).splitlines()[1].split(";")[0]
    local = datetime.strptime(first, "%d.%m.%Y %H:%M:%S").replace(tzinfo=BERLIN)
    at_ms = next(iter(mapped.sorter.events())).time_ms
    assert datetime.fromtimestamp(at_ms / 1000, UTC) == local


VISITS = """\
time,visitor,campaign
2026-11-25 10:00:00,v1,brand-search
2026-11-25 10:00:00,v1,brand-search
2026-11-25 10:05:00,v2,spring
"""
ORDERS = """\
Order,Created at,Customer,Total,Status,Ref
S1,2026-11-25T10:00:00Z,c1,"85,13",paid,spring
S2,2026-11-25T11:00:00Z,c2,"30,53",refunded,brand-search
S2,2026-11-25T11:00:00Z,c2,"30,53",refunded,brand-search
S3,2026-11-25T12:00:00Z,c3,"12,00",paid,-
"""
SPEND = """\
Day,Campaign,Cost
2026-11-25,Brand Search DE,"143,25"
2026-11-25,spring,"71,00"
"""


def _written(folder: Path, **texts: str) -> tuple[dict[str, str], list[str]]:
    """Return the project of files: its texts by name, and what is not sure."""
    paths = []
    for name, text in texts.items():
        paths.append(folder / f"{name}.csv")
        paths[-1].write_text(text, encoding="utf-8")
    return project_guess.written(project_guess.look_at(paths), folder, "shop.yaml", DEFAULTS)


def test_rows_that_an_export_repeats(tmp_path: Path) -> None:
    """Rows that are equal in every column are repetitions in orders, and are reported in visits."""
    texts, notes = _written(tmp_path, visits=VISITS, orders=ORDERS)
    assert "equal_events: once\n" in texts["orders.yaml"]
    assert "equal_events: once\n" not in texts["visits.yaml"]
    told = [note for note in notes if "equal_events" in note]
    rows = "rows that are equal to one before in every column: 1; they count"
    assert [note.partition(" write ")[0] for note in told] == [
        f"visits.yaml: equal_events: {rows}, too;",
        f"orders.yaml: equal_events: {rows} once;",
    ]
    items = ORDERS.replace(
        'S1,2026-11-25T10:00:00Z,c1,"85,13"', 'S1,2026-11-25T10:00:00Z,c1,"1,00"'
    )
    items += 'S1,2026-11-25T10:00:00Z,c1,"9,00",paid,spring\n'
    texts, notes = _written(tmp_path, orders=items)
    assert "equal_events: once\n" not in texts["orders.yaml"]
    assert any("values of Order that come again in other rows: 1" in note for note in notes)


def test_campaign_by_its_values(tmp_path: Path) -> None:
    """A column whose values are campaigns of another file is the campaign, whatever its name."""
    texts, notes = _written(tmp_path, visits=VISITS, orders=ORDERS)
    assert 'campaign: "{Ref}"' in texts["orders.yaml"]
    assert "orders.yaml: campaign: Ref, as its values are campaigns of visits.csv" in notes
    texts, _ = _written(tmp_path, visits=VISITS, orders=ORDERS.replace("spring", "coupon"))
    assert "campaign:" not in texts["orders.yaml"]


def test_spend_of_campaigns_by_other_names(tmp_path: Path) -> None:
    """Campaigns that only spend names are reported, with the alias that they may need."""
    texts, notes = _written(tmp_path, visits=VISITS, spend=SPEND)
    told = next(note for note in notes if note.startswith("campaigns.yaml: "))
    assert "1 of 2 campaigns of spend.csv are in no other file" in told
    assert '{id: brand-search, aliases: ["Brand Search DE"]}' in told
    assert told.removeprefix("campaigns.yaml: ") in texts["campaigns.yaml"]


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (["85,13", "2,00"], NumberFormat(decimal=",", thousands=".")),
        (["85.13", "2.00"], NumberFormat(thousands=",")),
        (["85", "2"], NumberFormat()),
        (["1.250", "2.750"], NumberFormat()),
    ],
)
def test_large_numbers_that_may_follow(values: list[str], found: NumberFormat) -> None:
    """The other mark groups thousands, if such numbers come, where the decimal mark is sure."""
    guess = guess_number(values)
    assert guess is not None
    assert guess.numbers == found
