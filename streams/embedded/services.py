"""Runs Kafka and Valkey on fixed ports until they are stopped, for a machine that has neither."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from streams.embedded import processes
from streams.embedded.kafka import EmbeddedKafka
from streams.embedded.valkey import EmbeddedValkey
from streams.errors import EmbeddedError, MonitorError

LOOKED_AT_EVERY_S = 1.0


@contextlib.contextmanager
def started(kafka: EmbeddedKafka, console: Console) -> Iterator[EmbeddedKafka]:
    """Run a broker, with a progress bar while Kafka is downloaded the first time."""
    with Progress(
        TextColumn("{task.description}"), BarColumn(), console=console, transient=True
    ) as progress:
        task = progress.add_task("Apache Kafka (43 MB the first time)", total=1.0)
        kafka.start(progress=lambda share: progress.update(task, completed=share))
    try:
        yield kafka
    finally:
        kafka.stop()


def run(folder: Path, *, kafka_port: int, redis_port: int, console: Console) -> None:
    """Run Kafka and Valkey until SIGINT or SIGTERM; their data are kept in the folder.

    Args:
        folder: of their data and logs.
        kafka_port: on the loopback address.
        redis_port: on the loopback address.
        console: prints the settings that a worker needs.

    Raises:
        MonitorError: a port is taken, or the folder holds a Kafka of another port.
        EmbeddedError: Kafka or Valkey does not come up, or ends by itself.
    """
    for option, port in (("--kafka-port", kafka_port), ("--redis-port", redis_port)):
        if processes.listens(port):
            raise MonitorError(f"something listens on port {port} already; choose another {option}")
    kafka = EmbeddedKafka(folder / "kafka", port=kafka_port)
    made_for = kafka.made_for_port()
    if made_for not in {None, kafka_port}:
        raise MonitorError(
            f"{folder} holds a Kafka of port {made_for}: use --kafka-port {made_for}, or another "
            "--data"
        )
    valkey = EmbeddedValkey(folder / "valkey", port=redis_port, keeps=True)
    stopped = threading.Event()
    with started(kafka, console), valkey:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopped.set())
        console.print(
            f"\nexport KPI_KAFKA={kafka.address}\nexport KPI_REDIS={valkey.url}\n\n"
            f"Data and logs are in {folder}. Ctrl-C ends both; what they hold stays.",
            highlight=False,
            soft_wrap=True,
        )
        while not stopped.wait(LOOKED_AT_EVERY_S):
            for child in (kafka.child, valkey.child):
                if child is not None and not child.alive:
                    raise EmbeddedError(f"{child.name} ended by itself:\n{child.log_tail()}")
