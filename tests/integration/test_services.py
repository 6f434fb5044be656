"""`kpi-monitor services`: Kafka and Valkey on ports that stay."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from streams.embedded import processes

pytestmark = [pytest.mark.integration, pytest.mark.slow]


class Services:
    """The command at work."""

    def __init__(self, folder: Path, kafka_port: int, redis_port: int) -> None:
        ports = ("--kafka-port", str(kafka_port), "--redis-port", str(redis_port))
        self.log_file = folder / "services.log"
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "streams", "services", "--data", str(folder), *ports],
                stdout=log,
                stderr=log,
                env=os.environ | {"COLUMNS": "200"},
            )

    def until_up(self, redis_port: int) -> str:
        """Return what it said once both answer."""
        deadline = time.monotonic() + 120
        while "KPI_REDIS=" not in self.log_file.read_text() and self.process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert processes.listens(redis_port)
        return self.log_file.read_text()

    def stop(self) -> int:
        """Stop it as Ctrl-C does, and return its exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(30)


def test_kept(tmp_path: Path) -> None:
    """What both hold is there after Ctrl-C and another start; another port is refused."""
    kafka_port, redis_port = processes.free_port(), processes.free_port()
    first = Services(tmp_path, kafka_port, redis_port)
    try:
        said = first.until_up(redis_port)
        assert f"export KPI_KAFKA=127.0.0.1:{kafka_port}\n" in said
        redis.Redis(port=redis_port).set("key", "value")
        command = [sys.executable, "-m", "streams", "topics", "--create"]
        environment = os.environ | {"KPI_KAFKA": f"127.0.0.1:{kafka_port}", "KPI_PARTITIONS": "1"}
        subprocess.run(command, env=environment, check=True, capture_output=True)
        taken = Services(tmp_path, kafka_port, redis_port)
        assert taken.process.wait(30) == 2
        assert f"port {kafka_port} already" in taken.log_file.read_text()
    finally:
        assert first.stop() == 0
    assert not processes.listens(kafka_port)
    other = Services(tmp_path, processes.free_port(), redis_port)
    assert other.process.wait(30) == 2
    assert f"use --kafka-port {kafka_port}" in other.log_file.read_text()
    again = Services(tmp_path, kafka_port, redis_port)
    try:
        again.until_up(redis_port)
        assert redis.Redis(port=redis_port).get("key") == b"value"
        told = subprocess.run(
            [sys.executable, "-m", "streams", "topics"],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        )
        assert "clicks" in told.stdout
    finally:
        assert again.stop() == 0
