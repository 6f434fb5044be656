"""Fixtures: real services as child processes, and where the data are."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.embedded.kafka import EmbeddedKafka
from streams.embedded.valkey import EmbeddedValkey
from tests.support import data
from tests.support.needed import missing


@pytest.fixture(autouse=True, scope="session")
def ctrl_c() -> None:
    """Let Ctrl-C interrupt the tests and the commands that they start.

    Shells start what runs in the background with this signal ignored, and children inherit that.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout, which the tests may run away from."""
    return data.repository()


@pytest.fixture(scope="session")
def shop_log(repository: Path) -> Path:
    """A shop's click log."""
    return data_file(repository, data.SHOP_LOG)


@pytest.fixture(scope="session")
def cdnow_file(repository: Path) -> Path:
    """CDNOW's purchases."""
    return data_file(repository, data.CDNOW)


def data_file(repository: Path, name: str) -> Path:
    """Return a file of data, or end the test as `missing` does."""
    path = data.folder(repository) / name
    if not path.exists():
        missing(f"{path} (sh scripts/test-data.sh fetches it)")
    return path


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    """A real Apache Kafka for the whole session; tests use app ids of their own."""
    with EmbeddedKafka(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    """A real Valkey for the whole session."""
    with EmbeddedValkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server
