"""The command, as a stranger uses it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from streams.embedded.kafka import EmbeddedKafka
from streams.embedded.valkey import EmbeddedValkey
from streams.engine import topics as engine_topics
from tests.support.cluster import Cluster, command_line
from tests.support.command import run

COMMANDS = (
    *(
        "demo",
        "services",
        "worker",
        "feed",
        "check",
        "topics",
        "dead-letters",
        "reset",
        "rules",
        "boards",
    ),
    "version",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    done = run(command, "--help")
    assert done.returncode == 0
    assert "Usage" in done.stdout
    if command != "version":
        assert "Example" in done.stdout


def test_the_package_is_the_installed_wheel() -> None:
    import streams

    assert "site-packages" in str(streams.__file__) or os.environ.get("CI") != "true"


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["worker", "--kafka", "127.0.0.1:1"], {}, "no Kafka broker answers at 127.0.0.1:1"),
        (["topics", "--kafka", "127.0.0.1:1"], {}, "no Kafka broker answers"),
        (["dead-letters", "--kafka", "127.0.0.1:1"], {}, "no Kafka broker answers"),
        (["check", "--offline"], {"KPI_PARTITIONS": "many"}, "KPI_PARTITIONS"),
        (["check", "--offline", "--rules", "/nowhere.yaml"], {}, "/nowhere.yaml: file: can't be"),
        (["demo", "--scenario", "rain"], {}, "no scenario 'rain'"),
        (["demo", "--for", "soon"], {}, "duration 'soon'"),
        (["dead-letters", "--reason", "nonsense"], {}, "'nonsense' is not one of"),
        (["nonsense"], {}, "No such command"),
    ],
)
def test_a_fault_is_one_message_and_exit_code_2(
    arguments: list[str], environment: dict[str, str], message: str
) -> None:
    done = run(*arguments, **environment)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_check_names_file_line_and_key(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules:\n  - name: a\n    kind: threshold\n    kpi: clicks\n    abvoe: 3\n")
    done = run("check", "--offline", "--rules", str(rules))
    assert done.returncode == 2
    assert f"{rules}: line 5: rules[0].abvoe" in done.stderr


def test_check_of_assumed_traffic(tmp_path: Path) -> None:
    """`check --traffic` warns of a rule that can't fire at it, without a worker."""
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "rules:\n"
        "  - {name: low, kind: threshold, kpi: conversion_rate, scope: campaign, window: 1h,\n"
        "     below: 0.01}\n"
    )
    check = ("check", "--offline", "--rules", str(rules), "--strict", "--traffic")
    few = run(*check, "clicks=30")
    assert few.returncode == 1
    assert f"{rules}: line 3: rules[0].below: low can't fire" in few.stderr
    assert "takes 381 clicks in 1h, and no scope has more than 30 at clicks=30" in few.stderr
    assert run(*check, "clicks=400").returncode == 0
    wrong = run(*check, "click=30")
    assert wrong.returncode == 2
    assert "nothing named 'click' is measured; did you mean clicks?" in wrong.stderr


@pytest.mark.integration
def test_wrong_partition_count_is_refused(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """A worker refuses topics with another number of partitions, and says which setting fits."""
    cluster = Cluster(kafka.address, tmp_path)
    cluster.command("topics", "--create")
    cluster.settings["KPI_PARTITIONS"] = "7"
    done = cluster.command("worker", check=False)
    assert done.returncode == 2
    assert "has 4 partitions, not 7; set KPI_PARTITIONS" in done.stderr
    assert cluster.command("topics", check=False).returncode == 1


@pytest.mark.integration
def test_missing_topics_are_reported(
    kafka: EmbeddedKafka, valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    """`check`, `feed` and `rates` report missing topics and create none; `topics --create` does."""
    cluster = Cluster(kafka.address, tmp_path, {"KPI_REDIS": valkey.url})
    rates = tmp_path / "rates.yaml"
    rates.write_text('rates: [{currency: USD, date: 2020-01-01, rate: "7.18"}]\n')
    checked = cluster.command("check", check=False)
    assert checked.returncode == 1
    clicks, orders, campaigns = map(cluster.topic, ("clicks", "orders", "campaigns"))
    assert f"missing: the source topics {clicks}, {orders}, {campaigns};" in checked.stderr
    assert "the first worker creates 7 topics of its own" in checked.stdout
    assert f"redis     ok, at redis://127.0.0.1:{valkey.port}" in checked.stdout
    fed = cluster.command("feed", "--for", "1", check=False)
    assert fed.returncode == 2
    assert f"topic {clicks}, {orders}, {campaigns}, {cluster.topic('registry')}: " in fed.stderr
    sent = cluster.command("rates", str(rates), check=False)
    assert sent.returncode == 2
    with engine_topics.admin(cluster.broker) as client:
        assert not [name for name in engine_topics.describe(client) if cluster.app_id in name]
    assert f"created {clicks}, 4 partitions" in cluster.command("topics", "--create").stdout
    assert "created" not in cluster.command("topics", "--create").stdout
    assert cluster.command("check").stdout.endswith(f"redis://127.0.0.1:{valkey.port}\n")
    cluster.settings["KPI_REDIS"] = "redis://:hunter2@127.0.0.1:1/0"
    refused = cluster.command("check", check=False)
    assert refused.returncode == 2
    assert "no Redis answers at redis://127.0.0.1:1 (ConnectionError)" in refused.stderr
    assert "hunter2" not in refused.stdout + refused.stderr


@pytest.mark.integration
def test_a_synthetic_feed_and_a_mapped_file_are_sent(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    cluster = Cluster(kafka.address, tmp_path)
    cluster.command("topics", "--create")
    sent = cluster.command("feed", "--rate", "20", "--for", "30", "--speed", "max").stdout
    assert "records sent" in sent
    log = tmp_path / "log.ndjson"
    log.write_text('{"who":"u1","when":1700000000}\n{"who":"u2","when":1700000001}\n')
    mapping = tmp_path / "map.yaml"
    mapping.write_text(
        "format: ndjson\ntime: {value: '{when}', format: epoch_s}\n"
        "events: [{type: click, fields: {user_id: '{who}'}}]\n"
    )
    arguments = ["feed", str(log), "--mapping", str(mapping), "--speed", "max"]
    refused = cluster.command(*arguments, check=False)
    assert refused.returncode == 2
    assert "2 of 2 events are too late for the topic" in refused.stderr
    assert "2 of 2 events sent" in cluster.command(*arguments, "--late").stdout
    mapping.write_text(mapping.read_text().replace("{who}", "{whom}"))
    wrong = cluster.command("feed", str(log), "--mapping", str(mapping), check=False)
    assert wrong.returncode == 2
    assert f"{log} has no column 'whom'; did you mean who?\nit has: who, when" in wrong.stderr


@pytest.mark.integration
def test_feed_keeps_refused_rows(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """Rows that can't be read are kept in a file, and the exit code says so."""
    cluster = Cluster(kafka.address, tmp_path)
    cluster.command("topics", "--create")
    log, mapping, kept = tmp_path / "log.csv", tmp_path / "map.yaml", tmp_path / "kept.ndjson"
    log.write_text("who,when,pages\nu1,1700000000,2\nu2,1700000001,many\nbot,1700000001,1\n")
    mapping.write_text(
        "time: {value: '{when}', format: epoch_s}\nleave_out: {who: bot}\n"
        "events: [{type: visit, fields: {user_id: '{who}', pages: '{pages}'}}]\n"
    )
    arguments = ["feed", str(log), "--mapping", str(mapping), "--speed", "max"]
    done = cluster.command(*arguments, "--refused", str(kept), check=False)
    assert done.returncode == 1
    assert "1 of 1 events sent" in done.stdout
    assert "1 row left out" in done.stdout
    assert f"1 row refused, and kept in {kept}" in done.stdout
    assert "line 3: pages: 'many' is no number" in done.stdout
    (row,) = map(json.loads, kept.read_text().splitlines())
    assert (row["who"], row["_line"]) == ("u2", 3)
    log.write_text(log.read_text().replace("many", ""))
    assert cluster.command(*arguments).returncode == 0
    mapping.write_text(mapping.read_text().replace("epoch_s", "'%Y', zone: Mars"))
    wrong = cluster.command(*arguments, check=False)
    assert wrong.returncode == 2
    assert f"{mapping}: line 1: time.zone: no time zone named 'Mars'" in wrong.stderr


@pytest.mark.integration
def test_feed_stops_and_resumes(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """Ctrl-C says where it stopped; --resume sends the rest, and Kafka has each event once."""
    cluster = Cluster(kafka.address, tmp_path, {"KPI_PARTITIONS": "1"})
    cluster.command("topics", "--create")
    log, mapping = tmp_path / "log.csv", tmp_path / "map.yaml"
    rows = 100_000
    log.write_text("who,when\n" + "".join(f"u{at},{1_700_000_000 + at}\n" for at in range(rows)))
    mapping.write_text(
        "time: {value: '{when}', format: epoch_s}\n"
        "events: [{type: click, fields: {user_id: '{who}'}}]\n"
    )
    arguments = ["feed", str(log), "--mapping", str(mapping), "--speed", "max"]
    position = tmp_path / "log.csv.position.json"
    feeding = subprocess.Popen(
        command_line(*arguments),
        env=cluster.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not position.exists() and feeding.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    feeding.send_signal(signal.SIGINT)
    out, err = feeding.communicate(timeout=60)
    assert feeding.returncode == 130, out + err
    found = re.search(r"([\d,]+) of 100,000 events sent to ", out)
    assert found is not None, out
    assert f"stopped after {found[1]} events; continue with --resume" in err
    sent = int(found[1].replace(",", ""))
    assert 0 < sent < rows
    again = cluster.command(*arguments, check=False)
    assert again.returncode == 2
    assert f"a feed of it stopped after {found[1]} events; continue with --resume" in again.stderr
    resumed = cluster.command(*arguments, "--resume")
    assert "100,000 of 100,000 events sent to " in resumed.stdout
    assert not position.exists()
    *events, end = [json.loads(one.value) for one in cluster.read("clicks")]
    assert (len(events), len({one["event_id"] for one in events})) == (rows, rows)
    assert end["type"] == "complete_through"


@pytest.mark.integration
def test_demo_counts_exactly(tmp_path: Path) -> None:
    """The demo counts every event exactly, and its alert fires and resolves."""
    report = tmp_path / "report.json"
    done = run("demo", "--for", "75s", "--json", str(report), "--port", "0")
    assert done.returncode == 0, done.stdout + done.stderr
    findings = json.loads(report.read_text())
    assert all(check["ok"] for check in findings["checks"])
    assert findings["first_kpi_after_s"] < 180


@pytest.mark.integration
def test_rules_say_why_they_do_not_fire(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """`rules` shows the last verdicts of a worker; `check` warns of a rule that can't fire."""
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "rules:\n"
        "  - {name: surely-none, kind: threshold, kpi: conversion_rate, scope: campaign,"
        " window: 1m, below: 0.0001}\n"
    )
    cluster = Cluster(kafka.address, tmp_path, {"KPI_RULES_FILE": str(rules)})
    cluster.command("topics", "--create")
    cluster.command("feed", "--rate", "20", "--for", "90", "--speed", "max")
    worker = cluster.start()
    try:
        url = worker.url
        cluster.until(lambda live: any(one["judged"] for one in live["rules"]), why="no verdict")
        shown = cluster.command("rules", "--url", url, "--limit", "2").stdout
        answer = cluster.command("rules", "--url", url, "--json").stdout
        checked = cluster.command("check", "--url", url)
        wrong = cluster.command("rules", "--url", url, "--rule", "none", check=False)
    finally:
        cluster.stop()
    assert "surely-none: fires when conversion rate of any campaign over 1 min" in shown
    assert "below 0.01 %" in shown
    (rule,) = json.loads(answer)["rules"]
    assert rule["least_n"] == 38_411
    assert 0 < rule["largest_n"] < 38_411
    assert f"worker    ok, at {url}" in checked.stdout
    assert "surely-none can't fire: below 0.0001" in checked.stderr
    assert wrong.returncode == 2
    assert "no rule 'none' is judged" in wrong.stderr
    away = cluster.command("rules", "--url", "http://127.0.0.1:1/", check=False)
    assert away.returncode == 2
    assert "no worker answers at http://127.0.0.1:1/ (URLError); start it" in away.stderr
