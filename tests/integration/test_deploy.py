"""The container stack and the rules: what can be checked without a Docker engine."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from streams import settings
from streams.settings import Settings
from tests.support import command
from tests.support.needed import program
from tools.docstrings import docstrings_of

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture(scope="module")
def compose(repository: Path) -> dict[str, Any]:
    text = (repository / "docker-compose.yml").read_text()
    made: dict[str, Any] = yaml.safe_load(text)
    return made


def run(*command: object, cwd: Path | None = None) -> None:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, cwd=cwd
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_the_rules_and_their_tests_pass(repository: Path) -> None:
    folder = repository / "dashboards" / "prometheus"
    promtool = program("promtool")
    run(promtool, "check", "rules", folder / "rules.yml")
    run(promtool, "test", "rules", "rules_test.yml", cwd=folder)
    run(promtool, "check", "config", repository / "deploy" / "prometheus.yml")


def test_alertmanager_takes_its_configuration(repository: Path) -> None:
    run(program("amtool"), "check-config", repository / "deploy" / "alertmanager.yml")


def test_images_are_pinned_and_ports_are_on_loopback(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == {
        "kafka",
        "valkey",
        "worker",
        "prometheus",
        "alertmanager",
        "grafana",
    }
    for name, service in compose["services"].items():
        assert re.search(r":v?\d+\.\d+\.\d+", service["image"]), name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name
        assert name == "worker" or "healthcheck" in service, name


def test_workers_on_the_host_reach_both(compose: dict[str, Any]) -> None:
    """Kafka and Valkey are published where the settings of README look for them."""
    ports = {name: compose["services"][name]["ports"] for name in ("kafka", "valkey")}
    assert ports == {"kafka": ["127.0.0.1:9092:19092"], "valkey": ["127.0.0.1:6379:6379"]}
    listeners = compose["services"]["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert f"HOST://{Settings.model_fields['kafka'].default}" in listeners


def test_every_mounted_file_is_there(compose: dict[str, Any], repository: Path) -> None:
    for service in compose["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (repository / source).exists(), source
            else:
                assert source in compose["volumes"]


def test_the_worker_is_set_by_settings_that_exist(compose: dict[str, Any]) -> None:
    given = compose["services"]["worker"]["environment"]
    known = {f"KPI_{name.upper()}" for name in Settings.model_fields}
    assert set(given) <= known


def test_the_worker_has_every_kind_of_configuration(
    compose: dict[str, Any], repository: Path
) -> None:
    """Each setting that names a YAML file is set to an example, and the command takes them all."""
    meanings = docstrings_of(settings)["Settings"]
    files = {name for name, meaning in meanings.items() if meaning.startswith("YAML file")}
    assert {"rules_file", "kpis_file", "scorecards_file", "rates_file"} <= files
    given = compose["services"]["worker"]["environment"]
    examples = {
        f"KPI_{name.upper()}": given[f"KPI_{name.upper()}"].replace(
            "/etc/kpi-monitor", str(repository / "config")
        )
        for name in files
    }
    done = command.run("check", "--offline", **examples)
    assert done.returncode == 0, done.stderr
    assert not re.search(r"\b(rules|campaigns|scorecards|rates) +0 ok", done.stdout)


def test_every_rule_has_a_runbook(repository: Path) -> None:
    rules = yaml.safe_load((repository / "dashboards" / "prometheus" / "rules.yml").read_text())
    for rule in rules["groups"][0]["rules"]:
        page, anchor = rule["annotations"]["runbook"].split("#")
        text = (repository / page).read_text().lower()
        assert f"## {anchor}" in text, rule["alert"]
