"""Options and output that several subcommands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

out = Console()
err = Console(stderr=True)

Kafka = Annotated[str | None, typer.Option("--kafka", help="Kafka bootstrap address, host:port.")]
AppId = Annotated[
    str | None,
    typer.Option("--app-id", help="Kafka consumer group, and prefix of the topics written."),
]
RulesFile = Annotated[Path | None, typer.Option("--rules", help="YAML file of alert rules.")]
KpisFile = Annotated[
    Path | None,
    typer.Option("--kpis", help="YAML file of own measurements, own KPIs, and series to export."),
]
ScorecardsFile = Annotated[
    Path | None, typer.Option("--scorecards", help="YAML file of scorecards.")
]
RatesFile = Annotated[Path | None, typer.Option("--rates", help="YAML file of exchange rates.")]
NamesFile = Annotated[
    Path | None,
    typer.Option("--names", help="YAML file of the names of channels, regions and segments."),
]
CampaignsFile = Annotated[Path | None, typer.Option("--campaigns", help="YAML file of campaigns.")]


def say(console: Console, text: str) -> None:
    """Print text as it is, without wrapping, markup or colours."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)
