"""Faults that a worker must survive, or refuse with a clear word, on a real Kafka."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from kafka import TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from streams.embedded.kafka import EmbeddedKafka
from tests.support.cluster import Cluster
from tests.support.offline import event

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture
def cluster(kafka: EmbeddedKafka, tmp_path: Path) -> Iterator[Cluster]:
    campaigns = tmp_path / "campaigns.yaml"
    campaigns.write_text("campaigns: [{id: c1}]\n")
    settings = {"KPI_CAMPAIGNS_FILE": str(campaigns), "KPI_PARTITIONS": "1"}
    made = Cluster(kafka.address, tmp_path, settings)
    made.command("topics", "--create")
    yield made
    made.stop()


def now_ms() -> int:
    return int(time.time() * 1000)


def clicks(cluster: Cluster, names: list[str], *, at: int | None = None) -> None:
    at = now_ms() if at is None else at
    cluster.send("clicks", [("u1", event(at=at, event_id=name)) for name in names])


def counted(cluster: Cluster, records: int) -> dict[str, int]:
    live = cluster.until(
        lambda live: live["health"].get("events", 0) >= records, why=f"{records} records are read"
    )
    health: dict[str, int] = live["health"]
    return {name: health[name] for name in ("events", "counted", "duplicates", "dead_letters")}


def delete_records(cluster: Cluster, topic: str, *, before: int) -> None:
    """Remove the first records of a topic's only partition, as retention does."""
    client = KafkaAdminClient(**cluster.broker.client_options())
    deletable = ConfigResource(
        ConfigResourceType.TOPIC, cluster.topic(topic), configs={"cleanup.policy": "delete"}
    )
    client.alter_configs([deletable])
    client.delete_records({TopicPartition(cluster.topic(topic), 0): before})
    client.close()


def test_poison_record_is_set_aside(
    cluster: Cluster,
) -> None:
    """A record on which a stage fails becomes a dead letter; all other records are counted."""
    cluster.start("a", module="tests.support.faulty_worker")
    clicks(cluster, [f"first-{number}" for number in range(50)])
    assert counted(cluster, 50)["counted"] == 50
    names = [f"e{number}" for number in range(300)]
    names[7] = "poison-1"
    names[200] = "poison-2"
    clicks(cluster, names)
    assert counted(cluster, 350) == {
        "events": 350,
        "counted": 348,
        "duplicates": 0,
        "dead_letters": 2,
    }
    letters = [json.loads(record.value) for record in cluster.read("dead-letters")]
    assert sorted({letter["offset"] for letter in letters}) == [57, 250]
    assert {letter["reason"] for letter in letters} == {"stage_failure"}
    assert "kpi_monitor_isolated_records_total 2.0" in cluster.workers[0].get("metrics")


def test_stage_that_always_fails_ends_the_worker(
    cluster: Cluster,
) -> None:
    """A stage that fails on every record ends the worker.

    Its successor reads the records that were not set aside.
    """
    worker = cluster.start("a", module="tests.support.faulty_worker")
    assert worker.url
    names = [f"poison-{number}" for number in range(60)]
    clicks(cluster, names)
    assert worker.child.process.wait(60) == 70
    assert "a fault of the stage and not of single records" in worker.child.log_tail(5)
    cluster.workers.clear()
    cluster.start("a")
    live = cluster.until(lambda live: live["health"].get("events", 0) >= 60, why="all are read")
    # What was set aside before the limit is kept, everything else is counted.
    assert live["health"]["counted"] + live["health"]["dead_letters"] == 60
    assert live["health"]["duplicates"] == 0


def test_a_broken_local_store_is_rebuilt_from_the_changelog(cluster: Cluster) -> None:
    worker = cluster.start("a")
    at = now_ms()
    clicks(cluster, [f"e{number}" for number in range(100)], at=at)
    counted(cluster, 100)
    worker.child.stop()
    stores = sorted((cluster.folder / "data-a").rglob("*.db"))
    assert stores
    for store in stores:
        for file in [*store.glob("MANIFEST*"), *store.glob("*.sst"), *store.glob("*.log")]:
            file.write_bytes(b"broken" * 50)
    cluster.start("a")
    clicks(cluster, ["e7", "new"], at=at)
    assert counted(cluster, 102) == {
        "events": 102,
        "counted": 101,
        "duplicates": 1,
        "dead_letters": 0,
    }
    assert "rebuilt from the changelog" in worker.child.log_file.read_text()


def test_records_lost_to_retention_are_a_gap(
    cluster: Cluster,
) -> None:
    """Records that retention deleted before they were read make a gap and an alert."""
    worker = cluster.start("a")
    clicks(cluster, [f"e{number}" for number in range(10)])
    counted(cluster, 10)
    worker.child.stop()
    time.sleep(11)  # the events after the gap are in another pane
    clicks(cluster, [f"lost-{number}" for number in range(30)])
    delete_records(cluster, "clicks", before=30)
    cluster.start("a")
    assert counted(cluster, 20)["counted"] == 20
    clicks(cluster, ["last"])
    live = cluster.until(
        lambda live: (
            live["health"]["events"] == 21
            and any(alert["rule"] == "data-gap" for alert in live["alerts"])
        ),
        why="the gap is an alert",
    )
    assert live["health"]["counted"] == 21
    cluster.until(
        lambda _: (
            'kpi_monitor_window_complete{window="5m"} 0.0' in cluster.workers[-1].get("metrics")
        ),
        why="the newest window lacks records",
    )
    text = cluster.workers[-1].get("metrics")
    assert "kpi_monitor_lost_records_total 20.0" in text
    assert "kpi_monitor_gaps 1.0" in text
    assert "20 records before offset 30 are gone" in worker.child.log_file.read_text()


def test_loss_at_the_end_of_a_topic_is_a_gap(cluster: Cluster) -> None:
    """Records that were lost make a gap and an alert also if no record comes after them."""
    worker = cluster.start("a")
    clicks(cluster, [f"e{number}" for number in range(10)])
    counted(cluster, 10)
    worker.child.stop()
    clicks(cluster, [f"lost-{number}" for number in range(30)])
    delete_records(cluster, "clicks", before=40)
    cluster.start("a")
    live = cluster.until(
        lambda live: any(alert["rule"] == "data-gap" for alert in live["alerts"]),
        why="the gap is an alert although no record came after it",
    )
    assert live["health"]["events"] == 10
    cluster.until(
        lambda live: (live["health"]["lag_seconds"] or 9) < 2, why="completeness goes on after it"
    )
    clicks(cluster, ["last"])
    assert counted(cluster, 11)["counted"] == 11
    assert "kpi_monitor_lost_records_total 30.0" in cluster.workers[-1].get("metrics")


def test_a_truncated_changelog_is_refused_with_the_remedy(cluster: Cluster) -> None:
    worker = cluster.start("a")
    for first in range(0, 30, 10):
        clicks(cluster, [f"e{number}" for number in range(first, first + 10)])
        counted(cluster, first + 10)
    worker.child.stop()
    end = sum(1 for _ in cluster.read("ingest-changelog"))
    delete_records(cluster, "ingest-changelog", before=end - 3)
    again = cluster.start("b")
    assert again.child.process.wait(60) == 70
    said = again.child.log_tail(5)
    assert "its changelog was truncated" in said
    assert "start over with `kpi-monitor reset`" in said


def test_transactions(
    cluster: Cluster,
) -> None:
    """Aborted transactions are not counted, and open ones delay the watermark."""
    cluster.start("a")

    async def transactions() -> None:
        client = AIOKafkaProducer(
            bootstrap_servers=cluster.kafka, transactional_id=f"{cluster.app_id}-producer"
        )
        await client.start()

        async def send(name: str, *, commit: bool) -> None:
            await client.begin_transaction()
            body = json.dumps(event(at=now_ms(), event_id=name)).encode()
            await client.send_and_wait(cluster.topic("clicks"), body, b"u1")
            if commit:
                await client.commit_transaction()
            else:
                await client.abort_transaction()

        for number in range(20):
            await send(f"e{number}", commit=number % 2 == 0)
        await client.begin_transaction()
        body = json.dumps(event(at=now_ms(), event_id="open")).encode()
        await client.send_and_wait(cluster.topic("clicks"), body, b"u1")
        await asyncio.to_thread(
            cluster.until,
            lambda live: live["health"].get("counted") == 10 and live["health"]["lag_seconds"] > 3,
            why="an open transaction is lag",
        )
        await client.abort_transaction()
        await client.stop()

    asyncio.run(transactions())
    live = cluster.until(
        lambda live: (
            live["health"].get("lag_seconds", 9) < 2 and live["health"]["lag_records"] == 0
        ),
        why="the end is reached over the markers",
    )
    assert live["health"]["counted"] == live["health"]["events"] == 10
    clicks(cluster, ["last"])
    assert counted(cluster, 11)["counted"] == 11
    assert "kpi_monitor_lost_records_total 0.0" in cluster.workers[0].get("metrics")


def test_older_of_two_equal_instances_ends(
    cluster: Cluster,
) -> None:
    """Of two workers with the same instance id the older one ends; both log why.

    A worker that is started again under its instance id says nothing of the kind.
    """
    older = cluster.start("same")
    at = now_ms()
    clicks(cluster, [f"e{number}" for number in range(20)], at=at)
    counted(cluster, 20)
    newer = cluster.start("same", KPI_DATA_DIR=str(cluster.folder / "data-other"))
    assert older.child.process.wait(40) == 70
    assert "another worker joined with the instance id same" in older.child.log_file.read_text()
    clicks(cluster, ["e7", "new"], at=at)
    assert counted(cluster, 22)["duplicates"] == 1
    assert newer.child.alive
    other = "another worker has the instance id same: "
    log = newer.child.log_file.read_text()
    assert log.count(f"{other}one that joined from 127.0.0.1 with another data folder") == 1
    newer.child.stop()
    again = cluster.start("same", KPI_DATA_DIR=str(cluster.folder / "data-other"))
    clicks(cluster, ["newest"], at=at)
    counted(cluster, 23)
    assert again.child.log_file.read_text().count(other) == 1
    twin = cluster.start("same", KPI_DATA_DIR=str(cluster.folder / "data-other"))
    assert again.child.process.wait(40) == 70
    assert f"{other}process {again.child.pid} on this machine" in twin.child.log_file.read_text()
