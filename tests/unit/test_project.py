"""The project file of feed."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams import settings
from streams.commands.options import with_project
from streams.errors import ConfigError
from streams.feed.project import ProjectEntry, load_project

WHOLE = """\
time_zone: Europe/Berlin
currency: EUR
campaigns: campaigns.yaml
rules: rules.yaml
files:
  - file: exports/clicks.csv
    mapping: clicks.yaml
  - file: exports/orders.csv
    mapping: orders.yaml
"""
NAMED = (
    "campaigns.yaml",
    "rules.yaml",
    "exports/clicks.csv",
    "clicks.yaml",
    "exports/orders.csv",
    "orders.yaml",
)


def written(folder: Path, text: str) -> Path:
    """Write a project file, beside the files that `WHOLE` names."""
    (folder / "exports").mkdir()
    for name in NAMED:
        (folder / name).touch()
    path = folder / "shop.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def faults(path: Path) -> list[str]:
    """Return the lines of the error that a project file gives, without the file's name."""
    with pytest.raises(ConfigError) as raised:
        load_project(path, with_files=True)
    return str(raised.value).replace(f"{path}: ", "").split("\n")


def test_paths(tmp_path: Path) -> None:
    """Paths are relative to the folder of the project file."""
    project = load_project(written(tmp_path, WHOLE), with_files=True)
    assert project.files == (
        ProjectEntry(file=tmp_path / "exports/clicks.csv", mapping=tmp_path / "clicks.yaml"),
        ProjectEntry(file=tmp_path / "exports/orders.csv", mapping=tmp_path / "orders.yaml"),
    )
    assert project.settings == {
        "time_zone": "Europe/Berlin",
        "currency": "EUR",
        "campaigns_file": tmp_path / "campaigns.yaml",
        "rules_file": tmp_path / "rules.yaml",
    }


def test_optional(tmp_path: Path) -> None:
    """Campaigns and rules may be left out; the environment's files then hold."""
    text = WHOLE.replace("campaigns: campaigns.yaml\nrules: rules.yaml\n", "")
    project = load_project(written(tmp_path, text), with_files=True)
    assert project.settings["campaigns_file"] is None
    assert project.settings["rules_file"] is None


def test_every_fault(tmp_path: Path) -> None:
    """All faults are reported at once, each with its line and key and what to do."""
    text = (
        WHOLE.replace("Berlin", "Berlim")
        .replace("currency: EUR", "curency: EUR")
        .replace("orders.csv", "order.csv")
        .replace("campaigns.yaml", '""')
    )
    found = faults(written(tmp_path, text))
    assert "line 1: time_zone: no time zone named 'Europe/Berlim'" in found[0]
    assert any(
        one.startswith("line 2: curency: there is no such key") and "currency" in one
        for one in found
    )
    assert any(one.endswith("currency: is missing") for one in found)
    assert "line 3: campaigns: is empty; give the path of a file, or leave it out" in found
    assert f"line 8: files[1].file: there is no file {tmp_path / 'exports/order.csv'}" in found


def test_no_files(tmp_path: Path) -> None:
    """A project without a file is refused."""
    text = WHOLE[: WHOLE.index("files:")] + "files: []\n"
    assert faults(written(tmp_path, text)) == ["line 5: files: is empty; give at least one file"]


def test_same_file_twice(tmp_path: Path) -> None:
    """A file that is listed twice is refused: its rows would be events twice."""
    text = WHOLE.replace("orders.csv", "clicks.csv")
    assert faults(written(tmp_path, text)) == [
        "line 8: files: file 'exports/clicks.csv' is given already, in line 6; leave one of them "
        "out"
    ]


def test_precedence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project takes precedence over the environment, and an option over the project.

    What the project leaves out comes from the environment.
    """
    text = WHOLE.replace("campaigns: campaigns.yaml\n", "")
    project = load_project(written(tmp_path, text), with_files=False)
    own = tmp_path / "own.yaml"
    own.touch()
    for name, value in (
        ("KPI_TIME_ZONE", "Asia/Tokyo"),
        ("KPI_CURRENCY", "JPY"),
        ("KPI_CAMPAIGNS_FILE", str(own)),
        ("KPI_RULES_FILE", str(own)),
    ):
        monkeypatch.setenv(name, value)
    chosen = settings.load(**with_project(project, currency="USD", rules_file=None))
    assert chosen.time_zone == "Europe/Berlin"
    assert chosen.currency == "USD"
    assert chosen.campaigns_file == own
    assert chosen.rules_file == tmp_path / "rules.yaml"
    assert settings.load(**with_project(None, currency="USD")).time_zone == "Asia/Tokyo"
