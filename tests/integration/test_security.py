"""Kafka over TLS, with SASL and with certificates; no secret leaves the settings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.backlog import assert_exact, fill
from tests.support.cluster import Cluster
from tests.support.secure_kafka import PASSWORD, USER, Certificates, SecureKafka

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("tls") / "certificates")


@pytest.fixture(scope="module")
def sasl_kafka(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[SecureKafka]:
    with SecureKafka(tmp_path_factory.mktemp("sasl"), certificates, sasl=True) as broker:
        yield broker


def sasl_cluster(kafka: SecureKafka, certificates: Certificates, folder: Path) -> Cluster:
    secret = folder / "password"
    secret.write_text(PASSWORD + "\n")
    return Cluster(
        kafka.address,
        folder,
        {
            "KPI_KAFKA_SECURITY": "sasl_ssl",
            "KPI_KAFKA_USERNAME": USER,
            "KPI_KAFKA_PASSWORD_FILE": str(secret),
            "KPI_KAFKA_CA_FILE": str(certificates.ca_file),
        },
        security={
            "security": "sasl_ssl",
            "username": USER,
            "password": PASSWORD,
            "ca_file": certificates.ca_file,
        },
    )


def texts(cluster: Cluster) -> str:
    """Return what the worker says anywhere: log, metrics, pages, command line and environment."""
    worker = cluster.workers[0]
    pages = [worker.get(path) for path in ("metrics", "api/live", "healthz", "")]
    process = Path(f"/proc/{worker.child.pid}")
    shown = [(process / name).read_text(errors="replace") for name in ("cmdline", "environ")]
    return "".join([worker.child.log_file.read_text(), *pages, *shown])


def test_everything_works_over_sasl_and_tls_and_says_no_secret(
    sasl_kafka: SecureKafka, certificates: Certificates, tmp_path: Path
) -> None:
    cluster = sasl_cluster(sasl_kafka, certificates, tmp_path)
    try:
        cluster.command("topics", "--create")
        truth = fill(cluster, seconds=40)
        cluster.start("w0", KPI_LOG_LEVEL="debug")
        assert_exact(cluster, truth)
        assert PASSWORD not in texts(cluster)
        assert f"{truth.broken} dead letters" in cluster.command("dead-letters").stdout
    finally:
        cluster.stop()


@pytest.mark.parametrize(
    "change",
    [
        {"KPI_KAFKA_PASSWORD": "wrong-secret", "KPI_KAFKA_PASSWORD_FILE": None},
        {"KPI_KAFKA_CA_FILE": "stranger"},
        {"KPI_KAFKA_SECURITY": "plaintext"},
    ],
    ids=["wrong password", "unknown authority", "no TLS"],
)
def test_a_worker_that_is_not_let_in_says_so_and_no_secret(
    sasl_kafka: SecureKafka, certificates: Certificates, tmp_path: Path, change: dict[str, Any]
) -> None:
    cluster = sasl_cluster(sasl_kafka, certificates, tmp_path)
    for name, value in change.items():
        if value is None:
            del cluster.settings[name]
        else:
            strange = str(certificates.strange_ca_file)
            cluster.settings[name] = strange if value == "stranger" else value
    done = cluster.command("worker", check=False)
    assert done.returncode == 2
    assert "no Kafka broker answers" in done.stderr
    assert "KPI_KAFKA" in done.stderr
    for secret in (PASSWORD, "wrong-secret"):
        assert secret not in done.stdout + done.stderr


def test_a_worker_is_known_by_its_certificate(certificates: Certificates, tmp_path: Path) -> None:
    files = {
        "ca_file": certificates.ca_file,
        "cert_file": certificates.cert_file,
        "key_file": certificates.key_file,
    }
    settings = {f"KPI_KAFKA_{name.upper()}": str(path) for name, path in files.items()}
    with SecureKafka(tmp_path / "kafka", certificates, sasl=False) as broker:
        cluster = Cluster(
            broker.address,
            tmp_path,
            {"KPI_KAFKA_SECURITY": "ssl", **settings},
            security={"security": "ssl", **files},
        )
        try:
            cluster.command("topics", "--create")
            truth = fill(cluster, seconds=20)
            cluster.start("w0")
            assert_exact(cluster, truth)
        finally:
            cluster.stop()
