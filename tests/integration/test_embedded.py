"""Embedded services: death with the parent, clear errors."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import jgo
import pytest
import redis

from streams.embedded import kafka as embedded_kafka
from streams.embedded import processes
from streams.embedded.kafka import EmbeddedKafka, resolve_jars
from streams.embedded.valkey import EmbeddedValkey
from streams.errors import EmbeddedError

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def test_valkey_speaks_the_protocol_of_redis(valkey: EmbeddedValkey) -> None:
    client = redis.from_url(valkey.url)
    client.set("key", "value", ex=5)
    assert client.get("key") == b"value"


def test_a_child_dies_with_its_parent(tmp_path: Path) -> None:
    port = processes.free_port()
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time; from pathlib import Path\n"
            "from streams.embedded.valkey import EmbeddedValkey\n"
            f"EmbeddedValkey(Path({str(tmp_path)!r}), port={port}).start()\n"
            "time.sleep(60)",
        ]
    )
    deadline = time.monotonic() + 20
    while not processes.listens(port) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes.listens(port)
    parent.kill()
    parent.wait()
    while processes.listens(port) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not processes.listens(port)


def test_an_unreachable_registry_is_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("refused")

    monkeypatch.setenv("KPI_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(jgo, "build", refuse)
    with pytest.raises(EmbeddedError, match=r"Maven Central.*set KPI_KAFKA"):
        resolve_jars()


def test_a_broker_that_does_not_come_up_shows_the_end_of_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_jars()
    monkeypatch.setattr(
        embedded_kafka, "_PROPERTIES", embedded_kafka._PROPERTIES + "broker.id=nonsense\n"
    )
    with pytest.raises(EmbeddedError, match="nonsense"):
        EmbeddedKafka(tmp_path).start()
