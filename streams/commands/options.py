"""Options and output that several subcommands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from streams.feed.project import Project, load_project

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
CalendarFile = Annotated[
    Path | None, typer.Option("--calendar", help="YAML file of the calendar of special days.")
]
CampaignsFile = Annotated[Path | None, typer.Option("--campaigns", help="YAML file of campaigns.")]
ProjectFile = Annotated[
    Path | None,
    typer.Option(
        "--project",
        help="Project file, whose time zone, currency, start, campaigns, rules and calendar count.",
    ),
]


def with_project(project: Project | None, **options: Any) -> dict[str, Any]:
    """Return options for `settings.load`; without one, the project's setting is used if it has it.

    Args:
        project: the project; None without one.
        options: settings by name; None for those that were not given.
    """
    given = {name: value for name, value in options.items() if value is not None}
    return given if project is None else {**project.settings, **given}


def project_of(path: Path | None) -> Project | None:
    """Read the settings of a project file; the files that it feeds need not exist.

    Raises:
        ConfigError: the project file is not valid.
    """
    return None if path is None else load_project(path, with_files=False)


def say(console: Console, text: str) -> None:
    """Print text as it is, without wrapping, markup or colours."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)
