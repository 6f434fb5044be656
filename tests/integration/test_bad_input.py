"""Broken records through real Kafka: dead letters, listed and sent again."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.embedded.kafka import EmbeddedKafka
from tests.support.cluster import Cluster
from tests.support.offline import event

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture
def cluster(kafka: EmbeddedKafka, tmp_path: Path) -> Iterator[Cluster]:
    campaigns = tmp_path / "campaigns.yaml"
    campaigns.write_text("campaigns: [{id: c1}]\n")
    made = Cluster(kafka.address, tmp_path, {"KPI_CAMPAIGNS_FILE": str(campaigns)})
    made.command("topics", "--create")
    yield made
    made.stop()


def test_bad_records_become_dead_letters(cluster: Cluster) -> None:
    """Bad records are counted and listed with their reason; good records count as usual."""
    now = int(time.time() * 1000)
    cluster.send(
        "clicks",
        [
            (None, b"not json"),
            (None, b"\xff\xfe"),
            (None, b""),
            (None, b'{"type":"click","pad":"' + b"x" * 950_000 + b'"}'),
            ("u1", {**event(at=now), "type": "teleport"}),
            ("u1", event(at=now + 86_400_000)),
            ("u1", event(at=1_000)),
            ("u1", event(at=now, event_id="a\0")),
            ("u1", event(at=now, event_id="good")),
            ("u1", event(at=now, event_id="good")),
            ("u1", event(at=now, event_id="stray", campaign_id="c9")),
        ],
    )
    cluster.send(
        "orders",
        [
            ("u1", event("order_placed", at=now, event_id="minus", amount=-5)),
            ("u1", event("order_placed", at=now, event_id="dollar", currency="USD")),
            ("u1", event("order_placed", at=now, event_id="fine", amount="19.99")),
        ],
    )
    cluster.start()
    live = cluster.until(
        lambda live: (
            live["health"].get("events") == 14 and "day" in live["totals"] and live["frontier"]
        ),
        why="all records are read",
    )
    assert (live["health"]["counted"], live["health"]["duplicates"]) == (3, 1)
    assert live["health"]["dead_letters"] == 10
    assert live["unknown"]["campaign"]["samples"] == ["c9"]
    text = cluster.workers[0].get("metrics")
    counts = {"not_json": 2, "empty": 1, "oversize": 1, "unknown_type": 1, "far_future": 1}
    for reason, count in {**counts, "far_past": 1, "nul_character": 1}.items():
        labels = f'{{reason="{reason}",topic="{cluster.topic("clicks")}"}}'
        assert f"kpi_monitor_dead_letters_total{labels} {count}.0" in text
    cluster.until(
        lambda live: live["totals"]["5m"].get("clicks", {}).get("value") == 2,
        why="two clicks in five minutes",
    )
    assert cluster.owner()["totals"]["5m"]["revenue_gross"]["value"] == 19.99

    listed = cluster.command("dead-letters").stdout
    assert "10 dead letters" in listed
    assert "unknown_" in listed
    again = cluster.command("dead-letters", "--reason", "unknown_currency", "--redrive").stdout
    assert "1 sent again" in again
    cluster.until(
        lambda live: live["health"]["dead_letters"] == 11, why="it is a dead letter again"
    )
    (last,) = [
        letter
        for record in cluster.read("dead-letters")
        if (letter := json.loads(record.value))["reason"] == "unknown_currency"
        and letter["offset"] == 3
    ]
    assert last["topic"] == cluster.topic("orders")
    rest = cluster.command("dead-letters", "--redrive").stdout
    assert "4 sent again" in rest
    assert "7 left out, because they would be refused again: not_json 2, " in rest
