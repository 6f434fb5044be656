"""Embedded services: death with the parent, clear errors."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

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


def test_one_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several that need Kafka's jars at once, one downloads them, and all get them."""
    downloads = []

    def build(_: str, *, cache_dir: Path) -> SimpleNamespace:
        downloads.append(cache_dir)
        time.sleep(0.3)
        (cache_dir / "kafka.jar").touch()
        return SimpleNamespace(path=cache_dir)

    monkeypatch.setenv("KPI_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(jgo, "build", build)
    with ThreadPoolExecutor(3) as pool:
        found = [asked.result() for asked in [pool.submit(resolve_jars) for _ in range(3)]]
    assert len(downloads) == 1
    assert found[0] == found[1] == found[2] == [downloads[0] / "kafka.jar"]


def test_failed_broker_start_shows_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the broker does not start, the error shows the end of its log."""
    resolve_jars()
    monkeypatch.setattr(
        embedded_kafka, "_PROPERTIES", embedded_kafka._PROPERTIES + "broker.id=nonsense\n"
    )
    with pytest.raises(EmbeddedError, match="nonsense"):
        EmbeddedKafka(tmp_path).start()
