"""Firings of a backtest beside marked incidents, and beside those of other rules."""

from __future__ import annotations

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from models.alerts import Alert, AlertState
from models.scope import ALL, Scope
from models.window import MINUTE_MS
from streams.backtest.comparison import compare
from streams.backtest.firings import Firing
from streams.backtest.incidents import (
    Incident,
    load_incidents,
    score,
    score_of_rule,
    within,
)
from streams.backtest.result import Result
from streams.errors import ConfigError
from tests.factories.backtest import ORDERS_FEW, rule_book

RULES = rule_book(ORDERS_FEW, ORDERS_FEW | {"name": "orders-fewer", "below": 2})
CHECKOUT = """incidents:
  - {name: checkout, from: 1970-01-01T00:10, to: 1970-01-01T00:20}
  - {name: search, from: 1970-01-01T01:00, to: 1970-01-01T01:30, rules: [orders-fewer],
     scopes: [channel=search]}
"""


def incidents(folder: Path, text: str = CHECKOUT, *, zone: str = "UTC") -> tuple[Incident, ...]:
    """Return the incidents of a file."""
    path = folder / "incidents.yaml"
    path.write_text(text)
    return load_incidents(path, RULES, zone=ZoneInfo(zone))


def firing(
    minute: float, until: float | None, *, rule: str = "orders-few", scope: Scope = ALL
) -> Firing:
    """Return a firing between two minutes; None is firing still."""
    fired = Alert(
        rule=rule,
        severity="warning",
        state=AlertState.FIRING,
        scope=scope,
        active_since_ms=0,
        fired_at_ms=round(minute * MINUTE_MS),
        updated_ms=0,
    )
    resolved = None if until is None else round(until * MINUTE_MS)
    return Firing(fired, fired.model_copy(update={"resolved_at_ms": resolved}))


def test_score(tmp_path: Path) -> None:
    """Precision counts firings, recall incidents; the delay is that of the first firing."""
    fired = [firing(13, 15), firing(16, 40), firing(50, 55)]
    one = score(fired, incidents(tmp_path)[:1])
    assert (one.right, one.firings, one.precision) == (2, 3, pytest.approx(2 / 3))
    assert (one.found, one.incidents, one.recall) == (1, 1, 1)
    assert one.delay_ms == 3 * MINUTE_MS


@pytest.mark.parametrize(
    ("minute", "until", "found"),
    [(5, 10, 0), (5, 10.1, 1), (19.9, 30, 1), (20, 30, 0), (5, None, 1), (20, None, 0)],
)
def test_at_the_edges(tmp_path: Path, minute: float, until: float | None, found: int) -> None:
    """A firing is about an incident if both have a moment in common; a delay is never below 0."""
    one = score([firing(minute, until)], incidents(tmp_path)[:1])
    assert one.found == one.right == found
    assert one.delays_ms == ((max(0, round((minute - 10) * MINUTE_MS)),) if found else ())


def test_window_of_a_firing(tmp_path: Path) -> None:
    """A firing after an incident is about it, if the window on which it fired has a part of it."""
    after = firing(40, 45)
    hour = Firing(after.fired.model_copy(update={"window": "1h"}), after.last)
    minutes = Firing(after.fired.model_copy(update={"window": "5m"}), after.last)
    (one,) = incidents(tmp_path)[:1]
    assert one.explains(hour)
    assert not one.explains(minutes)
    assert score([hour], [one]).delay_ms == 30 * MINUTE_MS


def test_incident_of_rule_and_scope(tmp_path: Path) -> None:
    """An incident that names rules and scopes is found by firings of these alone."""
    search = Scope("channel", channel="search")
    both = incidents(tmp_path)
    wrong = [firing(70, 75), firing(70, 75, scope=search), firing(70, 75, rule="orders-fewer")]
    assert score(wrong, both).found == 0
    right = firing(70, 75, rule="orders-fewer", scope=search)
    assert score([*wrong, right], both).right == 1
    assert score_of_rule("orders-few", wrong, both).incidents == 1
    assert score_of_rule("orders-fewer", [right], both).recall == 0.5


def test_without_firings() -> None:
    """Without firings there is no precision, without incidents no recall."""
    nothing = score([], [])
    assert (nothing.precision, nothing.recall, nothing.delay_ms) == (None, None, None)


def test_within(tmp_path: Path) -> None:
    """Incidents before or after the events of a backtest can't be found, and do not count."""
    both = incidents(tmp_path)
    assert [one.name for one in within(both, 0, 60 * MINUTE_MS)] == ["checkout"]
    assert [one.name for one in within(both, 20 * MINUTE_MS, 61 * MINUTE_MS)] == ["search"]


def test_local_time(tmp_path: Path) -> None:
    """A time without an offset is in the time zone of the business day."""
    here, there = incidents(tmp_path), incidents(tmp_path, zone="Asia/Shanghai")
    assert here[0].from_ms - there[0].from_ms == 8 * 60 * MINUTE_MS
    text = CHECKOUT.replace("T00:10", "T08:10+08:00")
    assert incidents(tmp_path, text)[0].from_ms == here[0].from_ms


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ("T00:20", "T00:10", "line 2: incidents[0].to: is not later than from"),
        ("orders-fewer", "orders-fewr", "line 3: incidents[1].rules[0]: there is no rule"),
        ("orders-fewer", "orders-fewr", "did you mean orders-fewer?"),
        ("channel=search", "search", "line 4: incidents[1].scopes[0]: 'search' is no scope"),
        ("channel=search", "chanel=search", "line 4: incidents[1].scopes[0]: 'chanel=search' is"),
        ("name: search", "name: checkout", "line 3: incidents: name 'checkout' is given already"),
        ("from: 1970-01-01T01:00", "form: 1", "line 3: incidents[1].form: there is no such key"),
        ("1970-01-01T00:10", "today", "line 2: incidents[0].from: give a date like"),
    ],
)
def test_faults(tmp_path: Path, before: str, after: str, why: str) -> None:
    """A fault of the file is reported with its line and key."""
    with pytest.raises(ConfigError) as raised:
        incidents(tmp_path, CHECKOUT.replace(before, after))
    assert why in str(raised.value)


def test_compared() -> None:
    """Firings of a rule in a scope at a common time are in both; each is counted once."""
    here = [firing(10, 20), firing(30, 40), firing(50, None)]
    there = [firing(12, 14), firing(16, 18), firing(60, 61), firing(30, 40, rule="orders-fewer")]
    found = compare(here, there)
    assert [(one.from_ms, other.from_ms) for one, other in found.both] == [
        (10 * MINUTE_MS, 12 * MINUTE_MS),
        (50 * MINUTE_MS, 60 * MINUTE_MS),
    ]
    assert found.only_here == [here[1]]
    assert found.only_there == [there[1], there[3]]


def test_json(tmp_path: Path) -> None:
    """The result as JSON has the scores by rule and together, and the comparison."""
    result = Result(
        from_ms=0,
        to_ms=7 * 24 * 60 * MINUTE_MS,
        rules=("orders-few", "orders-fewer"),
        firings=[firing(13, 15), firing(90, None)],
        incidents=list(incidents(tmp_path)),
        against=[firing(13, 14)],
    )
    written = result.to_json()
    assert written["rules"][0] == {"rule": "orders-few", "firings": 2, "a_week": 2}
    assert written["incidents"]["together"]["precision"] == 0.5
    assert written["incidents"]["by_rule"]["orders-fewer"]["incidents"] == 2
    assert [len(written["against"][part]) for part in ("only_here", "only_there", "both")] == [
        *(1, 0, 1)
    ]
    assert written["firings"][1]["for_ms"] == result.to_ms - 90 * MINUTE_MS
    assert [one.name for one in result.missed] == ["search"]
