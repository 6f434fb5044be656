"""The mistakes of docs/testing.md, made again: the messages are those of the page."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from streams import cli

_TIME = "time: {value: '{Ordered}', format: '%d.%m.%Y %H:%M:%S', zone: Europe/Berlin}\n"
_CLICK = "events: [{type: click, fields: {user_id: '{Customer}'}}]\n"
_SEMICOLON = "delimiter: ';'\n"
_ROWS = "Ordered;Customer;Total;Status\n25.11.2026 15:17:58;Müller;12,50;paid\n"

MAPPINGS = [
    (
        _SEMICOLON + _TIME.replace("%d.%m", "%m.%d") + _CLICK,
        "'25.11.2026 15:17:58' does not match the format '%m.%d.%Y %H:%M:%S'",
    ),
    (_SEMICOLON + _TIME.replace("Europe/Berlin", "CET+1") + _CLICK, "no time zone named 'CET+1'"),
    (_SEMICOLON + _TIME.replace(", zone: Europe/Berlin", "") + _CLICK, "time.zone: is missing"),
    (
        _SEMICOLON + _TIME + _CLICK.replace("click,", "click, when: {Stat: paid},"),
        "orders.csv has no column 'Stat'; did you mean Status?",
    ),
    (
        _TIME + _CLICK,
        "it has one column, 'Ordered;Customer;Total;Status'; set delimiter: \";\" in the mapping",
    ),
    (
        _SEMICOLON + _TIME + _CLICK.replace("click,", "click, when: {Status: shipped},"),
        "no row became an event, and nothing is sent",
    ),
    (
        _SEMICOLON + _TIME + _CLICK.replace("user_id", "userid"),
        "no field of click; did you mean user_id?",
    ),
    (
        _SEMICOLON + _TIME + _CLICK.replace("click", "clik"),
        "no event type 'clik'; did you mean click?",
    ),
    (
        _SEMICOLON
        + _TIME
        + "events: [{type: order_placed, fields: {user_id: '{Customer}', order_id: '{event_id}', "
        "amount: '{Total}', currency: EUR}}]\n",
        "'12,50' is no number; if it has a decimal comma, set numbers.decimal in the mapping",
    ),
]
RULES = [
    (
        "{name: a, kpi: clicks, below: 1}",
        "rules[0].kind: is missing; give one of absence, anomaly, change, outlier, pace, "
        "persistent, range, threshold",
    ),
    (
        "{name: a, kind: threshold, kpi: conversion_rat, below: 0.01}",
        "no KPI named 'conversion_rat'; did you mean conversion_rate?",
    ),
    (
        "{name: a, kind: threshold, kpi: clicks, bellow: 1}",
        "rules[0].bellow: there is no such key; did you mean below?",
    ),
]
SETTINGS = [
    ("KPI_RULES_FILE", "", "KPI_RULES_FILE (environment): is empty; give a path, or leave it out"),
    (
        "KPI_CURRENCY",
        "EURO",
        "KPI_CURRENCY (environment): give the code of a currency, three capitals such as CNY",
    ),
    ("KPI_KAFKAA", "x", "KPI_KAFKAA (environment) is no setting; did you mean KPI_KAFKA?"),
]


def _documented(repository: Path, message: str) -> bool:
    return message in (repository / "docs" / "testing.md").read_text(encoding="utf-8")


def _said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[object, str]:
    """Return the exit code of the command, and what it says."""
    monkeypatch.setattr(sys, "argv", ["kpi-monitor", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    found = capsys.readouterr()
    return end.value.code, found.out + found.err


@pytest.mark.parametrize(("mapping", "message"), MAPPINGS, ids=[one for _, one in MAPPINGS])
def test_a_mistake_in_a_mapping(
    mapping: str,
    message: str,
    tmp_path: Path,
    repository: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nothing is sent, and the message is the documented one."""
    monkeypatch.chdir(tmp_path)
    Path("orders.csv").write_text(_ROWS, encoding="utf-8")
    Path("map.yaml").write_text(mapping, encoding="utf-8")
    arguments = ["feed", "orders.csv", "--mapping", "map.yaml", "--dry-run"]
    code, text = _said(monkeypatch, capsys, *arguments)
    assert (code, message in text) == (2, True), text
    assert _documented(repository, message)


def test_a_file_in_latin_1(
    tmp_path: Path,
    repository: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The message about bytes that are not UTF-8 names the key that helps."""
    monkeypatch.chdir(tmp_path)
    Path("orders.csv").write_bytes(_ROWS.encode("latin-1"))
    Path("map.yaml").write_text(_SEMICOLON + _TIME + _CLICK, encoding="utf-8")
    arguments = ["feed", "orders.csv", "--mapping", "map.yaml", "--dry-run"]
    code, text = _said(monkeypatch, capsys, *arguments)
    message = "is not utf-8; set encoding in the mapping, such as cp1252 or latin-1"
    assert (code, message in text) == (2, True), text
    assert _documented(repository, message)


@pytest.mark.parametrize(("rule", "message"), RULES, ids=[one for _, one in RULES])
def test_a_mistake_in_a_rule(
    rule: str,
    message: str,
    tmp_path: Path,
    repository: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The message names line and key, and what to write instead."""
    path = tmp_path / "rules.yaml"
    path.write_text(f"rules:\n  - {rule}\n")
    code, text = _said(monkeypatch, capsys, "check", "--offline", "--rules", str(path))
    assert (code, f"{path}: line 2: " in text, message in text) == (2, True, True), text
    assert _documented(repository, message)


@pytest.mark.parametrize(("name", "value", "message"), SETTINGS, ids=[one for one, *_ in SETTINGS])
def test_a_mistake_in_a_setting(
    name: str,
    value: str,
    message: str,
    repository: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The message names the variable, and where it is set."""
    monkeypatch.setenv(name, value)
    _, text = _said(monkeypatch, capsys, "check", "--offline")
    assert message in text
    assert _documented(repository, message)
