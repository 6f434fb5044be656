"""Plays scenarios, each in a process of its own, several at a time."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from tests.chaos.arena import Outcome
from tests.chaos.scenario import Scenario


def play(chosen: list[Scenario], *, jobs: int, keep: bool, console: Console) -> list[Outcome]:
    """Play scenarios and return their outcomes, in the given order.

    Each runs in a process of its own; the processes that it starts end with it.

    Args:
        chosen: the scenarios.
        jobs: how many run at a time.
        keep: whether data and logs are kept even if all scenarios are green.
        console: shows the progress.
    """
    home = Path(tempfile.mkdtemp(prefix="kpi-chaos-"))
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )
    with progress, ThreadPoolExecutor(jobs) as pool:
        task = progress.add_task("scenarios", total=len(chosen))

        def play_one(one: Scenario) -> Outcome:
            began_s = time.monotonic()
            outcome = _play_apart(one, home / one.name)
            progress.advance(task)
            state = "[green]green[/]" if outcome.green else "[red]RED[/]"
            progress.print(f"{state} {one.name} ({time.monotonic() - began_s:.0f} s)")
            return outcome

        outcomes = list(pool.map(play_one, chosen))
    if keep or not all(outcome.green for outcome in outcomes):
        console.print(f"data and logs: {home}")
    else:
        subprocess.run(["rm", "-rf", str(home)], check=False)
    return outcomes


def _play_apart(one: Scenario, folder: Path) -> Outcome:
    folder.mkdir(parents=True)
    file = folder / "outcome.json"
    command = [sys.executable, "-m", "tests.chaos", "--only", one.name]
    command += ["--into", str(folder), "--json", str(file)]
    with (folder / "scenario.log").open("wb") as log:
        subprocess.run(command, stdout=log, stderr=log, check=False)
    if not file.exists():
        said = (folder / "scenario.log").read_text(errors="replace")[-500:]
        return Outcome(one.name, failures=[f"the scenario itself failed: {said}"])
    (made,) = json.loads(file.read_text())
    return Outcome(**made)
