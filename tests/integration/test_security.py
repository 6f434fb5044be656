"""Kafka over TLS, with SASL and with certificates; no secret leaves the settings."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streams.embedded.kafka import EmbeddedKafka
from tests.support import secure_redis as secure_redis_support
from tests.support import stack
from tests.support.backlog import assert_exact, fill
from tests.support.cluster import Cluster
from tests.support.forwarder import Forwarder
from tests.support.secure_kafka import PASSWORD, USER, Certificates, SecureKafka
from tests.support.secure_redis import UserValkey

pytestmark = [pytest.mark.integration, pytest.mark.slow]


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


def test_sasl_and_tls(sasl_kafka: SecureKafka, certificates: Certificates, tmp_path: Path) -> None:
    """With SASL and TLS every event is counted, and no log shows the password."""
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
def test_rejected_worker_logs_no_secret(
    sasl_kafka: SecureKafka, certificates: Certificates, tmp_path: Path, change: dict[str, Any]
) -> None:
    """A worker that the broker rejects ends with the reason, and shows no password."""
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


@contextlib.contextmanager
def secure_redis(certificates: Certificates, folder: Path) -> Iterator[str]:
    """Yield the address of a Valkey behind TLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.server_file)
    with UserValkey(folder / "valkey") as valkey, Forwarder(valkey.port, context=context) as link:
        yield link.address


def test_view_is_shared_over_redis_with_tls(
    kafka: EmbeddedKafka, certificates: Certificates, tmp_path: Path
) -> None:
    """Workers share the owner's view over a Redis with TLS, a user and a password."""
    secret = tmp_path / "password"
    secret.write_text(secure_redis_support.PASSWORD + "\n")
    with secure_redis(certificates, tmp_path) as address:
        settings = {
            "KPI_REDIS": f"rediss://{secure_redis_support.USER}@{address}/0",
            "KPI_REDIS_PASSWORD_FILE": str(secret),
            "KPI_REDIS_CA_FILE": str(certificates.ca_file),
            "KPI_LOG_LEVEL": "debug",
        }
        cluster = Cluster(kafka.address, tmp_path, settings)
        try:
            cluster.command("topics", "--create")
            truth = fill(cluster, seconds=20)
            cluster.start("a")
            cluster.start("b")
            stack.until(
                lambda: (
                    all(worker.live()["totals"].get("1m") for worker in cluster.workers)
                    and sum(worker.live()["owner"] for worker in cluster.workers) == 1
                ),
                timeout_s=60,
                why="the worker that owns no KPIs shows them",
            )
            assert_exact(cluster, truth)
            assert secure_redis_support.PASSWORD not in texts(cluster)
        finally:
            cluster.stop()


def test_untrusted_redis_gets_no_data(
    kafka: EmbeddedKafka, certificates: Certificates, tmp_path: Path
) -> None:
    """A Redis whose certificate is not trusted gets no data, and no event is lost."""
    with secure_redis(certificates, tmp_path) as address:
        settings = {
            "KPI_REDIS": f"rediss://{secure_redis_support.USER}:wrong-secret@{address}/0",
            "KPI_REDIS_CA_FILE": str(certificates.strange_ca_file),
        }
        cluster = Cluster(kafka.address, tmp_path, settings)
        try:
            cluster.command("topics", "--create")
            truth = fill(cluster, seconds=20)
            worker = cluster.start("a")
            picture = cluster.until(
                lambda picture: (
                    picture["health"]["waiting"]
                    and any(alert["rule"] == "data-customers-away" for alert in picture["alerts"])
                ),
                why="the sources wait for the customers, and an alert says so",
            )
            assert picture["health"]["counted"] == 0 or not picture["totals"]
            worker.child.stop()
            log = worker.child.log_file.read_text()
            assert "the live view is not shared" in log
            assert "wrong-secret" not in log
            cluster.start("b", KPI_CUSTOMERS="false")
            assert_exact(cluster, truth)
        finally:
            cluster.stop()
