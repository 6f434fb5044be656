"""Upgrades: this version goes on with the state of an older one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.chaos.arena import Arena, NotPlayableError
from tests.chaos.scenario import scenario


def _source_of(commit: str, folder: Path) -> Path:
    """Write the source of a commit into a folder and return its path.

    Raises:
        NotPlayableError: the clone is shallow and lacks the commit.
        AssertionError: the repository lacks the commit.
    """
    repository = os.environ.get("KPI_REPOSITORY", Path(__file__).parents[3])
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
    return _older(os.environ.get("KPI_UPGRADE_FROM", "HEAD~1"), arena)


@scenario(workers=("a",), first_settings=_previous, in_ci=True)
def upgrade(arena: Arena) -> None:
    """The commit before this one runs, is killed, and this one goes on with its state.

    KPI_UPGRADE_FROM names another commit, whose state has the same schema version.
    """
    with arena.fault():
        assert "older" in arena.running_from("a")
        arena.kill("a")
        arena.start("a")
    arena.until_current()
    assert "older" not in arena.running_from("a")
