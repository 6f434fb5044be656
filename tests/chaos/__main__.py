"""`make chaos`: plays the scenarios and prints a table of their outcomes."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.chaos import faults  # noqa: F401 - registers the scenarios
from tests.chaos.arena import Outcome
from tests.chaos.playing import play
from tests.chaos.scenario import SCENARIOS, Scenario, run

WIDTH = 170


def main() -> int:
    """Play the chosen scenarios; return 1 if any promise was not kept."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description="Plays faults against real workers, Kafka and Valkey, and compares every "
        "closed window with the truth.",
        epilog="Examples: make chaos | make chaos ARGS=--ci | "
        "make chaos ARGS='--only worker-killed,broker-killed --keep'",
    )
    parser.add_argument("--list", action="store_true", help="name the scenarios, play none")
    parser.add_argument("--ci", action="store_true", help="only those that CI plays")
    parser.add_argument("--only", help="only these, separated by commas")
    parser.add_argument("--jobs", type=int, default=1, help="play so many at a time (1)")
    parser.add_argument("--json", type=Path, help="write the outcomes to a file")
    parser.add_argument("--keep", action="store_true", help="keep data and logs of all scenarios")
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    try:
        chosen = _chosen(options.only, ci=options.ci)
    except KeyError as error:
        parser.error(f"no scenario {error}; see --list")
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    if options.list:
        _list(chosen, console)
        return 0
    if options.into is not None:
        (one,) = chosen
        _write(options.json, [run(one, options.into)])
        return 0
    outcomes = play(chosen, jobs=options.jobs, keep=options.keep, console=console)
    console.print(_table(outcomes))
    for outcome in outcomes:
        for why in outcome.failures:
            console.print(f"{outcome.scenario}: {why}", style="red", markup=False)
    if options.json is not None:
        _write(options.json, outcomes)
    return 0 if all(outcome.green for outcome in outcomes) else 1


def _chosen(only: str | None, *, ci: bool) -> list[Scenario]:
    if only:
        return [SCENARIOS[name] for name in only.split(",")]
    return [one for one in SCENARIOS.values() if (one.in_ci or not ci) and not one.sabotage]


def _list(chosen: list[Scenario], console: Console) -> None:
    table = Table("scenario", "what happens", "in CI")
    for one in chosen:
        table.add_row(one.name, one.title, "yes" if one.in_ci else "")
    console.print(table)


def _write(file: Path, outcomes: list[Outcome]) -> None:
    file.write_text(json.dumps([dataclasses.asdict(one) for one in outcomes], indent=1) + "\n")


def _verdict(one: Outcome) -> str:
    if one.not_played:
        return "[yellow]NOT PLAYED[/]"
    return "[green]ok[/]" if one.green else "[red]FAILED[/]"


def _table(outcomes: list[Outcome]) -> Table:
    table = Table(title="Faults, and what became of the events", show_lines=False)
    table.add_column("scenario", no_wrap=True)
    for name in (
        *("sent", "counted", "lost", "twice", "dead\nletters"),
        *("windows", "wrong", "told in-\ncomplete", "false KPI\nalerts"),
        *("blind\ns", "recovered\ns", "peak\nMiB"),
    ):
        table.add_column(name, justify="right")
    table.add_column("data-health alerts; notes", overflow="fold")
    table.add_column("")
    for one in outcomes:
        counts = (one.sent, one.counted, one.lost, one.duplicated, one.dead_letters)
        windows = (one.windows, one.windows_wrong, one.windows_incomplete, one.false_alerts)
        recovered = "-" if one.recovered_s is None else f"{one.recovered_s:.1f}"
        table.add_row(
            one.scenario,
            *(f"{count:,}" for count in (*counts, *windows)),
            f"{one.blind_s:.1f}",
            recovered,
            f"{one.peak_rss_mb:.0f}",
            "; ".join([*one.health_alerts, *one.notes, *filter(None, [one.not_played])]),
            _verdict(one),
        )
    return table


if __name__ == "__main__":
    sys.exit(main())
