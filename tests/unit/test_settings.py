"""Settings and files: errors that name what, where and why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from streams import config, settings
from streams.cli import cli
from streams.errors import ConfigError


def test_the_environment_is_read_and_arguments_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KPI_KAFKA", "elsewhere:1")
    assert settings.load().kafka == "elsewhere:1"
    assert settings.load(kafka="here:2").kafka == "here:2"


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("time_zone", "Mars/Olympus", "IANA"),
        ("currency", "yuan", "three capitals such as CNY"),
        ("boards_url", "None", "begins with http"),
        ("runbooks_url", "grafana.example", "begins with http"),
        ("public_url", "/page", "begins with http"),
        ("alertmanager", "alertmanager:9093", "begins with http"),
        ("grafana", "grafana:3000", "begins with http"),
        ("watchdog_s", "90s", "give a number"),
        ("partitions", "0", "greater than or equal to 1"),
        ("start_from", "tomorrow", "RFC 3339"),
        ("start_from", "2026-06-18T00:00:00", "offset from UTC"),
        ("app_id", "a b", "use letters, digits"),
    ],
)
def test_a_wrong_value_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, key: str, value: str, why: str
) -> None:
    monkeypatch.setenv(f"KPI_{key.upper()}", value)
    with pytest.raises(ConfigError, match=why) as caught:
        settings.load()
    assert f"KPI_{key.upper()}" in str(caught.value)


@pytest.mark.parametrize("key", ["boards_url", "redis", "alertmanager", "partitions", "kafka"])
def test_empty_is_left_out(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """A variable without a text, as a container has it from one that is not set, is left out."""
    monkeypatch.setenv(f"KPI_{key.upper()}", "")
    assert getattr(settings.load(), key) == settings.Settings.model_fields[key].default


def test_nobody_is_a_guest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ids of guests, only a missing id and an empty one are of no user."""
    monkeypatch.setenv("KPI_GUEST_IDS", "")
    assert settings.load().guests == {None, ""}


@pytest.mark.parametrize("name", ["KPI_RULES_FILE", "KPI_KAFKA_CA_FILE"])
def test_empty_name_of_a_file(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A file that may be left out must not be empty; the message names the variable."""
    monkeypatch.setenv(name, "")
    with pytest.raises(ConfigError, match=rf"^settings: {name} \(environment\): is empty; give"):
        settings.load()


def test_every_fault_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several wrong settings are told in one message, and so are settings that do not fit."""
    monkeypatch.setenv("KPI_CURRENCY", "yuan")
    monkeypatch.setenv("KPI_NAMES_FILE", "")
    with pytest.raises(ConfigError) as caught:
        settings.load(partitions=0)
    said = [line.rpartition(": ")[0] for line in str(caught.value).splitlines()]
    assert said == [
        "settings: partitions (command line)",
        "settings: KPI_CURRENCY (environment)",
        "settings: KPI_NAMES_FILE (environment)",
    ]
    monkeypatch.setenv("KPI_CURRENCY", "EUR")
    monkeypatch.delenv("KPI_NAMES_FILE")
    with pytest.raises(ConfigError) as caught:
        settings.load(
            kafka_security="sasl_ssl", redis="http://:hunter2@host", customers_kept_days=1
        )
    keys = [line.split(" (command line): ")[0] for line in str(caught.value).splitlines()]
    assert keys == ["settings: kafka_security", "settings: redis", "settings: customers_kept_days"]
    assert "hunter2" not in str(caught.value)


def test_file_of_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault in the file .env is said to be there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("KPI_CURRENCY=yuan\nKPI_KAFKAA=x\n")
    with pytest.raises(ConfigError, match=r"^settings: KPI_CURRENCY \(\.env\): "):
        settings.load()
    (message,) = settings.unknown_variables()
    assert message == "KPI_KAFKAA (.env) is no setting; did you mean KPI_KAFKA?"


def test_unknown_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables with the prefix that are no setting are warned about, without their values."""
    monkeypatch.chdir(tmp_path)
    before = settings.unknown_variables()
    monkeypatch.setenv("KPI_CACHE_DIR", "x")
    monkeypatch.setenv("KPI_KAFKA", "x")
    assert settings.unknown_variables() == before
    monkeypatch.setenv("KPI_REDIS_PASWORD_FILE", "hunter2")
    monkeypatch.setenv("KPI_CLICK_TOPIC", "c")
    found = set(settings.unknown_variables()) - set(before)
    assert found == {
        "KPI_REDIS_PASWORD_FILE (environment) is no setting; did you mean KPI_REDIS_PASSWORD_FILE?",
        "KPI_CLICK_TOPIC (environment) is no setting; did you mean KPI_CLICKS_TOPIC?",
    }
    result = CliRunner().invoke(cli, ["check", "--offline", "--strict"])
    assert result.exit_code == 1
    assert "warning: KPI_CLICK_TOPIC (environment) is no setting; did" in result.stderr
    monkeypatch.delenv("KPI_CLICK_TOPIC")
    monkeypatch.delenv("KPI_REDIS_PASWORD_FILE")
    if not before:
        assert CliRunner().invoke(cli, ["check", "--offline", "--strict"]).exit_code == 0


def test_ids_are_kept_as_long_as_their_events_may_count() -> None:
    with pytest.raises(ConfigError, match="dedupe_horizon_s"):
        settings.load(dedupe_horizon_s=60, correction_horizon_s=600)


def test_a_redis_url_is_not_shown() -> None:
    assert "hunter2" not in repr(settings.load(redis="redis://:hunter2@host/0"))


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"redis": "http://host"}, "must begin with redis://"),
        ({"redis": "redis://:a/b@host"}, "write /, : and @ in a password as %2F"),
        ({"redis": "redis://host", "redis_ca_file": Path(__file__)}, "rediss://"),
        ({"redis": "rediss://host", "redis_cert_file": Path(__file__)}, "go together"),
    ],
)
def test_settings_of_redis_that_do_not_fit_are_refused(given: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        settings.load(**given)


def test_a_missing_file_of_redis_is_named(tmp_path: Path) -> None:
    chosen = settings.load(redis="rediss://host", redis_ca_file=tmp_path / "none.pem")
    with pytest.raises(ConfigError, match=r"redis_ca_file: .*none.pem can't be read"):
        _ = chosen.redis_server


def test_redis_password_comes_from_a_file(tmp_path: Path) -> None:
    """The password of Redis is read from a file, and no representation shows it."""
    secret = tmp_path / "secret"
    secret.write_text("hunter2\n")
    chosen = settings.load(redis="redis://monitor@host/0", redis_password_file=secret)
    server = chosen.redis_server
    assert server is not None
    assert server.client_options()["password"] == "hunter2"
    assert "hunter2" not in repr(server)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("coefficients: {influence: 35%}", "coefficients.influence: give a number, .* 2 % is 0.02"),
        ("benchmarks: {ctr: 0.03}", "benchmarks.ctr: give keys with values"),
        ("largest: {campaign: many}", "largest.campaign: give a whole number"),
        ("export: [{kpis: clicks}]", r"export\[0\].kpis: give a list"),
        ("kpis: [{name: Own, title_en: O}]", r"kpis\[0\].name: use small letters, .* underscores"),
    ],
)
def test_errors_are_in_words(tmp_path: Path, text: str, why: str) -> None:
    """The likeliest mistakes in a file have words for people who write YAML."""
    path = tmp_path / "kpis.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=why):
        config.load_kpis(path)


RULES = """\
rules:
  - name: ok
    kind: threshold
    kpi: clicks
    above: 1
  - name: second
    kind: threshold
    kpi: magic
    above: 1
"""


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (RULES, r"line 8: rules\[1\].kpi: no KPI named 'magic'; known: impressions"),
        (RULES.replace("magic", "clikcs"), r"no KPI named 'clikcs'; did you mean clicks\?"),
        (
            RULES.replace("magic", "clicks\n    typo: 1"),
            r"line 9: rules\[1\].typo: there is no such key; known: above",
        ),
        (
            RULES.replace("kpi: magic", "kpi: clicks\n    abvoe: 1"),
            r"line 9: rules\[1\].abvoe: there is no such key; did you mean above\?",
        ),
        (
            RULES.replace("magic", "clicks\n    match: {campain: [c1]}"),
            r"line 9: rules\[1\].match.campain: there is no such key; did you mean campaign\?",
        ),
        (RULES.replace("kpi: magic", "kpi: clicks\n    for: soon"), r"line 9: rules\[1\].for"),
        (RULES.replace("    kpi: magic\n", ""), r"line 6: rules\[1\].kpi: is missing"),
        (
            RULES.replace("    kind: threshold\n", "", 1),
            r"line 2: rules\[0\].kind: is missing; give one of absence, anomaly, .*, threshold",
        ),
        ("rules: [", "line 1|line 2"),
        ("rules: 5", "line 1: rules"),
        (
            RULES.replace("above: 1\n", "above: 1\n    above: 2\n", 1),
            "line 6: key 'above' is given",
        ),
        (
            RULES.replace("magic", "clicks").replace("second", "ok"),
            "line 6: rules: name 'ok' is given already, in line 2",
        ),
        ("rules: []\nrules: []\n", "line 2: key 'rules' is given already, in line 1"),
        (RULES.replace("above: 1", "match: {region: [a], region: [b]}", 1), "line 5: key 'region'"),
        ("rules: &all [*all]", "line 1|rules"),
    ],
)
def test_a_wrong_file_names_line_and_key(tmp_path: Path, text: str, where: str) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=where) as caught:
        config.load_rules(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (config.load_campaigns, "campaigns:\n  - {id: c1, name: A}\n  - {id: c1, name: B}\n"),
        (
            config.load_rates,
            "rates:\n  - {currency: USD, date: 2026-01-01, rate: 7}\n"
            "  - {currency: USD, date: 2026-01-01, rate: 8}\n",
        ),
    ],
)
def test_repeated_entry(read: Callable[[Path], object], text: str, tmp_path: Path) -> None:
    """A campaign or rate that is given twice is refused with both lines."""
    path = tmp_path / "file.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"line 3: .* is given already, in line 2"):
        read(path)
    path.write_text(text.rsplit("  - ", 1)[0])
    assert read(path)


@pytest.mark.parametrize("day", ["2026-02-30", "2026-06-18T20:00:00", "today", "[]"])
def test_wrong_date(day: str, tmp_path: Path) -> None:
    """A date that there is not, or that is none, is refused with line and key."""
    path = tmp_path / "rates.yaml"
    path.write_text(f"rates:\n  - {{currency: USD, date: {day}, rate: 7}}\n")
    with pytest.raises(ConfigError, match=r"line 2: rates\[0\]\.date: give a date like 2026-06-18"):
        config.load_rates(path)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read: No such file"):
        config.load_rules(tmp_path / "none.yaml")


def test_no_file_is_no_rules() -> None:
    assert config.load_rules(None).rules == ()


def test_the_example_files_are_right(repository: Path) -> None:
    for path in (repository / "config").glob("*rules.yaml"):
        assert config.load_rules(path).rules
    for path in (repository / "config").glob("*campaigns.yaml"):
        assert config.load_campaigns(path).campaigns


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"kafka_security": "sasl_ssl"}, "needs kafka_username, and kafka_password"),
        ({"kafka_security": "tls"}, "kafka_security"),
        ({"kafka_cert_file": "a.pem"}, "go together"),
    ],
)
def test_security_that_can_not_work_is_refused(given: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        settings.load(**given)


def test_a_password_comes_from_its_file_and_is_never_shown(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("hush\n")
    chosen = settings.load(
        kafka_security="sasl_ssl", kafka_username="u", kafka_password_file=secret
    )
    assert chosen.broker.client_options()["sasl_plain_password"] == "hush"
    assert "hush" not in repr(chosen) + repr(chosen.broker)
    secret.unlink()
    with pytest.raises(ConfigError, match=r"kafka_password_file: .*password can't be read"):
        _ = chosen.broker


def test_a_certificate_that_is_none_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "ca.pem"
    broken.write_text("no certificate")
    chosen = settings.load(kafka_security="ssl", kafka_ca_file=broken)
    with pytest.raises(ConfigError, match=r"kafka_ca_file: .*ca.pem can't be used"):
        chosen.broker.client_options()


def test_every_fault_of_a_file(tmp_path: Path) -> None:
    """All faults of a file are reported at once, in the order of their lines, in plain words."""
    path = tmp_path / "rules.yaml"
    path.write_text(
        "rules:\n"
        "  - {name: a, kpi: clicks, below: 1}\n"
        "  - {name: b, kind: treshold, kpi: clicks}\n"
        "  - {name: c, kind: threshold, bellow: 1}\n"
        "  - {name: 5, kind: threshold, kpi: clik, below: 1}\n"
    )
    with pytest.raises(ConfigError) as caught:
        config.load_rules(path)
    error = caught.value
    assert str(error).split("\n") == [
        f"{path}: line 2: rules[0].kind: is missing; give one of absence, anomaly, change, "
        "outlier, pace, persistent, range, threshold",
        f"{path}: line 3: rules[1].kind: there is no kind 'treshold'; did you mean threshold?",
        f"{path}: line 4: rules[2].kpi: is missing",
        f"{path}: line 4: rules[2].bellow: there is no such key; did you mean below?",
        f"{path}: line 5: rules[3].name: give a text; a number, a date, yes and no need quotes to"
        " be one",
    ]
    assert (error.where, error.why.split(";")[0]) == ("line 2: rules[0].kind", "is missing")
