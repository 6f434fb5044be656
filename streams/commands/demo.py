"""``kpi-monitor demo``: everything on this machine, with a simulated fault."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streams.commands.options import out
from streams.embedded import demo as demos
from streams.operations import feeding


def demo(
    seconds: Annotated[
        str,
        typer.Option(
            "--for",
            help="How long to send events, like 90s or 5m; 0 means until Ctrl-C. The alert's end "
            f"is seen from {demos.LEAST_S:.0f}s on.",
        ),
    ] = "0",
    report: Annotated[
        Path | None, typer.Option("--json", help="Write a report to this file and show no table.")
    ] = None,
    port: Annotated[
        int, typer.Option(envvar="KPI_WEB_PORT", help="Port of the live page; 0 picks a free one.")
    ] = 8080,
    scenario: Annotated[
        str, typer.Option(help=f"Fault to simulate: {', '.join(feeding.SCENARIOS)}.")
    ] = "checkout-outage",
) -> None:
    """Run Kafka, Valkey, a worker and a feed on this machine; show alerts and headline KPIs.

    Docker and Java are not needed. After half a minute a fault is simulated: an alert
    fires and resolves. With --for and --json the demo runs unattended; its exit code is 0 only
    if every event was counted exactly, KPIs were exported, and the alert fired and resolved; a
    check that failed has its reason.
    """
    passed = demos.run(
        seconds=demos.seconds_of(seconds),
        report=report,
        port=port,
        scenario=scenario,
        console=out,
    )
    if not passed:
        raise typer.Exit(1)
