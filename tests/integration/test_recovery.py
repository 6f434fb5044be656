"""Nothing is lost and nothing counted twice while workers come and go."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.embedded.kafka import EmbeddedKafka
from streams.operations.synthetic import Truth
from tests.support.backlog import assert_exact, fill
from tests.support.cluster import Cluster

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture
def cluster(kafka: EmbeddedKafka, tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(
        kafka.address, tmp_path, {"KPI_POLL_RECORDS": "200", "KPI_SESSION_TIMEOUT_S": "6"}
    )
    made.command("topics", "--create")
    yield made
    made.stop()


def test_workers_that_are_killed_lose_nothing(cluster: Cluster) -> None:
    truth = fill(cluster)
    for _ in range(4):
        worker = cluster.start("w0")
        assert worker.url
        time.sleep(4.0)
        worker.child.kill()
    cluster.start("w0")
    assert_exact(cluster, truth)


def test_workers_join_leave_and_lose_disks(cluster: Cluster) -> None:
    """Workers that join, leave or lose their disk lose no event and count none twice."""
    first = cluster.start("a")
    assert first.url
    truth = fill(cluster)
    second = cluster.start("b")
    time.sleep(5)
    first.child.kill()
    shutil.rmtree(cluster.folder / "data-a")
    third = cluster.start("c")
    time.sleep(9)
    second.child.stop()
    cluster.start("a")
    assert third.url
    assert_exact(cluster, truth)


def test_paused_worker_ends_on_return(
    cluster: Cluster,
) -> None:
    """A worker that was paused for long ends when it resumes, and its successor counts exactly."""
    first = cluster.start("a")
    assert first.url
    truth = fill(cluster)
    time.sleep(2)
    os.kill(first.child.pid, signal.SIGSTOP)
    cluster.start("b")
    time.sleep(9)
    os.kill(first.child.pid, signal.SIGCONT)
    assert first.child.process.wait(15) == 70
    assert "was paused for" in first.child.log_tail()
    assert_exact(cluster, truth)


def test_input_goes_on_after_a_restart_where_it_stopped(cluster: Cluster) -> None:
    first = fill(cluster, seconds=60, seed=4)
    worker = cluster.start("w0")
    assert_exact(cluster, first)
    worker.child.stop()
    assert "stopped" in worker.child.log_tail(3)
    second = fill(cluster, seconds=60, seed=5)
    cluster.start("w0")
    both = Truth(
        unique=first.unique + second.unique,
        duplicates=first.duplicates + second.duplicates,
        broken=first.broken + second.broken,
    )
    assert_exact(cluster, both)
