"""``kpi-monitor services``: Kafka and Valkey on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streams.commands.options import out
from streams.embedded import services as embedded_services


def services(
    data: Annotated[
        Path, typer.Option(help="Folder of the data and logs of Kafka and Valkey.")
    ] = Path("data/services"),
    kafka_port: Annotated[int, typer.Option(help="Port of Kafka on 127.0.0.1.")] = 9092,
    redis_port: Annotated[int, typer.Option(help="Port of Valkey on 127.0.0.1.")] = 6379,
) -> None:
    """Run Kafka and Valkey on this machine until Ctrl-C, to try your own data without Docker.

    They listen on 127.0.0.1 only and need no password.
    """
    embedded_services.run(data, kafka_port=kafka_port, redis_port=redis_port, console=out)
