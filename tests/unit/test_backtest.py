"""A backtest plays recorded events through the jobs of a worker, and lists when rules fired."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from typer.testing import CliRunner

from models.window import DAY_MS, MINUTE_MS, BusinessDay
from streams.backtest.files_input import of_files
from streams.backtest.firings import a_week
from streams.backtest.period import moment_ms
from streams.cli import cli
from streams.errors import BacktestError
from streams.operations.synthetic import FeedRecord
from tests.factories.backtest import (
    BREAKS_MS,
    LATE_BY_MS,
    LATE_MS,
    MENDED_MS,
    ORDERS_FEW,
    arrivals,
    fired,
    played,
    player,
    rule_book,
    shop,
)
from tests.support.offline import NOON

CONVERSION = ORDERS_FEW | {
    "name": "conversion-low",
    "kpi": "conversion_rate",
    "scope": "campaign",
    "below": 0.08,
    "min_n": 30,
    "for": 30,
}
ABSENT = {
    "name": "orders-absent",
    "kind": "absence",
    "kpi": "orders",
    "scope": "campaign",
    "window": "1m",
    "match": {"campaign": ["c1", "c2"]},
}


def test_firing() -> None:
    """A rule fires when the window closes that breaks it, and resolves when one holds again."""
    (one,) = fired(list(shop()), ORDERS_FEW)
    assert one.fired.value == 3
    assert one.fired.threshold == 5
    assert BREAKS_MS < one.from_ms <= BREAKS_MS + MINUTE_MS
    assert one.resolved_ms is not None
    assert MENDED_MS < one.resolved_ms <= MENDED_MS + MINUTE_MS


def test_late_evidence() -> None:
    """An event that arrives after its window closed corrects the evidence of an alert."""
    few = ORDERS_FEW | {"below": 1}
    (one,) = fired(list(shop()), few)
    assert one.from_ms == BREAKS_MS + MINUTE_MS
    assert one.fired.value == 0
    assert one.last.correction is not None
    assert one.last.correction.value == 1
    assert one.last.correction.holds
    assert one.from_ms < LATE_MS + LATE_BY_MS


def test_open_at_the_end() -> None:
    """A rule that is broken at the end of the events fires still."""
    events = [one for one in shop() if one[0] < MENDED_MS]
    (one,) = fired(events, ORDERS_FEW)
    assert one.resolved_ms is None
    assert one.until_ms(MENDED_MS) == MENDED_MS
    assert one.overlaps(MENDED_MS, None)


def test_as_with_a_view() -> None:
    """The alerts are those of a stage that computes all KPIs and the view, byte for byte."""
    rules = rule_book(ORDERS_FEW, CONVERSION, ABSENT)
    without, with_view = player(rules), player(rules, viewed=True)
    played(without, shop())
    played(with_view, shop())
    assert without.alerts[0] == with_view.alerts[0]
    assert len(without.alerts[0]) > 5


def test_rules_apart() -> None:
    """Files of rules that are played together give the alerts that each gives alone."""
    books = rule_book(ORDERS_FEW), rule_book(CONVERSION, ABSENT)
    together = player(*books)
    played(together, shop())
    for place, book in enumerate(books):
        alone = player(book)
        played(alone, shop())
        assert alone.alerts[0] == together.alerts[place]


def test_quiet_time() -> None:
    """Windows in which nothing changes are judged, too: ``for`` ends 30 s later, not a minute."""
    slow = [(at, body) for at, body in shop() if body["type"] == "click" and at % MINUTE_MS == 0]
    many = ORDERS_FEW | {"kpi": "clicks", "window": "5m", "below": None, "above": 3, "for": 25}
    (one,) = fired(slow, {key: given for key, given in many.items() if given is not None})
    assert one.from_ms - one.fired.active_since_ms == 30_000


def test_steps() -> None:
    """A step is a second while records come, and up to a pane while none do."""
    made = [(NOON + at, body) for at, (_, body) in zip((300, 1_100, 24_200), shop(), strict=False)]
    one = player(rule_book(ORDERS_FEW))
    steps = [*one.play(arrivals(made)), *one.finish(NOON + 26_000)]
    assert [step - NOON for step in steps] == [1_000, 2_000, 12_000, 22_000, 24_000, 25_000, 26_000]


def test_span() -> None:
    """The span of a backtest is from its first event to the last window that closed."""
    one = played(player(rule_book(ORDERS_FEW)), shop(minutes=2))
    assert NOON <= one.from_ms <= NOON + 1_000
    assert one.to_ms == LATE_MS + LATE_BY_MS + 10_000


def test_dead_letters() -> None:
    """Events that are not counted are reported."""
    old: dict[str, Any] = dict(next(shop())[1], event_id="old", event_time=NOON - DAY_MS)
    one = played(player(rule_book(ORDERS_FEW)), [*shop(minutes=1), (NOON + 400_000, old)])
    assert one.dead_letters == 1


@pytest.mark.parametrize(
    ("from_ms", "to_ms", "left"), [(None, None, [1, 5, 9]), (5, None, [5, 9]), (2, 9, [5])]
)
def test_part_of_files(from_ms: int | None, to_ms: int | None, left: list[int]) -> None:
    """Events before the start, and from the end on, are left out; offsets begin at 0."""
    records = [FeedRecord(at, "clicks", b"u", b"{}") for at in (1, 5, 9)]
    found = list(of_files(records, from_ms=from_ms, to_ms=to_ms))
    assert [one.timestamp for one in found] == left
    assert [one.offset for one in found] == list(range(len(left)))


@pytest.mark.parametrize(
    "given", ["2026-11-26", "2026-11-26T00:00", "2026-11-25T23:00Z", "2026-11-26T00:00:00+01:00"]
)
def test_moment(given: str) -> None:
    """A date is the start of its business day, a time without an offset is local."""
    day = BusinessDay(ZoneInfo("Europe/Berlin"))
    assert moment_ms(given, option="--from", day=day) == 1_795_647_600_000


def test_moment_that_is_none() -> None:
    """A time that can't be read is refused with its option."""
    with pytest.raises(BacktestError, match=r"--to yesterday: give a date"):
        moment_ms("yesterday", option="--to", day=BusinessDay(ZoneInfo("UTC")))


def test_a_week() -> None:
    """Three firings in two days are 10.5 a week."""
    assert a_week(3, span_ms=2 * DAY_MS) == pytest.approx(10.5)
    assert a_week(0, span_ms=0) == 0


def _project(folder: Path) -> list[str]:
    """Write a log of the shop with its mapping and rules; return the arguments that play it."""
    rows = [
        f"{body['event_time']},{body['type']},{body['user_id']},{body.get('order_id', '')}\n"
        for _, body in shop()
    ]
    (folder / "log.csv").write_text("at,type,user,order\n" + "".join(rows))
    (folder / "map.yaml").write_text(
        "time: {value: '{at}', format: epoch_ms}\n"
        "events:\n"
        "  - {type: click, when: {type: click}, fields: {user_id: '{user}'}}\n"
        "  - type: order_placed\n"
        "    when: {type: order_placed}\n"
        "    fields: {user_id: '{user}', order_id: '{order}', amount: '1', currency: CNY}\n"
    )
    (folder / "rules.yaml").write_text(json.dumps({"rules": [ORDERS_FEW]}))
    given = str(folder / "log.csv"), "--mapping", str(folder / "map.yaml")
    return ["backtest", *given, "--rules", str(folder / "rules.yaml")]


def test_command(tmp_path: Path) -> None:
    """The command plays a file, shows the firings in a table, and writes all of them as JSON."""
    result = tmp_path / "result.json"
    done = CliRunner().invoke(cli, [*_project(tmp_path), "--json", str(result)])
    assert done.exit_code == 0, done.output
    assert "times as fast as live" in done.output
    assert "orders-few: fires when" in done.output
    written = json.loads(result.read_text())
    assert [one["rule"] for one in written["firings"]] == ["orders-few"]
    assert written["rules"][0]["firings"] == 1


def test_command_compares(tmp_path: Path) -> None:
    """The command compares the firings with incidents and other rules, and draws them."""
    incidents, other, picture = (tmp_path / name for name in ("i.yaml", "other.yaml", "f.svg"))
    incidents.write_text(
        "incidents:\n"
        "  - {name: checkout, from: 2023-11-14T12:04Z, to: 2023-11-14T12:06Z}\n"
        "  - {name: search, from: 2023-11-14T12:01Z, to: 2023-11-14T12:02Z}\n"
    )
    few = ORDERS_FEW | {"below": 1}
    returning = ORDERS_FEW | {"name": "returning", "kpi": "repurchase_rate", "below": 0.1}
    other.write_text(json.dumps({"rules": [few, returning, ORDERS_FEW | {"name": "more"}]}))
    given = "--incidents", str(incidents), "--against", str(other), "--svg", str(picture)
    done = CliRunner().invoke(cli, [*_project(tmp_path), *given])
    assert done.exit_code == 0, done.output
    assert "100% (1 of 1)" in done.output
    assert "50% (1 of 2)" in done.output
    assert "not found: search" in done.output
    assert "in both files of rules: 1 firing" in done.output
    assert "only with the rules of --against: 1 firing" in done.output
    assert "repurchase_rate rests on" in done.output
    assert picture.read_text().startswith("<svg")


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (["--input", "kafka"], "log.csv and --input kafka are two inputs"),
        (["--project", "shop.yaml"], "log.csv and --project are two inputs"),
        (["--json", "nowhere/result.json"], "nowhere/result.json: its folder does not exist"),
    ],
)
def test_refused(tmp_path: Path, given: list[str], why: str) -> None:
    """Options that do not go together are refused before anything is played."""
    done = CliRunner().invoke(cli, [*_project(tmp_path), *given])
    assert isinstance(done.exception, BacktestError)
    assert why in str(done.exception)


def test_nothing_in_that_time(tmp_path: Path) -> None:
    """A time without events is no error, and is said."""
    done = CliRunner().invoke(cli, [*_project(tmp_path), "--from", "2024-01-01"])
    assert done.exit_code == 0
    assert "there are no events in that time" in done.output


@pytest.mark.parametrize(
    ("left_out", "why"), [("--mapping", "there are no events"), ("--rules", "there are no rules")]
)
def test_nothing_to_play(tmp_path: Path, left_out: str, why: str) -> None:
    """Without events, or without rules, there is nothing to play, and the error says so."""
    arguments = _project(tmp_path)
    at = arguments.index(left_out)
    done = CliRunner().invoke(cli, arguments[:at] + arguments[at + 2 :])
    assert isinstance(done.exception, BacktestError)
    assert why in str(done.exception)
