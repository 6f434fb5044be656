"""The project file of feed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from streams import settings
from streams.cli import cli
from streams.errors import ConfigError
from streams.feed.dry_run import DryRun, Monitor, dry_run
from streams.feed.events.file_set import NamedEvent
from streams.feed.project import ProjectEntry, load_project
from streams.settings import Settings
from tests.factories.feed import AT, VISITS

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
hash_key_file: hash.key
calendar: calendar.yaml
"""
NAMED = (
    "campaigns.yaml",
    "rules.yaml",
    "calendar.yaml",
    "hash.key",
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
        "start_from": None,
        "campaigns_file": tmp_path / "campaigns.yaml",
        "rules_file": tmp_path / "rules.yaml",
        "calendar_file": tmp_path / "calendar.yaml",
        "hash_key_file": tmp_path / "hash.key",
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


def test_start(tmp_path: Path) -> None:
    """A project may say where a worker without state starts; a wrong one is refused."""
    text = f"start_from: earliest\n{WHOLE}"
    path = written(tmp_path, text)
    assert load_project(path, with_files=True).settings["start_from"] == "earliest"
    path.write_text(text.replace("earliest", "yesterday"))
    assert "line 1: start_from: use earliest, latest, business-day" in faults(path)[0]


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings with which a command would go on."""
    found: list[Settings] = []
    load = settings.load

    def loads(**given: object) -> Settings:
        found.append(load(**given))
        raise SystemExit(0)

    monkeypatch.setattr(settings, "load", loads)
    return found


@pytest.mark.parametrize("command", ["worker", "check"])
def test_precedence(
    command: str, loaded: list[Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An option takes precedence over the project, and the project over the environment.

    What the project leaves out is as the environment says.
    """
    text = WHOLE.replace("campaigns: campaigns.yaml", "start_from: earliest")
    path = written(tmp_path, text)
    environment = {"TIME_ZONE": "Asia/Tokyo", "CURRENCY": "JPY", "START_FROM": "latest"}
    files = {"RULES_FILE": "other.yaml", "CAMPAIGNS_FILE": "theirs.yaml"}
    for name, value in {**environment, **files}.items():
        monkeypatch.setenv(f"KPI_{name}", value)
    runner = CliRunner()
    runner.invoke(cli, [command, "--project", str(path)])
    runner.invoke(cli, [command, "--project", str(path), "--rules", "own.yaml"])
    runner.invoke(cli, [command])
    project, option, alone = loaded
    assert (project.time_zone, project.currency) == ("Europe/Berlin", "EUR")
    assert (project.start_from, project.rules_file) == ("earliest", tmp_path / "rules.yaml")
    assert project.campaigns_file == Path("theirs.yaml")
    assert option == project.model_copy(update={"rules_file": Path("own.yaml")})
    assert (alone.time_zone, alone.currency, alone.start_from) == (*environment.values(),)


def test_dry_run_knows_each_campaign_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The campaigns of the project and of its mappings are defined once each."""
    (tmp_path / "shop.yaml").write_text(
        "time_zone: UTC\ncurrency: EUR\ncampaigns: campaigns.yaml\n"
        "files:\n  - {file: clicks.csv, mapping: clicks.yaml}\n"
    )
    (tmp_path / "campaigns.yaml").write_text("campaigns: [{id: brand}, {id: winter}]\n")
    mapping = {"campaigns": [{"id": "summer"}], **VISITS}
    (tmp_path / "clicks.yaml").write_text(yaml.safe_dump(mapping, sort_keys=False))
    (tmp_path / "clicks.csv").write_text(f"at,user,pages\n{AT},u1,1\n")
    known: list[Monitor] = []

    def tried(events: Iterable[NamedEvent], monitor: Monitor, *, now_ms: int) -> DryRun:
        known.append(monitor)
        return dry_run(events, monitor, now_ms=now_ms)

    monkeypatch.setattr("streams.feed.dry_run.dry_run", tried)
    done = CliRunner().invoke(cli, ["feed", "--all", str(tmp_path / "shop.yaml"), "--dry-run"])
    assert done.exit_code == 0, done.output
    (monitor,) = known
    assert {one.id for one in monitor.campaigns} == {"brand", "winter", "summer"}
    assert monitor.campaigns.version == 3
