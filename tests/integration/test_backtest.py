"""A live monitor and a backtest of what it read: their topics of alerts are equal byte for byte."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer

from models.alerts import Alert, AlertState
from streams import settings
from streams.assembly import configuration
from streams.assembly.stages import ingest_stage, kpis_stage
from streams.backtest.firings import firings
from streams.backtest.player import Player
from streams.backtest.run import run
from streams.backtest.topics_input import RecordedTopics
from streams.embedded.kafka import EmbeddedKafka
from tests.support.cluster import Cluster
from tests.support.offline import NOON, event

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SPEED = 6
"""Seconds of event time in a second of the clock."""
LENGTH_S = 240
STEP_S = 1.5
"""Seconds of event time that are sent at once."""
PARTITIONS = 2
RULES = """\
rules:
  - {name: registrations-many, kind: threshold, kpi: registrations, window: 1m, above: 30}
  - {name: orders-few, kind: threshold, kpi: orders, window: 1m, below: 5}
  - {name: clicks-many, kind: threshold, kpi: clicks, window: 1m, scope: campaign, above: 150,
     for: 20, keep_firing_for: 10}
"""
CAMPAIGNS = "campaigns: [{id: c1}, {id: c2}]\n"
LATE = {159.5: ("registration", 100.0), 229.5: ("order_placed", 150.0)}
"""By the second at which it arrives, a late event: its type and its second.

It changes the window on which a rule fired, and no window on which an alert begins or ends. A
corrected alert has the value of the last window that was judged. So the five seconds before are
sent in as many of the clock: the windows that ended 9.5 s before are then judged for sure, and none
after them.
"""


def traffic() -> Iterator[tuple[float, str, dict[str, Any]]]:
    """Yield the second at which an event arrives, its topic, and the event.

    From 60 s on until 150 s clicks are many, from 90 s until 130 s registrations. There are no
    orders from 130 s on until 215 s.
    """
    for half in range(2 * LENGTH_S):
        at = half / 2
        for number in range(3 if 60 <= at < 150 else 1):
            if number or half % 2:
                yield at, "clicks", _event("click", at, f"{half}-{number}")
        if half % 10 == 0 or (90 <= at < 130 and half % 2 == 0):
            yield at, "orders", _event("registration", at, f"{half}")
        if half % 4 == 1 and not 130 <= at < 215:
            yield at, "orders", _event("order_placed", at, f"{half}")
        if at in LATE:
            kind, of = LATE[at]
            yield at, "orders", _event(kind, of, "late")


def _event(kind: str, second: float, number: str) -> dict[str, Any]:
    names = {"event_id": f"{kind}-{number}", "user_id": f"u-{number}"}
    if kind == "order_placed":
        names["order_id"] = f"o-{number}"
    return event(kind, at=NOON + round(second * 1000), **names)


def send(cluster: Cluster) -> None:
    """Send the traffic at its speed, and slowly before what is late."""
    producer = KafkaProducer(**cluster.broker.client_options(), linger_ms=0)
    due, sent_s = time.monotonic(), 0.0
    for at, topic, body in traffic():
        slowly = any(arrives - 4.5 <= at <= arrives for arrives in LATE)
        if at >= sent_s + (0.5 if slowly else STEP_S):
            producer.flush()
            due += (at - sent_s) / (1 if slowly else SPEED)
            sent_s = at
            time.sleep(max(0.0, due - time.monotonic()))
        key = body["user_id"].encode()
        producer.send(cluster.topic(topic), value=json.dumps(body).encode(), key=key)
    producer.flush()
    producer.close()


def backtested(chosen: settings.Settings) -> Player:
    """Return a player after it played what is in the topics."""
    made = configuration.load(chosen)
    rules = made.rules(chosen.rules_file)
    player = Player(
        ingest_stage(chosen, made, customers=None),
        [kpis_stage(chosen, made, rules, new_spill=lambda: None, viewed=False)],
    )
    with RecordedTopics(
        chosen.broker,
        chosen.source_topics,
        partitions=chosen.partitions,
        from_ms=None,
        to_ms=None,
    ) as recorded:
        played = run(
            player,
            recorded.records(),
            allowed_disorder_ms=round(chosen.allowed_disorder_s * 1000),
            to_ms=None,
            on_step=lambda _: None,
        )
        assert played.records == len(recorded)
    return player


def test_live_equals_backtest(
    kafka: EmbeddedKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The live alerts of a recorded stream and the backtest's are equal, corrections included."""
    (tmp_path / "rules.yaml").write_text(RULES)
    (tmp_path / "campaigns.yaml").write_text(CAMPAIGNS)
    cluster = Cluster(
        kafka.address,
        tmp_path,
        settings={
            "KPI_RULES_FILE": str(tmp_path / "rules.yaml"),
            "KPI_CAMPAIGNS_FILE": str(tmp_path / "campaigns.yaml"),
            "KPI_PARTITIONS": str(PARTITIONS),
        },
    )
    cluster.start()
    expected = 3 * PARTITIONS
    cluster.until(
        lambda seen: seen["health"].get("sources_reporting") == expected, why="all sources report"
    )
    send(cluster)
    closed_ms = NOON + LENGTH_S * 1000
    cluster.until(lambda seen: seen["frontier"] >= closed_ms, why="the last window is closed")

    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    player = backtested(settings.load())
    found = [(record.key, record.value) for record in player.alerts[0]]
    live: list[tuple[bytes, bytes]] = []
    deadline = time.monotonic() + 20
    while len(live) < len(found) and time.monotonic() < deadline:
        time.sleep(0.5)  # the last checkpoint of the KPI stage is written every two seconds
        live = [(record.key, record.value) for record in cluster.read("alerts")]
    cluster.stop()
    assert live == found
    _require_corrections(live)
    result = tmp_path / "result.json"
    cluster.command("backtest", "--json", str(result))
    fired = [(one.rule, one.from_ms) for one in firings(player.alerts[0])]
    assert {rule for rule, _ in fired} == {"clicks-many", "registrations-many", "orders-few"}
    written = json.loads(result.read_text())["firings"]
    assert [(one["rule"], one["fired"]) for one in written] == fired


def _require_corrections(live: list[tuple[bytes, bytes]]) -> None:
    """Require that late events corrected two alerts, and that all alerts resolved."""
    alerts = [Alert.model_validate_json(value) for _, value in live]
    corrected = {one.rule for one in alerts if one.correction is not None}
    assert corrected == {"registrations-many", "orders-few"}
    resolved = {one.rule for one in alerts if one.state is AlertState.RESOLVED}
    assert resolved == {one.rule for one in alerts}
