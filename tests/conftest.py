"""Fixtures: real services as child processes, and where the data are."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.embedded.kafka import EmbeddedKafka
from streams.embedded.valkey import EmbeddedValkey

IN_CI = os.environ.get("CI") == "true"


def missing(what: str) -> None:
    """Fail in CI; elsewhere skip with the reason."""
    if IN_CI:
        pytest.fail(f"{what} is missing, and CI must have it")
    pytest.skip(f"{what} is missing")


def program(name: str) -> str:
    """Return a program's path, or end the test as `missing` does."""
    found = shutil.which(name)
    if found is None:
        missing(f"{name} (see scripts/debian-packages.sh)")
    return str(found)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout, which the tests may run away from."""
    return Path(os.environ.get("KPI_REPOSITORY", Path(__file__).parent.parent))


@pytest.fixture(scope="session")
def shop_log(repository: Path) -> Path:
    """The shop's click log: KPI_SHOP_LOG, or ../shared/data beside the checkout."""
    path = Path(
        os.environ.get(
            "KPI_SHOP_LOG", repository.parent / "shared" / "data" / "simple-onlineshop.csv"
        )
    )
    if not path.exists():
        missing(f"the shop log {path} (set KPI_SHOP_LOG)")
    return path


@pytest.fixture(scope="session")
def cdnow_file() -> Path:
    """CDNOW's purchases out of the lifetimes wheel: KPI_CDNOW, set by scripts/tests.sh."""
    given = os.environ.get("KPI_CDNOW", "")
    if not given or not Path(given).exists():
        missing("CDNOW_master.txt (KPI_CDNOW; scripts/tests.sh fetches it)")
    return Path(given)


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
