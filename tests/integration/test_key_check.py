"""`kpi-monitor topics --verify-keys` on a real Kafka, and the producer of the how-to page."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from kafka import KafkaProducer

from streams.embedded.kafka import EmbeddedKafka
from tests.support.cluster import Cluster
from tests.support.offline import event

pytestmark = [pytest.mark.integration, pytest.mark.slow]

USERS = [f"u{number}" for number in range(60)]


@pytest.fixture
def cluster(kafka: EmbeddedKafka, tmp_path: Path) -> Cluster:
    made = Cluster(kafka.address, tmp_path)
    made.command("topics", "--create")
    return made


def send(cluster: Cluster, topic: str, kind: str, partition: Callable[[str], int | None]) -> None:
    """Send an event of each user to the partition that is given; None leaves it to the client."""
    producer = KafkaProducer(**cluster.broker.client_options())
    now = int(time.time() * 1000)
    for user in USERS:
        body = event(kind, at=now, event_id=f"{topic}-{user}", user_id=user)
        producer.send(
            cluster.topic(topic),
            key=user.encode(),
            value=json.dumps(body).encode(),
            partition=partition(user),
        )
    producer.flush()
    producer.close()


def test_partitioners(cluster: Cluster) -> None:
    """Java's partitioner is right; librdkafka's is named, with the first record."""
    empty = cluster.command("topics", "--verify-keys").stdout
    assert "0 of 0 users" in empty
    send(cluster, "clicks", "click", lambda _: None)
    send(cluster, "orders", "order_placed", lambda _: None)
    right = cluster.command("topics", "--verify-keys").stdout
    assert "0 of 60 users" in right
    assert re.search(rf"{cluster.topic('clicks')} +│ +60 +│ +60 +│ +0 +│ +0 ", right)
    send(cluster, "orders", "order_placed", lambda user: zlib.crc32(user.encode()) % 4)
    done = cluster.command("topics", "--verify-keys", check=False)
    assert done.returncode == 1
    orders = cluster.topic("orders")
    found = re.search(rf"{orders} +│ +120 +│ +120 +│ +0 +│ +(\d+) \(", done.stdout)
    assert found is not None
    apart = int(found[1])
    assert 20 < apart < 60
    assert f"{orders}: partitions are those of crc32, the default of librdkafka; " in done.stdout
    assert f"{apart} of 60 users that are in {cluster.topic('clicks')}" in done.stdout


def test_missing_topics(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """Keys of topics that do not exist can't be verified, which is said."""
    done = Cluster(kafka.address, tmp_path).command("topics", "--verify-keys", check=False)
    assert done.returncode == 2
    assert "kpi-monitor topics --create" in done.stderr


def test_producer_of_the_page(cluster: Cluster, repository: Path) -> None:
    """The page's producer in Python sends an event that the monitor can read, to its partition."""
    page = (repository / "docs" / "how-to" / "produce.md").read_text()
    program = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0]
    assert len(program.splitlines()) <= 10
    program = program.replace("127.0.0.1:9092", cluster.kafka)
    program = program.replace('"orders"', repr(cluster.topic("orders")))
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    said = cluster.command("topics", "--verify-keys").stdout
    assert re.search(rf"{cluster.topic('orders')} +│ +1 +│ +1 +│ +0 +│ +0 ", said)
