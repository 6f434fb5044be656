"""Boards load in Grafana 9.4 and do not tell what is no longer so."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from dashboards.generate import boards
from dashboards.lint import faults
from dashboards.model import panels_of

BOARDS = {path.stem: json.loads(text) for path, text in boards().items()}


def _tile(board: dict[str, Any]) -> dict[str, Any]:
    return next(panel for panel in board["panels"] if panel["type"] == "stat")


def _shared_variable_ids(board: dict[str, Any]) -> None:
    for variable in board["templating"]["list"]:
        variable["id"] = "00000000-0000-0000-0000-000000000000"


def _without_version(board: dict[str, Any]) -> None:
    del _tile(board)["pluginVersion"]


def _over_a_range(board: dict[str, Any]) -> None:
    _tile(board)["targets"][0]["instant"] = False


def _zero_for_no_answer(board: dict[str, Any]) -> None:
    _tile(board)["targets"][0]["expr"] += " or vector(0)"


def _too_wide(board: dict[str, Any]) -> None:
    _tile(board)["gridPos"]["x"] = 20


def _on_top_of_another(board: dict[str, Any]) -> None:
    first, second, *_ = (panel for panel in board["panels"] if panel["type"] == "stat")
    second["gridPos"] = first["gridPos"]


@pytest.mark.parametrize("name", sorted(BOARDS))
def test_boards_have_no_faults(name: str) -> None:
    """The lint that `make check` runs finds nothing in the boards as they are."""
    assert faults(BOARDS[name]) == []


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_shared_variable_ids, "6 variables have the id"),
        (_without_version, "has no pluginVersion"),
        (_over_a_range, "is not instant"),
        (_zero_for_no_answer, "has `or vector(0)`"),
        (_too_wide, "reaches to column"),
        (_on_top_of_another, "overlap"),
    ],
)
def test_faults_are_told(spoil: Callable[[dict[str, Any]], None], said: str) -> None:
    """Each fault that was seen in a real Grafana is found again."""
    board = deepcopy(BOARDS["live"])
    spoil(board)
    assert any(said in fault for fault in faults(board))


@pytest.mark.parametrize("name", sorted(BOARDS))
def test_currency_is_a_variable(name: str) -> None:
    """No query, unit or title has a currency in it: the boards take that of the monitor."""
    board = BOARDS[name]
    (variable,) = [one for one in board["templating"]["list"] if one["name"] == "currency"]
    assert "kpi_monitor_currency_info" in variable["query"]["query"]
    panels = [panel for panel in panels_of(board) if panel["type"] != "row"]
    for panel in panels:
        assert "CNY" not in json.dumps(panel | {"description": ""}), panel["title"]
    exprs = [target["expr"] for panel in panels for target in panel["targets"]]
    money = [expr for expr in exprs if re.search(r"kpi_\w+_money", expr)]
    assert money
    assert all('currency="$currency"' in expr for expr in money)


def test_first_row() -> None:
    """The first row says whether workers answer, what fires, the lag and the frontier's age."""
    top = min(panel["gridPos"]["y"] for panel in BOARDS["live"]["panels"] if "targets" in panel)
    first = [
        target["expr"]
        for panel in panels_of(BOARDS["live"])
        for target in panel.get("targets", ())
        if panel["gridPos"]["y"] == top
    ]
    assert first[0] == 'sum (up{job="kpi-monitor"})'
    assert "kpi_monitor_alert_active" in first[1]
    assert len(first) == 4
