"""Upgrades: this version goes on with the state of an older one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from streams.engine.state_log import SCHEMA_VERSION
from tests.chaos.arena import Arena, NotPlayableError
from tests.chaos.scenario import scenario


def _source_of(commit: str, folder: Path) -> Path:
    """Write the source of a commit into a folder and return its path.

    Raises:
        NotPlayableError: the clone is shallow and lacks the commit.
        AssertionError: the repository lacks the commit.
    """
    repository = os.environ.get("TESTED_REPOSITORY", Path(__file__).parents[3])
    target = folder / "older"
    target.mkdir()
    archive = subprocess.run(
        ["git", "-C", str(repository), "archive", commit, "streams", "models", "config"],
        capture_output=True,
        check=False,
    )
    if archive.returncode != 0:
        shallow = (Path(repository) / ".git" / "shallow").exists()
        why = f"commit {commit} is not in {repository}: {archive.stderr.decode().strip()}"
        raise NotPlayableError(f"{why} (a shallow clone)") if shallow else AssertionError(why)
    subprocess.run(["tar", "-x", "-C", str(target)], input=archive.stdout, check=True)
    return target


def _older(commit: str, arena: Arena) -> dict[str, str]:
    # PYTHONSAFEPATH: otherwise the current folder comes before PYTHONPATH.
    return {"PYTHONPATH": str(_source_of(commit, arena.folder)), "PYTHONSAFEPATH": "1"}


def _previous(arena: Arena) -> dict[str, str]:
    commit = os.environ.get("KPI_UPGRADE_FROM", "HEAD~1")
    older = _older(commit, arena)
    asked = (
        "from models.kpi import measures; from streams.engine import state_log; "
        "print(state_log.SCHEMA_VERSION, getattr(measures, 'VERSION', 0))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", asked],
        env={**os.environ, **older},
        capture_output=True,
        text=True,
        check=True,
    )
    schema, arena.older_measures = map(int, answer.stdout.split())
    if schema != SCHEMA_VERSION:
        raise NotPlayableError(
            f"the state of {commit} has schema version {schema}, which this one refuses"
        )
    return older


@scenario(workers=("a",), first_settings=_previous, in_ci=True)
def upgrade(arena: Arena) -> None:
    """The commit before this one runs, is killed, and this one goes on with its state.

    KPI_UPGRADE_FROM names another commit, whose state has the same schema version. What it did not
    measure is absent in windows that begin before the upgrade.
    """
    with arena.fault():
        assert "older" in arena.running_from("a")
        arena.kill("a")
        arena.start("a")
    arena.until_current()
    # Everything that the older worker read and reported is older than now.
    arena.older_until_ms = round(time.time() * 1000) + 10_000
    assert "older" not in arena.running_from("a")
