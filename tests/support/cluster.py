"""Deployments of workers as child processes, each with its own topics and consumer group."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from streams.broker import Broker
from streams.embedded import processes
from streams.embedded.processes import Child


def command_line(*arguments: str, module: str = "streams") -> list[str]:
    """Return the command line of kpi-monitor."""
    return [sys.executable, "-m", module, *arguments]


@dataclass
class Worker:
    """A worker process."""

    child: Child
    ready_file: Path

    @property
    def listens(self) -> bool:
        """Whether the worker runs and its web side has been started."""
        return self.child.alive and self.ready_file.exists() and self.ready_file.read_text() != ""

    @property
    def url(self) -> str:
        """URL of the worker's web side; waits until it listens."""
        processes.wait_until(lambda: self.listens, child=self.child, timeout_s=60)
        return self.ready_file.read_text()

    def get(self, path: str) -> str:
        """Return the text that the worker serves at a path."""
        with urllib.request.urlopen(self.url + path, timeout=20) as answer:
            text: str = answer.read().decode()
            return text

    def live(self) -> dict[str, Any]:
        """Return the worker's live view."""
        picture: dict[str, Any] = json.loads(self.get("api/live"))
        return picture


@dataclass
class Cluster:
    """A deployment: one app id, its settings and its workers.

    Args:
        kafka: bootstrap address.
        folder: of data and logs.
        settings: environment variables of all workers and commands.
        security: further arguments of `Broker`.
    """

    kafka: str
    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    security: dict[str, Any] = field(default_factory=dict)
    app_id: str = field(default_factory=lambda: f"t{uuid.uuid4().hex[:8]}")
    workers: list[Worker] = field(default_factory=list)

    @property
    def broker(self) -> Broker:
        """The connection to its Kafka."""
        return Broker(servers=self.kafka, **self.security)

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of its workers and commands."""
        return {
            **os.environ,
            "KPI_KAFKA": self.kafka,
            "KPI_APP_ID": self.app_id,
            "KPI_CLICKS_TOPIC": f"{self.app_id}-clicks",
            "KPI_ORDERS_TOPIC": f"{self.app_id}-orders",
            "KPI_CAMPAIGNS_TOPIC": f"{self.app_id}-campaigns",
            "KPI_WEB_PORT": "0",
            "KPI_START_FROM": "earliest",
            "KPI_TIME_ZONE": "UTC",
            "KPI_IDLE_AFTER_S": "1.5",
            **self.settings,
        }

    def topic(self, name: str) -> str:
        """Return the full name of one of its topics, such as ``clicks`` or ``registry``."""
        return f"{self.app_id}-{name}"

    def command(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run kpi-monitor with the cluster's settings.

        Args:
            arguments: of the command line.
            check: whether an exit code other than 0 fails the test.
        """
        done = subprocess.run(
            command_line(*arguments),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def start(
        self, name: str = "", *arguments: str, module: str = "streams", **settings: str
    ) -> Worker:
        """Start a further worker.

        Args:
            name: its instance id; empty for a new one.
            arguments: of the command line, after `worker`.
            module: the Python module that it runs.
            settings: further environment variables.
        """
        name = name or f"w{len(self.workers)}"
        ready = self.folder / f"{name}-{uuid.uuid4().hex[:6]}.url"
        child = processes.start(
            f"worker {name}",
            command_line("worker", *arguments, module=module),
            log_file=self.folder / f"{name}.log",
            env={
                **self.environment,
                "KPI_INSTANCE_ID": name,
                "KPI_DATA_DIR": str(self.folder / f"data-{name}"),
                "KPI_WEB_READY_FILE": str(ready),
                **settings,
            },
        )
        worker = Worker(child, ready)
        self.workers.append(worker)
        return worker

    def stop(self) -> None:
        """Stop all workers."""
        for worker in self.workers:
            worker.child.stop()

    def owner(self) -> dict[str, Any]:
        """Return the live view of the worker that owns the KPIs; empty without an owner.

        Workers that still start are passed over: on a busy machine that takes long, and a worker
        may be killed meanwhile.
        """
        for worker in list(self.workers):
            if worker.listens:
                with contextlib.suppress(OSError, urllib.error.URLError, ValueError):
                    picture = worker.live()
                    if picture["owner"]:
                        return picture
        return {}

    def until(
        self, reached: Callable[[dict[str, Any]], object], *, timeout_s: float = 90, why: str = ""
    ) -> dict[str, Any]:
        """Wait until the owner's live view meets a condition, and return it.

        Raises:
            AssertionError: it did not in time, or all workers ended.
        """
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            picture = self.owner()
            if picture and reached(picture):
                return picture
            dead = [worker.child for worker in self.workers if not worker.child.alive]
            assert len(dead) < len(self.workers), dead[0].log_tail(40)
            time.sleep(0.3)
        logs = "\n".join(worker.child.log_tail(15) for worker in self.workers)
        raise AssertionError(
            f"not reached in {timeout_s} s: {why}\nhealth: {self.owner().get('health')}\n{logs}"
        )

    def send(self, topic: str, records: Sequence[tuple[str | None, object]]) -> None:
        """Send pairs of a key and a value; a value that is not bytes is written as JSON."""
        producer = KafkaProducer(**self.broker.client_options(), max_request_size=4 << 20)
        try:
            for key, value in records:
                body = value if isinstance(value, bytes) else json.dumps(value).encode()
                producer.send(self.topic(topic), value=body, key=key.encode() if key else None)
            producer.flush()
        finally:
            producer.close()

    def read(self, topic: str) -> Iterator[Any]:
        """Yield all records of a topic that has one partition."""
        consumer = KafkaConsumer(
            **self.broker.client_options(),
            enable_auto_commit=False,
            fetch_max_bytes=64 << 20,
            max_partition_fetch_bytes=32 << 20,
        )
        try:
            partition = TopicPartition(self.topic(topic), 0)
            consumer.assign([partition])
            consumer.seek_to_beginning(partition)
            end = consumer.end_offsets([partition])[partition]
            while consumer.position(partition) < end:
                for records in consumer.poll(timeout_ms=1000).values():
                    yield from records
        finally:
            consumer.close()
