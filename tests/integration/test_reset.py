"""`kpi-monitor reset` on a real Kafka and Valkey: what it removes, and when it refuses."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from streams.embedded.kafka import EmbeddedKafka
from streams.embedded.valkey import EmbeddedValkey
from tests.support.cluster import Cluster
from tests.support.offline import event

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SESSION_S = "3"


@pytest.fixture
def cluster(kafka: EmbeddedKafka, valkey: EmbeddedValkey, tmp_path: Path) -> Iterator[Cluster]:
    settings = {
        "KPI_REDIS": valkey.url,
        "KPI_SESSION_TIMEOUT_S": SESSION_S,
        "KPI_DATA_DIR": str(tmp_path / "data-w0"),
    }
    made = Cluster(kafka.address, tmp_path, settings)
    made.command("topics", "--create")
    yield made
    made.stop()


def send(cluster: Cluster, amounts: list[int]) -> None:
    """Send for each amount a click, and an order of the same user."""
    now = int(time.time() * 1000)
    users = {f"u{number}": str(amount) for number, amount in enumerate(amounts)}
    cluster.send(
        "clicks", [(u, event(at=now, event_id=f"click-{u}", user_id=u, channel="a")) for u in users]
    )
    cluster.send(
        "orders",
        [
            (u, event("order_placed", at=now, event_id=u, user_id=u, order_id=u, amount=amount))
            for u, amount in users.items()
        ],
    )


def totals(cluster: Cluster, *, orders: int, revenue: float) -> dict[str, Any]:
    """Wait for the totals to date; return the live view."""

    def reached(live: dict[str, Any]) -> bool:
        shown = live["totals"].get("day", {})
        values = [(shown.get(name) or {}).get("value") for name in ("orders", "revenue_gross")]
        return values == [orders, revenue]

    return cluster.until(reached, why=f"{orders} orders of {revenue}")


def start(cluster: Cluster) -> None:
    cluster.start("w0")


def stop(cluster: Cluster) -> None:
    cluster.workers.pop().child.stop()


def test_only_new_totals(cluster: Cluster, valkey: EmbeddedValkey, tmp_path: Path) -> None:
    """After a reset with the sources, a worker counts only what is sent afterwards."""
    send(cluster, [10, 20, 30])
    start(cluster)
    totals(cluster, orders=3, revenue=60)
    running = cluster.command("reset", "--yes", check=False)
    assert running.returncode == 2
    assert f"stop the workers of {cluster.app_id} first: w0 from 127.0.0.1" in running.stderr
    totals(cluster, orders=3, revenue=60)
    stop(cluster)
    unanswered = cluster.command("reset", "--sources", check=False)
    assert unanswered.returncode == 1
    assert "nothing was removed" in unanswered.stdout
    client = redis.Redis.from_url(valkey.url)
    client.set(f"{cluster.app_id}-2:customers", "of another app")
    keys = sum(1 for _ in client.scan_iter(f"{cluster.app_id}:*"))
    assert keys >= 4  # a mark, and a log of each of three customers
    assert (tmp_path / "data-w0" / "v1").exists()
    (tmp_path / "data-w0" / "mine.txt").write_text("not the monitor's")
    said = cluster.command("reset", "--yes", "--sources").stdout
    for topic in ("partials", "registry", "ingest-changelog", "kpis-changelog", "alerts"):
        assert f"topic {cluster.topic(topic)}, which is created again" in said
    for topic in ("clicks", "orders", "campaigns"):
        assert f"all events of topic {cluster.topic(topic)}" in said
    assert f"{tmp_path / 'data-w0' / 'v1'}\n" in said
    assert f"  {keys} keys of {cluster.app_id} in Redis" in said
    assert not list(client.scan_iter(f"{cluster.app_id}:*"))
    assert client.get(f"{cluster.app_id}-2:customers") == b"of another app"
    assert [path.name for path in (tmp_path / "data-w0").iterdir()] == ["mine.txt"]
    assert cluster.command("topics").returncode == 0
    send(cluster, [1, 2])
    start(cluster)
    live = totals(cluster, orders=2, revenue=3)
    assert live["health"]["counted"] == live["health"]["events"] == 4
    assert live["totals"]["day"]["orders_last_touch"]["value"] == 2


def test_sources_stay(cluster: Cluster) -> None:
    """Without --sources, the next worker counts the events of the topics again, once."""
    send(cluster, [10, 20])
    start(cluster)
    totals(cluster, orders=2, revenue=30)
    stop(cluster)
    said = cluster.command("reset", "--yes").stdout
    assert f"Topics that stay: {cluster.topic('clicks')}, " in said
    start(cluster)
    live = totals(cluster, orders=2, revenue=30)
    assert live["health"]["duplicates"] == 0


def test_interrupted(cluster: Cluster, valkey: EmbeddedValkey) -> None:
    """If Redis does not answer, nothing is removed."""
    send(cluster, [10])
    start(cluster)
    totals(cluster, orders=1, revenue=10)
    stop(cluster)
    data_dir = cluster.settings["KPI_DATA_DIR"]
    cluster.settings |= {"KPI_DATA_DIR": str(cluster.folder / "other"), "KPI_REDIS": ""}
    asked = cluster.command("reset", check=False).stdout
    assert "nothing in Redis, which is not configured here" in asked
    assert f"nothing in {cluster.folder / 'other'} (KPI_DATA_DIR)" in asked
    cluster.settings |= {"KPI_DATA_DIR": data_dir, "KPI_REDIS": "redis://127.0.0.1:1/0"}
    refused = cluster.command("reset", "--yes", "--sources", check=False)
    assert refused.returncode == 2
    assert "no Redis answers" in refused.stderr
    cluster.settings["KPI_REDIS"] = valkey.url
    start(cluster)
    totals(cluster, orders=1, revenue=10)
