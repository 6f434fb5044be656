"""Whether another worker has the instance id that this one joins under."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from streams.engine.group_members import Member, MemberFile

MINE = Member("w0", "w0-1", "10.0.0.1")


def test_new_group(tmp_path: Path) -> None:
    """In a group without this instance id there is no other worker."""
    file = MemberFile(tmp_path, "w0")
    assert file.other_worker([]) is None
    assert file.other_worker([MINE._replace(instance_id="w1")]) is None


def test_restart(tmp_path: Path) -> None:
    """A worker whose predecessor has ended is alone, although the broker still has that one."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    MemberFile(tmp_path, "w0").write("w0-0")
    MemberFile(tmp_path, "w0").write("w0-1")
    (path,) = tmp_path.iterdir()
    path.write_text(json.dumps(json.loads(path.read_text()) | {"process": ended.pid}))
    assert MemberFile(tmp_path, "w0").other_worker([MINE]) is None


def test_in_container(tmp_path: Path) -> None:
    """A container that is restarted has the process id of its predecessor."""
    MemberFile(tmp_path, "w0").write("w0-1")
    assert json.loads(next(tmp_path.iterdir()).read_text())["process"] == os.getpid()
    assert MemberFile(tmp_path, "w0").other_worker([MINE]) is None


def test_predecessor_runs(tmp_path: Path) -> None:
    """A predecessor in the same folder whose process runs is another worker."""
    MemberFile(tmp_path, "w0").write("w0-1")
    (path,) = tmp_path.iterdir()
    path.write_text(json.dumps(json.loads(path.read_text()) | {"process": os.getppid()}))
    said = MemberFile(tmp_path, "w0").other_worker([MINE])
    assert said == f"process {os.getppid()} on this machine"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"member": "w0-0"}'])
def test_other_folder(tmp_path: Path, text: str) -> None:
    """A member that this folder does not know is another worker, also if its file is damaged."""
    file = MemberFile(tmp_path, "w0")
    assert file.other_worker([MINE]) == "one that joined from 10.0.0.1 with another data folder"
    file.write("w0-0")
    next(tmp_path.iterdir()).write_text(text)
    assert file.other_worker([MINE]) == "one that joined from 10.0.0.1 with another data folder"


def test_disk_full(tmp_path: Path) -> None:
    """A file that can't be written does not end the worker."""
    MemberFile(tmp_path / "missing", "w0").write("w0-1")
    assert not (tmp_path / "missing").exists()
